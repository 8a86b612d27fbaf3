//! What has happened at all: what never does is not tested.

use crate::faults::{Fault, Site};
use crate::{days, enumerate, probes};
use memorialstream_operator::api::Reason;
use std::collections::{BTreeMap, BTreeSet};

/// Every action, by name: each leaves as one call, by which the models know it.
const ACTIONS: [&str; 21] = [
    "AddFinalizer",
    "RemoveFinalizer",
    "RecordAbandoned",
    "CreateStream",
    "EnableStream",
    "DisableStream",
    "CompleteStream",
    "UpdateStream",
    "DeleteStream",
    "CreateRoom",
    "DeleteRoom",
    "CreatePod",
    "RenewBoot",
    "DeletePod",
    "StartEgress",
    "StopEgress",
    "AskWorker",
    "StopSurplus",
    "StartSender",
    "StopSender",
    "KeepStreamKey",
];

/// Reasons that nothing here can bring about, and why.
const NOT_REACHED: [(&str, &str); 4] = [
    ("CredentialsMissing", "no action at a provider is planned in a pass that has no credentials"),
    ("Outdated", "the fast lane writes nothing when a pod says so: a newer document is on its way"),
    ("TokensNotMinted", "any key and secret that are not empty can sign"),
    ("Unreadable", "written past both lanes: one_object_cannot_be_read_and_people_are_told"),
];

/// Counts.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    pub actions: BTreeMap<&'static str, u64>,
    /// In order.
    pub order: Vec<&'static str>,
    pub reasons: BTreeSet<String>,
    pub struck: BTreeMap<(Site, Fault), u64>,
    pub called: BTreeMap<Site, u64>,
}

impl Coverage {
    pub fn action(&mut self, action: &'static str) {
        *self.actions.entry(action).or_default() += 1;
        self.order.push(action);
    }

    pub fn add(&mut self, other: &Self) {
        for (action, count) in &other.actions {
            *self.actions.entry(action).or_default() += count;
        }
        self.reasons.extend(other.reasons.iter().cloned());
        for (place, count) in &other.struck {
            *self.struck.entry(*place).or_default() += count;
        }
        for (site, count) in &other.called {
            *self.called.entry(*site).or_default() += count;
        }
    }

    /// What never happened.
    pub fn never(&self) -> Vec<String> {
        let actions = ACTIONS.iter().filter(|action| !self.actions.contains_key(*action));
        let reasons = Reason::ALL
            .iter()
            .map(|reason| reason.as_str())
            .filter(|reason| !self.reasons.contains(*reason))
            .filter(|reason| NOT_REACHED.iter().all(|(not, _)| not != reason));
        let faults =
            Site::ALL.iter().flat_map(|site| site.faults().into_iter().map(move |fault| (*site, fault)));
        let faults = faults.filter(|place| !self.struck.contains_key(place));
        actions
            .map(|action| format!("action {action}"))
            .chain(reasons.map(|reason| format!("reason {reason}")))
            .chain(faults.map(|(site, fault)| format!("{fault:?} at {site:?}")))
            .collect()
    }
}

#[test]
fn no_action_is_left_out() {
    let source = syn::parse_file(include_str!("../../src/lifecycle/plan/action.rs")).unwrap();
    let all = source.items.iter().find_map(|item| match item {
        syn::Item::Enum(item) if item.ident == "Action" => Some(&item.variants),
        _ => None,
    });
    let all: BTreeSet<String> =
        all.expect("the actions").iter().map(|variant| variant.ident.to_string()).collect();
    assert_eq!(all, ACTIONS.map(String::from).into());
}

#[test]
fn everything_that_can_happen_has_happened() {
    let mut all = Coverage::default();
    for part in [&enumerate::enumerated().coverage, &probes::probed().coverage, &days::days().coverage] {
        all.add(part);
    }
    println!("{} of {} reasons, {} places", all.reasons.len(), Reason::ALL.len(), all.struck.len());
    for (reason, why) in NOT_REACHED {
        assert!(!all.reasons.contains(reason), "{reason} was reached: it needs no excuse");
        println!("{reason} is not reached: {why}");
    }
    let never = all.never();
    println!("{} never happened: {}", never.len(), never.join(", "));
    assert!(never.is_empty() || !enumerate::is_complete(), "never happened: {}", never.join(", "));
}

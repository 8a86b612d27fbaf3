//! What has happened at all: what never does is not tested.

use crate::faults::{Fault, Site};
use memorialstream_operator::api::Reason;
use std::collections::{BTreeMap, BTreeSet};

/// Every action, by name: each leaves as one call.
const ACTIONS: [&str; 16] = [
    "AddFinalizer",
    "RemoveFinalizer",
    "CreateStream",
    "EnableStream",
    "DisableStream",
    "CompleteStream",
    "UpdateStream",
    "DeleteStream",
    "CreateRoom",
    "DeleteRoom",
    "CreatePod",
    "DeletePod",
    "StartEgress",
    "StopEgress",
    "StartSender",
    "StopSender",
];

/// Reasons that nobody can bring about here: admission refuses what the first three would tell of, a pod's word that a
/// document is outdated is never written, and the operator's keys always sign.
const NOT_REACHED: [&str; 6] =
    ["TooManySources", "UnknownCamera", "Malformed", "Outdated", "TokensNotMinted", "BootDocument"];

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
            .filter(|reason| !self.reasons.contains(*reason) && !NOT_REACHED.contains(reason));
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

//! Every state that status and world can reach together, with time reduced to before and after each deadline, and in
//! each the real planner. What it must never do is looked for in all of them; and from each, once faults are over,
//! what is wanted must come about.
//!
//! `STRIKES` says how many faults may come before all is quiet again (1; with 2 there are several times as many states).
//! What is asked for where all is quiet is none.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod cases;
#[cfg(test)]
mod environment;
#[cfg(test)]
mod judge;
#[cfg(test)]
mod pass;
#[cfg(test)]
mod provider;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod search;
#[cfg(test)]
mod statuses;
#[cfg(test)]
mod trace;
#[cfg(test)]
mod view;
#[cfg(test)]
mod world;

use environment::Reach;
use memorialstream_operator::api::spec::State;
use search::{Scope, Search};
use std::time::Instant;

const NOTHING_MORE: Reach =
    Reach { capacity: false, foreign: false, nodes: false, limits: false, silences: false };
const LIVEKIT: Scope = Scope {
    by_pod: false,
    via: false,
    reach: NOTHING_MORE,
    states: &[State::Idle, State::Standby, State::Live, State::Ended],
};
const COMPOSITOR: Scope = Scope { by_pod: true, ..LIVEKIT };

/// What every search must come across.
fn needed(by_pod: bool) -> impl Iterator<Item = &'static str> {
    let sender = if by_pod { ["StartSender", "StopSender"] } else { ["StartEgress", "StopEgress"] };
    let all = [
        ["AddFinalizer", "CreateStream", "EnableStream", "KeepStreamKey", "CreateRoom", "CreatePod"],
        ["CompleteStream", "DisableStream", "DeleteRoom", "DeletePod", "DeleteStream", "RemoveFinalizer"],
    ];
    all.into_iter().flatten().chain(sender)
}

/// Searches, and prints how far. At least so many states there must be: a search that got stuck finds nothing.
#[cfg(test)]
fn every_state_of(scope: Scope, least: usize) {
    let strikes = std::env::var("STRIKES").map_or(1, |strikes| strikes.parse().unwrap());
    let begun = Instant::now();
    let mut search = Search::run(scope, strikes);
    let judgement = judge::judge(&mut search);
    // A test that passes is not heard otherwise.
    let line = format!(
        "exhaustive: {scope:?}: {} states, {} moves, {} statuses, {} decisions, {} components, {} at rest, {} passes at the most, {:?}",
        search.nodes.len(),
        search.moves,
        search.statuses.len(),
        search.planner.evaluated,
        judgement.components,
        judgement.bottoms,
        judgement.passes,
        begun.elapsed()
    );
    std::io::Write::write_fmt(&mut std::io::stderr().lock(), format_args!("{line}\n")).unwrap();
    let mut wrong = String::new();
    for (rule, (from, by)) in search.broken.clone() {
        wrong += &format!("\n{rule:?}\n   {}", search.trace(from, Some(by)).join("\n   "));
    }
    let mut last = None;
    for trap in judgement.traps {
        // The first trace to each kind is among the shortest.
        if last.replace(trap.rule) != Some(trap.rule) {
            let trace = search.trace(trap.states[0], None).join("\n   ");
            wrong += &format!("\n{:?}, {} states: {}\n   {trace}", trap.rule, trap.states.len(), trap.why);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let planned = search.planner.planned_actions();
    let missing: Vec<_> = needed(scope.by_pod).filter(|action| !planned.contains(*action)).collect();
    assert!(missing.is_empty(), "never planned: {missing:?}");
    assert!(search.nodes.len() >= least, "only {} states", search.nodes.len());
}

#[test]
fn every_state_of_a_service_that_livekit_sends_leads_to_what_is_wanted() {
    every_state_of(LIVEKIT, 200_000);
}

#[test]
fn every_state_of_a_service_that_its_compositor_sends_leads_to_what_is_wanted() {
    every_state_of(COMPOSITOR, 50_000);
}

#[test]
fn every_state_without_a_free_worker_leads_to_what_is_wanted_or_waits_for_one() {
    let reach = Reach { capacity: true, ..NOTHING_MORE };
    every_state_of(Scope { reach, states: &[State::Live, State::Idle], ..LIVEKIT }, 100_000);
}

#[test]
fn every_state_beside_somebody_who_records_the_room_leads_to_what_is_wanted() {
    let reach = Reach { foreign: true, ..NOTHING_MORE };
    every_state_of(Scope { reach, states: &[State::Live], ..LIVEKIT }, 9_000);
}

#[test]
fn every_state_on_nodes_that_die_leads_to_what_is_wanted() {
    let reach = Reach { nodes: true, ..NOTHING_MORE };
    every_state_of(Scope { reach, states: &[State::Live, State::Ended], ..COMPOSITOR }, 40_000);
}

#[test]
fn every_state_in_which_a_limit_strikes_leads_to_what_is_wanted() {
    let reach = Reach { limits: true, ..NOTHING_MORE };
    every_state_of(Scope { reach, states: &[State::Live, State::Standby], ..COMPOSITOR }, 25_000);
}

#[test]
fn every_state_beside_providers_that_are_silent_for_long_leads_to_what_is_wanted() {
    let reach = Reach { silences: true, ..NOTHING_MORE };
    every_state_of(Scope { reach, states: &[State::Live, State::Ended], ..LIVEKIT }, 100_000);
}

#[test]
fn every_state_in_which_people_ask_for_the_other_sender_leads_to_what_is_wanted() {
    every_state_of(Scope { via: true, states: &[State::Live], ..LIVEKIT }, 30_000);
}

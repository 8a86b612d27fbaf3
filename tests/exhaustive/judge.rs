//! Where everything comes to rest once faults are over, and whether that is what was wanted.

use super::pass::stops_the_dead;
use super::rules::Rule;
use super::search::{Node, Search};
use super::view::{Silent, View};
use super::world::{Mux, NOWHERE, Phase, Sender, World};
use memorialstream_operator::api::spec::State;
use memorialstream_operator::api::status::says_the_same;
use petgraph::algo::kosaraju_scc;
use petgraph::graph::DiGraph;

/// A component that nothing leaves and that is no goal.
pub struct Trap {
    pub rule: Rule,
    pub states: Vec<u32>,
    pub why: String,
}

pub struct Judgement {
    pub components: usize,
    pub bottoms: usize,
    /// So many passes at the least lead from each state to where all rests, if nothing more goes wrong.
    pub passes: u32,
    pub traps: Vec<Trap>,
}

/// Every component that is not left without a fault must be the goal.
pub fn judge(search: &mut Search) -> Judgement {
    let count = search.nodes.len();
    let mut graph = DiGraph::<(), (), u32>::with_capacity(count, search.fair.len());
    for _ in 0..count {
        graph.add_node(());
    }
    for (from, to, _) in &search.fair {
        graph.add_edge((*from).into(), (*to).into(), ());
    }
    let components = kosaraju_scc(&graph);
    let mut of = vec![0_u32; count];
    for (number, component) in components.iter().enumerate() {
        for node in component {
            of[node.index()] = u32::try_from(number).unwrap();
        }
    }
    let mut left = vec![false; components.len()];
    for (from, to, _) in &search.fair {
        if of[*from as usize] != of[*to as usize] {
            left[of[*from as usize] as usize] = true;
        }
    }
    let rests: Vec<bool> = of.iter().map(|component| !left[*component as usize]).collect();
    let passes = most_passes(search, &rests);
    let mut judgement = Judgement { components: components.len(), bottoms: 0, passes, traps: Vec::new() };
    for (_, component) in components.iter().enumerate().filter(|(number, _)| !left[*number]) {
        judgement.bottoms += 1;
        let mut states: Vec<u32> =
            component.iter().map(|node| u32::try_from(node.index()).unwrap()).collect();
        states.sort_unstable();
        if let Err((rule, why)) = bottom(search, &states) {
            judgement.traps.push(Trap { rule, states, why });
        }
    }
    judgement.traps.sort_by_key(|trap| (trap.rule, trap.states[0]));
    judgement
}

/// Backwards from where all rests: a pass costs one, what happens by itself nothing.
fn most_passes(search: &Search, rests: &[bool]) -> u32 {
    let mut into: Vec<Vec<(u32, bool)>> = vec![Vec::new(); rests.len()];
    for (from, to, pass) in &search.fair {
        into[*to as usize].push((*from, *pass));
    }
    let mut least: Vec<Option<u32>> = vec![None; rests.len()];
    let (mut passes, mut most) = (0, 0);
    let mut now: Vec<u32> =
        (0_u32..).zip(rests).filter(|(_, rests)| **rests).map(|(state, _)| state).collect();
    while !now.is_empty() {
        let mut next = Vec::new();
        while let Some(state) = now.pop() {
            if least[state as usize].is_some() {
                continue;
            }
            least[state as usize] = Some(passes);
            most = passes;
            for (from, pass) in &into[state as usize] {
                if *pass { next.push(*from) } else { now.push(*from) }
            }
        }
        (now, passes) = (next, passes + 1);
    }
    most
}

fn bottom(search: &mut Search, states: &[u32]) -> Result<(), (Rule, String)> {
    let mut waits = false;
    let mut waiting = true;
    let mut first = None;
    for &state in states {
        let world = search.node(state).world;
        let result = goal(search, state);
        if let Err(why) = result {
            first.get_or_insert((state, why));
            waiting &= can_only_wait(&world);
            waits |= search.planned(state, Silent::Nobody).waits_for_capacity;
        }
    }
    match first {
        None => Ok(()),
        Some(_) if waiting && waits => Ok(()),
        Some((state, why)) => {
            let world = search.node(state).world;
            let rule = if why == UNSTEADY { Rule::Unsteady } else { name(search, state, &world) };
            Err((rule, why))
        }
    }
}

const UNSTEADY: &str = "it is reached, and something still changes";

/// Live is wanted by way of LiveKit, all else is there, and no worker is free.
fn can_only_wait(world: &World) -> bool {
    !world.capacity
        && !world.by_pod
        && world.asked == State::Live
        && !world.deleting
        && world.senders() == 0
        && world.room.is_some()
        && world.pods().any(|pod| pod.publishes)
}

/// Which known trouble it looks like.
fn name(search: &mut Search, state: u32, world: &World) -> Rule {
    let planned = search.planned(state, Silent::Nobody);
    let nowhere = |pod: &super::world::Pod| pod.sender == Sender::Connecting && pod.to == NOWHERE;
    let wants_live = planned.desired.state == State::Live;
    if world.jobs().any(|egress| egress.job.dead()) {
        Rule::StuckDeadWorker
    } else if world.pods().any(nowhere) {
        Rule::StuckOldStream
    } else if world.jobs().any(|egress| egress.job.alive()) && !wants_live {
        Rule::StuckGivenUpEgress
    } else if world.pods().any(|pod| pod.phase == Phase::Stuck) {
        Rule::StuckTerminatingPod
    } else if !world.capacity && world.by_pod && wants_live {
        Rule::StuckPendingVia
    } else if world.held.is_some() {
        Rule::StuckOldFailure
    } else {
        Rule::Stuck
    }
}

/// Whether a state is what is wanted, and rests.
fn goal(search: &mut Search, state: u32) -> Result<(), String> {
    let Node { world, .. } = search.node(state);
    let none = |what: &str| Err(format!("there is {what}"));
    let stuck_only = world.pods().all(|pod| pod.phase == Phase::Stuck);
    if world.released {
        return Ok(());
    }
    let planned = search.planned(state, Silent::Nobody);
    if world.deleting {
        if stuck_only && world.pods[0].is_some() && planned.message.is_some() {
            return rest(search, state);
        }
        return Err("it is never let go".into());
    }
    if !planned.ready && !planned.stalled {
        return Err(format!("not Ready: {}", planned.message.clone().unwrap_or_default()));
    }
    let streams: Vec<_> = world.streams.iter().flatten().collect();
    let wanted = planned.desired.state;
    if !may_be_wanted(search, state, wanted) {
        return Err(format!("{:?} is asked for, and {wanted:?} taken for wanted", world.asked));
    }
    let only = |status: Mux| streams.len() == 1 && streams[0].status == status;
    if world.older_room {
        return none("a room of an earlier epoch");
    }
    match wanted {
        State::Idle | State::Ended | State::Scheduled => {
            let may_lack = wanted == State::Ended && streams.is_empty();
            if !only(Mux::Disabled) && !may_lack {
                return none("not one disabled stream");
            }
            if world.room.is_some() || !stuck_only || world.senders() > 0 {
                return none("a room, a pod or a sender");
            }
        }
        State::Standby | State::Live => {
            let ready = world.pods().filter(|pod| pod.phase == Phase::Ready && pod.publishes).count();
            if world.room.is_none() || ready != 1 {
                return none("no room or no compositor");
            }
            if wanted == State::Standby && (!only(Mux::Idle) || world.senders() > 0) {
                return none("a sender, or not one idle stream");
            }
            if wanted == State::Live && (!only(Mux::Active) || world.senders() != 1 || !world.lit()) {
                return none("no sender, two, or nothing to see");
            }
            if planned.on_air != (wanted == State::Live) {
                return Err(format!("OnAir is {}", planned.on_air));
            }
        }
    }
    rest(search, state)
}

/// Whether a state is what people ask for, or what is left of that: an ended session stays ended, and a rehearsal that
/// became too long is over until something else is asked for.
fn may_be_wanted(search: &Search, state: u32, wanted: State) -> bool {
    let Node { status, world } = search.node(state);
    let known = &search.statuses.get(status).status;
    let runs = matches!(world.asked, State::Standby | State::Live);
    match wanted {
        wanted if wanted == world.asked => true,
        State::Ended => runs && (world.over || known.ended_session.is_some()),
        State::Idle => world.asked == State::Standby && known.standby_limit.is_some(),
        _ => false,
    }
}

/// Nothing is done but to try to stop a record whose worker is dead, and nothing new is said.
fn rest(search: &mut Search, state: u32) -> Result<(), String> {
    let Node { status, world } = search.node(state);
    let planned = search.planned(state, Silent::Nobody);
    let view = View::of(&world, &search.statuses.get(status).mentions, Silent::Nobody);
    let known = search.statuses.get(status).status.clone();
    let (_, described) = search.planner.describe(&known, view);
    let (_, again) = search.planner.describe(&described, view);
    let steady = says_the_same(&described, &again);
    if planned.actions.iter().all(|action| stops_the_dead(action, &world)) && steady {
        return Ok(());
    }
    Err(UNSTEADY.into())
}

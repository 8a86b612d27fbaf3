//! Breadth first through every state that can be reached, each once.

use super::calls::free;
use super::environment::{Change, Moves, Reach};
use super::pass::{Fault, Next, Planned, Planner, stops_the_dead};
use super::rules::Rule;
use super::statuses::{Statuses, new_session};
use super::view::{Silent, View};
use super::world::{Held, Job, Mux, Phase, Start, World};
use memorialstream_operator::api::MemorialStreamStatus;
use memorialstream_operator::api::spec::State;
use memorialstream_operator::lifecycle::backoff::{Effect, Part};
use memorialstream_operator::lifecycle::plan::{Action, Timings};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::rc::Rc;

/// From one state to the next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Move {
    Begin,
    Quiet,
    Pass(Silent, Fault),
    World(Change),
    Crash,
    /// The next deadline of that time.
    Deadline(u8),
    Ask(State),
    AskNewSession,
    AskOtherSender,
    Delete,
}

/// How far one search goes.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    pub by_pod: bool,
    /// The sender may be changed.
    pub via: bool,
    pub reach: Reach,
    /// States that may be asked for.
    pub states: &'static [State],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Node {
    pub status: u32,
    pub world: World,
}

pub struct Search {
    scope: Scope,
    /// How much may go wrong before all is quiet again.
    strikes: u8,
    pub statuses: Statuses,
    pub planner: Planner,
    pub nodes: Vec<Node>,
    /// How each was reached first.
    pub parents: Vec<(u32, Move)>,
    /// What happens without faults, and whether a pass does it.
    pub fair: Vec<(u32, u32, bool)>,
    /// The first state in which a rule was broken, and the move that did it.
    pub broken: BTreeMap<Rule, (u32, Move)>,
    index: FxHashMap<Node, u32>,
    pub moves: usize,
}

impl Search {
    pub fn run(scope: Scope, strikes: u8) -> Self {
        let timings = Timings::default();
        let mut search = Self {
            scope,
            strikes,
            statuses: Statuses::new(&timings),
            planner: Planner::new(&timings),
            nodes: Vec::new(),
            parents: Vec::new(),
            fair: Vec::new(),
            broken: BTreeMap::new(),
            index: FxHashMap::default(),
            moves: 0,
        };
        let mut world = World::new(scope.by_pod);
        let status = search.statuses.keep(MemorialStreamStatus::default(), 0, &mut world);
        search.add(0, Move::Begin, false, status, world);
        let mut next = 0;
        while next < search.nodes.len() {
            search.expand(u32::try_from(next).unwrap());
            next += 1;
        }
        search
    }

    pub fn node(&self, index: u32) -> Node {
        self.nodes[index as usize]
    }

    pub fn planned(&mut self, index: u32, silent: Silent) -> Rc<Planned> {
        let node = self.node(index);
        let view = View::of(&node.world, &self.statuses.get(node.status).mentions, silent);
        self.planner.planned(&self.statuses, node.status, view)
    }

    /// What is unfair is a strike.
    fn add(&mut self, from: u32, by: Move, fair: bool, status: u32, world: World) {
        let strikes = world.strikes + u8::from(!fair && by != Move::Begin);
        self.reach(from, by, fair, status, World { strikes, ..world });
    }

    fn reach(&mut self, from: u32, by: Move, fair: bool, status: u32, mut world: World) {
        self.moves += 1;
        let mentions = self.statuses.get(status).mentions;
        for (egress, known) in world.egresses.iter_mut().zip(mentions.egresses) {
            *egress = egress.filter(|egress| known || egress.job != Job::Over);
        }
        let named = mentions.egress.and_then(|slot| world.egresses[usize::from(slot)]);
        if !named.is_some_and(|egress| egress.job.dead()) {
            world.misses = 0;
        }
        world.pods.sort_by_key(|pod| pod.map_or(u8::MAX, |pod| pod.incarnation));
        let node = Node { status, world };
        let fresh = u32::try_from(self.nodes.len()).unwrap();
        let to = *self.index.entry(node).or_insert(fresh);
        if to == fresh {
            self.nodes.push(node);
            self.parents.push((from, by));
            if world.senders() > 1 {
                self.broke(Rule::TwoSenders, from, by);
            }
            let active = world.streams.iter().flatten().filter(|stream| stream.status == Mux::Active);
            if active.count() > 1 {
                self.broke(Rule::TwoStreams, from, by);
            }
        }
        if fair && to != from {
            self.fair.push((from, to, matches!(by, Move::Pass(..))));
        }
    }

    fn broke(&mut self, rule: Rule, from: u32, by: Move) {
        self.broken.entry(rule).or_insert((from, by));
    }

    fn expand(&mut self, from: u32) {
        let Node { status, world } = self.node(from);
        if world.released {
            return;
        }
        let planned = self.planned(from, world.silent);
        let mentions = self.statuses.get(status).mentions;
        let moves = Moves { world: &world, mentions: &mentions, found: Vec::new() };
        let moves = moves.all(self.scope.reach);
        let waits = |change: &Change| matches!(change, Change::BackoffOver(_) | Change::Answers(_));
        // Time is slower than the world and the operator, unless something is wrong with them.
        let prompt = moves.iter().any(|(change, fair, _)| *fair && !waits(change));
        let undisturbed = self.undisturbed(status, &world, &planned);
        let same = |next: &Next| Node { status: next.status, world: next.world } == Node { status, world };
        let rest = !prompt && undisturbed.iter().all(same);
        // Who is silent answers at some time, however often the dead are stopped meanwhile.
        let only_waits = world.silent != Silent::Nobody
            && !prompt
            && planned.actions.iter().all(|action| stops_the_dead(action, &world));
        let settled = world.held.is_none() && world.silent == Silent::Nobody && !mentions.unsettled;
        if rest && world.strikes > 0 && settled {
            // Here the next things may go wrong.
            return self.add(from, Move::Quiet, true, status, World { strikes: 0, ..world });
        }
        let calm = world.strikes >= self.strikes;
        for next in undisturbed {
            self.follow(from, world.silent, true, next);
        }
        self.passes(from, status, world, &planned, calm);
        for (change, fair, next) in moves {
            let timely = rest || only_waits || !waits(&change);
            if (timely && fair) || !calm {
                self.add(from, Move::World(change), fair && timely, status, next);
            }
        }
        if rest || !calm {
            self.deadlines(from, status, world, rest, calm);
        }
        if calm {
            return;
        }
        self.asks(from, status, world, rest);
        for next in world.crash(free(&world.egresses, &mentions.egresses)) {
            self.add(from, Move::Crash, false, status, next);
        }
    }

    /// What a pass leads to without a fault.
    fn undisturbed(&mut self, status: u32, world: &World, planned: &Planned) -> Vec<Next> {
        let mut all = Vec::new();
        let (silent, nothing) = (world.silent, Fault::Nothing);
        self.planner.run(&mut self.statuses, status, world, planned, silent, nothing, &mut all);
        all
    }

    fn passes(&mut self, from: u32, status: u32, world: World, planned: &Planned, calm: bool) {
        self.stop_held(from, status, planned);
        if calm {
            return;
        }
        for next in self.planner.outcomes(&mut self.statuses, status, &world, planned) {
            self.follow(from, world.silent, false, next);
        }
        if world.silent != Silent::Nobody {
            return;
        }
        for silent in [Silent::Mux, Silent::LiveKit, Silent::Compositor] {
            if silent == Silent::Compositor && !world.pods().any(|pod| pod.phase == Phase::Ready) {
                continue;
            }
            let planned = self.planned(from, silent);
            let mut all = Vec::new();
            let statuses = &mut self.statuses;
            self.planner.run(statuses, status, &world, &planned, silent, Fault::Nothing, &mut all);
            for next in all {
                self.follow(from, silent, false, next);
            }
        }
    }

    fn follow(&mut self, from: u32, silent: Silent, fair: bool, next: Next) {
        let by = Move::Pass(silent, next.fault);
        for &rule in &next.broken {
            self.broke(rule, from, by);
        }
        // What follows from more things than there may be is no news, and without end.
        if next.broken.iter().any(|rule| matches!(rule, Rule::TwoPods | Rule::TooMany)) {
            return;
        }
        self.add(from, by, fair, next.status, next.world);
    }

    /// A stop must be planned whatever start failed before.
    fn stop_held(&mut self, from: u32, status: u32, planned: &Planned) {
        let world = self.node(from).world;
        if !world.held.iter().any(|held| held.now && !held.effect.ending) {
            return;
        }
        let view = View::of(&world, &self.statuses.get(status).mentions, world.silent);
        let free = self.planner.planned(&self.statuses, status, view.without_held_starts());
        let waits = |action: &Action| action.effect().ending && !planned.actions.contains(action);
        if free.actions.iter().any(waits) {
            self.broke(Rule::StopHeldByStart, from, Move::Pass(world.silent, Fault::Nothing));
        }
    }

    /// Time goes on: at once where all rests, else because something is slow.
    fn deadlines(&mut self, from: u32, status: u32, world: World, rest: bool, calm: bool) {
        let unlisted = world.streams.iter().flatten().any(|stream| !stream.listed);
        let starting = world.jobs().any(|egress| egress.job == Job::Starting)
            || matches!(world.start, Start::Running(_));
        if let Some((deadline, later)) = self.statuses.next_deadline(status) {
            // Lists lag less than the grace times, and LiveKit gives an ingest up sooner than we do.
            let early = match self.statuses.deadlines[usize::from(deadline)].path {
                "mux.creating.since" => unlisted,
                "egress.starting.since" => starting,
                // A stop that failed is tried again within 15 s.
                "egress.stoppingSince" | "endingSince" => {
                    let tried_again = |held: Held| held.now && held.effect == Effect::ending(Part::Sender);
                    let stops = world.jobs().any(|egress| egress.job.alive());
                    stops && world.silent == Silent::Nobody && world.held.is_some_and(tried_again)
                }
                "egress.givenUpAt" => world.jobs().any(|egress| egress.job.alive()),
                "egress.startedAt" | "egress.darkSince" => {
                    world.jobs().any(|egress| egress.job == Job::Retrying)
                }
                _ => false,
            };
            if !early {
                self.add(from, Move::Deadline(deadline), rest, later, world);
            }
        }
        if calm || !self.scope.reach.limits {
            return;
        }
        for (index, _) in self.statuses.get(status).times.clone() {
            if self.statuses.deadlines[usize::from(index)].limit {
                let struck = self.statuses.strike(status, index);
                self.add(from, Move::Deadline(index), false, struck, world);
            }
        }
    }

    /// People change the spec. A new generation forgets what failed.
    fn asks(&mut self, from: u32, status: u32, world: World, rest: bool) {
        if world.deleting {
            return;
        }
        // Where all is quiet it is nothing out of the ordinary.
        let add = |search: &mut Self, by, status, next: World| match rest && world.strikes == 0 {
            true => search.reach(from, by, false, status, next),
            false => search.add(from, by, false, status, next),
        };
        let asked = World { held: None, ..world };
        for &state in self.scope.states.iter().filter(|state| **state != world.asked) {
            add(self, Move::Ask(state), status, World { asked: state, ..asked });
        }
        if self.statuses.get(status).mentions.session_used || world.over {
            let next = new_session(&self.statuses.get(status).status);
            let mut next_world = World { over: false, ..asked };
            let next = self.statuses.keep(next, status, &mut next_world);
            add(self, Move::AskNewSession, next, next_world);
        }
        if self.scope.via {
            let by_pod = !world.by_pod;
            add(self, Move::AskOtherSender, status, World { by_pod, ..asked });
        }
        // Without our finalizer it is gone at once.
        let released = !world.finalizer;
        add(self, Move::Delete, status, World { deleting: true, released, ..asked });
    }
}

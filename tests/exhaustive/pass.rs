//! One pass of the life-cycle lane: the real plan and the real words, and everything that can happen to its calls.

use super::calls::{Answer, free, perform};
use super::rules::Rule;
use super::statuses::{Mentions, Statuses, slot, stripped};
use super::view::{FOREIGN, Silent, View};
use super::world::{Held, Job, Start, World};
use memorialstream_operator::api::conditions::{ConditionType, find, is_true};
use memorialstream_operator::api::spec::State;
use memorialstream_operator::api::{MemorialStreamStatus, Reason};
use memorialstream_operator::lifecycle::apply::{Outcome, settle};
use memorialstream_operator::lifecycle::backoff::{Effect, Part};
use memorialstream_operator::lifecycle::plan::{Action, Plan, Timings, plan};
use memorialstream_operator::lifecycle::status::describe;
use memorialstream_operator::service::Identity;
use memorialstream_operator::service::desired::{Desired, Why, broadcast_under_way};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;
use std::rc::Rc;

/// What happens to one pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    Nothing,
    /// The process dies once so many actions are done and before what came of them is written.
    CrashAfter(u8),
    /// This call is not processed, for certain.
    Refused(u8),
    /// This call is processed, and its answer is lost.
    AnswerLost(u8),
    /// Lists do not show what this call made.
    Lags(u8),
    /// What came of the actions is not written down.
    ResultRefused,
}

/// What one pass decides, from what it sees.
pub struct Planned {
    pub desired: Desired,
    pub actions: Vec<Action>,
    /// What status says of what is wrong.
    pub message: Option<String>,
    /// Status without what decides nothing.
    record: MemorialStreamStatus,
    pub on_air: bool,
    pub ready: bool,
    pub stalled: bool,
    pub waits_for_capacity: bool,
}

pub struct Planner {
    timings: Timings,
    known: FxHashMap<(u32, View), Rc<Planned>>,
    pub evaluated: usize,
}

/// Where a pass leads.
pub struct Next {
    pub fault: Fault,
    pub status: u32,
    pub world: World,
    pub broken: Vec<Rule>,
}

impl Planner {
    pub fn new(timings: &Timings) -> Self {
        Self { timings: timings.clone(), known: FxHashMap::default(), evaluated: 0 }
    }

    /// The names of all actions that were planned at least once.
    pub fn planned_actions(&self) -> BTreeSet<String> {
        let all = self.known.values().flat_map(|planned| &planned.actions);
        let kinds: FxHashMap<_, _> = all.map(|action| (std::mem::discriminant(action), action)).collect();
        let name = |action: &&Action| {
            let text = format!("{action:?}");
            text.split([' ', '(']).next().unwrap_or_default().to_owned()
        };
        kinds.values().map(name).collect()
    }

    /// What is decided with that status and that view.
    pub fn planned(&mut self, statuses: &Statuses, id: u32, view: View) -> Rc<Planned> {
        if let Some(known) = self.known.get(&(id, view)) {
            return Rc::clone(known);
        }
        let planned = Rc::new(self.decide(&statuses.get(id).status, view));
        self.known.insert((id, view), Rc::clone(&planned));
        planned
    }

    fn decide(&mut self, status: &MemorialStreamStatus, view: View) -> Planned {
        let (plan, described) = self.describe(status, view);
        let says = |kind| is_true(&described.conditions, kind);
        let egress = find(&described.conditions, ConditionType::EgressActive);
        Planned {
            on_air: says(ConditionType::OnAir),
            ready: says(ConditionType::Ready),
            stalled: says(ConditionType::Stalled),
            waits_for_capacity: egress
                .is_some_and(|egress| egress.reason == Reason::WaitingForCapacity.as_str()),
            message: described.message.clone(),
            desired: plan.desired,
            actions: plan.actions,
            record: stripped(described),
        }
    }

    /// As `reconcile` does: the plan, and status with all that is said.
    pub fn describe(&mut self, status: &MemorialStreamStatus, view: View) -> (Plan, MemorialStreamStatus) {
        self.evaluated += 1;
        let now = super::statuses::now();
        let mut object = view.object();
        object.status = Some(status.clone());
        let mut observed = view.observed(status);
        let identity = Identity::of(&object).unwrap();
        let plan = plan(&identity, &object, &observed, now, &self.timings);
        let due = |effect: Effect| plan.actions.iter().any(|action| action.effect() == effect);
        observed.backoffs.retain(|effect, backoff| due(*effect) || !backoff.remaining.is_zero());
        let described = describe(&object, &observed, &plan, now);
        (plan, described)
    }

    /// Everything that a pass can lead to if something goes wrong.
    pub fn outcomes(
        &mut self,
        statuses: &mut Statuses,
        id: u32,
        world: &World,
        planned: &Planned,
    ) -> Vec<Next> {
        let mut all = Vec::new();
        let count = u8::try_from(planned.actions.len()).unwrap();
        let mut faults = Vec::new();
        let crashes = if count == 0 { 0..0 } else { 0..count + 1 };
        faults.extend(crashes.map(Fault::CrashAfter));
        // What becomes of a start is told later, and a question that fails changes nothing.
        let tells = |action: &Action| !matches!(action, Action::StartEgress { .. } | Action::AskWorker(_));
        let telling = planned.actions.iter().zip(0..count).filter(|(action, _)| tells(action));
        faults.extend(telling.flat_map(|(_, index)| [Fault::Refused(index), Fault::AnswerLost(index)]));
        let makes = |action: &Action| matches!(action, Action::CreateStream(_));
        let made = planned.actions.iter().zip(0..).filter(|(action, _)| makes(action));
        faults.extend(made.map(|(_, index)| Fault::Lags(index)));
        faults.push(Fault::ResultRefused);
        for fault in faults {
            self.run(statuses, id, world, planned, world.silent, fault, &mut all);
        }
        all
    }

    /// One of them.
    #[expect(clippy::too_many_arguments, reason = "one pass, and what happens to it")]
    pub fn run(
        &mut self,
        statuses: &mut Statuses,
        id: u32,
        world: &World,
        planned: &Planned,
        silent: Silent,
        fault: Fault,
        all: &mut Vec<Next>,
    ) {
        let mentions = statuses.get(id).mentions;
        let mut world = *world;
        if !matches!(world.start, Start::Running(_)) {
            world.start = Start::None;
        }
        let due = |effect: Effect| planned.actions.iter().any(|action| action.effect() == effect);
        world.held = world.held.filter(|held| held.now || due(held.effect));
        let mut pass =
            Pass { planned, mentions, silent, fault, world, outcomes: Vec::new(), broken: Vec::new() };
        pass.before();
        let crashed = pass.act();
        let Pass { mut world, outcomes, mut broken, .. } = pass;
        let lost = crashed || fault == Fault::ResultRefused;
        if fault == Fault::ResultRefused && outcomes.is_empty() {
            return;
        }
        let unwritten = planned
            .actions
            .iter()
            .any(|action| matches!(action, Action::AddFinalizer | Action::RemoveFinalizer));
        let status = match lost {
            _ if world.released => id,
            true if unwritten => id,
            true => statuses.keep(planned.record.clone(), id, &mut world),
            false => statuses.keep(settle(planned.record.clone(), &outcomes), id, &mut world),
        };
        let worlds = if crashed {
            world.crash(free(&world.egresses, &statuses.get(status).mentions.egresses))
        } else {
            let skipped =
                |action: &Action| matches!(action, Action::StartEgress { .. }) && world.start == Start::None;
            let intends = |status: &MemorialStreamStatus| {
                status.egress.as_ref().is_some_and(|egress| egress.starting.is_some())
            };
            let told = intends(&statuses.get(status).status) && fault != Fault::ResultRefused;
            if told && planned.actions.iter().any(skipped) {
                broken.push(Rule::IntentOfNothing);
            }
            vec![world]
        };
        for world in worlds {
            let broken = broken.clone();
            all.push(Next { fault, status, world, broken });
        }
    }
}

struct Pass<'a> {
    planned: &'a Planned,
    mentions: Mentions,
    silent: Silent,
    fault: Fault,
    world: World,
    outcomes: Vec<Outcome>,
    broken: Vec<Rule>,
}

impl Pass<'_> {
    /// What the record itself says.
    fn before(&mut self) {
        let Planned { desired, actions, record, on_air, .. } = self.planned;
        if record.room.as_ref().is_some_and(|room| room.epoch > super::statuses::EPOCH) {
            self.world.rise();
        }
        let adopted = record.egress.as_ref().and_then(|egress| egress.id.as_deref()) == Some(FOREIGN);
        if adopted {
            self.broken.push(Rule::ForeignEgressAdopted);
        }
        let ended = desired.state == State::Ended && desired.why != Why::Deletion;
        let seen =
            self.world.streams.iter().flatten().any(|stream| stream.status == super::world::Mux::Active);
        if desired.why == Why::LiveLimit || (ended && seen && broadcast_under_way(record)) {
            self.world.over = true;
        }
        if ended && actions.iter().any(|action| matches!(action, Action::CreateStream(_))) {
            self.broken.push(Rule::StreamCreatedForEnded);
        }
        if *on_air && !self.world.lit() && self.silent == Silent::Nobody {
            let job = |wanted: fn(Job) -> bool| self.world.jobs().any(|egress| wanted(egress.job));
            self.broken.push(match () {
                () if job(Job::dead) => Rule::OnAirWithDeadWorker,
                () if job(|job| job == Job::Retrying) => Rule::OnAirWhileCutOff,
                () if !self.world.pods().any(|pod| pod.publishes) => Rule::OnAirWithoutProgram,
                () => Rule::OnAirInTheDark,
            });
        }
    }

    /// As `apply` does. True when the process died.
    fn act(&mut self) -> bool {
        for (index, action) in self.planned.actions.iter().enumerate() {
            let index = u8::try_from(index).unwrap();
            if self.fault == Fault::CrashAfter(index) {
                return true;
            }
            let unheard = match (action.effect().part, action) {
                (Part::Stream | Part::Settings, _) => self.silent == Silent::Mux,
                (Part::Room | Part::Surplus, _) | (_, Action::StopEgress(_)) => {
                    self.silent == Silent::LiveKit
                }
                (_, Action::StartSender { .. } | Action::StopSender { .. }) => {
                    self.silent == Silent::Compositor
                }
                _ => false,
            };
            let refused = self.fault == Fault::Refused(index) || unheard;
            let answer = if refused {
                Answer::Failed
            } else {
                let record = &self.planned.record;
                perform(&mut self.world, action, record, &self.mentions, &mut self.broken)
            };
            let certain = refused;
            let unheard = [Fault::AnswerLost(index), Fault::Lags(index), Fault::CrashAfter(index + 1)];
            if unheard.contains(&self.fault) && matches!(action, Action::CreateStream(_)) {
                self.world.hide_newest_stream();
            }
            // The worker was not asked: nothing is known, and nothing is held against it.
            let answer = match action {
                Action::AskWorker(_) if refused => Answer::Unknown,
                _ => answer,
            };
            match answer {
                Answer::TooMany => self.broken.push(Rule::TooMany),
                Answer::Unknown => continue,
                Answer::Done(outcome) if self.fault != Fault::AnswerLost(index) => {
                    self.outcomes.extend(outcome);
                    if !matches!(action, Action::StartEgress { .. } | Action::AskWorker(_)) {
                        self.world.let_go(action.effect());
                    }
                    continue;
                }
                Answer::Done(_) if matches!(action, Action::StartEgress { .. }) => continue,
                Answer::Done(_) | Answer::Failed => {}
            }
            if certain && matches!(action, Action::CreateStream(_)) {
                self.outcomes.push(Outcome::StreamNotCreated);
            }
            self.world.hold(Held { effect: action.effect(), now: true, busy: false });
            if !action.may_fail() {
                let untried = &self.planned.actions[usize::from(index)..];
                if untried.iter().any(|action| matches!(action, Action::StartEgress { .. })) {
                    self.outcomes.push(Outcome::EgressNotStarted);
                }
                break;
            }
        }
        let count = u8::try_from(self.planned.actions.len()).unwrap();
        self.fault == Fault::CrashAfter(count)
    }
}

/// Whether it is a stop of a record whose worker is dead: LiveKit goes on showing it, and it is tried over and over.
pub fn stops_the_dead(action: &Action, world: &World) -> bool {
    match action {
        Action::StopEgress(id) | Action::StopSurplus(id) => {
            let egress = world.egresses.get(usize::from(slot(id))).copied().flatten();
            egress.is_some_and(|egress| egress.job.dead())
        }
        _ => false,
    }
}

//! What an action does to the world.

use super::rules::Rule;
use super::statuses::{EPOCH, Mentions, NAME, UID, age, slot, stream_id};
use super::view::{FOREIGN, named_egress};
use super::world::{Job, Mux, NOWHERE, Phase, Pod, Sender, Start, Stream, World};
use memorialstream_operator::api::MemorialStreamStatus;
use memorialstream_operator::api::names::room_name;
use memorialstream_operator::lifecycle::apply::Outcome;
use memorialstream_operator::lifecycle::plan::Action;
use memorialstream_operator::lifecycle::witnesses::MISSES_BEYOND_DOUBT;
use memorialstream_operator::service::pod::pod_name;

/// More of them tell nothing new.
const MOST_MISSES: u8 = MISSES_BEYOND_DOUBT as u8;

/// An app that lost its room joins again within so many seconds, and LiveKit makes a room for it.
const ROOM_RETURNS: i64 = 8;

/// What came of a call.
pub enum Answer {
    Done(Option<Outcome>),
    /// The world itself refuses: a dead worker stops nothing.
    Failed,
    /// Nobody can say, and nothing is held against it.
    Unknown,
    /// There are more things of a kind than the search can hold; a rule was broken before.
    TooMany,
}

/// A slot that holds nothing and that status does not know.
pub fn free<T>(slots: &[Option<T>], mentioned: &[bool]) -> Option<u8> {
    let index = slots.iter().zip(mentioned).position(|(slot, known)| slot.is_none() && !known)?;
    u8::try_from(index).ok()
}

/// The stream that status names.
pub fn named_stream(status: &MemorialStreamStatus) -> Option<u8> {
    status.mux.as_ref().and_then(|mux| mux.stream_id.as_deref()).map(slot)
}

/// Does it. `epoch` is the one that status counts, `recorded` status as it was written before.
pub fn perform(
    world: &mut World,
    action: &Action,
    recorded: &MemorialStreamStatus,
    mentions: &Mentions,
    broken: &mut Vec<Rule>,
) -> Answer {
    let epoch = recorded.room.as_ref().map_or(EPOCH, |room| room.epoch);
    let present = |name: &String| *name == room_name(UID, epoch);
    let mut outcome = None;
    match action {
        Action::AddFinalizer => world.finalizer = true,
        Action::RemoveFinalizer => {
            let deleted = recorded.room.as_ref().and_then(|room| room.deleted_at.as_ref());
            if left_behind(world) || deleted.is_some_and(|at| age(at) < ROOM_RETURNS) {
                broken.push(Rule::ReleasedWithSomethingLeft);
            }
            (world.finalizer, world.released) = (false, true);
            outcome = Some(Outcome::Released);
        }
        Action::CreateStream(_) => {
            if recorded.mux.as_ref().is_none_or(|mux| mux.creating.is_none()) {
                broken.push(Rule::CreatedWithoutRecord);
            }
            if world.streams.iter().flatten().any(|stream| stream.listed) {
                broken.push(Rule::StreamCreatedBesideOurs);
            }
            let Some(slot) = free(&world.streams, &mentions.streams) else { return Answer::TooMany };
            world.streams[usize::from(slot)] = Some(Stream { status: Mux::Idle, listed: true });
            outcome = Some(Outcome::StreamCreated(stream_id(slot)));
        }
        Action::EnableStream(id) => return set_stream(world, slot(id), Mux::Idle, &[Mux::Disabled]),
        Action::DisableStream(id) => {
            return set_stream(world, slot(id), Mux::Disabled, &[Mux::Idle, Mux::Active]);
        }
        Action::CompleteStream(id) => return set_stream(world, slot(id), Mux::Idle, &[Mux::Active]),
        Action::UpdateStream(..) => {}
        Action::DeleteStream(id) => {
            world.drop_stream(slot(id));
            outcome = Some(Outcome::StreamDeleted(id.clone()));
        }
        Action::CreateRoom(name) => {
            if world.room_deleted && present(name) {
                broken.push(Rule::RoomNameReused);
            }
            if recorded.room.as_ref().is_none_or(|room| room.name.as_ref() != Some(name)) {
                broken.push(Rule::CreatedWithoutRecord);
            }
            world.room_deleted = false;
            open_room(world, mentions);
        }
        Action::DeleteRoom(name) if present(name) => {
            (world.room, world.room_deleted) = (None, true);
        }
        Action::DeleteRoom(_) => world.older_room = false,
        Action::CreatePod { name, incarnation } => {
            if recorded.compositor.as_ref().is_none_or(|pod| pod.pod_name.as_ref() != Some(name)) {
                broken.push(Rule::CreatedWithoutRecord);
            }
            return create_pod(world, name, *incarnation, broken);
        }
        // Nothing is wrong with boot documents here, and nobody abandons anything.
        Action::RenewBoot { .. } | Action::RecordAbandoned(_) => {}
        Action::KeepStreamKey(kept) => world.kept = slot(&kept.stream_id),
        Action::DeletePod(name) => delete_pod(world, name),
        Action::StartEgress { .. } => {
            if recorded.egress.as_ref().is_none_or(|egress| egress.starting.is_none()) {
                broken.push(Rule::CreatedWithoutRecord);
            }
            if world.over {
                broken.push(Rule::LiveAgain);
            }
            world.start = Start::Running(named_stream(recorded).unwrap_or(NOWHERE));
        }
        Action::StopEgress(id) | Action::StopSurplus(id) if id == FOREIGN => {
            broken.push(Rule::ForeignEgressStopped);
        }
        Action::StopEgress(id) | Action::StopSurplus(id) => {
            return stop_egress(world, slot(id), recorded, broken);
        }
        Action::AskWorker(id) => {
            if Some(slot(id)) != named_egress(recorded) {
                return Answer::Unknown;
            }
            let dead = world.egresses[usize::from(slot(id))].is_some_and(|egress| egress.job.dead());
            world.misses = if dead { (world.misses + 1).min(MOST_MISSES) } else { 0 };
        }
        Action::StartSender { .. } => {
            if world.over {
                broken.push(Rule::LiveAgain);
            }
            let to = named_stream(recorded).unwrap_or(NOWHERE);
            let Some(pod) = in_use(world, recorded) else { return Answer::Failed };
            (pod.sender, pod.to) = (Sender::Connecting, to);
        }
        Action::StopSender { .. } => {
            let Some(pod) = in_use(world, recorded) else { return Answer::Failed };
            pod.sender = Sender::Off;
        }
    }
    world.settle();
    Answer::Done(outcome)
}

fn left_behind(world: &World) -> bool {
    world.streams.iter().any(Option::is_some)
        || world.room.is_some()
        || world.older_room
        || world.pods().any(|pod| pod.phase != Phase::Stuck)
        || world.jobs().any(|egress| egress.job.alive())
        || matches!(world.start, Start::Running(_))
}

fn set_stream(world: &mut World, slot: u8, to: Mux, from: &[Mux]) -> Answer {
    let Some(stream) = world.streams.get_mut(usize::from(slot)).and_then(Option::as_mut) else {
        return Answer::Failed;
    };
    if from.contains(&stream.status) {
        stream.status = to;
    }
    world.settle();
    Answer::Done(None)
}

/// A room under the present name, with a sid that nothing knows.
pub fn open_room(world: &mut World, mentions: &Mentions) {
    let fresh = u8::from(mentions.sids[0]);
    world.room = Some(world.room.unwrap_or(fresh));
}

fn create_pod(world: &mut World, name: &str, incarnation: i64, broken: &mut Vec<Rule>) -> Answer {
    // The API server gives a name once; that it was given before is as good.
    if world.pods().any(|pod| pod_name(NAME, i64::from(pod.incarnation)) == name) {
        return Answer::Done(Some(Outcome::PodMade));
    }
    if world.pods().any(|pod| pod.phase == Phase::Ready) {
        broken.push(Rule::TwoPods);
    }
    let Some(free) = world.pods.iter().position(Option::is_none) else { return Answer::TooMany };
    world.pods[free] = Some(Pod {
        incarnation: u8::try_from(incarnation).unwrap(),
        phase: Phase::Ready,
        publishes: false,
        sender: Sender::Off,
        to: NOWHERE,
    });
    Answer::Done(Some(Outcome::PodMade))
}

fn delete_pod(world: &mut World, name: &str) {
    for pod in &mut world.pods {
        let named = pod.is_some_and(|pod| pod_name(NAME, i64::from(pod.incarnation)) == name);
        match pod.filter(|_| named) {
            Some(Pod { phase: Phase::Finished, .. }) => *pod = None,
            Some(Pod { phase: Phase::Stuck, .. }) | None => {}
            Some(gone) => *pod = Some(Pod { phase: Phase::Terminating, ..gone }),
        }
    }
}

/// The pod that status records.
fn in_use<'a>(world: &'a mut World, recorded: &MemorialStreamStatus) -> Option<&'a mut Pod> {
    let name = recorded.compositor.as_ref()?.pod_name.as_deref()?;
    let mut running = world.pods.iter_mut().flatten().filter(|pod| pod.phase == Phase::Ready);
    running.find(|pod| pod_name(NAME, i64::from(pod.incarnation)) == name)
}

fn stop_egress(
    world: &mut World,
    slot: u8,
    recorded: &MemorialStreamStatus,
    broken: &mut Vec<Rule>,
) -> Answer {
    let wanted = recorded.ending_since.is_none() && !world.deleting && !world.by_pod;
    let alone = world.senders() == 1;
    let Some(egress) = &mut world.egresses[usize::from(slot)] else { return Answer::Failed };
    match egress.job {
        Job::Dead { .. } | Job::DeadEnding => return Answer::Failed,
        // LiveKit says so, and that is as good.
        Job::Over | Job::Ending => return Answer::Done(None),
        Job::Retrying if wanted && Some(egress.to) == named_stream(recorded) => {
            broken.push(Rule::RetryingEgressStopped);
        }
        Job::Connected if wanted && alone && Some(egress.to) == named_stream(recorded) => {
            broken.push(Rule::WorkingEgressStopped);
        }
        _ => {}
    }
    egress.job = Job::Ending;
    world.settle();
    Answer::Done(None)
}

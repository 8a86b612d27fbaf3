//! What the world does by itself. A fair move happens at some time if it goes on being possible; the others may.

use super::calls::{free, open_room};
use super::statuses::Mentions;
use super::view::Silent;
use super::world::{Egress, Held, Job, Mux, Phase, Pod, Sender, Start, Stream, World};
use memorialstream_operator::lifecycle::backoff::{Effect, Part};

/// What moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    StreamListed(u8),
    StreamActive(u8),
    StreamIdle(u8),
    StreamDeletedByHand(u8),
    EgressConnects(u8),
    EgressFails(u8),
    EgressCutOff(u8),
    EgressHangs(u8),
    EgressWorkerDies(u8),
    EgressLeavesRoom(u8),
    EgressEnds(u8),
    RoomCloses,
    RoomReturns,
    OlderRoomReturns,
    PodGone,
    PodDies,
    PodRestarts,
    PodEvicted,
    PodNodeDies,
    PodNodeReturns,
    ProgramPublished,
    ProgramLost,
    SenderConnects,
    StartTaken,
    StartBusy,
    StartRefused,
    StartDoubtful { taken: bool },
    BackoffOver(Effect),
    CapacityChanges,
    ForeignEgress,
    FallsSilent(Silent),
    Answers(Silent),
}

/// Which moves there are.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Egress workers may have no capacity.
    pub capacity: bool,
    /// Somebody else may record the room.
    pub foreign: bool,
    /// Nodes may die.
    pub nodes: bool,
    /// The standby and live limits may strike.
    pub limits: bool,
    /// Providers may not answer for long; else only for single passes.
    pub silences: bool,
}

pub struct Moves<'a> {
    pub world: &'a World,
    pub mentions: &'a Mentions,
    pub found: Vec<(Change, bool, World)>,
}

impl Moves<'_> {
    fn push(&mut self, change: Change, fair: bool, edit: impl FnOnce(&mut World)) {
        let mut next = *self.world;
        edit(&mut next);
        next.settle();
        self.found.push((change, fair, next));
    }

    pub fn all(mut self, reach: Reach) -> Vec<(Change, bool, World)> {
        self.streams();
        self.egresses();
        self.rooms();
        self.pods(reach);
        self.start();
        if let Some(held) = self.world.held.filter(|held| held.now) {
            self.push(Change::BackoffOver(held.effect), true, |world| {
                world.held = Some(Held { now: false, ..held });
            });
        }
        if reach.capacity {
            self.push(Change::CapacityChanges, false, |world| world.capacity = !world.capacity);
        }
        if reach.foreign && self.world.room.is_some() {
            self.push(Change::ForeignEgress, false, |world| world.foreign = !world.foreign);
        }
        match self.world.silent {
            Silent::Nobody if reach.silences => {
                for silent in [Silent::Mux, Silent::LiveKit, Silent::Compositor] {
                    self.push(Change::FallsSilent(silent), false, |world| world.silent = silent);
                }
            }
            Silent::Nobody => {}
            silent => self.push(Change::Answers(silent), true, |world| world.silent = Silent::Nobody),
        }
        self.found
    }

    fn streams(&mut self) {
        let here = self.world;
        for (index, stream) in here.streams.iter().enumerate() {
            let Some(stream) = stream else { continue };
            let slot = u8::try_from(index).unwrap();
            let mut set = |change, fair, status, listed| {
                self.push(change, fair, |world| {
                    world.streams[index] = Some(Stream { status, listed });
                });
            };
            if !stream.listed {
                set(Change::StreamListed(slot), true, stream.status, true);
            }
            match stream.status {
                Mux::Idle if here.fed(slot) => {
                    set(Change::StreamActive(slot), true, Mux::Active, stream.listed);
                }
                Mux::Active if !here.fed(slot) => {
                    set(Change::StreamIdle(slot), true, Mux::Idle, stream.listed);
                }
                _ => {}
            }
            self.push(Change::StreamDeletedByHand(slot), false, |world| world.drop_stream(slot));
        }
    }

    fn egresses(&mut self) {
        let here = self.world;
        let dead = here.jobs().any(|egress| egress.job.dead());
        for (index, egress) in here.egresses.iter().enumerate() {
            let Some(egress) = *egress else { continue };
            let slot = u8::try_from(index).unwrap();
            let mut set = |change, fair, job| {
                self.push(change, fair, |world| {
                    world.egresses[index] = Some(Egress { job, ..egress });
                });
            };
            let accepted = here.accepts(egress.to);
            let connects = if accepted { Job::Connected } else { Job::Over };
            let outcome = |job: Job| match job {
                Job::Over => Change::EgressFails(slot),
                _ => Change::EgressConnects(slot),
            };
            match egress.job {
                Job::Starting => set(outcome(Job::Connecting), true, Job::Connecting),
                Job::Connecting => {
                    set(outcome(connects), true, connects);
                    set(Change::EgressHangs(slot), false, Job::Hung);
                }
                Job::Connected => {
                    set(Change::EgressCutOff(slot), false, Job::Retrying);
                    set(Change::EgressEnds(slot), false, Job::Over);
                }
                Job::Retrying => {
                    set(outcome(connects), true, connects);
                    if accepted {
                        set(Change::EgressFails(slot), false, Job::Over);
                    }
                }
                Job::Ending => set(Change::EgressEnds(slot), true, Job::Over),
                // Who is refused at the first attempt does not try again.
                Job::Hung if !accepted => set(outcome(Job::Over), true, Job::Over),
                Job::Dead { connected, joined: true } => {
                    set(Change::EgressLeavesRoom(slot), true, Job::Dead { connected, joined: false });
                }
                Job::Hung | Job::Dead { .. } | Job::DeadEnding | Job::Over => {}
            }
            if !dead {
                match egress.job {
                    Job::Connecting => {
                        set(
                            Change::EgressWorkerDies(slot),
                            false,
                            Job::Dead { connected: false, joined: true },
                        );
                    }
                    Job::Connected => {
                        set(
                            Change::EgressWorkerDies(slot),
                            false,
                            Job::Dead { connected: true, joined: true },
                        );
                    }
                    Job::Ending => set(Change::EgressWorkerDies(slot), false, Job::DeadEnding),
                    _ => {}
                }
            }
        }
    }

    fn rooms(&mut self) {
        if self.world.room.is_some() {
            self.push(Change::RoomCloses, false, |world| world.room = None);
        } else if self.world.pods().any(|pod| pod.phase == Phase::Ready) {
            let mentions = *self.mentions;
            self.push(Change::RoomReturns, false, |world| open_room(world, &mentions));
        }
        if !self.world.older_room && self.mentions.deleted_room {
            self.push(Change::OlderRoomReturns, false, |world| world.older_room = true);
        }
    }

    fn pods(&mut self, reach: Reach) {
        let here = self.world;
        // One at a time goes.
        let leaving = here.pods().any(|pod| pod.phase != Phase::Ready);
        for (index, pod) in here.pods.iter().enumerate() {
            let Some(pod) = *pod else { continue };
            let mut set = |change, fair, phase: Option<Phase>| {
                self.push(change, fair, |world| {
                    world.pods[index] = phase.map(|phase| Pod { phase, ..pod });
                });
            };
            match pod.phase {
                Phase::Terminating => set(Change::PodGone, true, None),
                Phase::Stuck => set(Change::PodNodeReturns, false, None),
                Phase::Ready | Phase::Finished => {}
            }
            if pod.phase == Phase::Ready && !leaving {
                set(Change::PodDies, false, Some(Phase::Finished));
                set(Change::PodEvicted, false, Some(Phase::Terminating));
                if reach.nodes {
                    set(Change::PodNodeDies, false, Some(Phase::Stuck));
                }
            }
            if pod.phase == Phase::Ready {
                let published = here.room.is_some();
                if !pod.publishes && published {
                    self.push(Change::ProgramPublished, true, |world| {
                        world.pods[index] = Some(Pod { publishes: true, ..pod });
                    });
                } else if pod.publishes {
                    self.push(Change::ProgramLost, false, |world| {
                        world.pods[index] = Some(Pod { publishes: false, ..pod });
                    });
                }
                if pod.publishes || pod.sender != Sender::Off {
                    self.push(Change::PodRestarts, false, |world| {
                        let (publishes, sender) = (false, Sender::Off);
                        world.pods[index] = Some(Pod { publishes, sender, ..pod });
                    });
                }
                if pod.sender == Sender::Connecting && here.accepts(pod.to) {
                    self.push(Change::SenderConnects, true, |world| {
                        world.pods[index] = Some(Pod { sender: Sender::Connected, ..pod });
                    });
                }
            }
        }
    }

    /// The answers that a start can get.
    fn start(&mut self) {
        let Start::Running(to) = self.world.start else { return };
        let effect = Effect::making(Part::Sender);
        let failed = Held { effect, now: true, busy: false };
        if !self.world.capacity {
            self.push(Change::StartBusy, true, |world| {
                world.start = Start::Busy;
                world.hold(Held { busy: true, ..failed });
            });
            return;
        }
        self.push(Change::StartRefused, false, |world| {
            world.start = Start::Refused;
            world.hold(failed);
        });
        self.push(Change::StartDoubtful { taken: false }, false, |world| {
            world.start = Start::Doubt;
            world.hold(failed);
        });
        let Some(slot) = free(&self.world.egresses, &self.mentions.egresses) else { return };
        self.push(Change::StartTaken, true, |world| {
            world.start = Start::Answered(slot);
            world.accept_start(slot, to);
            world.egresses[usize::from(slot)].iter_mut().for_each(|egress| egress.job = Job::Connecting);
            world.let_go(effect);
        });
        self.push(Change::StartDoubtful { taken: true }, false, |world| {
            world.start = Start::Doubt;
            world.accept_start(slot, to);
            world.hold(failed);
        });
    }
}

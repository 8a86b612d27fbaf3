//! The world as far as the planner can be surprised by it. Small and `Copy`: there are hundreds of thousands.

use super::view::Silent;
use memorialstream_operator::api::spec::State;
use memorialstream_operator::lifecycle::backoff::Effect;

/// Ids are reused once nothing mentions them, so that there are finitely many states.
pub const STREAMS: usize = 2;
pub const PODS: usize = 3;
pub const EGRESSES: usize = 3;
/// Where a sender sends whose stream was deleted.
pub const NOWHERE: u8 = u8::MAX;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Mux {
    #[default]
    Idle,
    Active,
    Disabled,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Stream {
    pub status: Mux,
    /// Lists show it.
    pub listed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// It runs; whether it serves yet is as good as whether it publishes.
    Ready,
    Terminating,
    /// Terminating on a node that is gone: for ever.
    Stuck,
    /// Failed: it never runs again.
    Finished,
}

/// The pod's own sender.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Sender {
    Off,
    Connecting,
    Connected,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Pod {
    pub incarnation: u8,
    pub phase: Phase,
    /// Program is in the room.
    pub publishes: bool,
    pub sender: Sender,
    /// The stream that its sender sends to.
    pub to: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Job {
    /// Accepted; lists do not show it yet.
    Starting,
    /// LiveKit says ACTIVE, the ingest has not taken it yet.
    Connecting,
    /// The same, for ever.
    Hung,
    Connected,
    /// Was connected, and connects again by itself or gives up by itself.
    Retrying,
    /// The worker is gone, and LiveKit goes on saying what it said last. For some time it lists it in the room too.
    Dead {
        connected: bool,
        joined: bool,
    },
    Ending,
    /// The same, for ever: the worker is gone.
    DeadEnding,
    /// Complete or failed.
    Over,
}

impl Job {
    /// It sends, or may yet send.
    pub fn alive(self) -> bool {
        matches!(self, Self::Starting | Self::Connecting | Self::Hung | Self::Connected | Self::Retrying)
    }

    pub fn dead(self) -> bool {
        matches!(self, Self::Dead { .. } | Self::DeadEnding)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Egress {
    pub job: Job,
    pub to: u8,
    /// In the room of the present epoch.
    pub in_room: bool,
}

/// A start that runs beside the lane, as the process remembers it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Start {
    None,
    /// With the stream that it is to send to.
    Running(u8),
    Answered(u8),
    Busy,
    Refused,
    Doubt,
}

/// What is held against an effect.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Held {
    pub effect: Effect,
    /// It is to be left alone still; else only the failure is remembered.
    pub now: bool,
    /// LiveKit had no capacity.
    pub busy: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct World {
    /// `spec.state`.
    pub asked: State,
    /// `spec.egress.via: Compositor`.
    pub by_pod: bool,
    pub deleting: bool,
    pub finalizer: bool,
    pub released: bool,
    pub streams: [Option<Stream>; STREAMS],
    /// The room of the present epoch: which of two sids it has.
    pub room: Option<u8>,
    /// A room of an earlier epoch.
    pub older_room: bool,
    /// Newest last.
    pub pods: [Option<Pod>; PODS],
    pub egresses: [Option<Egress>; EGRESSES],
    /// Who does not answer for as long as it likes.
    pub silent: Silent,
    /// Somebody else records our room.
    pub foreign: bool,
    /// An egress worker is free.
    pub capacity: bool,
    pub start: Start,
    pub held: Option<Held>,
    /// The stream whose key is kept.
    pub kept: u8,
    /// How often in a row the dead worker of the egress that status names did not answer.
    pub misses: u8,
    /// This session was live and was ended, or its limit struck: nobody may be live in it again.
    pub over: bool,
    /// The room of the present epoch was deleted by us.
    pub room_deleted: bool,
    /// What went wrong or was asked for since all was quiet.
    pub strikes: u8,
}

impl World {
    pub fn new(by_pod: bool) -> Self {
        Self {
            asked: State::Idle,
            by_pod,
            deleting: false,
            finalizer: false,
            released: false,
            streams: [None; STREAMS],
            room: None,
            older_room: false,
            pods: [None; PODS],
            egresses: [None; EGRESSES],
            silent: Silent::Nobody,
            foreign: false,
            capacity: true,
            start: Start::None,
            held: None,
            kept: NOWHERE,
            misses: 0,
            over: false,
            room_deleted: false,
            strikes: 0,
        }
    }

    /// Whether the ingest takes a sender for that stream.
    pub fn accepts(&self, stream: u8) -> bool {
        let stream = self.streams.get(usize::from(stream)).copied().flatten();
        stream.is_some_and(|stream| stream.status != Mux::Disabled)
    }

    /// Streams that media reaches.
    pub fn fed(&self, stream: u8) -> bool {
        self.pods().any(|pod| pod.sender == Sender::Connected && pod.to == stream)
            || self.jobs().any(|egress| egress.job == Job::Connected && egress.to == stream)
    }

    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().flatten()
    }

    pub fn jobs(&self) -> impl Iterator<Item = &Egress> {
        self.egresses.iter().flatten()
    }

    /// How many send, or may yet send, to Mux.
    pub fn senders(&self) -> usize {
        self.jobs().filter(|egress| egress.job.alive()).count()
            + self.pods().filter(|pod| pod.sender != Sender::Off).count()
    }

    /// Mourners see Program.
    pub fn lit(&self) -> bool {
        let shown =
            |stream: u8| self.streams[usize::from(stream)].is_some_and(|stream| stream.status == Mux::Active);
        let by_egress = self
            .jobs()
            .any(|egress| egress.job == Job::Connected && egress.to != NOWHERE && shown(egress.to))
            && self.pods().any(|pod| pod.publishes);
        by_egress
            || self.pods().any(|pod| pod.sender == Sender::Connected && pod.to != NOWHERE && shown(pod.to))
    }

    /// What follows at once from what just happened.
    pub fn settle(&mut self) {
        let before = *self;
        let accepts = |stream: u8| before.accepts(stream);
        for pod in self.pods.iter_mut().flatten() {
            if pod.phase != Phase::Ready {
                (pod.publishes, pod.sender) = (false, Sender::Off);
            }
            pod.publishes &= before.room.is_some();
            if pod.sender == Sender::Connected && !accepts(pod.to) {
                pod.sender = Sender::Connecting;
            }
            pod.to = if pod.sender == Sender::Off { NOWHERE } else { pod.to };
        }
        for egress in self.egresses.iter_mut().flatten() {
            let has_room = if egress.in_room { before.room.is_some() } else { before.older_room };
            match egress.job {
                // Its source is closed.
                job if job.alive() && !has_room => egress.job = Job::Over,
                Job::Connected if !accepts(egress.to) => egress.job = Job::Retrying,
                _ => {}
            }
            if egress.job == Job::Over {
                (egress.to, egress.in_room) = (NOWHERE, false);
            }
        }
        self.foreign &= self.room.is_some();
    }

    /// A stream is gone, and whoever sends to it sends nowhere.
    pub fn drop_stream(&mut self, stream: u8) {
        self.streams[usize::from(stream)] = None;
        for pod in self.pods.iter_mut().flatten().filter(|pod| pod.to == stream) {
            pod.to = NOWHERE;
        }
        for egress in self.egresses.iter_mut().flatten().filter(|egress| egress.to == stream) {
            egress.to = NOWHERE;
        }
        if self.start == Start::Running(stream) {
            self.start = Start::Running(NOWHERE);
        }
        self.kept = if self.kept == stream { NOWHERE } else { self.kept };
    }

    /// The two streams change names.
    pub fn swap_streams(&mut self) {
        self.streams.swap(0, 1);
        let swapped = |stream: u8| if stream == NOWHERE { NOWHERE } else { 1 - stream };
        self.pods.iter_mut().flatten().for_each(|pod| pod.to = swapped(pod.to));
        self.egresses.iter_mut().flatten().for_each(|egress| egress.to = swapped(egress.to));
        if let Start::Running(to) = self.start {
            self.start = Start::Running(swapped(to));
        }
        self.kept = swapped(self.kept);
    }

    /// An effect failed. Failures of others are forgotten, as after a restart: they depend little on each other, and
    /// all of them together would be too many states.
    pub fn hold(&mut self, next: Held) {
        self.held = Some(next);
    }

    /// An effect worked.
    pub fn let_go(&mut self, effect: Effect) {
        self.held = self.held.filter(|held| held.effect != effect);
    }

    /// The process dies. A start that it waited for may be processed all the same: both are possible.
    pub fn crash(mut self, free: Option<u8>) -> Vec<Self> {
        let start = std::mem::replace(&mut self.start, Start::None);
        (self.held, self.misses) = (None, 0);
        let mut all = vec![self];
        if let (Start::Running(to), Some(slot)) = (start, free) {
            self.accept_start(slot, to);
            all.push(self);
        }
        all
    }

    /// Lists do not show the stream yet that has just been made.
    pub fn hide_newest_stream(&mut self) {
        let made = self.streams.iter_mut().flatten().next_back();
        made.into_iter().for_each(|stream| stream.listed = false);
    }

    /// LiveKit takes a start.
    pub fn accept_start(&mut self, slot: u8, to: u8) {
        self.egresses[usize::from(slot)] = Some(Egress { job: Job::Starting, to, in_room: true });
    }

    /// Status counts a new epoch: what was the present room is an older one now.
    pub fn rise(&mut self) {
        self.older_room |= self.room.take().is_some();
        self.room_deleted = false;
        for egress in self.egresses.iter_mut().flatten() {
            egress.in_room = false;
        }
    }
}

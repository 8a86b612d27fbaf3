//! What can go wrong with a call. Every call of the operator is a numbered point; a plan says what happens at which.

use crate::dice::Dice;
use std::collections::BTreeMap;

/// Where the operator leaves its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Site {
    SetFinalizer,
    WriteStatus,
    WriteProgram,
    PublishEvent,
    ReadSecret,
    ApplySecret,
    ListSecrets,
    DeleteSecret,
    KeepRecord,
    GetPod,
    CreatePod,
    DeletePod,
    Whoami,
    ListStreams,
    GetStream,
    CreateStream,
    UpdateStream,
    EnableStream,
    DisableStream,
    CompleteStream,
    DeleteStream,
    ListRooms,
    CreateRoom,
    DeleteRoom,
    StartEgress,
    ListEgresses,
    GetEgress,
    StopEgress,
    ListParticipants,
    AskWorker,
    ReadPlaylist,
    PodStatus,
    PodProgram,
    PodSender,
}

/// Whom a call goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    Kubernetes,
    Mux,
    LiveKit,
    Pod,
    /// A mourner's player.
    Viewer,
}

impl Site {
    pub const ALL: [Self; 34] = [
        Self::SetFinalizer,
        Self::WriteStatus,
        Self::WriteProgram,
        Self::PublishEvent,
        Self::ReadSecret,
        Self::ApplySecret,
        Self::ListSecrets,
        Self::DeleteSecret,
        Self::KeepRecord,
        Self::GetPod,
        Self::CreatePod,
        Self::DeletePod,
        Self::Whoami,
        Self::ListStreams,
        Self::GetStream,
        Self::CreateStream,
        Self::UpdateStream,
        Self::EnableStream,
        Self::DisableStream,
        Self::CompleteStream,
        Self::DeleteStream,
        Self::ListRooms,
        Self::CreateRoom,
        Self::DeleteRoom,
        Self::StartEgress,
        Self::ListEgresses,
        Self::GetEgress,
        Self::StopEgress,
        Self::ListParticipants,
        Self::AskWorker,
        Self::ReadPlaylist,
        Self::PodStatus,
        Self::PodProgram,
        Self::PodSender,
    ];

    pub fn party(self) -> Party {
        match self {
            Self::SetFinalizer
            | Self::WriteStatus
            | Self::WriteProgram
            | Self::PublishEvent
            | Self::ReadSecret
            | Self::ApplySecret
            | Self::ListSecrets
            | Self::DeleteSecret
            | Self::KeepRecord
            | Self::GetPod
            | Self::CreatePod
            | Self::DeletePod => Party::Kubernetes,
            Self::Whoami
            | Self::ListStreams
            | Self::GetStream
            | Self::CreateStream
            | Self::UpdateStream
            | Self::EnableStream
            | Self::DisableStream
            | Self::CompleteStream
            | Self::DeleteStream => Party::Mux,
            Self::ListRooms
            | Self::CreateRoom
            | Self::DeleteRoom
            | Self::StartEgress
            | Self::ListEgresses
            | Self::GetEgress
            | Self::StopEgress
            | Self::ListParticipants
            | Self::AskWorker => Party::LiveKit,
            Self::ReadPlaylist => Party::Viewer,
            Self::PodStatus | Self::PodProgram | Self::PodSender => Party::Pod,
        }
    }

    /// Whether anything differs when it was done and its answer lost.
    pub fn changes_something(self) -> bool {
        !matches!(
            self,
            Self::ReadSecret
                | Self::ListSecrets
                | Self::GetPod
                | Self::Whoami
                | Self::ListStreams
                | Self::GetStream
                | Self::ListRooms
                | Self::ListEgresses
                | Self::GetEgress
                | Self::ListParticipants
                | Self::AskWorker
                | Self::ReadPlaylist
                | Self::PodStatus
        )
    }

    /// What may happen to it.
    pub fn faults(self) -> Vec<Fault> {
        let mut all = vec![Fault::Lost, Fault::ServerError, Fault::Hang, Fault::CrashBefore];
        if self.changes_something() {
            all.extend([Fault::ReplyLost, Fault::ServerErrorAfter, Fault::HangAfter, Fault::CrashAfter]);
        }
        match self.party() {
            Party::Mux if self == Self::ListStreams => {
                all.extend([Fault::TooMany, Fault::Empty, Fault::Endless, Fault::Lie]);
            }
            Party::Mux | Party::LiveKit => all.extend([Fault::TooMany, Fault::Empty, Fault::Endless]),
            Party::Kubernetes if self.changes_something() => {
                all.push(Fault::Refused);
                if matches!(self, Self::WriteStatus | Self::SetFinalizer) {
                    all.push(Fault::SecondWriter);
                }
            }
            _ => {}
        }
        all
    }
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// It never arrives, and that is noticed at once.
    Lost,
    /// It is done, and the connection breaks off.
    ReplyLost,
    /// 5xx, and nothing is done.
    ServerError,
    /// 5xx, and it is done.
    ServerErrorAfter,
    /// 429.
    TooMany,
    /// It never arrives, and the caller waits until it gives up.
    Hang,
    /// It is done, and the caller waits until it gives up.
    HangAfter,
    /// Somebody else writes the object just before.
    SecondWriter,
    /// 403 or 422.
    Refused,
    /// It is done, and answered with 200 and nothing.
    Empty,
    /// It is done, and its answer never comes to an end.
    Endless,
    /// The answer can be read and is not true: the list is empty.
    Lie,
    /// The operator dies before it is sent.
    CrashBefore,
    /// The operator dies after it is done.
    CrashAfter,
}

impl Fault {
    /// It comes and goes by itself. The others are somebody's doing: a person's, or that of a server which is not what
    /// it seems.
    pub fn is_weather(self) -> bool {
        !matches!(self, Self::Refused | Self::Empty | Self::Endless | Self::Lie)
    }
}

/// What goes wrong when.
#[derive(Debug)]
pub struct Faults {
    /// How many calls there were.
    pub point: u64,
    plan: BTreeMap<u64, Fault>,
    /// Of a thousand calls so many fail.
    pub rate: u64,
    pub crashes: bool,
    /// No call fails more than four times in a row.
    pub fair: bool,
    in_a_row: BTreeMap<Site, u32>,
    /// Whoever does not answer at all, and until when.
    pub silent: BTreeMap<Party, u64>,
    /// One call that hangs each time, for whom: a part of its key.
    pub hanging: Option<(Party, String)>,
    /// What happens to each call of a site.
    pub always: Option<(Site, Fault)>,
    /// Every write of a status finds another writer's before it.
    pub second_writer: bool,
    dice: Dice,
    /// When something last went wrong, by party.
    pub last: BTreeMap<Party, u64>,
    pub struck: BTreeMap<(Site, Fault), u64>,
    pub called: BTreeMap<Site, u64>,
    /// The sites of all calls, when somebody wants to know them.
    pub record: Option<Vec<Site>>,
}

impl Faults {
    pub fn new(seed: u64) -> Self {
        Self {
            point: 0,
            plan: BTreeMap::new(),
            rate: 0,
            crashes: false,
            fair: false,
            in_a_row: BTreeMap::new(),
            silent: BTreeMap::new(),
            hanging: None,
            always: None,
            second_writer: false,
            dice: Dice::new(seed ^ 0xfa17),
            last: BTreeMap::new(),
            struck: BTreeMap::new(),
            called: BTreeMap::new(),
            record: None,
        }
    }

    pub fn at(&mut self, point: u64, fault: Fault) {
        self.plan.insert(point, fault);
    }

    /// Nothing more goes wrong, but for calls that fail now and then.
    pub fn calm(&mut self) {
        self.plan.clear();
        self.silent.clear();
        self.hanging = None;
        self.always = None;
        self.second_writer = false;
        self.crashes = false;
        self.fair = true;
    }

    /// What happens to the next call.
    pub fn strike(&mut self, site: Site, key: &str, now: u64) -> Option<Fault> {
        let point = self.point;
        self.point += 1;
        *self.called.entry(site).or_default() += 1;
        if let Some(record) = &mut self.record {
            record.push(site);
        }
        let fault = self.choose(site, key, point, now).filter(|fault| {
            let row = self.in_a_row.entry(site).or_default();
            *row += 1;
            !self.fair || (*row <= 4 && fault.is_weather())
        });
        match fault {
            Some(fault) => {
                *self.struck.entry((site, fault)).or_default() += 1;
                self.last.insert(site.party(), now);
            }
            None => {
                self.in_a_row.remove(&site);
            }
        }
        fault
    }

    fn choose(&mut self, site: Site, key: &str, point: u64, now: u64) -> Option<Fault> {
        if let Some(fault) = self.plan.remove(&point) {
            // After one fault the next calls may be others than were planned for.
            return Some(fault).filter(|fault| site.faults().contains(fault)).or(Some(Fault::Lost));
        }
        if let Some((_, fault)) = self.always.filter(|(always, _)| *always == site) {
            return Some(fault);
        }
        if self.silent.get(&site.party()).is_some_and(|until| now < *until) {
            return Some(Fault::Hang);
        }
        if self.hanging.as_ref().is_some_and(|(party, part)| *party == site.party() && key.contains(part)) {
            return Some(Fault::Hang);
        }
        if self.second_writer && site == Site::WriteStatus && self.dice.chance(700) {
            return Some(Fault::SecondWriter);
        }
        if self.rate == 0 || !self.dice.chance(self.rate) {
            return None;
        }
        let all = site.faults();
        let fault = *self.dice.pick(&all);
        let crash = matches!(fault, Fault::CrashBefore | Fault::CrashAfter);
        Some(if crash && !self.crashes { Fault::Lost } else { fault })
    }
}

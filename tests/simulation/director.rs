//! People: what they said, and so what ought to be, whatever the code makes of it. Their devices too.

use crate::cluster::Key;
use crate::land::Land;
use crate::livekit::Who;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use memorialstream_operator::api::MemorialStreamSpec;
use memorialstream_operator::api::names::{ABANDON, PAUSED, camera_identity};
use memorialstream_operator::api::spec::{
    Camera, EgressSettings, Limits, Schedule, SecretReference, State, StreamDeletion, Via,
};
use std::collections::{BTreeMap, BTreeSet};

/// Which accounts an object uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub token_id: String,
    pub livekit_url: String,
}

/// What people said of one object.
#[derive(Clone, Debug)]
pub struct Said {
    pub key: Key,
    pub account: Account,
    /// The last explicit word. It holds until another one, whatever tools take away.
    pub state: Option<State>,
    pub session: i64,
    pub schedule: Option<Schedule>,
    pub limits: Limits,
    pub deleted: bool,
    /// The stream outlives the object.
    pub retains: bool,
    pub paused: bool,
    /// How often devices still join a room again that was deleted under them.
    pub rejoins: u32,
    /// Whether the cameras' devices come at all.
    pub devices: bool,
    /// When a sender first started in the session that is under way, by the wall clock.
    pub live_from: Option<(i64, Timestamp)>,
    /// The session in which a sender was started last.
    pub sends_for: Option<i64>,
    /// Since when Live has been wanted, by the wall clock.
    pub live_since: Option<Timestamp>,
    pub standby_from: Option<Timestamp>,
    /// Its limit has struck, by the wall clock of that moment: that holds until people say something else.
    pub standby_is_over: bool,
    /// The highest session of which mourners may have seen something.
    pub was_live: Option<i64>,
    /// When somebody said something last.
    pub said_at: u64,
    /// Sessions that somebody or a limit wanted ended.
    pub over: BTreeSet<i64>,
}

/// By UID.
#[derive(Default)]
pub struct Director {
    pub said: BTreeMap<String, Said>,
    /// By token id.
    pub mux_secrets: BTreeMap<String, String>,
    /// Secrets as they were made.
    pub secrets: BTreeMap<Key, crate::cluster::StoredSecret>,
    /// What somebody deleted last.
    pub lost_secrets: BTreeMap<Key, crate::cluster::StoredSecret>,
}

/// A service with two cameras.
pub fn spec(state: Option<State>, via: Via) -> MemorialStreamSpec {
    let camera = |name: &str| Camera { name: name.into(), display_name: None };
    MemorialStreamSpec {
        state,
        cameras: vec![camera("lectern"), camera("wide")],
        egress: Some(EgressSettings { via: Some(via), livekit: None }),
        ..MemorialStreamSpec::default()
    }
}

pub fn uid_of_room(name: &str) -> Option<&str> {
    name.strip_prefix("memorial-")?.rsplit_once('-').map(|(uid, _)| uid)
}

/// When a limit may strike: it counts from when Live was wanted, or, if the operator was not there to hear it, from the
/// first sender.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Limit {
    Earliest,
    Latest,
}

impl Land {
    /// Somebody makes an object that uses the operator's account, or one of its own namespace.
    pub fn make(
        &mut self,
        key: &Key,
        uid: &str,
        mut spec: MemorialStreamSpec,
        account: Account,
        own_secret: Option<&str>,
    ) {
        spec.credentials_secret_ref = own_secret.map(|name| SecretReference { name: name.into() });
        let said = Said {
            key: key.clone(),
            account,
            state: spec.state,
            session: spec.session.unwrap_or(1),
            schedule: spec.schedule.clone(),
            limits: spec.limits.clone().unwrap_or_default(),
            deleted: false,
            retains: spec.deletion_policy.as_ref().and_then(|policy| policy.stream)
                == Some(StreamDeletion::Retain),
            paused: false,
            rejoins: 0,
            devices: true,
            live_from: None,
            sends_for: None,
            live_since: None,
            standby_from: None,
            standby_is_over: false,
            was_live: None,
            said_at: self.now,
            over: BTreeSet::new(),
        };
        self.director.said.insert(uid.to_owned(), said);
        self.create_object(key, uid, spec);
    }

    /// Somebody changes the spec, and means it.
    pub fn say(&mut self, uid: &str, change: impl FnOnce(&mut MemorialStreamSpec)) {
        let Some(said) = self.director.said.get(uid).filter(|said| !said.deleted) else { return };
        let key = said.key.clone();
        self.change_object(&key, |object| change(&mut object.spec));
        let Some(object) = self.cluster.objects.get(&key) else { return };
        let (spec, now, wall) = (object.spec.clone(), self.now, self.wall_clock());
        if let Some(said) = self.director.said.get_mut(uid) {
            said.said_at = now;
            let before = (said.state, said.session, said.schedule.clone());
            // A state that vanishes is held; the schedule has the word once somebody gives it back.
            said.state = spec.state.or(said.state).filter(|state| *state != State::Scheduled);
            said.session = spec.session.unwrap_or(said.session);
            said.schedule = spec.schedule.clone();
            said.limits = spec.limits.clone().unwrap_or_default();
            // What comes and goes while the watches stand still, nobody hears.
            let is_heard = self.now >= self.watch.caches_good_since;
            said.standby_is_over &= !is_heard || before == (said.state, said.session, said.schedule.clone());
            if said.session > before.1 {
                // What a raised session asks for begins now, and who sends goes over to it.
                (said.standby_from, said.live_since) = (None, None);
                said.live_from = said.live_from.map(|_| (said.session, wall));
            }
        }
        self.note_ends(uid);
        self.note(|| {
            format!(
                "{} is told: {:?} session {:?} program {:?}",
                key.1, spec.state, spec.session, spec.program
            )
        });
    }

    pub fn ask(&mut self, uid: &str, state: State) {
        self.say(uid, |spec| spec.state = Some(state));
    }

    pub fn take(&mut self, uid: &str, camera: &str) {
        self.say(uid, |spec| spec.program.get_or_insert_default().sources = Some(vec![camera.to_owned()]));
    }

    pub fn discard(&mut self, uid: &str) {
        let Some(said) = self.director.said.get_mut(uid) else { return };
        said.deleted = true;
        let key = said.key.clone();
        self.delete_object(&key);
    }

    /// Somebody gives up what cannot be ended.
    pub fn abandon(&mut self, key: &Key) {
        self.change_object(key, |object| {
            object.metadata.annotations.get_or_insert_default().insert(ABANDON.into(), "true".into());
        });
    }

    pub fn pause(&mut self, uid: &str, paused: bool) {
        let Some(said) = self.director.said.get_mut(uid) else { return };
        said.paused = paused;
        let key = said.key.clone();
        self.change_object(&key, |object| {
            let annotations = object.metadata.annotations.get_or_insert_default();
            if paused {
                annotations.insert(PAUSED.into(), "true".into());
            } else {
                annotations.remove(PAUSED);
            }
        });
    }

    /// An operator saw what was said last: it was there, and so were its watches.
    pub fn was_heard(&self, uid: &str) -> bool {
        let Some(said) = self.director.said.get(uid) else { return false };
        self.watch.up_since.is_some_and(|since| since < said.said_at)
            && self.watch.caches_good_since < said.said_at
            && self.now > said.said_at + 1_000
            && !self.cluster.spoiled.contains(&said.key)
    }

    /// A tool takes away what Git does not have: nobody said anything.
    pub fn strip(&mut self, uid: &str, strip: impl FnOnce(&mut MemorialStreamSpec)) {
        let Some(key) = self.director.said.get(uid).map(|said| said.key.clone()) else { return };
        self.note(|| format!("a tool takes fields of {} away", key.1));
        self.change_object(&key, |object| strip(&mut object.spec));
    }

    /// What people want, by what they said and by the limits. A session that has ended, as somebody wanted, stays so.
    pub fn wanted(&self, uid: &str) -> State {
        let Some(said) = self.director.said.get(uid) else { return State::Ended };
        let ended = self.watch.ended_session(uid).is_some_and(|ended| ended >= said.session);
        // A lower one is over with those that came after it.
        let over = ended && said.over.range(said.session..).next().is_some();
        match self.asked(uid, self.wall_clock(), Limit::Latest) {
            State::Live if over => State::Ended,
            asked => asked,
        }
    }

    /// A session may end: somebody or a limit wanted that.
    pub fn may_end(&self, uid: &str, session: i64) -> bool {
        let Some(said) = self.director.said.get(uid) else { return true };
        // Mux ends it after five minutes.
        let test = self.cluster.objects.get(&said.key).and_then(|object| object.spec.mux.as_ref()?.test);
        // A session that was raised leaves the ones before it behind.
        said.deleted || session < said.session || said.over.contains(&session) || test == Some(true)
    }

    /// Keeps which sessions somebody or a limit wanted ended. Of a time in status the fraction of a second is missing.
    pub fn note_ends(&mut self, uid: &str) {
        let soon = self.wall_clock().checked_add(SignedDuration::from_secs(2)).unwrap();
        let ends = self.asked(uid, soon, Limit::Earliest) == State::Ended;
        let Some(said) = self.director.said.get_mut(uid).filter(|_| ends) else { return };
        said.over.insert(said.session);
    }

    /// What people ask for, and the limits at that time, whatever has ended before.
    fn asked(&self, uid: &str, now: Timestamp, limit: Limit) -> State {
        let Some(said) = self.director.said.get(uid) else { return State::Ended };
        if said.deleted {
            return State::Ended;
        }
        let asked = said.state.unwrap_or_else(|| match &said.schedule {
            None => State::Idle,
            Some(schedule) => {
                let past = |time: &Option<_>| {
                    time.as_ref().is_some_and(
                        |time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Time| time.0 <= now,
                    )
                };
                match (past(&schedule.end_at), past(&schedule.live_at), past(&schedule.standby_at)) {
                    (true, ..) => State::Ended,
                    (_, true, _) => State::Live,
                    (_, _, true) => State::Standby,
                    _ => State::Idle,
                }
            }
        });
        let after = |from: Timestamp, minutes: i64| {
            now >= from.checked_add(SignedDuration::from_mins(minutes)).unwrap()
        };
        match asked {
            State::Live => {
                let from = match limit {
                    Limit::Latest => {
                        said.live_from.filter(|(of, _)| *of == said.session).map(|(_, from)| from)
                    }
                    Limit::Earliest => said.live_since,
                };
                let overrun = |schedule: &Schedule| match limit {
                    Limit::Latest => schedule.overrun_minutes.unwrap_or(60),
                    Limit::Earliest => 0,
                };
                let past_its_end = said.schedule.as_ref().is_some_and(|schedule| {
                    let end = schedule.end_at.as_ref().map(|at| at.0);
                    // What was asked for after it goes on.
                    end.is_some_and(|end| {
                        from.is_some_and(|from| from < end) && after(end, overrun(schedule))
                    })
                });
                let too_long = from.is_some_and(|from| after(from, said.limits.live_minutes.unwrap_or(360)));
                if past_its_end || too_long { State::Ended } else { State::Live }
            }
            State::Standby if said.standby_is_over => State::Idle,
            State::Standby => match said.standby_from {
                Some(from) if after(from, said.limits.standby_minutes.unwrap_or(720)) => State::Idle,
                _ => State::Standby,
            },
            other => other,
        }
    }

    /// Keeps when what began.
    pub fn follow_people(&mut self) {
        let now = self.wall_clock();
        let uids: Vec<String> = self.director.said.keys().cloned().collect();
        for uid in uids {
            self.note_ends(&uid);
            let wanted = self.wanted(&uid);
            let Some(said) = self.director.said.get_mut(&uid) else { continue };
            // A clock that was set back does not make a limit longer.
            let times = [
                said.live_from.as_mut().map(|(_, from)| from),
                said.live_since.as_mut(),
                said.standby_from.as_mut(),
            ];
            times.into_iter().flatten().for_each(|time| *time = (*time).min(now));
            match wanted {
                State::Live => drop(said.live_since.get_or_insert(now)),
                _ => said.live_since = None,
            }
            if self.now >= self.watch.caches_good_since
                && said.state.is_some_and(|state| state != State::Standby)
            {
                said.standby_is_over = false;
            }
            match wanted {
                State::Standby => {
                    said.standby_from.get_or_insert(now);
                }
                State::Idle if said.state == Some(State::Standby) => said.standby_is_over = true,
                _ => said.standby_from = None,
            }
            if wanted == State::Standby || wanted == State::Idle {
                said.live_from = None;
            }
        }
    }

    /// A sender starts for it.
    pub fn goes_live(&mut self, uid: &str) {
        let now = self.wall_clock();
        let Some(said) = self.director.said.get_mut(uid) else { return };
        let session = said.session;
        if said.live_from.is_none_or(|(before, _)| before != session) {
            said.live_from = Some((session, now));
        }
        said.sends_for = Some(session);
    }

    /// Mourners may see what its sender sends.
    pub fn is_live(&mut self, uid: &str) {
        let Some(said) = self.director.said.get_mut(uid) else { return };
        let session = said.sends_for.unwrap_or(said.session);
        said.was_live = said.was_live.max(Some(session));
    }

    /// Devices join a room that the operator opened.
    pub fn room_is_open(&mut self, url: &str, name: &str) {
        let Some(uid) = uid_of_room(name) else { return };
        let Some(said) = self.director.said.get(uid).filter(|said| said.devices) else { return };
        let Some(object) = self.cluster.objects.get(&said.key) else { return };
        let ours = self.livekit.get(url).and_then(|server| server.rooms.get(name));
        if ours.is_none_or(|room| room.metadata.is_empty()) {
            return;
        }
        for camera in object.spec.cameras.clone() {
            let (url, name) = (url.to_owned(), name.to_owned());
            self.after(1_500, move |land| {
                let open = land.livekit.get(&url).is_some_and(|server| server.rooms.contains_key(&name));
                if open {
                    land.join(&url, &name, &camera_identity(&camera.name), Who::Device);
                }
            });
        }
    }

    /// Their room was deleted: some join again, and open it by that.
    pub fn devices_lost_their_room(&mut self, url: &str, name: &str) {
        let Some(uid) = uid_of_room(name).map(str::to_owned) else { return };
        let Some(said) = self.director.said.get_mut(&uid).filter(|said| said.rejoins > 0) else { return };
        said.rejoins -= 1;
        let (url, name) = (url.to_owned(), name.to_owned());
        self.after(1_200, move |land| {
            land.note(|| format!("a device joins {name} again"));
            land.join(&url, &name, &camera_identity("lectern"), Who::Device);
        });
    }

    /// Makes a Secret with credentials.
    pub fn make_secret(&mut self, key: (&str, &str), pairs: &[(&str, &str)]) {
        let data = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let secret = crate::cluster::StoredSecret { data, ..Default::default() };
        let key = (key.0.to_owned(), key.1.to_owned());
        self.director.secrets.insert(key.clone(), secret.clone());
        self.cluster.secrets.insert(key, secret);
        for (name, value) in pairs {
            if name.contains("SECRET") {
                self.watch.secrets.push((*value).to_owned());
            }
        }
    }
}

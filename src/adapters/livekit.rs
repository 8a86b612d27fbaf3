//! LiveKit as the lanes see it: one client per set of credentials, and lists that serve all objects of a project.

use super::deeds::Deeds;
use super::kept::Kept;
use super::pulse::Pulse;
use super::question::Question;
use crate::api::names::PROGRAM_IDENTITY;
use crate::providers::livekit::{
    Egress, LiveKitApi, LiveKitClient, LiveKitCredentials, LiveKitRoom, Participant, ParticipantKind,
    ProgramEgress,
};
use crate::providers::{Provider, ProviderError};
use crate::world;
use async_trait::async_trait;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a room lives that nobody joined yet: longer than any Standby may last.
const EMPTY_TIMEOUT_SECONDS: u32 = 24 * 3600;
/// How long a room lives after the last one left: a compositor that restarts must find it again.
const DEPARTURE_TIMEOUT_SECONDS: u32 = 24 * 3600;

/// LiveKit Cloud allows a project 1,000 requests a minute (docs.livekit.io, quotas and limits). What is asked of each room on
/// air is asked the more rarely the more of them there are: who is in it, and whether its worker is there, take 400 each.
const BETWEEN_TWO_ROOMS: Duration = Duration::from_millis(150);

struct Project {
    api: Arc<dyn LiveKitApi>,
    pulse: Arc<Pulse>,
    rooms: Question<Vec<LiveKitRoom>>,
    egresses: Question<Vec<Egress>>,
    /// By room.
    participants: Kept<String, Question<Vec<Participant>>>,
    /// By id: those that the list does not show.
    over: Kept<String, Question<Option<Egress>>>,
    /// When the worker of an egress answered last, by the egress.
    workers: Kept<String, Mutex<Option<Instant>>>,
    changes: Deeds<()>,
    creates: Deeds<LiveKitRoom>,
}

type Connect = dyn Fn(&LiveKitCredentials) -> Result<Arc<dyn LiveKitApi>, ProviderError> + Send + Sync;

/// LiveKit, with whatever credentials the lanes bring.
pub struct LiveKit {
    connect: Box<Connect>,
    /// By URL, key and its secret.
    projects: Kept<(String, String, String), Project>,
}

impl LiveKit {
    /// LiveKit as it is reached over the network.
    pub fn over_http() -> Self {
        Self::new(|credentials| Ok(Arc::new(LiveKitClient::new(credentials)?)))
    }

    /// LiveKit, whose projects are reached by what `connect` returns.
    pub fn new(
        connect: impl Fn(&LiveKitCredentials) -> Result<Arc<dyn LiveKitApi>, ProviderError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self { connect: Box::new(connect), projects: Kept::default() }
    }

    fn project(&self, credentials: &LiveKitCredentials) -> Result<Arc<Project>, ProviderError> {
        let LiveKitCredentials { url, api_key, api_secret } = credentials;
        let key = (url.clone(), api_key.clone(), api_secret.reveal().to_owned());
        self.projects.get(&key, || {
            Ok(Project {
                api: (self.connect)(credentials)?,
                pulse: Arc::default(),
                rooms: Question::new(Provider::LiveKit, "rooms"),
                egresses: Question::new(Provider::LiveKit, "egresses"),
                participants: Kept::default(),
                over: Kept::default(),
                workers: Kept::default(),
                changes: Deeds::repeatable(Provider::LiveKit),
                creates: Deeds::repeatable(Provider::LiveKit),
            })
        })
    }
}

impl Project {
    /// How old an answer about one room may be at least.
    fn spacing(&self) -> Duration {
        BETWEEN_TWO_ROOMS * u32::try_from(self.participants.in_use()).unwrap_or(u32::MAX)
    }
}

/// Program is published, and an egress takes it.
fn all_are_there(participants: &[Participant]) -> bool {
    participants.iter().any(|one| one.identity == PROGRAM_IDENTITY)
        && participants.iter().any(|one| one.kind == ParticipantKind::Egress)
}

/// An answer without an id is none: the egress may run, and is searched for.
fn with_its_id(egress: Egress) -> Result<Egress, ProviderError> {
    match egress.id.is_empty() {
        true => Err(ProviderError::without_id(Provider::LiveKit, "start_egress")),
        false => Ok(egress),
    }
}

/// The question about one thing.
fn about<T: Send + Sync + 'static>(
    all: &Kept<String, Question<T>>,
    operation: &'static str,
    what: &str,
) -> Arc<Question<T>> {
    let new = || Ok::<_, Infallible>(Question::new(Provider::LiveKit, operation));
    all.get(&what.to_owned(), new).unwrap_or_else(|never| match never {})
}

#[async_trait]
impl world::LiveKit for LiveKit {
    async fn rooms(
        &self,
        credentials: &LiveKitCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<LiveKitRoom>>, ProviderError> {
        let project = self.project(credentials)?;
        let (api, pulse) = (Arc::clone(&project.api), Arc::clone(&project.pulse));
        let ask = async move { pulse.watch(api.rooms()).await };
        Ok(project.rooms.get(&project.pulse, freshness, ask).await?.answer)
    }

    async fn participants(
        &self,
        credentials: &LiveKitCredentials,
        room: &str,
        freshness: Duration,
    ) -> Result<Arc<Vec<Participant>>, ProviderError> {
        let project = self.project(credentials)?;
        let (api, pulse, name) = (Arc::clone(&project.api), Arc::clone(&project.pulse), room.to_owned());
        let ask = async move { pulse.watch(api.participants(&name)).await };
        let question = about(&project.participants, "participants", room);
        // Where somebody is missing it may be by the last answer alone.
        let freshness = match question.last().is_some_and(|last| all_are_there(&last.answer)) {
            true => freshness.max(project.spacing()),
            false => freshness,
        };
        Ok(question.get(&project.pulse, freshness, ask).await?.answer)
    }

    async fn active_egresses(
        &self,
        credentials: &LiveKitCredentials,
        freshness: Duration,
    ) -> Result<Arc<Vec<Egress>>, ProviderError> {
        let project = self.project(credentials)?;
        let (api, pulse) = (Arc::clone(&project.api), Arc::clone(&project.pulse));
        let ask = async move { pulse.watch(api.egresses(None, true)).await };
        Ok(project.egresses.get(&project.pulse, freshness, ask).await?.answer)
    }

    fn age_of_egresses(&self, credentials: &LiveKitCredentials) -> Option<Duration> {
        Some(self.project(credentials).ok()?.egresses.last()?.asked.elapsed())
    }

    async fn egress(
        &self,
        credentials: &LiveKitCredentials,
        id: &str,
        freshness: Duration,
    ) -> Result<Option<Egress>, ProviderError> {
        let project = self.project(credentials)?;
        let (api, pulse, named) = (Arc::clone(&project.api), Arc::clone(&project.pulse), id.to_owned());
        let ask = async move { pulse.watch(api.egress(&named)).await };
        let answer = about(&project.over, "egress", id).get(&project.pulse, freshness, ask).await?.answer;
        Ok(answer.as_ref().clone())
    }

    async fn create_room(
        &self,
        credentials: &LiveKitCredentials,
        name: &str,
        metadata: &str,
    ) -> Result<LiveKitRoom, ProviderError> {
        let project = self.project(credentials)?;
        let (here, named, metadata) = (Arc::clone(&project), name.to_owned(), metadata.to_owned());
        let deed = async move {
            // One from before says nothing of what comes, though its answer may be lost.
            here.rooms.forget();
            let create =
                here.api.create_room(&named, &metadata, EMPTY_TIMEOUT_SECONDS, DEPARTURE_TIMEOUT_SECONDS);
            let room = here.pulse.watch(create).await;
            here.rooms.forget();
            room
        };
        project.creates.run(&project.pulse, "create_room", name, deed).await
    }

    async fn delete_room(&self, credentials: &LiveKitCredentials, name: &str) -> Result<(), ProviderError> {
        let project = self.project(credentials)?;
        let (here, named) = (Arc::clone(&project), name.to_owned());
        let deed = async move {
            let deleted = here.pulse.watch(here.api.delete_room(&named)).await;
            here.rooms.forget();
            deleted
        };
        project.changes.run(&project.pulse, "delete_room", name, deed).await
    }

    async fn start_egress(
        &self,
        credentials: &LiveKitCredentials,
        request: &ProgramEgress,
    ) -> Result<Egress, ProviderError> {
        let project = self.project(credentials)?;
        // It takes long by its nature: that says nothing about the project.
        let started = project.api.start_program_egress(request).await.and_then(with_its_id);
        project.egresses.forget();
        // Its worker joins the room: who was there before says nothing of it.
        about(&project.participants, "participants", &request.room).forget();
        started
    }

    async fn ask_worker(&self, credentials: &LiveKitCredentials, id: &str) -> Result<bool, ProviderError> {
        let project = self.project(credentials)?;
        let never = || Ok::<_, Infallible>(Mutex::default());
        let answered = project.workers.get(&id.to_owned(), never).unwrap_or_else(|never| match never {});
        let last = *answered.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|at| at.elapsed() < project.spacing()) {
            return Ok(true);
        }
        let asked = Instant::now();
        let answer = project.api.ask_worker(id).await?;
        *answered.lock().unwrap_or_else(PoisonError::into_inner) = answer.then_some(asked);
        Ok(answer)
    }

    async fn stop_egress(&self, credentials: &LiveKitCredentials, id: &str) -> Result<(), ProviderError> {
        let project = self.project(credentials)?;
        let (here, named) = (Arc::clone(&project), id.to_owned());
        let deed = async move {
            let stopped = here.pulse.watch(here.api.stop_egress(&named)).await;
            here.egresses.forget();
            about(&here.over, "egress", &named).forget();
            stopped
        };
        project.changes.run(&project.pulse, "stop_egress", id, deed).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::providers::Secret;
    use crate::world::LiveKit as _;
    use futures::future::join_all;
    use std::sync::atomic::{AtomicU32, Ordering};

    const SECOND: Duration = Duration::from_secs(1);

    /// Counts what it is asked, and answers within 20 ms.
    #[derive(Default)]
    struct Counting(AtomicU32);

    impl Counting {
        async fn answer<T>(&self, answer: T) -> Result<T, ProviderError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(SECOND / 50).await;
            Ok(answer)
        }
    }

    #[async_trait]
    impl LiveKitApi for Counting {
        async fn create_room(&self, _: &str, _: &str, _: u32, _: u32) -> Result<LiveKitRoom, ProviderError> {
            Err(ProviderError::transient_for_test())
        }

        async fn rooms(&self) -> Result<Vec<LiveKitRoom>, ProviderError> {
            self.answer(Vec::new()).await
        }

        async fn delete_room(&self, _: &str) -> Result<(), ProviderError> {
            self.answer(()).await
        }

        async fn participants(&self, _: &str) -> Result<Vec<Participant>, ProviderError> {
            let there = [(PROGRAM_IDENTITY, ParticipantKind::Standard), ("EG_1", ParticipantKind::Egress)];
            let participant = |(identity, kind): (&str, ParticipantKind)| Participant {
                identity: identity.to_owned(),
                sid: String::new(),
                kind,
                tracks: Vec::new(),
                joined_at: 0,
            };
            self.answer(there.map(participant).into()).await
        }

        async fn start_program_egress(&self, _: &ProgramEgress) -> Result<Egress, ProviderError> {
            Err(ProviderError::transient_for_test())
        }

        async fn egresses(&self, _: Option<&str>, _: bool) -> Result<Vec<Egress>, ProviderError> {
            self.answer(Vec::new()).await
        }

        async fn egress(&self, _: &str) -> Result<Option<Egress>, ProviderError> {
            self.answer(None).await
        }

        async fn ask_worker(&self, _: &str) -> Result<bool, ProviderError> {
            self.answer(true).await
        }

        async fn stop_egress(&self, _: &str) -> Result<(), ProviderError> {
            self.answer(()).await
        }
    }

    /// How many requests a minute so many services cost that are live by LiveKit, as their passes ask.
    async fn requests_a_minute(services: u32) -> u32 {
        let api = Arc::new(Counting::default());
        let connected = Arc::clone(&api);
        let livekit = LiveKit::new(move |_| Ok(Arc::clone(&connected) as Arc<dyn LiveKitApi>));
        let credentials = LiveKitCredentials {
            url: "wss://a.livekit.cloud".into(),
            api_key: "key".into(),
            api_secret: Secret::new("hidden"),
        };
        let begin = Instant::now();
        join_all((0..services).map(async |service| {
            tokio::time::sleep(SECOND * service / 20).await;
            while begin.elapsed() < SECOND * 600 {
                let (room, egress) = (format!("room-{service}"), format!("EG_{service}"));
                livekit.rooms(&credentials, SECOND * 2).await.unwrap();
                livekit.active_egresses(&credentials, SECOND * 2).await.unwrap();
                livekit.participants(&credentials, &room, SECOND * 2).await.unwrap();
                assert!(livekit.ask_worker(&credentials, &egress).await.unwrap());
                tokio::time::sleep(SECOND * 2).await;
            }
        }))
        .await;
        api.0.load(Ordering::Relaxed) / 10
    }

    #[tokio::test(start_paused = true)]
    async fn many_services_on_air_stay_within_the_quota_of_livekit_cloud() {
        let alone = requests_a_minute(1).await;
        for services in [10, 20, 100] {
            let all = requests_a_minute(services).await;
            println!("{services} services: {all} requests a minute; one: {alone}");
            assert!(all < 950, "{services} services: {all} requests a minute");
            assert!(services > 10 || all > 500, "few are asked as often as one: {all}");
        }
    }
}

//! Against a small Mux that keeps its limits, in tokio's paused time.

use super::*;
use crate::providers::Secret;
use crate::providers::mux::LatencyMode;
use crate::world::Mux as _;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::MutexGuard;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// Whoever made the streams that are there from the beginning.
const MARKER: &str = "memorialstream/elsewhere/1";

/// Mux, as far as it matters here. Every token is good; those of a name's first letter share an environment.
#[derive(Default)]
struct SmallMux(Mutex<State>);

#[derive(Default)]
struct State {
    streams: BTreeMap<String, Value>,
    buckets: BTreeMap<(String, bool), (f64, Option<Instant>)>,
    requests: Vec<(Instant, String)>,
    refusals: usize,
    unlimited: bool,
    hangs_until: Option<Instant>,
    fails: bool,
    list_shows: Option<Vec<String>>,
    /// How often it will say of a stream that there is none.
    denials: usize,
}

impl SmallMux {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn requests(&self, containing: &str) -> usize {
        self.state().requests.iter().filter(|(_, request)| request.contains(containing)).count()
    }

    fn set_status(&self, id: &str, status: &str) {
        self.state().streams.get_mut(id).unwrap()["status"] = json!(status);
    }

    fn with_streams(count: usize) -> Arc<Self> {
        let mux = Self::default();
        mux.state().streams =
            (0..count).map(|index| (format!("s{index}"), stream(&format!("s{index}"), MARKER))).collect();
        Arc::new(mux)
    }
}

fn stream(id: &str, passthrough: &str) -> Value {
    json!({
        "id": id, "created_at": "1", "status": "idle", "stream_key": "key", "passthrough": passthrough,
        "latency_mode": "low", "reconnect_window": 60,
    })
}

#[async_trait]
impl Transport for SmallMux {
    async fn exchange(&self, call: Call) -> Result<Answer, Interruption> {
        // On their way requests come closer together than they were sent, or farther apart.
        let number = self.state().requests.len();
        sleep(Duration::from_millis(5 + 37 * u64::try_from(number).unwrap() % 90)).await;
        let hangs = self.state().hangs_until;
        if let Some(until) = hangs.filter(|until| *until > Instant::now()) {
            let timeout = Instant::now() + call.timeout;
            tokio::time::sleep_until(until.min(timeout)).await;
            if until >= timeout {
                return Err(Interruption::TimedOut { host: None });
            }
        }
        Ok(self.state().answer(&call))
    }
}

impl State {
    fn answer(&mut self, call: &Call) -> Answer {
        let query = call.url.query().unwrap_or_default().to_owned();
        let name = format!("{} {}?{query}", call.method, call.url.path());
        self.requests.push((Instant::now(), name));
        let environment = call.credentials.token_id[..1].to_owned();
        if !self.unlimited && !self.draw(&environment, call.method == Method::POST) {
            self.refusals += 1;
            return Answer { status: 429, ..Answer::default() };
        }
        if self.fails {
            return Answer { status: 503, ..Answer::default() };
        }
        let path: Vec<&str> = call.url.path_segments().unwrap().skip(2).collect();
        let data = match (&call.method, path.as_slice()) {
            (_, ["whoami"]) => json!({"environment_id": environment}),
            (&Method::POST, ["live-streams"]) => {
                let id = format!("made-{}", self.streams.len());
                let passthrough = call.body.as_ref().unwrap()["passthrough"].as_str().unwrap();
                let made = stream(&id, passthrough);
                self.streams.insert(id, made.clone());
                made
            }
            (_, ["live-streams"]) => self.list(&query),
            (&Method::GET, [_, _]) if self.denials > 0 => {
                self.denials -= 1;
                return Answer { status: 404, ..Answer::default() };
            }
            (&Method::GET, [_, id]) => match self.streams.get(*id) {
                Some(found) => found.clone(),
                None => return Answer { status: 404, ..Answer::default() },
            },
            (&Method::PATCH, [_, id]) => {
                let changed = self.streams.get_mut(*id).unwrap();
                changed["reconnect_window"] = call.body.as_ref().unwrap()["reconnect_window"].clone();
                changed.clone()
            }
            (&Method::PUT, [_, id, action]) => {
                let status = match *action {
                    "disable" => "disabled",
                    _ => "idle",
                };
                self.streams.get_mut(*id).unwrap()["status"] = json!(status);
                json!({})
            }
            (&Method::DELETE, [_, id]) => {
                self.streams.remove(*id);
                json!({})
            }
            other => panic!("{other:?}"),
        };
        Answer { status: 200, body: json!({"data": data}).to_string().into_bytes(), ..Answer::default() }
    }

    fn list(&self, query: &str) -> Value {
        let page: usize = query.split("page=").nth(1).map_or(1, |page| page.parse().unwrap());
        let active = query.contains("status=active");
        let shown = |id: &String, one: &Value| match &self.list_shows {
            Some(list) => list.contains(id),
            None => !active || one["status"] == "active",
        };
        let shown = self.streams.iter().filter(|(id, one)| shown(id, one)).map(|(_, one)| one.clone());
        Value::Array(shown.skip((page - 1) * 100).take(100).collect())
    }

    fn draw(&mut self, environment: &str, post: bool) -> bool {
        let burst = if post { 4.0 } else { 20.0 };
        let (tokens, filled) = self.buckets.entry((environment.to_owned(), post)).or_insert((burst, None));
        let gained = filled.map_or(0.0, |filled| filled.elapsed().as_secs_f64());
        *tokens = (*tokens + gained).min(burst);
        *filled = Some(Instant::now());
        let taken = *tokens >= 1.0;
        if taken {
            *tokens -= 1.0;
        }
        taken
    }
}

fn token(name: &str) -> MuxCredentials {
    MuxCredentials {
        base_url: "http://mux".into(),
        token_id: name.into(),
        token_secret: Secret::new("secret"),
    }
}

fn new(index: usize) -> NewLiveStream {
    NewLiveStream {
        passthrough: format!("memorialstream/cluster/{index}"),
        latency_mode: LatencyMode::Low,
        reconnect_window_seconds: 60,
        test: false,
    }
}

/// Does it as a lane does: in one of its slots, again after a pause when it failed.
async fn in_a_slot<T, F: Future<Output = Result<T, ProviderError>>>(
    slots: &Semaphore,
    spread: usize,
    attempt: impl Fn() -> F,
) -> T {
    let spread = Duration::from_millis(750 + u64::try_from(spread % 5).unwrap() * 100);
    loop {
        let tried = {
            let _slot = slots.acquire().await.unwrap();
            attempt().await
        };
        match tried {
            Ok(done) => return done,
            Err(ProviderError { class: ErrorClass::RateLimited { retry_after: Some(wait) }, .. }) => {
                sleep(wait + spread).await;
            }
            Err(error) => {
                assert_eq!(error.class, ErrorClass::Transient, "{error}");
                sleep(spread).await;
            }
        }
    }
}

/// An Idle service: its stream is made and put to rest.
async fn make(mux: &Mux, slots: &Semaphore, index: usize) -> String {
    let credentials = token("a");
    let made =
        in_a_slot(slots, index, || async { mux.create_stream(&credentials, &new(index), false).await }).await;
    let look = || mux.stream(&credentials, &made.id, HOUR);
    assert_eq!(in_a_slot(slots, index, look).await.unwrap().status, LiveStreamStatus::Idle);
    in_a_slot(slots, index, || mux.disable_stream(&credentials, &made.id)).await;
    let rests = in_a_slot(slots, index, look).await;
    assert_eq!(rests.unwrap().status, LiveStreamStatus::Disabled);
    made.id
}

async fn go_live(mux: &Mux, slots: &Semaphore, small: &SmallMux, id: &str) -> Duration {
    let begun = Instant::now();
    let credentials = token("a");
    in_a_slot(slots, 0, || mux.stream(&credentials, id, SECOND * 6)).await;
    in_a_slot(slots, 0, || mux.enable_stream(&credentials, id)).await;
    let now = in_a_slot(slots, 0, || mux.stream(&credentials, id, Duration::ZERO)).await;
    assert_eq!(now.unwrap().status, LiveStreamStatus::Idle);
    small.set_status(id, "active");
    loop {
        let active = in_a_slot(slots, 0, || mux.active_streams(&credentials, SECOND * 2)).await;
        if active.iter().any(|stream| stream.id == id) {
            return begun.elapsed();
        }
        sleep(SECOND * 2).await;
    }
}

async fn end(mux: &Mux, slots: &Semaphore, id: &str) -> Duration {
    let begun = Instant::now();
    let credentials = token("a");
    in_a_slot(slots, 0, || mux.active_streams(&credentials, SECOND * 2)).await;
    in_a_slot(slots, 0, || mux.complete_stream(&credentials, id)).await;
    in_a_slot(slots, 0, || mux.disable_stream(&credentials, id)).await;
    let active = in_a_slot(slots, 0, || mux.active_streams(&credentials, SECOND * 2)).await;
    assert!(!active.iter().any(|stream| stream.id == id), "a list that lags is believed");
    let ended = in_a_slot(slots, 0, || mux.stream(&credentials, id, SECOND * 6)).await;
    assert_eq!(ended.unwrap().status, LiveStreamStatus::Disabled);
    begun.elapsed()
}

#[tokio::test(start_paused = true)]
async fn three_hundred_creates_delay_no_go_live_and_no_end() {
    let slots = Semaphore::new(32);
    let small = SmallMux::with_streams(2);
    let mux = Mux::new(Arc::clone(&small) as Arc<dyn Transport>);
    let alone = [go_live(&mux, &slots, &small, "s0").await, end(&mux, &slots, "s0").await];
    sleep(SECOND * 60).await;
    let creates = async { join_all((0..300).map(|index| make(&mux, &slots, index))).await };
    let service = async {
        sleep(SECOND * 40).await;
        let live = go_live(&mux, &slots, &small, "s1").await;
        sleep(SECOND * 60).await;
        [live, end(&mux, &slots, "s1").await]
    };
    let (_, beside) = tokio::join!(creates, service);
    println!("go-live and End, alone: {alone:?}; beside 300 creates: {beside:?}");
    for (alone, beside) in alone.into_iter().zip(beside) {
        // What a request takes on its way differs by up to 90 ms.
        assert!(beside <= alone.mul_f64(1.2) + Duration::from_millis(270), "{alone:?}, {beside:?}");
    }
    assert_eq!(small.state().refusals, 0);
}

#[tokio::test(start_paused = true)]
async fn two_hundred_creates_come_at_the_limiters_pace_without_a_refusal_or_a_look() {
    let slots = Semaphore::new(32);
    let small = SmallMux::with_streams(0);
    let mux = Mux::new(Arc::clone(&small) as Arc<dyn Transport>);
    let begun = Instant::now();
    join_all((0..200).map(|index| make(&mux, &slots, index))).await;
    let took = begun.elapsed();
    println!("200 creates: {took:?}; the limit allows 196 s");
    assert!(took <= Duration::from_secs(196).mul_f64(1.03), "{took:?}");
    assert_eq!(small.state().refusals, 0);
    assert_eq!((small.requests("POST"), small.requests("PUT")), (200, 200));
    assert_eq!(small.requests("GET"), 1, "whoami");
}

#[tokio::test(start_paused = true)]
async fn two_tokens_of_an_environment_share_one_limit_and_one_answer() {
    let small = SmallMux::with_streams(30);
    let mux = Mux::new(Arc::clone(&small) as Arc<dyn Transport>);
    let (first, second) = (token("a1"), token("a2"));
    mux.active_streams(&first, HOUR).await.unwrap();
    mux.active_streams(&second, HOUR).await.unwrap();
    assert_eq!(small.requests("status=active"), 1, "the answer of one token serves both");
    let starts = (0..60).map(async |index| {
        let credentials = if index % 2 == 0 { &first } else { &second };
        mux.stream(credentials, &format!("s{}", index % 30), Duration::ZERO).await
    });
    join_all(starts).await;
    sleep(SECOND * 60).await;
    assert_eq!(small.state().refusals, 0);
    let elsewhere = token("b1");
    mux.active_streams(&elsewhere, HOUR).await.unwrap();
    assert_eq!(small.requests("status=active"), 2, "another environment has answers of its own");
}

#[tokio::test(start_paused = true)]
async fn three_hundred_idle_services_and_ten_live_ones_cost_little() {
    let small = SmallMux::with_streams(2_000);
    (0..10).for_each(|index| small.set_status(&format!("s{index}"), "active"));
    let mux = Mux::new(Arc::clone(&small) as Arc<dyn Transport>);
    let credentials = token("a");
    let minutes = 60;
    let until = Instant::now() + SECOND * 60 * minutes;
    let live = (0..10).map(async |index| {
        sleep(Duration::from_millis(index * 190)).await;
        while Instant::now() < until {
            let active = mux.active_streams(&credentials, SECOND * 6).await.unwrap();
            assert_eq!(active.len(), 10);
            sleep(SECOND * 2).await;
        }
    });
    let idle = (10..310).map(async |index: u32| {
        let id = format!("s{index}");
        while Instant::now() < until {
            if let SpareLook::Answered(seen) = mux.spare_look(&credentials, &id, SECOND * 450).await {
                assert!(seen.unwrap().is_some());
            }
            // As their passes do, for second streams.
            let _ = mux.marked_streams(&credentials, MARKER, SECOND * 1800).await;
            sleep(SECOND * (450 + index)).await;
        }
    });
    futures::future::join(join_all(live), join_all(idle)).await;
    let by_id = small.requests("live-streams/");
    let all = small.requests("");
    let state = small.state();
    let asked = state.requests.iter().map(|(_, name)| name);
    let whole_list = asked.filter(|name| name.contains("live-streams?") && !name.contains("status=")).count();
    let idle = by_id + whole_list;
    println!(
        "in {minutes} minutes: {all} requests, {idle} of them for Idle services, {whole_list} for whole lists"
    );
    assert!(all < 30 * 60 && idle < 5 * 60, "{all}, {by_id}, {whole_list}");
}

/// The scan of 2,000 streams takes 20 pages of a list that is asked for once a second: nobody on whom nothing depends is
/// told that Mux does not answer.
#[tokio::test(start_paused = true)]
async fn a_spare_look_that_waits_behind_a_scan_says_nothing() {
    let small = SmallMux::with_streams(4_000);
    let mux = Mux::new(Arc::clone(&small) as Arc<dyn Transport>);
    let credentials = token("a");
    mux.environment(&credentials).await.unwrap();
    // As a pass asks: the stream, then the scan, and again after a pause.
    let passes = (0..10).map(async |index: usize| {
        let (mut said, id) = (0, format!("s{index}"));
        for _ in 0..20 {
            if let SpareLook::Answered(seen) = mux.spare_look(&credentials, &id, SECOND * 600).await {
                assert!(seen.unwrap().is_some());
                said += 1;
            }
            // Who searches is told that it takes longer.
            let _ = mux.marked_streams(&credentials, MARKER, SECOND * 600).await;
            sleep(SECOND).await;
        }
        said
    });
    let said: usize = join_all(passes).await.into_iter().sum();
    assert!(said > 0, "those that were answered are told");
    assert!((1..=41).contains(&small.requests("limit=100")), "{}", small.requests("limit=100"));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_lags_does_not_bring_back_what_was_ended() {
    let small = SmallMux::with_streams(1);
    small.set_status("s0", "active");
    let mux = Mux::new(Arc::clone(&small) as Arc<dyn Transport>);
    let credentials = token("a");
    small.state().list_shows = Some(vec!["s0".into()]);
    assert_eq!(mux.active_streams(&credentials, SECOND).await.unwrap().len(), 1);
    mux.complete_stream(&credentials, "s0").await.unwrap();
    mux.disable_stream(&credentials, "s0").await.unwrap();
    sleep(SECOND * 10).await;
    assert_eq!(mux.active_streams(&credentials, SECOND).await.unwrap().len(), 0);
    sleep(SECOND * 60).await;
    assert_eq!(mux.active_streams(&credentials, SECOND).await.unwrap().len(), 1, "Mux insists on it");
}

/// A stream is made and put to rest; seconds later somebody goes live with it.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_new_is_believed_to_be_active_at_once() {
    let small = SmallMux::with_streams(0);
    let mux = Mux::new(Arc::clone(&small) as Arc<dyn Transport>);
    let credentials = token("a");
    let made = mux.create_stream(&credentials, &new(1), false).await.unwrap();
    mux.disable_stream(&credentials, &made.id).await.unwrap();
    mux.enable_stream(&credentials, &made.id).await.unwrap();
    mux.stream(&credentials, &made.id, Duration::ZERO).await.unwrap();
    small.set_status(&made.id, "active");
    assert_eq!(mux.active_streams(&credentials, SECOND).await.unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_old_list_does_not_bring_back_settings_that_were_changed() {
    let small = SmallMux::with_streams(1);
    small.set_status("s0", "active");
    let mux = Mux::new(Arc::clone(&small) as Arc<dyn Transport>);
    let window = async |freshness| {
        let listed = mux.active_streams(&token("a1"), freshness).await.unwrap();
        listed[0].reconnect_window()
    };
    assert_eq!(window(6 * SECOND).await, 60);
    let update = LiveStreamUpdate { reconnect_window_seconds: Some(240), ..LiveStreamUpdate::default() };
    mux.update_stream(&token("a1"), "s0", &update).await.unwrap();
    assert_eq!(window(6 * SECOND).await, 240, "the list was asked for before the change");
    // Somebody else changes it meanwhile: our word does not hold for ever.
    small.state().streams.get_mut("s0").unwrap()["reconnect_window"] = json!(5);
    sleep(40 * SECOND).await;
    assert_eq!(window(6 * SECOND).await, 5);
}

#[tokio::test(start_paused = true)]
async fn one_word_that_there_is_no_such_stream_is_not_believed() {
    let small = SmallMux::with_streams(1);
    let mux = Mux::new(Arc::clone(&small) as Arc<dyn Transport>);
    small.state().denials = 1;
    assert!(mux.stream(&token("a1"), "s0", Duration::ZERO).await.unwrap().is_some());
    sleep(5 * SECOND).await;
    small.state().denials = 2;
    assert!(mux.stream(&token("a1"), "s0", Duration::ZERO).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn an_old_list_does_not_bring_back_what_was_deleted() {
    let small = SmallMux::with_streams(2);
    let mux = Mux::new(Arc::clone(&small) as Arc<dyn Transport>);
    let credentials = token("a");
    let listed = || mux.marked_streams(&credentials, MARKER, HOUR);
    assert_eq!(listed().await.unwrap(), ["s0", "s1"]);
    let asked = small.requests("GET /video/v1/live-streams");
    mux.delete_stream(&credentials, "s0").await.unwrap();
    assert_eq!(listed().await.unwrap(), ["s0", "s1"], "as it was when it was asked for");
    assert!(mux.stream(&credentials, "s0", HOUR).await.unwrap().is_none());
    assert_eq!(small.requests("GET /video/v1/live-streams"), asked, "nothing was asked anew for it");
}

#[tokio::test(start_paused = true)]
async fn before_a_start_muxs_own_word_is_asked_for() {
    let small = SmallMux::with_streams(1);
    small.set_status("s0", "disabled");
    let mux = Mux::new(Arc::clone(&small) as Arc<dyn Transport>);
    let credentials = token("a");
    mux.stream(&credentials, "s0", SECOND * 6).await.unwrap();
    mux.enable_stream(&credentials, "s0").await.unwrap();
    // Somebody else's encoder comes in between.
    small.set_status("s0", "active");
    let known = mux.stream(&credentials, "s0", SECOND * 6).await.unwrap().unwrap();
    assert_eq!(known.status, LiveStreamStatus::Idle, "what we did is known without asking");
    let now = mux.stream(&credentials, "s0", Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(now.status, LiveStreamStatus::Active);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_failed_is_followed_by_a_look() {
    let small = SmallMux::with_streams(1);
    let mux = Mux::new(Arc::clone(&small) as Arc<dyn Transport>);
    let credentials = token("a");
    mux.stream(&credentials, "s0", HOUR).await.unwrap();
    small.state().fails = true;
    mux.disable_stream(&credentials, "s0").await.unwrap_err();
    small.state().fails = false;
    small.set_status("s0", "disabled");
    let seen = mux.stream(&credentials, "s0", HOUR).await.unwrap().unwrap();
    assert_eq!(seen.status, LiveStreamStatus::Disabled);
}

/// One hanging account, and how little of the lane's slots it holds: 500 passes that look and end, side by side.
#[tokio::test(start_paused = true)]
async fn a_hanging_account_holds_few_slots_and_its_ends_go_out_side_by_side() {
    let small = SmallMux::with_streams(500);
    small.state().unlimited = true;
    let mux = Mux::new(Arc::clone(&small) as Arc<dyn Transport>);
    let credentials = token("a");
    mux.active_streams(&credentials, HOUR).await.unwrap();
    small.state().hangs_until = Some(Instant::now() + SECOND * 300);
    let held = Mutex::new(Duration::ZERO);
    let begun = Instant::now();
    let passes = (0..500).map(async |index: u64| {
        let id = format!("s{index}");
        for pause in [1, 2, 4, 8, 16, 30, 30, 30, 30, 30, 30] {
            let before = Instant::now();
            let seen = mux.stream(&credentials, &id, SECOND * 600).await;
            *held.lock().unwrap() += before.elapsed();
            assert!(seen.is_err());
            sleep(SECOND * pause).await;
        }
    });
    join_all(passes).await;
    let slots = held.lock().unwrap().as_secs_f64() / begun.elapsed().as_secs_f64();
    println!("500 passes that look at a hanging account hold {slots:.1} slots");
    assert!(slots < 8.0, "{slots}");

    sleep(SECOND * 600).await;
    small.state().hangs_until = Some(Instant::now() + SECOND * 8);
    let before = Instant::now();
    join_all((0..5).map(|index| {
        let (mux, credentials) = (&mux, &credentials);
        async move {
            let ended = mux.disable_stream(credentials, &format!("s{index}")).await;
            assert_eq!(ended.unwrap_err().class, ErrorClass::Transient);
        }
    }))
    .await;
    assert!(before.elapsed() <= SECOND * 5, "nobody waits for the whole time-out");
    sleep(SECOND * 20).await;
    assert_eq!(small.requests("disable"), 5, "each went out once");
    let seen = mux.stream(&credentials, "s4", HOUR).await.unwrap().unwrap();
    assert_eq!(seen.status, LiveStreamStatus::Disabled);
}

//! The simulator to oneself, a client, and an encoder.

use memorialstream_lab::{
    LabDescription, MuxAdmin, MuxSettings, RateLimits as SimulatedLimits, RequestCount, StreamRecord,
};
use memorialstream_operator::providers::Secret;
use memorialstream_operator::providers::mux::{
    HttpTransport, LatencyMode, LiveStream, MuxClient, MuxCredentials, NewLiveStream, Rate, RateLimiter,
    RateLimits,
};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};

/// It bounds a failing test; a passing one never waits for it.
const TIMEOUT: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);

/// Faults and limits strike everybody: one test at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// The simulator, without faults and limits until a test sets some.
pub struct Stage {
    pub lab: LabDescription,
    pub admin: MuxAdmin,
    pub client: MuxClient,
    /// As the lab started it, but for the rate limits.
    pub settings: MuxSettings,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    pub async fn enter() -> Self {
        let turn = TURN.lock().await;
        let lab = memorialstream_lab::attach().expect("a lab");
        let admin = MuxAdmin::new(&lab);
        admin.clear_faults().await.expect("clear the faults");
        let timings = admin.settings().await.expect("the settings").timings;
        let settings =
            MuxSettings { rate_limits: SimulatedLimits::UNLIMITED, timings, ..MuxSettings::default() };
        admin.set_settings(&settings).await.expect("lift the limits");
        admin.reset_counters().await.expect("reset the counters");
        let client = client(&lab, lab.mux.token_secret.reveal());
        Self { lab, admin, client, settings, _turn: turn }
    }

    /// Leaves the simulator to others as the lab started it.
    pub async fn leave(self, streams: &[LiveStream]) {
        self.admin.clear_faults().await.expect("clear the faults");
        for stream in streams {
            self.client.delete_live_stream(&stream.id).await.expect("delete");
        }
        let settings = MuxSettings { rate_limits: SimulatedLimits::default(), ..self.settings };
        self.admin.set_settings(&settings).await.expect("restore the settings");
    }

    /// How many requests of this kind the simulator took since the stage was entered.
    pub async fn requests(&self, wanted: impl Fn(&RequestCount) -> bool) -> u64 {
        let counts = self.admin.counters().await.expect("counters");
        counts.iter().filter(|one| wanted(one)).map(|one| one.count).sum()
    }

    pub async fn create(&self, name: &str) -> LiveStream {
        self.client.create_live_stream(&new(name)).await.expect("create a live stream")
    }

    pub async fn get(&self, stream: &LiveStream) -> LiveStream {
        self.client.live_stream(&stream.id).await.expect("get it").expect("it is there")
    }

    /// What was ever made with this marker.
    pub async fn made(&self, new: &NewLiveStream) -> Vec<StreamRecord> {
        let all = self.admin.streams().await.expect("the simulator's streams");
        all.into_iter().filter(|one| one.passthrough.as_deref() == Some(new.passthrough.as_str())).collect()
    }

    /// The stream, once `wanted` holds for it.
    pub async fn until(
        &self,
        what: &str,
        stream: &LiveStream,
        wanted: impl Fn(&LiveStream) -> bool,
    ) -> LiveStream {
        eventually(what, async || {
            let now = self.get(stream).await;
            if wanted(&now) { Ok(now) } else { Err(format!("{now:?}")) }
        })
        .await
    }

    pub fn encoder(&self, stream: &LiveStream) -> Encoder {
        Encoder::start(&format!("{}/{}", self.lab.mux.rtmp_url, stream.stream_key.reveal()))
    }
}

/// A client with this secret, whose own limiter holds nothing back.
pub fn client(lab: &LabDescription, secret: &str) -> MuxClient {
    let credentials = MuxCredentials {
        base_url: lab.mux.url.clone(),
        token_id: lab.mux.token_id.clone(),
        token_secret: Secret::new(secret),
    };
    let rate = Rate { burst: 1_000.0, per_second: 1_000.0 };
    let limiter = RateLimiter::new(RateLimits { post: rate, other: rate });
    MuxClient::new(credentials, Arc::new(limiter), Arc::new(HttpTransport::new().expect("a transport")))
        .expect("a client")
}

/// A live stream to be made, with a marker that no earlier run has used.
pub fn new(name: &str) -> NewLiveStream {
    let unique = jiff::Timestamp::now().as_nanosecond();
    NewLiveStream {
        passthrough: format!("mux-client/{name}/{unique}"),
        latency_mode: LatencyMode::Standard,
        reconnect_window_seconds: 60,
        test: false,
    }
}

/// Looks until `look` finds something, or panics with what was seen last.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) if began.elapsed() > TIMEOUT => panic!("still not: {what}; last seen: {seen}"),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// An encoder that sends a test picture, until it is cut off or dropped.
pub struct Encoder(Child);

impl Encoder {
    pub fn start(url: &str) -> Self {
        let pipeline = "videotestsrc is-live=true ! video/x-raw,width=320,height=180,framerate=15/1 \
            ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 ! h264parse \
            ! flvmux streamable=true ! rtmp2sink name=sink";
        let child = Command::new("gst-launch-1.0")
            .args(pipeline.split_whitespace())
            .arg(format!("location={url}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start gst-launch-1.0");
        Self(child)
    }

    /// Waits until the ingest has refused it or cut it off.
    pub async fn ends(mut self) {
        eventually("the encoder is cut off", async || match self.0.try_wait().expect("its state") {
            Some(status) if status.success() => panic!("the encoder ended by itself"),
            Some(_) => Ok(()),
            None => Err("it sends".to_owned()),
        })
        .await;
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // One that was cut off is gone already.
        if self.0.kill().is_ok() {
            let _status = self.0.wait();
        }
    }
}

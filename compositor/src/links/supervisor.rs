//! Keeps one pipeline alive: builds it, watches it, takes it down when it fails or ends, and builds it again.

use crate::backoff::Backoff;
use crate::engine::MixClock;
use crate::redact::redact;
use gstreamer as gst;
use gstreamer::prelude::*;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a link is looked after.
const TICK: Duration = Duration::from_millis(100);
/// How long taking a pipeline down may take before it is left to itself.
pub(crate) const TEARDOWN: Duration = Duration::from_secs(5);

/// One thing to keep alive.
pub trait Link: Send + 'static {
    /// What it is called in logs.
    fn name(&self) -> String;

    /// Builds a fresh pipeline; the supervisor starts it.
    fn build(&mut self) -> anyhow::Result<gst::Pipeline>;

    /// Looks after the running pipeline, about ten times a second. `age` counts from its start.
    fn check(&mut self, age: Duration) -> Verdict;

    /// Says goodbye to the peer before the pipeline is taken down on request.
    fn finish(&mut self, _pipeline: &gst::Pipeline) {}

    /// The pipeline is down; `reason` tells why, unless it was on request.
    fn ended(&mut self, reason: Option<&str>);
}

/// What a look at a link finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is on its way.
    Starting,
    /// It does what it is for.
    Working,
    /// It has to be built anew, and why.
    Broken(String),
    /// It must never be built again; [`Link::ended`] was told why.
    Over(String),
}

enum Order {
    Stop,
    Rebuild,
    /// Nothing to do for one that runs; one that waits tries at once.
    Hurry,
}

/// A link's supervisor, running on a thread of its own. Dropping it stops the link without waiting for it.
pub struct Supervisor {
    orders: Sender<Order>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Supervisor {
    /// Starts to keep `link` alive, on `clock`.
    pub fn start(link: impl Link, clock: MixClock) -> anyhow::Result<Self> {
        let (orders, received) = mpsc::channel();
        let thread = std::thread::Builder::new().name(link.name());
        let thread = thread.spawn(move || supervise(link, &clock, &received))?;
        Ok(Self { orders, thread: Mutex::new(Some(thread)) })
    }

    /// Builds it anew now.
    pub fn rebuild(&self) {
        self.order(Order::Rebuild);
    }

    /// If it waits before its next attempt, it waits no longer.
    pub fn hurry(&self) {
        self.order(Order::Hurry);
    }

    /// Tells it to stop. [`wait`](Self::wait) waits for that.
    pub fn stop(&self) {
        self.order(Order::Stop);
    }

    /// Stops it and waits until it is down.
    pub fn wait(&self) {
        self.stop();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a link's supervisor panicked");
        }
    }

    fn order(&self, order: Order) {
        // Whoever is gone needs no orders.
        if self.orders.send(order).is_err() {
            tracing::trace!("the link is over already");
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Why a pipeline is taken down.
enum End {
    Stopped,
    Rebuild,
    Broken(String),
    Over(String),
}

fn supervise(mut link: impl Link, clock: &MixClock, orders: &Receiver<Order>) {
    let mut backoff = Backoff::default();
    loop {
        let (end, worked) = match link.build() {
            Ok(pipeline) => run(&mut link, &pipeline, clock, orders),
            Err(error) => (End::Broken(format!("{error:#}")), false),
        };
        let reason = match end {
            End::Stopped => return link.ended(None),
            End::Over(reason) => return link.ended(Some(&redact(&reason))),
            End::Rebuild => {
                link.ended(None);
                continue;
            }
            End::Broken(reason) => redact(&reason),
        };
        link.ended(Some(&reason));
        let wait = backoff.next(worked);
        tracing::warn!(link = link.name(), reason, retry_in_milliseconds = wait.as_millis(), "link ended");
        match orders.recv_timeout(wait) {
            Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            Ok(Order::Rebuild | Order::Hurry) | Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Runs one pipeline to its end, and tells whether it ever worked.
fn run(
    link: &mut impl Link,
    pipeline: &gst::Pipeline,
    clock: &MixClock,
    orders: &Receiver<Order>,
) -> (End, bool) {
    clock.adopt(pipeline);
    let mut worked = false;
    let end = match pipeline.set_state(gst::State::Playing) {
        Ok(_) => watch(link, pipeline, orders, &mut worked),
        Err(_) => End::Broken(next_error(pipeline).unwrap_or_else(|| "the pipeline does not start".into())),
    };
    if matches!(end, End::Stopped | End::Rebuild) {
        link.finish(pipeline);
    }
    take_down(&link.name(), pipeline.clone());
    (end, worked)
}

fn watch(link: &mut impl Link, pipeline: &gst::Pipeline, orders: &Receiver<Order>, worked: &mut bool) -> End {
    let started = Instant::now();
    let Some(bus) = pipeline.bus() else { return End::Broken("the pipeline has no bus".into()) };
    let types = [gst::MessageType::Error, gst::MessageType::Eos, gst::MessageType::Latency];
    let mut next_look = Instant::now();
    loop {
        match orders.try_recv() {
            Ok(Order::Stop) | Err(mpsc::TryRecvError::Disconnected) => return End::Stopped,
            Ok(Order::Rebuild) => return End::Rebuild,
            Ok(Order::Hurry) | Err(mpsc::TryRecvError::Empty) => {}
        }
        if let Some(message) = bus.timed_pop_filtered(gst::ClockTime::try_from(TICK).ok(), &types) {
            match message.view() {
                gst::MessageView::Error(error) => {
                    // The link may know better what became of it than the element that stumbled.
                    return match link.check(started.elapsed()) {
                        Verdict::Over(reason) => End::Over(reason),
                        _ => End::Broken(describe(error)),
                    };
                }
                gst::MessageView::Eos(_) => return End::Broken("the stream ended".into()),
                _ => {
                    if let Err(error) = pipeline.recalculate_latency() {
                        tracing::debug!(link = link.name(), %error, "the latency cannot be computed");
                    }
                }
            }
        }
        if Instant::now() < next_look {
            continue;
        }
        next_look = Instant::now() + TICK;
        match link.check(started.elapsed()) {
            Verdict::Starting => {}
            Verdict::Working => *worked = true,
            Verdict::Broken(reason) => return End::Broken(reason),
            Verdict::Over(reason) => return End::Over(reason),
        }
    }
}

/// Takes a pipeline down on a thread of its own: should an element hang, only that thread is lost.
fn take_down(name: &str, pipeline: gst::Pipeline) {
    let (done, wait) = mpsc::channel();
    let spawned = std::thread::Builder::new().name(format!("{name}-down")).spawn(move || {
        let result = pipeline.set_state(gst::State::Null);
        drop(pipeline);
        // Nobody listens any more when it took too long.
        if done.send(result.is_ok()).is_err() {
            tracing::warn!("a pipeline came down after all");
        }
    });
    let down = match spawned {
        Ok(_) => wait.recv_timeout(TEARDOWN).unwrap_or(false),
        Err(_) => false,
    };
    if !down {
        tracing::error!(link = name, "its pipeline does not come down; it is left to itself");
    }
}

fn next_error(pipeline: &gst::Pipeline) -> Option<String> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    match message.view() {
        gst::MessageView::Error(error) => Some(describe(error)),
        _ => None,
    }
}

fn describe(error: &gst::message::Error) -> String {
    match error.debug() {
        // The last line of the debug text is the element's own account; what precedes it is source positions.
        Some(debug) => match debug.lines().last() {
            Some(detail) => format!("{}: {}", error.error(), detail.trim()),
            None => error.error().to_string(),
        },
        None => error.error().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    type Ends = Arc<Mutex<Vec<Option<String>>>>;

    struct Scripted {
        script: Vec<Verdict>,
        ends: Ends,
        builds: Arc<Mutex<usize>>,
    }

    impl Link for Scripted {
        fn name(&self) -> String {
            "scripted".into()
        }

        fn build(&mut self) -> anyhow::Result<gst::Pipeline> {
            *self.builds.lock().unwrap() += 1;
            let pipeline = gst::Pipeline::new();
            pipeline.add(&gst::parse::bin_from_description("fakesrc is-live=true ! fakesink", false)?)?;
            Ok(pipeline)
        }

        fn check(&mut self, _age: Duration) -> Verdict {
            if self.script.is_empty() { Verdict::Working } else { self.script.remove(0) }
        }

        fn ended(&mut self, reason: Option<&str>) {
            self.ends.lock().unwrap().push(reason.map(ToString::to_string));
        }
    }

    fn supervised(script: Vec<Verdict>) -> (Supervisor, Ends, Arc<Mutex<usize>>) {
        crate::initialize().unwrap();
        let (ends, builds) = (Ends::default(), Arc::new(Mutex::new(0)));
        let link = Scripted { script, ends: ends.clone(), builds: builds.clone() };
        (Supervisor::start(link, MixClock::start()).unwrap(), ends, builds)
    }

    fn eventually(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "it did not happen");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_broken_link_is_built_again() {
        let token = "token eyJhbGciOi.eyJ2aWRl.c1gn".to_string();
        let (supervisor, ends, builds) = supervised(vec![Verdict::Working, Verdict::Broken(token)]);
        eventually(|| *builds.lock().unwrap() == 2);
        supervisor.wait();
        assert_eq!(*ends.lock().unwrap(), [Some("token [secret]".to_string()), None]);
    }

    #[test]
    fn one_that_is_over_stays_so() {
        let (supervisor, ends, builds) = supervised(vec![Verdict::Over("taken".into())]);
        eventually(|| !ends.lock().unwrap().is_empty());
        supervisor.rebuild();
        supervisor.wait();
        assert_eq!((*builds.lock().unwrap(), ends.lock().unwrap().clone()), (1, vec![Some("taken".into())]));
    }

    #[test]
    fn it_is_rebuilt_on_request() {
        let (supervisor, ends, builds) = supervised(Vec::new());
        eventually(|| *builds.lock().unwrap() == 1);
        supervisor.rebuild();
        eventually(|| *builds.lock().unwrap() == 2);
        supervisor.wait();
        assert_eq!(*ends.lock().unwrap(), [None, None]);
    }
}

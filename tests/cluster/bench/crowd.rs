//! A go-live and an end beside many creates, and what many creates take. The simulator keeps Mux's published limits.

use super::Stage;
use crate::support::service::Service;
use crate::support::{eventually, holds, spec};
use memorialstream_operator::api::spec::{State, Via};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// More than the limit takes in the time of a go-live and an end.
const NEIGHBOURS: usize = 300;
const CREATES: usize = 200;
const ROUNDS: usize = 3;
/// The slate says goodbye before the sender stops.
const FAREWELL: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures for some minutes: make bench"]
async fn go_live_and_end_beside_many_creates() {
    let stage = Stage::alone("crowd").await;
    println!("\n### A go-live and an end, alone and beside {NEIGHBOURS} creates in the same environment\n");
    println!("| beside/alone | what | alone, median | beside, median |\n| --- | --- | --- | --- |");
    let mut alone = Vec::new();
    for round in 0..ROUNDS {
        alone.push(day(&stage, &format!("alone-{round}")).await);
    }
    for index in 0..NEIGHBOURS {
        neighbour(&stage, index).apply(idle()).await;
    }
    let mut beside = Vec::new();
    for round in 0..ROUNDS {
        beside.push(day(&stage, &format!("beside-{round}")).await);
    }
    let left = missing(&stage, NEIGHBOURS + 2 * ROUNDS).await;
    let parts: [(&str, Part); 3] = [
        ("Live asked → OnAir", |day| day.live),
        ("End asked → no sender at Mux", |day| day.end),
        ("of that without the farewell of 5 s: the end's own share", |day| day.end.saturating_sub(FAREWELL)),
    ];
    for (name, part) in parts {
        let [alone, beside] = [&alone, &beside].map(|days| median(days, part).as_secs_f64());
        println!("| {:.2} | {name} | {alone:.2} s | {beside:.2} s |", beside / alone);
    }
    println!("\n{left} of the creates were still to come when the last of these was over.");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures for some minutes: make bench"]
async fn many_creates() {
    let stage = Stage::alone("creates").await;
    let limits = stage.mux.settings().await.expect("settings").rate_limits.post.expect("a limit");
    let minimum = (CREATES as f64 - limits.burst) / limits.per_second;
    stage.mux.reset_counters().await.expect("reset");
    let began = Instant::now();
    for index in 0..CREATES {
        neighbour(&stage, index).apply(idle()).await;
    }
    while missing(&stage, CREATES).await > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = began.elapsed().as_secs_f64();
    let counters = stage.mux.counters().await.expect("counters");
    let refused: u64 = counters.iter().filter(|count| count.status == 429).map(|count| count.count).sum();
    println!("\n### {CREATES} MemorialStreams applied at once, until the last has its live stream\n");
    println!(
        "| took/the limit's minimum | took | the limit's minimum | answers 429 |\n| --- | --- | --- | --- |"
    );
    println!("| {:.3} | {took:.1} s | {minimum:.0} s | {refused} |", took / minimum);
}

type Part = fn(&Day) -> Duration;

/// How long one service's parts took.
struct Day {
    live: Duration,
    end: Duration,
}

/// A service goes live and ends.
async fn day(stage: &Stage, name: &str) -> Day {
    let service = stage.service(name);
    let began = Instant::now();
    service.apply(spec(Via::Compositor, &["lectern"], json!({"state": "Live"}))).await;
    service.reaches(State::Live).await;
    let live = began.elapsed();
    let uid = service.get().await.metadata.uid.expect("a uid");
    let began = Instant::now();
    service.ask(State::Ended).await;
    eventually("no sender is at Mux", async || {
        let encoders: usize = stage.streams_of_uid(&uid).await.iter().map(|stream| stream.encoders).sum();
        holds(encoders == 0, || format!("{encoders} encoders"))
    })
    .await;
    let end = began.elapsed();
    service.reaches(State::Ended).await;
    Day { live, end }
}

fn median(days: &[Day], part: Part) -> Duration {
    let mut times: Vec<_> = days.iter().map(part).collect();
    times.sort();
    times[times.len() / 2]
}

fn neighbour(stage: &Stage, index: usize) -> Service {
    stage.service(&format!("neighbour-{index}"))
}

fn idle() -> Value {
    spec(Via::Compositor, &["lectern"], json!({}))
}

/// How many of `wanted` live streams are not made yet.
async fn missing(stage: &Stage, wanted: usize) -> usize {
    wanted.saturating_sub(stage.mux.streams().await.expect("streams").len())
}

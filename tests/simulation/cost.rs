//! What services cost at Mux, whose rate limit all of an environment share: what is live, not what exists.

use crate::cluster::Key;
use crate::director::spec;
use crate::faults::{Party, Site};
use crate::land::Land;
use crate::run::{Stage, TOKEN, operators_account, simulate};
use memorialstream_operator::api::spec::{State, Via};
use std::collections::BTreeMap;
use std::sync::Mutex;

const MINUTES: u64 = 20;

fn make(stage: &Stage, name: &str, count: usize, state: State) {
    for index in 0..count {
        let key: Key = ("default".to_owned(), format!("{name}-{index}"));
        let spec = spec(Some(state), Via::Compositor);
        stage.land().make(&key, &format!("uid-{name}-{index}"), spec, operators_account(), None);
    }
}

fn asked(land: &Land) -> BTreeMap<Site, u64> {
    let called = land.faults.called.iter().filter(|(site, _)| site.party() == Party::Mux);
    called.map(|(site, count)| (*site, *count)).collect()
}

/// Requests to Mux in a minute, of ten Live services and so many Idle ones, beside 2,000 streams of another product.
fn requests_a_minute(idle: usize) -> f64 {
    let requests = Mutex::new(0.0);
    let outcome = simulate(1, |mut stage| async {
        stage.land().make_foreign_streams(TOKEN, 2_000);
        make(&stage, "live", 10, State::Live);
        make(&stage, "idle", idle, State::Idle);
        let settled = |land: &mut Land| land.unsettled().is_empty();
        while !settled(&mut stage.land()) {
            assert!(stage.land().now < 3_600_000, "{:?}", stage.land().unsettled());
            stage.pass_time(10_000).await;
        }
        // Of what was just made everything is known for ten minutes.
        stage.pass_time(900_000).await;
        let before = asked(&stage.land());
        stage.pass_time(MINUTES * 60_000).await;
        let after = asked(&stage.land());
        let since = |site: &Site| after[site] - before.get(site).copied().unwrap_or(0);
        let each = after.keys().map(|site| format!("{site:?} {}", since(site)));
        println!(
            "{idle} Idle, 10 Live, 2,000 others, {MINUTES} min: {}",
            each.collect::<Vec<_>>().join(", ")
        );
        *requests.lock().unwrap() = after.keys().map(since).sum::<u64>() as f64 / MINUTES as f64;
        stage
    });
    assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
    requests.into_inner().unwrap()
}

#[test]
fn what_is_idle_costs_mux_next_to_nothing() {
    let (alone, beside) = (requests_a_minute(0), requests_a_minute(300));
    println!("{alone:.1} requests a minute without Idle services, {beside:.1} with 300");
    assert!(beside < 30.0, "{beside} requests a minute");
    assert!(beside - alone < 5.0, "300 Idle services add {}", beside - alone);
}

//! One object's trouble changes another's times by nothing but the provider's rate limit: each run is made twice, with
//! the trouble and without.

use crate::bounds;
use crate::cluster::Key;
use crate::director::{Account, spec};
use crate::faults::Party;
use crate::run::{JANE, LIVEKIT_B, Stage, TOKEN_B, operators_account, simulate};
use memorialstream_operator::api::spec::{State, Via};
use std::sync::Mutex;

/// What the neighbours are, and what ails them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    /// Forty of a tenant whose Mux does not answer: more than there are slots.
    BlackHoles,
    /// Forty Idle objects of the same account, applied at once just before.
    Crowd,
    /// A thousand streams of another product in the same environment, and ten Idle objects.
    ManyStreams,
    /// Eight Live objects of the same account, while Mux does not answer anybody.
    SilentMux,
    /// Eight Live objects of a tenant whose LiveKit stops answering.
    SilentLiveKit,
    /// Eight Live objects of the same account, whose pods stop answering.
    HungPods,
}

fn make(stage: &Stage, count: usize, state: State, tenant: bool) {
    for index in 0..count {
        let (namespace, own) = if tenant { ("tenant", Some("own")) } else { ("default", None) };
        let key: Key = (namespace.to_owned(), format!("neighbour-{index}"));
        let account = if tenant {
            Account { token_id: TOKEN_B.into(), livekit_url: LIVEKIT_B.into() }
        } else {
            operators_account()
        };
        let spec = spec(Some(state), Via::Compositor);
        stage.land().make(&key, &format!("uid-n{index}"), spec, account, own);
    }
}

/// How long a go-live and an end took, in milliseconds.
fn times(trouble: Trouble, there: bool) -> (u64, u64) {
    let times = Mutex::new((0, 0));
    simulate(1, |mut stage| async {
        if there {
            match trouble {
                Trouble::BlackHoles => {
                    stage.land().faults.hanging = Some((Party::Mux, TOKEN_B.into()));
                    make(&stage, 40, State::Idle, true);
                }
                Trouble::Crowd => make(&stage, 40, State::Idle, false),
                Trouble::ManyStreams => {
                    stage.land().make_foreign_streams(crate::run::TOKEN, 1_000);
                    make(&stage, 10, State::Idle, false);
                }
                Trouble::SilentMux | Trouble::HungPods => make(&stage, 8, State::Live, false),
                Trouble::SilentLiveKit => make(&stage, 8, State::Live, true),
            }
            stage.pass_time(1_000).await;
        }
        if matches!(trouble, Trouble::SilentMux | Trouble::SilentLiveKit | Trouble::HungPods) {
            stage.pass_time(60_000).await;
        }
        match trouble {
            Trouble::SilentLiveKit => {
                stage.land().faults.hanging = Some((Party::LiveKit, LIVEKIT_B.into()));
            }
            Trouble::HungPods => {
                let until = stage.land().now + 300_000;
                stage.land().kubelet.containers.values_mut().for_each(|one| one.hung_until = until);
            }
            _ => {}
        }
        let asked = stage.land().now;
        stage.make_jane(State::Live, Via::Compositor);
        let seen =
            |land: &mut crate::land::Land| land.watch.milestones.contains_key(&(JANE.to_owned(), "seen"));
        stage.until(400_000, seen).await;
        let live = stage.land().now - asked;
        stage.pass_time(20_000).await;
        if trouble == Trouble::SilentMux {
            let until = stage.land().now + 300_000;
            stage.land().faults.silent.insert(Party::Mux, until);
            stage.pass_time(3_000).await;
        }
        let asked = stage.land().now;
        stage.land().ask(JANE, State::Ended);
        stage.until(400_000, |land| land.senders(JANE) == 0).await;
        *times.lock().unwrap() = (live, stage.land().now - asked);
        stage
    });
    times.into_inner().unwrap()
}

#[test]
fn nobody_waits_for_anybody() {
    let mut wrong = Vec::new();
    let all = [
        (Trouble::BlackHoles, 5),
        (Trouble::Crowd, 6),
        (Trouble::ManyStreams, 206),
        (Trouble::SilentMux, 205),
        (Trouble::SilentLiveKit, 5),
        (Trouble::HungPods, 5),
    ];
    for (trouble, finding) in all {
        let (alone, beside) = (times(trouble, false), times(trouble, true));
        println!(
            "{trouble:?}: go-live {:.1} s alone, {:.1} s beside; end {:.1} s alone, {:.1} s beside",
            alone.0 as f64 / 1e3,
            beside.0 as f64 / 1e3,
            alone.1 as f64 / 1e3,
            beside.1 as f64 / 1e3
        );
        let late = |alone: u64, beside: u64| beside > alone + bounds::NEIGHBOUR;
        if late(alone.0, beside.0) || late(alone.1, beside.1) {
            wrong.push((finding, trouble, alone, beside));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

//! The operator dies over and over at random moments of going live and ending. Afterwards there is one of everything while it
//! is wanted, and nothing when it is not.

use super::Stage;
use crate::support::spec;
use memorialstream_operator::api::spec::{State, Via};
use memorialstream_operator::providers::livekit::LiveKitApi;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::time::Duration;

const KILLS: usize = 200;
/// Within one go-live, so that a start begun by one process is met by another in each of its moments.
const KILLS_OF_ONE: usize = 5;
/// A go-live takes about this long; a kill comes anywhere within a part of it.
const LONGEST_PAUSE: Duration = Duration::from_millis(3_000);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "kills for half an hour: make bench"]
async fn an_operator_that_is_killed_at_random_moments_leaks_and_duplicates_nothing() {
    let mut stage = Stage::alone("killed").await;
    let vias = stage.vias();
    let mut random = StdRng::seed_from_u64(1);
    let (mut kills, mut duplicated, mut leaked) = (0, 0, 0);
    for round in 0..KILLS / KILLS_OF_ONE {
        let via = vias[round % vias.len()];
        let service = stage.service(&format!("killed-{round}"));
        service.apply(spec(via, &["lectern"], json!({"state": "Live"}))).await;
        let uid = service.get().await.metadata.uid.expect("a uid");
        for _ in 0..KILLS_OF_ONE {
            tokio::time::sleep(LONGEST_PAUSE.mul_f64(random.random_range(0.0..1.0))).await;
            stage.kill_operator();
            stage.start_operator();
            kills += 1;
        }
        let live = service.reaches(State::Live).await;
        let streams = stage.streams_of_uid(&uid).await;
        let encoders: usize = streams.iter().map(|stream| stream.encoders).sum();
        let egresses = stage.active_egresses(&uid).await.len();
        let pods = stage.pods(&uid).await.len();
        let wanted = (1, 1, usize::from(via == Via::LiveKit), 1);
        if (streams.len(), encoders, egresses, pods) != wanted {
            duplicated += 1;
            println!("{via:?}, {streams:?}, {egresses} egresses, {pods} pods");
        }
        let room = live.room.and_then(|room| room.name).expect("a room");
        let ever = stage.livekit.egresses(Some(&room), false).await.expect("egresses").len();
        println!("{via:?}: {ever} egresses were ever started");
        service.delete().await;
        service.is_gone().await;
        let alive = stage.streams_of_uid(&uid).await.iter().filter(|stream| !stream.deleted).count();
        let left = (alive, stage.rooms(&uid).await.len(), stage.active_egresses(&uid).await.len());
        if left != (0, 0, 0) {
            leaked += 1;
            println!("left: {left:?} streams, rooms, egresses");
        }
    }
    println!("\n### SIGKILL at random moments of a go-live\n");
    println!("| duplicated | leaked | kills | go-lives |\n| --- | --- | --- | --- |");
    println!("| {duplicated} | {leaked} | {kills} | {} |", kills / KILLS_OF_ONE);
    assert_eq!((duplicated, leaked), (0, 0));
}

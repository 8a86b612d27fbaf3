//! What is at rest, and is looked at all the same.

use crate::director::spec;
use crate::land::Land;
use crate::run::{JANE, LIVEKIT, Stage, jane, operators_account, simulate, well};
use memorialstream_operator::api::Reason;
use memorialstream_operator::api::conditions::{ConditionType, find};
use memorialstream_operator::api::spec::{State, Via};

fn stream_is(land: &mut Land, reason: Reason) -> bool {
    let conditions = land.cluster.status(&jane()).conditions;
    find(&conditions, ConditionType::MuxStreamReady).is_some_and(|found| found.reason == reason.as_str())
}

/// Status tells people to add one.
#[test]
fn a_playback_id_that_somebody_adds_is_seen_within_minutes() {
    well(&simulate(1, |mut stage| async move {
        stage.land().log.kept = true;
        stage.make_jane(State::Idle, Via::LiveKit);
        stage.reaches(State::Idle, 60_000).await.expect("Idle");
        stage.land().somebody_removes_the_playback_ids(JANE);
        stage.until(800_000, |land| stream_is(land, Reason::PlaybackIdMissing)).await.expect("told");
        stage.pass_time(100_000).await;
        stage.land().somebody_adds_a_playback_id(JANE);
        stage.until(240_000, |land| stream_is(land, Reason::Disabled)).await.expect("it is there");
        stage
    }));
}

/// Somebody else took the slug while the object could not be read.
#[test]
fn a_room_that_devices_open_again_is_closed_although_the_slug_belongs_to_another() {
    well(&simulate(1, |mut stage| async move {
        stage.land().log.kept = true;
        stage.make_jane(State::Live, Via::LiveKit);
        if let Some(said) = stage.land().director.said.get_mut(JANE) {
            (said.rejoins, said.devices) = (2, true);
        }
        stage.reaches(State::Live, 60_000).await.expect("Live");
        stage.land().spoil(JANE, 20_000);
        stage.pass_time(5_000).await;
        let mut second = spec(Some(State::Idle), Via::LiveKit);
        second.slug = Some("jane".into());
        let key = ("default".to_owned(), "john".to_owned());
        stage.land().make(&key, "uid-2", second, operators_account(), None);
        stage.pass_time(30_000).await;
        stage.land().ask(JANE, State::Ended);
        let returned = |land: &mut Land| land.director.said[JANE].rejoins == 0;
        stage.until(60_000, returned).await.expect("devices come back");
        stage.pass_time(30_000).await;
        let rooms = |stage: &Stage| {
            let land = stage.land();
            land.livekit[LIVEKIT].rooms.keys().filter(|name| name.contains(JANE)).count()
        };
        assert_eq!(rooms(&stage), 0);
        stage
    }));
}

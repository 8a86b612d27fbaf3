//! Faults, and how requests are counted.

use crate::support::{Environment, STREAMS, at};
use memorialstream_mux_model::{Delivery, Fault, FaultKind, Method, Operation};
use serde_json::{Value, json};
use std::time::Duration;

fn create(mux: &mut Environment) -> (u16, bool) {
    let answer = mux.call(Method::Post, STREAMS, json!({}));
    (answer.status, answer.delivered())
}

#[test]
fn a_dropped_reply_was_done() {
    let mut mux = Environment::new();
    mux.model.add_fault(Fault::drop_reply("create_live_stream", 1)).expect("a fault");
    let refused = mux.call(Method::Post, STREAMS, json!({"latency_mode": "none"}));
    assert_eq!((refused.status, refused.delivered()), (400, true), "a refusal does not use it up");
    assert_eq!(create(&mut mux), (201, false));
    assert_eq!(create(&mut mux), (201, true));
    assert_eq!(mux.model.streams().len(), 2);
    assert!(mux.model.faults().is_empty());
}

#[test]
fn server_errors_come_before_or_after_it_was_done() {
    let mut mux = Environment::new();
    mux.model.add_fault(Fault::server_error()).expect("a fault");
    assert_eq!(create(&mut mux), (503, true));
    assert_eq!(mux.get(STREAMS).status, 503);
    assert!(mux.model.streams().is_empty());
    mux.model.clear_faults();
    mux.model.add_fault(Fault::server_error_after("create_live_stream", 1)).expect("a fault");
    assert_eq!(create(&mut mux), (503, true));
    assert_eq!(mux.model.streams().len(), 1);
    assert_eq!(create(&mut mux), (201, true));
}

#[test]
fn an_outage_lasts_until_it_is_cleared() {
    let mut mux = Environment::new();
    mux.model.add_fault(Fault::outage()).expect("a fault");
    for _ in 0..3 {
        assert!(!mux.get(STREAMS).delivered());
    }
    mux.model.clear_faults();
    assert!(mux.get(STREAMS).delivered());
}

#[test]
fn too_many_requests_come_with_and_without_a_wait() {
    let mut mux = Environment::new();
    mux.model.add_fault(Fault::too_many_requests("list_live_streams", 1, Some(7))).expect("a fault");
    mux.model.add_fault(Fault::too_many_requests("list_live_streams", 1, None)).expect("a fault");
    let wait = |answer: &memorialstream_mux_model::Answer| {
        answer.headers.iter().find(|(name, _)| *name == "retry-after").map(|(_, value)| value.clone())
    };
    let (first, second, third) = (mux.get(STREAMS), mux.get(STREAMS), mux.get(STREAMS));
    assert_eq!((first.status, wait(&first).as_deref()), (429, Some("7")));
    assert_eq!((second.status, wait(&second)), (429, None));
    assert_eq!(third.status, 200);
}

#[test]
fn slowness_is_added_to_other_faults() {
    let mut mux = Environment::new();
    mux.model.add_fault(Fault::slow("create_live_stream", 1500)).expect("a fault");
    mux.model.add_fault(Fault::drop_reply("create_live_stream", 1)).expect("a fault");
    let answer = mux.call(Method::Post, STREAMS, json!({}));
    assert_eq!((answer.delay, answer.delivered()), (Duration::from_millis(1500), false));
    assert_eq!(mux.get(STREAMS).delay, Duration::ZERO);
}

#[test]
fn a_request_may_hang_after_it_was_done_or_before() {
    let mut mux = Environment::new();
    mux.model.add_fault(Fault::hang("create_live_stream", 1, false)).expect("a fault");
    mux.model.add_fault(Fault::hang("create_live_stream", 1, true)).expect("a fault");
    for made in [0, 1] {
        let answer = mux.call(Method::Post, STREAMS, json!({}));
        assert_eq!((answer.delivery, answer.arrives(100)), (Delivery::Hangs, Vec::new()));
        assert_eq!(mux.model.streams().len(), made);
    }
    assert_eq!(create(&mut mux), (201, true));
    mux.model.add_fault(Fault::black_hole()).expect("a fault");
    mux.credentials.token_id = "wrong".to_owned();
    assert_eq!(mux.get(STREAMS).delivery, Delivery::Hangs, "nobody reads the credentials");
}

#[test]
fn a_body_may_be_cut_off_or_never_end() {
    let mut mux = Environment::new();
    mux.create(json!({}));
    let whole = mux.get(STREAMS).bytes();
    for (kind, delivery) in
        [(FaultKind::TruncatedBody, Delivery::Truncated), (FaultKind::StalledBody, Delivery::Stalls)]
    {
        let fault = Fault { operation: None, times: Some(1), kind };
        mux.model.add_fault(fault).expect("a fault");
        let answer = mux.get(STREAMS);
        assert_eq!((answer.status, answer.delivery), (200, delivery));
        assert_eq!(answer.bytes(), whole);
        assert_eq!(answer.arrives(usize::MAX), whole[..whole.len() / 2]);
    }
    let kind = FaultKind::LargeBody { bytes: Some(10_000) };
    mux.model.add_fault(Fault { operation: None, times: Some(1), kind }).expect("a fault");
    let large = mux.get(STREAMS);
    assert_eq!(large.arrives(usize::MAX).len(), 10_000);
    assert_eq!(serde_json::from_slice::<Value>(&large.arrives(usize::MAX)).ok(), large.body);
    mux.model.add_fault(Fault::endless_body("list_live_streams", 1)).expect("a fault");
    assert_eq!(mux.get(STREAMS).arrives(1_000_000), b" ".repeat(1_000_000));
    assert_eq!(mux.get(STREAMS).delivery, Delivery::Whole);
}

#[test]
fn an_answer_without_a_body_cannot_be_cut_off() {
    let mut mux = Environment::new();
    let stream = mux.create(json!({}));
    let kept = Fault::truncated_body("delete_live_stream", 1);
    mux.model.add_fault(kept.clone()).expect("a fault");
    let answer = mux.call(Method::Delete, &at(&stream, ""), Value::Null);
    assert_eq!((answer.status, answer.delivery), (204, Delivery::Whole));
    assert_eq!(mux.model.faults(), [kept]);
}

#[test]
fn a_proxys_page_may_come_instead_of_an_answer() {
    let mut mux = Environment::new();
    mux.model.add_fault(Fault::bad_gateway()).expect("a fault");
    let page = mux.call(Method::Post, STREAMS, json!({}));
    assert_eq!((page.status, page.delivery), (502, Delivery::Page));
    assert!(page.arrives(1_000).starts_with(b"<html>"));
    assert!(mux.model.streams().is_empty());
    mux.model.clear_faults();
    let kind = FaultKind::WrongContent { status: 200, committed: true };
    mux.model.add_fault(Fault { operation: None, times: Some(1), kind }).expect("a fault");
    assert_eq!(mux.call(Method::Post, STREAMS, json!({})).delivery, Delivery::Page);
    assert_eq!(mux.model.streams().len(), 1);
}

#[test]
fn a_fault_of_no_operation_is_refused() {
    let mut mux = Environment::new();
    let error = mux.model.add_fault(Fault::slow("create_stream", 1)).expect_err("no such operation");
    assert!(error.to_string().contains("create_live_stream"), "{error}");
    let fault = Fault { operation: None, times: Some(2), kind: FaultKind::Outage };
    let text = serde_json::to_string(&fault).expect("JSON");
    assert_eq!(serde_json::from_str::<Fault>(&text).expect("a fault"), fault);
}

#[test]
fn requests_are_counted_by_what_came_of_them() {
    let mut mux = Environment::new();
    mux.create(json!({}));
    mux.create(json!({}));
    mux.model.add_fault(Fault::drop_reply("create_live_stream", 1)).expect("a fault");
    create(&mut mux);
    mux.call(Method::Get, "/video/v1/nothing", Value::Null);
    let counts: Vec<(String, u16, u64)> =
        mux.model.counts().iter().map(|one| (one.operation.clone(), one.status, one.count)).collect();
    let expected = [("create_live_stream", 201, 2), ("create_live_stream", 0, 1), ("unknown", 404, 1)];
    assert_eq!(counts, expected.map(|(name, status, count)| (name.to_owned(), status, count)));
    assert_eq!(mux.model.counts()[0].route, STREAMS);
    assert_eq!((mux.model.requests(Operation::CreateLiveStream), mux.model.all_requests()), (3, 4));
    assert_eq!(mux.model.requests(Operation::GetLiveStream), 0);
    mux.model.reset_counts();
    assert!(mux.model.counts().is_empty());
}

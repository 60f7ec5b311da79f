//! What the client guarantees about appends, against a misbehaving server.

mod fake;

use std::time::Duration;

use fake::{Fake, hello, room, soon};
use roomlog_client::{AppendError, Client, ClientError, Pending, State, draft};
use roomlog_protocol::{ErrorCode, Latest, Limits};
use serde_json::{Value, json};

async fn say(client: &Client, body: &str) -> Pending {
    client.append(draft(room("r"), body)).await.expect("accepted")
}

async fn slot(pending: Pending) -> u64 {
    let outcome = soon("an outcome", pending).await;
    outcome.expect("committed").appended.slot
}

async fn refusal(pending: Pending) -> ErrorCode {
    match soon("an outcome", pending).await {
        Err(AppendError::Refused(error)) => error.code,
        other => panic!("{other:?}"),
    }
}

fn number(body: &str, seq: u64) -> Value {
    json!({"type": "append", "room": "r", "body": body, "seq": seq})
}

#[tokio::test]
async fn appends_carry_their_seq_in_order_and_are_pipelined() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let pending = [say(&client, "a").await, say(&client, "b").await];
    let a = peer.expect(number("a", 0)).await;
    let b = peer.expect(number("b", 1)).await;
    peer.commit(&b, 8).await;
    peer.commit(&a, 7).await;
    let [a, b] = pending;
    assert_eq!((slot(a).await, slot(b).await), (7, 8));
}

#[tokio::test]
async fn after_a_disconnect_unanswered_appends_are_resent_in_order_with_the_same_ids() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let [a, b, c] = [say(&client, "a").await, say(&client, "b").await, say(&client, "c").await];
    let first = peer.expect(number("a", 0)).await;
    let ids = [peer.expect(number("b", 1)).await, peer.expect(number("c", 2)).await];
    peer.commit(&first, 0).await;
    assert_eq!(slot(a).await, 0);
    peer.close(1012).await;

    let mut peer = server.accept(&hello("log-1")).await;
    let again = [peer.expect(number("b", 0)).await, peer.expect(number("c", 1)).await];
    assert_eq!(
        again.clone().map(|frame| frame["id"].clone()),
        ids.map(|frame| frame["id"].clone())
    );
    peer.commit(&again[0], 1).await;
    peer.commit(&again[1], 2).await;
    assert_eq!((slot(b).await, slot(c).await), (1, 2));
}

#[tokio::test]
async fn a_busy_server_gets_the_rest_after_a_pause() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let [a, b, c] = [say(&client, "a").await, say(&client, "b").await, say(&client, "c").await];
    let [first, second, third] = [peer.next().await, peer.next().await, peer.next().await];
    peer.refuse(&second, "busy", json!({"retry_after_ms": 30})).await;
    peer.refuse(&third, "out_of_order", json!({"seq": 1})).await;
    peer.commit(&first, 0).await;

    let again = [peer.expect(number("b", 1)).await, peer.expect(number("c", 2)).await];
    assert_eq!((&again[0]["id"], &again[1]["id"]), (&second["id"], &third["id"]));
    assert_ne!(again[0]["req"], second["req"], "a copy of its own");
    peer.commit(&again[0], 1).await;
    peer.commit(&again[1], 2).await;
    assert_eq!((slot(a).await, slot(b).await, slot(c).await), (0, 1, 2));
}

#[tokio::test]
async fn appends_behind_a_refused_one_are_not_sent_twice() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let [a, b] = [say(&client, "a").await, say(&client, "b").await];
    let [first, second] = [peer.next().await, peer.next().await];
    peer.refuse(&first, "unavailable", json!({"retry_after_ms": 1})).await;
    let again = peer.expect(number("a", 0)).await;
    peer.expect_silence().await;
    peer.commit(&again, 0).await;
    peer.commit(&second, 1).await;
    assert_eq!((slot(a).await, slot(b).await), (0, 1));
}

#[tokio::test]
async fn an_out_of_order_append_is_resent_at_once() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let [a, b] = [say(&client, "a").await, say(&client, "b").await];
    let [first, second] = [peer.next().await, peer.next().await];
    peer.refuse(&second, "out_of_order", json!({"seq": 0})).await;
    let again = peer.expect(number("b", 1)).await;
    peer.commit(&first, 0).await;
    peer.commit(&again, 1).await;
    assert_eq!((slot(a).await, slot(b).await), (0, 1));
}

#[tokio::test]
async fn a_final_error_goes_to_the_caller_and_consumes_the_seq() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let a = say(&client, "a").await;
    let first = peer.expect(number("a", 0)).await;
    peer.refuse(&first, "id_reused", json!({"slot": 3})).await;
    match soon("an outcome", a).await {
        Err(AppendError::Refused(error)) => {
            assert_eq!((error.code, error.slot), (ErrorCode::IdReused, Some(3)));
        }
        other => panic!("{other:?}"),
    }
    let b = say(&client, "b").await;
    let second = peer.expect(number("b", 1)).await;
    peer.commit(&second, 0).await;
    assert_eq!(slot(b).await, 0);
}

#[tokio::test]
async fn an_append_with_an_unknown_outcome_is_resent_with_the_same_id_and_seq() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let a = say(&client, "a").await;
    let first = peer.expect(number("a", 0)).await;
    peer.refuse(&first, "unknown_outcome", json!({})).await;
    let again = peer.expect(number("a", 0)).await;
    assert_eq!(again["id"], first["id"]);
    // Both come: the late one, and the answer to the copy.
    peer.commit(&first, 5).await;
    peer.commit(&again, 5).await;
    assert_eq!(slot(a).await, 5);
}

#[tokio::test]
async fn no_more_are_in_flight_than_the_server_allows() {
    let server = Fake::start().await;
    let mut told = hello("log-1");
    told.limits = Limits { appends_in_flight: 2, ..Limits::default() };
    let (client, mut peer) = server.client_with(server.options(), &told).await;
    for body in ["a", "b", "c"] {
        drop(say(&client, body).await);
    }
    let first = peer.expect(number("a", 0)).await;
    peer.expect(number("b", 1)).await;
    peer.expect_silence().await;
    peer.commit(&first, 0).await;
    peer.expect(number("c", 2)).await;
}

#[tokio::test]
async fn an_append_that_is_too_large_is_refused_locally_and_consumes_no_seq() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let large = say(&client, &"x".repeat(16_385)).await;
    assert_eq!(refusal(large).await, ErrorCode::TooLarge);
    drop(say(&client, &"x".repeat(16_384)).await);
    peer.expect(json!({"type": "append", "seq": 0})).await;
}

#[tokio::test]
async fn another_log_keeps_the_outbox_without_the_slots_of_the_old_one() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut after = draft(room("r"), "after");
    after.after = Some(Latest(9));
    let mut reply = draft(room("r"), "reply");
    reply.reference = Some(9);
    let after = client.append(after).await.expect("accepted");
    let reply = client.append(reply).await.expect("accepted");
    peer.expect(json!({"seq": 0, "after": 9})).await;
    peer.expect(json!({"seq": 1, "ref": 9})).await;
    drop(peer);

    let mut peer = server.accept(&hello("log-2")).await;
    let again = peer.expect(number("after", 0)).await;
    assert_eq!(again["after"], Value::Null);
    let outcome = soon("an outcome", reply).await;
    assert_eq!(outcome, Err(AppendError::NewLog));
    peer.commit(&again, 0).await;
    assert_eq!(slot(after).await, 0);
}

#[tokio::test]
async fn a_server_that_answers_no_ping_causes_a_reconnect() {
    let server = Fake::start().await;
    let mut options = server.options();
    options.ping_after = Duration::from_millis(20);
    options.ping_timeout = Duration::from_millis(20);
    let (client, mut peer) = server.client(options).await;
    peer.expect(json!({"type": "ping"})).await;
    let _pending = say(&client, "a").await;
    // The first connection is still open: only its silence causes the reconnect.
    let mut next = server.accept(&hello("log-1")).await;
    next.expect(number("a", 0)).await;
    drop(peer);
}

#[tokio::test]
async fn once_the_retry_timeout_is_over_the_outcome_is_unknown() {
    let server = Fake::start().await;
    let mut options = server.options();
    options.retry_timeout = Some(Duration::from_millis(300));
    let (client, mut peer) = server.client(options.clone()).await;
    let mut state = client.state();
    let a = say(&client, "a").await;
    peer.expect(number("a", 0)).await;
    drop((peer, server));
    soon("a change", state.changed()).await.expect("a state");
    assert!(matches!(*state.borrow(), State::Reconnecting(_)));
    match soon("an outcome", a).await {
        Err(AppendError::Unknown(ClientError::Lost { .. })) => {}
        other => panic!("{other:?}"),
    }
    let later = client.append(draft(room("r"), "later")).await.err();
    assert!(matches!(later, Some(ClientError::Lost { .. })), "{later:?}");
    let first = Client::connect(options).await.err();
    assert!(matches!(first, Some(ClientError::Unreachable { .. })), "{first:?}");
}

#[tokio::test]
async fn without_wait_when_ahead_an_append_fails_at_once() {
    let server = Fake::start().await;
    let mut options = server.options();
    options.wait_when_ahead = false;
    let (client, mut peer) = server.client(options).await;
    let (a, b) = (say(&client, "a").await, say(&client, "b").await);
    let frame = peer.expect(number("a", 0)).await;
    peer.refuse(&frame, "ahead", json!({"latest": 41})).await;
    assert_eq!((refusal(a).await, refusal(b).await), (ErrorCode::Ahead, ErrorCode::Ahead));
}

#[tokio::test]
async fn closing_waits_for_the_answers_and_sends_a_close_frame() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let a = say(&client, "a").await;
    let closing = tokio::spawn(client.close());
    let frame = peer.expect(number("a", 0)).await;
    peer.commit(&frame, 0).await;
    peer.expect_close().await;
    soon("the end", closing).await.expect("closed");
    assert_eq!(slot(a).await, 0);
}

#[tokio::test]
async fn a_server_that_cannot_be_used_is_an_error_with_the_reason() {
    let server = Fake::start().await;
    let mut told = hello("log-1");
    told.auth = "retina".into();
    let greeting = async {
        let mut peer = server.accept_raw().await;
        let mut frame = serde_json::to_value(told).expect("JSON");
        frame["type"] = "hello".into();
        peer.send(frame).await;
        peer
    };
    let (client, _peer) = tokio::join!(Client::connect(server.options()), greeting);
    let said = client.err().expect("refused").to_string();
    assert!(said.contains("requires a login by retina"), "{said}");
}

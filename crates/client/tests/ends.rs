//! Everything gets an outcome: after a burst, when the client is closed, dropped or gives up, and
//! with extreme settings.

mod fake;

use std::time::Duration;

use fake::{Fake, ack, hello, reply, room, soon};
use roomlog_client::{
    AppendError, Client, ClientError, Follow, Pending, Start, State, draft, outbox::Outbox,
};
use roomlog_protocol::{ErrorCode, ErrorFrame, Latest, Limits, Refusal};
use serde_json::json;

async fn say(client: &Client, body: &str) -> Pending {
    let taken = soon("taking it", client.append(draft(room("r"), body))).await;
    taken.expect("accepted")
}

async fn disconnected(client: &Client) {
    let mut state = client.state();
    let away = state.wait_for(|state| matches!(state, State::Reconnecting(_)));
    let _away = soon("a loss", away).await.expect("a client");
}

#[tokio::test]
async fn a_burst_while_disconnected_is_queued_at_once_and_settled_one_by_one() {
    const COUNT: u64 = 2_000;
    let server = Fake::start().await;
    let mut options = server.options();
    (options.outbox, options.retry_timeout) = (2_000, None);
    let (client, peer) = server.client(options).await;
    peer.close(1012).await;
    disconnected(&client).await;
    let mut pending = Vec::new();
    for n in 0..COUNT {
        pending.push(say(&client, &n.to_string()).await);
    }
    let mut peer = server.accept(&hello("log-1")).await;
    for n in 0..COUNT {
        let frame = peer.expect(json!({"body": n.to_string(), "seq": n})).await;
        match n % 7 {
            3 => peer.refuse(&frame, "bad_ref", json!({})).await,
            _ => peer.commit(&frame, n).await,
        }
    }
    for (n, pending) in pending.into_iter().enumerate() {
        match (soon("an outcome", pending).await, n % 7) {
            (Err(AppendError::Refused(error)), 3) => assert_eq!(error.code, ErrorCode::BadRef),
            (Ok(committed), _) => assert_eq!(committed.appended.slot, n as u64),
            other => panic!("{n}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_full_outbox_makes_the_next_append_wait_and_loses_none() {
    let server = Fake::start().await;
    let mut options = server.options();
    options.outbox = 0; // Counts as 1.
    let (client, mut peer) = server.client(options).await;
    let all = tokio::spawn(async move {
        for n in 0..50 {
            let slot = say(&client, &n.to_string()).await.await.expect("committed").appended.slot;
            assert_eq!(slot, n);
        }
    });
    for n in 0..50 {
        let frame = peer.expect(json!({"body": n.to_string()})).await;
        peer.expect_silence().await;
        peer.commit(&frame, n).await;
    }
    soon("all of them", all).await.expect("no panic");
}

#[tokio::test]
async fn closing_while_disconnected_with_nothing_pending_is_immediate() {
    let server = Fake::start().await;
    let mut options = server.options();
    options.retry_timeout = None;
    let (client, peer) = server.client(options).await;
    let mut follow = client.follow(room("r"), Start::Newest(1)).await.expect("a follow");
    drop((peer, server));
    disconnected(&client).await;
    soon("the end", client.close()).await;
    assert_eq!(soon("its end", follow.next()).await, Err(ClientError::Closed));
}

#[tokio::test]
async fn cancelling_a_close_fails_what_is_pending() {
    let server = Fake::start().await;
    let mut options = server.options();
    options.retry_timeout = None;
    let (client, mut peer) = server.client(options).await;
    let a = say(&client, "a").await;
    peer.expect(json!({"body": "a"})).await;
    let given_up = tokio::time::timeout(Duration::ZERO, client.close()).await;
    assert!(given_up.is_err());
    let outcome = soon("an outcome", a).await;
    assert_eq!(outcome, Err(AppendError::Unknown(ClientError::Closed)));
    peer.expect_end().await;
}

/// A follow that is not read, after this many acks; it buffers 4.
async fn full(client: &Client, peer: &mut fake::Peer, acks: u64) -> Follow {
    let follow = client.follow(room("r"), Start::After(Latest(-1))).await.expect("a follow");
    let join = peer.expect(json!({"type": "join"})).await;
    peer.answer(&join, reply("r", 0..0, -1)).await;
    for slot in 0..acks {
        peer.send(ack("r", slot..slot + 1)).await;
    }
    follow
}

#[tokio::test]
async fn closing_does_not_wait_for_a_reader_that_does_not_read() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let a = say(&client, "a").await;
    let frame = peer.expect(json!({"body": "a"})).await;
    let _unread = full(&client, &mut peer, 10).await;
    let closing = tokio::spawn(client.close());
    peer.commit(&frame, 10).await;
    assert_eq!(soon("an outcome", a).await.expect("committed").appended.slot, 10);
    peer.expect_end().await;
    soon("the end", closing).await.expect("no panic");
}

#[tokio::test]
async fn giving_up_does_not_wait_for_a_reader_that_does_not_read_and_gives_the_reason() {
    let server = Fake::start().await;
    let mut options = server.options();
    options.retry_timeout = Some(Duration::from_millis(100));
    let (client, mut peer) = server.client(options).await;
    let mut unread = full(&client, &mut peer, 4).await;
    let a = say(&client, "a").await;
    peer.expect(json!({"body": "a"})).await;
    drop((peer, server));
    let outcome = soon("an outcome", a).await;
    assert!(matches!(outcome, Err(AppendError::Unknown(ClientError::Lost { .. }))), "{outcome:?}");
    soon("the end", client.close()).await;
    for _ in 0..4 {
        soon("entries", unread.next()).await.expect("what it had");
    }
    let end = soon("its end", unread.next()).await;
    assert!(matches!(end, Err(ClientError::Lost { .. })), "{end:?}");
}

#[tokio::test]
async fn extreme_timeouts_do_not_panic() {
    let server = Fake::start().await;
    let mut options = server.options();
    (options.ping_after, options.ping_timeout) = (Duration::MAX, Duration::MAX);
    options.retry_timeout = Some(Duration::MAX);
    let (client, mut peer) = server.client(options).await;
    let a = say(&client, "a").await;
    let frame = peer.expect(json!({"body": "a"})).await;
    peer.commit(&frame, 0).await;
    assert!(soon("an outcome", a).await.is_ok());
    peer.close(1012).await;
    let mut peer = server.accept(&hello("log-1")).await;
    let b = say(&client, "b").await;
    let frame = peer.expect(json!({"body": "b"})).await;
    peer.commit(&frame, 1).await;
    assert!(soon("an outcome", b).await.is_ok());
}

#[tokio::test]
async fn connect_when_up_connects_once_the_server_is_ready() {
    let server = Fake::start().await;
    let mut options = server.options();
    options.retry_timeout = None;
    let connecting = tokio::spawn(Client::connect_when_up(options));
    // It is not ready: first a proxy says so, then the connection closes without a `hello`.
    server.answer_http("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
    drop(server.accept_raw().await);
    let _peer = server.accept(&hello("log-1")).await;
    let client = soon("a client", connecting).await.expect("no panic").expect("connected");
    assert_eq!(client.hello().log, "log-1");
}

#[tokio::test]
async fn a_proxy_that_answers_for_a_server_that_is_down_does_not_end_the_client() {
    let server = Fake::start().await;
    let (client, peer) = server.client(server.options()).await;
    drop(peer);
    server.answer_http("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
    let mut peer = server.accept(&hello("log-1")).await;
    let a = say(&client, "a").await;
    let frame = peer.expect(json!({"body": "a"})).await;
    peer.commit(&frame, 0).await;
    assert!(soon("an outcome", a).await.is_ok());
}

#[test]
fn a_server_that_asks_to_wait_longer_than_the_retry_timeout_is_retried_at_its_end() {
    let at = Duration::from_secs;
    let mut outbox = Outbox::new(1, Some(at(10)));
    let append = draft(room("r"), "");
    outbox.push(append.id.clone().expect("an id"), append, ());
    let req =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON")["req"].as_i64();
    let busy = |req| ErrorFrame {
        retry_after_ms: Some(3_600_000),
        req,
        ..ErrorFrame::from(Refusal::new(ErrorCode::Busy, "come back in an hour"))
    };
    let frame = outbox.next_frame(at(0), &Limits::default()).expect("a frame");
    outbox.refused(busy(req(&frame)), at(0), 0.5);
    assert_eq!(outbox.next_wake(), Some(at(10)));
    let frame = outbox.next_frame(at(10), &Limits::default()).expect("a last try");
    outbox.refused(busy(req(&frame)), at(10), 0.5);
    assert!(outbox.next_settled().is_some_and(|(_, outcome)| outcome.is_err()));
}

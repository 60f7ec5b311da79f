//! Connections that are served by the append loop, and then elsewhere, and entries that are sent directly:
//! nothing is lost, doubled or overtaken, in the clear and over TLS.

mod support;

use serde_json::json;
use support::{Client, Issuer, Server, slot};

/// More pings than a connection may send between two appends and stay on the append loop.
const PINGS: i64 = 300;

/// How often a connection moves to the append loop and away.
const MOVES: i64 = 6;

/// An author who follows a room appends, does much else, and appends again, while another one writes there.
async fn moves_to_and_fro(mut ada: Client, mut grace: Client) {
    ada.join("r", json!({})).await;
    let others = tokio::spawn(async move {
        let mut last = 0;
        while last < 2_000 {
            last = slot(grace.fill("r", 20, "from grace").await.last().expect("an entry"));
        }
        grace
    });
    let mut appended = Vec::new();
    for round in 0..MOVES {
        for n in 0..10 {
            appended.push(slot(&ada.append("r", json!({"body": format!("{round}-{n}")})).await));
        }
        ada.send_all((0..PINGS).map(|req| json!({"type": "ping", "req": req}))).await;
        for req in 0..PINGS {
            ada.find(|frame| frame["type"] == "pong" && frame["req"] == req).await;
        }
    }
    let mut grace = others.await.expect("the other author");
    let log = grace.whole_log("r").await;
    let end = slot(log.last().expect("an entry"));
    assert_eq!(ada.acks("r", -1, end).await, log);
    assert!(appended.is_sorted() && appended.len() == 60, "{appended:?}");
    for at in appended {
        let at = usize::try_from(at).expect("a slot");
        assert_eq!(log[at]["author"], "ada");
    }
    ada.nothing_more().await;
}

#[tokio::test]
async fn an_author_who_moves_to_the_append_loop_and_away_loses_nothing() {
    let server = Server::start(&[]).await;
    moves_to_and_fro(server.login("ada").await, server.login("grace").await).await;
}

#[tokio::test]
async fn an_author_who_moves_to_the_append_loop_and_away_loses_nothing_over_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let issuer = Issuer::new(directory.path());
    let server = issuer.server(&[]).await;
    moves_to_and_fro(issuer.login(&server, "ada").await, issuer.login(&server, "grace").await)
        .await;
}

#[tokio::test]
async fn a_follower_of_short_entries_who_stops_reading_gets_each_of_them_once_and_in_order() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let mut sleeper = server.login_with_small_buffer("sleeper").await;
    let mut awake = server.login("awake").await;
    sleeper.join("r", json!({})).await;
    awake.join("r", json!({})).await;
    // Commits of one entry and of some, which are sent directly until a socket takes only a part of one.
    let mut last = -1;
    for round in 0..40 {
        let body = format!("round {round} {}", "s".repeat(600));
        for count in [1, 3, 20, 1, 50] {
            let written = ada.fill("r", count, &body).await;
            let end = slot(written.last().expect("an entry"));
            awake.acks("r", last, end).await;
            last = end;
        }
    }
    assert_eq!(sleeper.acks("r", -1, last).await, ada.whole_log("r").await);
    ada.append("r", json!({"body": "and on"})).await;
    sleeper.acks("r", last, last + 1).await;
    sleeper.nothing_more().await;
}

#[tokio::test]
async fn who_has_left_a_room_gets_nothing_of_it() {
    let server = Server::start(&[]).await;
    let (mut ada, mut bob) = (server.login("ada").await, server.login("bob").await);
    for round in 0..50 {
        bob.join("r", json!({"count": 0})).await;
        ada.send(json!({"type": "append", "room": "r", "body": format!("{round}")})).await;
        bob.send(json!({"type": "leave", "room": "r"})).await;
        bob.find(|frame| frame["type"] == "left").await;
        ada.expect("appended").await;
        ada.append("r", json!({"body": "after"})).await;
        bob.passed_over();
        bob.nothing_more().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_entry_overtakes_the_reply_of_the_join_that_it_follows() {
    let server = Server::start(&[]).await;
    let (mut ada, mut bob) = (server.login("ada").await, server.login("bob").await);
    let writing = tokio::spawn(async move {
        loop {
            ada.append("r", json!({"body": "on and on"})).await;
        }
    });
    for round in 0..1_500 {
        bob.send(json!({"type": "join", "room": "r", "count": 1})).await;
        let reply = bob.expect("reply").await;
        let latest = reply["latest"].as_i64().expect("a slot");
        bob.send(json!({"type": "leave", "room": "r"})).await;
        let mut next = latest + 1;
        loop {
            let frame = bob.recv().await;
            if frame["type"] == "left" {
                break;
            }
            for entry in frame["entries"].as_array().expect("entries of an ack") {
                assert_eq!(slot(entry), next, "in round {round}");
                next += 1;
            }
        }
    }
    writing.abort();
}

#[tokio::test]
async fn what_waits_for_a_followed_room_goes_on_at_once_when_the_room_gets_there() {
    let server = Server::start(&["--ahead-ms=15000"]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    ada.join("r", json!({})).await;
    for round in 0..20 {
        let end = 5 * round;
        let append = json!({"type": "append", "room": "r", "body": "then", "after": end + 2});
        let append = ada.post(append).await;
        let update =
            ada.post(json!({"type": "update", "room": "r", "count": 1, "seen": end + 3})).await;
        for _ in 0..4 {
            grace.append("r", json!({"body": "first"})).await;
        }
        let begun = std::time::Instant::now();
        let (appended, reply) = (ada.answer(append).await, ada.answer(update).await);
        assert_eq!((&appended["type"], &reply["type"]), (&json!("appended"), &json!("reply")));
        assert!(begun.elapsed().as_secs() < 5, "it waited for its time: {appended} {reply}");
    }
}

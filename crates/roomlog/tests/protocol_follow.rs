//! `join`, `ack`, `leave`: following has no seam.

mod support;

use serde_json::{Value, json};
use support::{Client, Server, digest_after, slot, slots, start_digest, with};

fn last_of(reply: &Value) -> i64 {
    slots(reply).last().copied().unwrap_or_else(|| reply["latest"].as_i64().expect("latest"))
}

#[tokio::test]
async fn a_join_replies_with_the_newest_entries_and_acks_every_later_one() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    ada.fill("r", 60, "before").await;
    let reply = grace.join("r", json!({"count": 3})).await;
    assert_eq!((slots(&reply), &reply["latest"]), (vec![57, 58, 59], &json!(59)));
    let log = ada.whole_log("r").await;
    assert_eq!(reply["digest"], digest_after("r", &log));
    ada.fill("r", 5, "later").await;
    let acked = grace.acks("r", 59, 64).await;
    assert_eq!(acked, ada.whole_log("r").await[60..]);
    let reply = server.login("joan").await.join("r", json!({})).await;
    assert_eq!(slots(&reply), (15..65).collect::<Vec<_>>(), "50 by default");
}

#[tokio::test]
async fn a_join_after_a_slot_continues_from_there() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 10, "before").await;
    let digest = digest_after("r", &ada.whole_log("r").await[..7]);
    for (latest, after) in [(9, -1), (10, 6), (11, 11)] {
        let mut reader = server.login("reader").await;
        let mut members = json!({"after": after, "seen": latest});
        if after == 6 {
            members["digest"] = digest.clone().into();
        }
        let reply = reader.join("r", members).await;
        assert_eq!(slots(&reply), (after + 1..=latest).collect::<Vec<_>>());
        assert_eq!(slot(&ada.append("r", json!({"body": "later"})).await), latest + 1);
        reader.acks("r", latest, latest + 1).await;
        reader.nothing_more().await;
    }
}

#[tokio::test]
async fn the_author_gets_the_ack_too_once() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.join("r", json!({})).await;
    let answer = ada.append("r", json!({"id": "a-1", "body": "x"})).await;
    let acked = ada.acks("r", -1, 0).await;
    assert_eq!(
        (&acked[0]["id"], &acked[0]["committed_at"]),
        (&json!("a-1"), &answer["committed_at"])
    );
    ada.nothing_more().await;
}

#[tokio::test]
async fn a_second_join_replaces_the_first() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    ada.fill("r", 10, "before").await;
    grace.join("r", json!({"count": 1})).await;
    assert_eq!(slots(&grace.join("r", json!({"after": 4})).await), [5, 6, 7, 8, 9]);
    assert_eq!(slots(&grace.join("r", json!({"count": 2})).await), [8, 9]);
    ada.append("r", json!({"body": "later"})).await;
    grace.acks("r", 9, 10).await;
    grace.nothing_more().await;
}

#[tokio::test]
async fn a_second_join_replaces_a_first_that_is_still_far_behind() {
    let server = Server::start(&["--page-entries=10"]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    ada.fill("r", 1_000, "before").await;
    for (second, first_slot) in [(json!({"count": 1}), 999), (json!({"after": 499}), 500)] {
        grace
            .send_all([with("join", "r", json!({"after": -1})), with("join", "r", second.clone())])
            .await;
        assert_eq!(slots(&grace.expect("reply").await)[0], 0);
        let reply = grace.find(|frame| frame["type"] == "reply").await;
        assert_eq!(slots(&reply)[0], first_slot);
        // What came before that reply was of the first following; nothing of it comes later.
        assert!(grace.passed_over().iter().all(|frame| frame["type"] == "ack"));
        grace.acks("r", last_of(&reply), 999).await;
        grace.nothing_more().await;
    }
}

#[tokio::test]
async fn a_join_that_fails_changes_nothing() {
    let server = Server::start(&["--ahead-ms=150"]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    ada.fill("r", 3, "before").await;
    grace.join("r", json!({"count": 0})).await;
    let wrong = start_digest("r");
    grace.refused(with("join", "r", json!({"after": 0, "digest": wrong})), "diverged").await;
    grace.refused(with("join", "r", json!({"after": 9})), "ahead").await;
    grace.refused(with("join", "r", json!({"count": -1})), "bad_message").await;
    ada.append("r", json!({"body": "later"})).await;
    grace.acks("r", 2, 3).await;
    grace.nothing_more().await;
    // One who did not follow before does not follow now.
    let mut joan = server.login("joan").await;
    joan.refused(with("join", "r", json!({"after": 9})), "ahead").await;
    ada.append("r", json!({"body": "later still"})).await;
    grace.acks("r", 3, 4).await;
    joan.nothing_more().await;
}

#[tokio::test]
async fn no_frame_of_a_room_follows_left() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    for room in ["r", "s"] {
        grace.join(room, json!({})).await;
    }
    let left = grace.ask(json!({"type": "leave", "room": "r", "req": 5})).await;
    assert_eq!(left, json!({"type": "left", "room": "r", "req": 5}));
    ada.append("r", json!({"body": "not for grace"})).await;
    ada.append("s", json!({"body": "for grace"})).await;
    grace.acks("s", -1, 0).await;
    grace.nothing_more().await;
    // Coming back is a join like any other.
    assert_eq!(slots(&grace.join("r", json!({"after": -1})).await), [0]);
    ada.append("r", json!({"body": "for grace again"})).await;
    grace.acks("r", 0, 1).await;
}

#[tokio::test]
async fn left_is_the_last_frame_of_a_room_under_load() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let mut grace = server.login("grace").await;
    grace.join("r", json!({})).await;
    let writing = tokio::spawn(async move { ada.fill("r", 1_000, "flow").await });
    grace.acks("r", -1, 100).await;
    let left = grace.post(json!({"type": "leave", "room": "r"})).await;
    while grace.recv().await["req"] != left {}
    writing.await.expect("the writer");
    grace.nothing_more().await;
}

#[tokio::test]
async fn joining_an_empty_room_stores_nothing_and_follows_it_from_slot_0() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    let reply = grace.join("r", json!({})).await;
    assert_eq!(
        (slots(&reply), &reply["latest"], &reply["digest_at"]),
        (vec![], &json!(-1), &json!(-1))
    );
    assert_eq!(reply["digest"], start_digest("r"));
    server.get("/v1/rooms/r").send().await.refused(404, "not_found");
    ada.append("r", json!({"body": "first"})).await;
    grace.acks("r", -1, 0).await;
}

/// Joins with `members` and reads until slot `upto`; gives all that came, in order.
async fn read_along(mut reader: Client, members: Value, upto: i64) -> Vec<Value> {
    reader.send(with("join", "r", members)).await;
    // No ack of a following comes before its reply.
    let reply = reader.expect("reply").await;
    let mut entries = reply["entries"].as_array().expect("entries").clone();
    entries.extend(reader.acks("r", last_of(&reply), upto).await);
    reader.nothing_more().await;
    entries
}

#[tokio::test]
async fn readers_that_join_under_load_see_every_entry_once() {
    let server = Server::start(&["--page-entries=16"]).await;
    let mut watcher = server.login("watcher").await;
    watcher.join("r", json!({})).await;
    let mut writers = Vec::new();
    for author in ["a", "b", "c", "d"] {
        let mut writer = server.login(author).await;
        writers.push(tokio::spawn(async move { writer.fill("r", 500, "full speed").await }));
    }
    let (mut readers, mut last) = (Vec::new(), -1);
    for n in 0..8 {
        // They come whenever the log is some 150 entries longer.
        last += watcher.acks("r", last, last + 150).await.len() as i64;
        for members in [json!({"count": n}), json!({"after": -1}), json!({"after": last})] {
            readers.push(tokio::spawn(read_along(server.login("reader").await, members, 1_999)));
        }
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    let log = watcher.whole_log("r").await;
    assert_eq!(log.len(), 2_000);
    for reader in readers {
        let read = reader.await.expect("a reader");
        assert_eq!(read, log[log.len() - read.len()..]);
    }
}

#[tokio::test]
async fn each_writers_entries_are_in_the_order_it_wrote_them() {
    let server = Server::start(&[]).await;
    let mut writers = Vec::new();
    for author in ["a", "b", "c", "d"] {
        let mut writer = server.login(author).await;
        writers.push(tokio::spawn(async move { writer.fill("r", 200, "").await }));
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    let log = server.login("reader").await.whole_log("r").await;
    for author in ["a", "b", "c", "d"] {
        let bodies: Vec<_> = log
            .iter()
            .filter(|entry| entry["author"] == author)
            .map(|e| e["body"].clone())
            .collect();
        assert_eq!(bodies, (0..200).map(|n| json!(format!("{n} "))).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_follower_far_behind_is_fed_page_by_page_without_asking() {
    let server = Server::start(&["--page-entries=50"]).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 3_000, "long ago").await;
    let mut reader = server.login("reader").await;
    let writing = tokio::spawn(async move {
        ada.fill("r", 500, "now").await;
        ada
    });
    reader.send(json!({"type": "join", "room": "r", "after": -1})).await;
    let reply = reader.expect("reply").await;
    assert_eq!(slots(&reply), (0..50).collect::<Vec<_>>());
    let mut read = reply["entries"].as_array().expect("entries").clone();
    while read.len() < 3_500 {
        let ack = reader.expect("ack").await;
        let page = ack["entries"].as_array().expect("entries");
        assert!((1..=50).contains(&page.len()), "a page of {}", page.len());
        read.extend(page.iter().cloned());
    }
    let mut ada = writing.await.expect("the writer");
    assert_eq!(read, ada.whole_log("r").await);
}

#[tokio::test]
async fn an_ack_has_at_most_page_bytes() {
    let server = Server::start(&["--page-bytes=2048"]).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 40, &"b".repeat(300)).await;
    ada.append("r", json!({"body": "b".repeat(5_000)})).await;
    let mut reader = server.login("reader").await;
    let reply = reader.join("r", json!({"after": -1})).await;
    let mut last = last_of(&reply);
    while last < 40 {
        let ack = reader.expect("ack").await;
        let got = slots(&ack);
        assert_eq!(got, (last + 1..=last + got.len() as i64).collect::<Vec<_>>());
        assert!(got.len() == 1 || ack["entries"].to_string().len() <= 2_048, "{got:?}");
        last += got.len() as i64;
    }
    assert_eq!(last, 40);
}

#[tokio::test]
async fn a_follower_that_stops_reading_slows_no_other_and_loses_nothing() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let mut sleeper = server.login_with_small_buffer("sleeper").await;
    let mut awake = server.login("awake").await;
    sleeper.join("r", json!({})).await;
    awake.join("r", json!({})).await;
    // 12 MB: more than the buffers between the server and one who does not read can hold.
    let body = "z".repeat(12_000);
    for n in 0..10 {
        ada.fill("r", 100, &body).await;
        awake.acks("r", n * 100 - 1, n * 100 + 99).await;
    }
    let woken = sleeper.acks("r", -1, 999).await;
    assert_eq!(woken, ada.whole_log("r").await);
    ada.append("r", json!({"body": "and on"})).await;
    sleeper.acks("r", 999, 1_000).await;
    sleeper.nothing_more().await;
}

#[tokio::test]
async fn one_connection_follows_many_rooms_each_in_its_own_order() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    let rooms: Vec<_> = (0..100).map(|n| format!("room-{n}")).collect();
    for room in &rooms {
        grace.join(room, json!({})).await;
    }
    for _ in 0..3 {
        for room in &rooms {
            ada.post(with("append", room, json!({"body": "x"}))).await;
        }
    }
    for room in &rooms {
        grace.acks(room, -1, 2).await;
    }
    grace.nothing_more().await;
}

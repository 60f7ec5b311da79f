//! What the client guarantees about reads and follows.

mod fake;

use std::collections::BTreeMap;

use fake::{Fake, Peer, ack, digest_at, hello, reply, room, soon};
use roomlog_client::{Client, ClientError, Follow, Followed, Reset, Start};
use roomlog_protocol::{ErrorCode, Latest};
use serde_json::json;

async fn next(follow: &mut Follow) -> Vec<u64> {
    match soon("entries", follow.next()).await.expect("entries") {
        Followed::Entries(entries) => entries.iter().map(|entry| entry.slot).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_gap_in_the_acks_is_filled_by_updates() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut follow = client.follow(room("r"), Start::Newest(2)).await.expect("a follow");
    let join = peer.expect(json!({"type": "join", "room": "r", "count": 2})).await;
    peer.answer(&join, reply("r", 8..10, 9)).await;
    assert_eq!(next(&mut follow).await, [8, 9]);
    peer.send(ack("r", 10..11)).await;
    assert_eq!(next(&mut follow).await, [10]);

    peer.send(ack("r", 14..15)).await;
    let update = peer.expect(json!({"type": "update", "room": "r", "after": 10})).await;
    peer.send(ack("r", 15..16)).await;
    peer.answer(&update, reply("r", 11..13, 15)).await;
    assert_eq!(next(&mut follow).await, [11, 12]);
    let update = peer.expect(json!({"type": "update", "room": "r", "after": 12})).await;
    peer.answer(&update, reply("r", 13..16, 15)).await;
    assert_eq!(next(&mut follow).await, [13, 14, 15]);
    peer.send(ack("r", 15..17)).await;
    assert_eq!(next(&mut follow).await, [16]);
}

#[tokio::test]
async fn a_follow_continues_after_a_disconnect_at_its_slot_with_its_digest() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut follow = client.follow(room("r"), Start::After(Latest(-1))).await.expect("a follow");
    let join = peer.expect(json!({"type": "join", "after": -1})).await;
    peer.answer(&join, reply("r", 0..2, 1)).await;
    peer.send(ack("r", 2..3)).await;
    assert_eq!(next(&mut follow).await, [0, 1]);
    assert_eq!(next(&mut follow).await, [2]);
    peer.close(1012).await;

    let mut peer = server.accept(&hello("log-1")).await;
    let digest = digest_at(&room("r"), 2).to_string();
    let join = peer.expect(json!({"type": "join", "after": 2, "digest": digest})).await;
    peer.answer(&join, reply("r", 3..5, 4)).await;
    assert_eq!(next(&mut follow).await, [3, 4]);
}

#[tokio::test]
async fn a_log_that_diverged_or_was_replaced_resets_the_follow() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut follow = client.follow(room("r"), Start::After(Latest(-1))).await.expect("a follow");
    let join = peer.expect(json!({"type": "join", "after": -1})).await;
    peer.answer(&join, reply("r", 0..2, 1)).await;
    assert_eq!(next(&mut follow).await, [0, 1]);
    drop(peer);

    let mut peer = server.accept(&hello("log-1")).await;
    let join = peer.expect(json!({"type": "join", "after": 1})).await;
    peer.refuse(&join, "diverged", json!({"latest": 0})).await;
    let told = soon("a reset", follow.next()).await;
    assert_eq!(told, Ok(Followed::Reset(Reset::Diverged)));
    let join = peer.expect(json!({"type": "join", "count": 50})).await;
    peer.answer(&join, reply("r", 0..1, 0)).await;
    assert_eq!(next(&mut follow).await, [0]);
    drop(peer);

    let mut peer = server.accept(&hello("log-2")).await;
    let told = soon("a reset", follow.next()).await;
    assert_eq!(told, Ok(Followed::Reset(Reset::NewLog)));
    peer.expect(json!({"type": "join", "count": 50, "digest": null})).await;
}

#[tokio::test]
async fn a_room_that_cannot_be_followed_ends_the_follow_with_the_reason() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut follow = client.follow(room("r"), Start::After(Latest(7))).await.expect("a follow");
    let join = peer.expect(json!({"type": "join", "after": 7})).await;
    peer.refuse(&join, "ahead", json!({"latest": 3})).await;
    match soon("an end", follow.next()).await {
        Err(ClientError::Refused(error)) => {
            assert_eq!((error.code, error.latest), (ErrorCode::Ahead, Some(Latest(3))));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_slow_follower_loses_nothing() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut follow = client.follow(room("r"), Start::After(Latest(-1))).await.expect("a follow");
    let join = peer.expect(json!({"type": "join"})).await;
    peer.answer(&join, reply("r", 0..0, -1)).await;
    for slot in 0..200 {
        peer.send(ack("r", slot..slot + 1)).await;
    }
    let mut taken = Vec::new();
    while taken.len() < 200 {
        taken.extend(next(&mut follow).await);
    }
    assert_eq!(taken, (0..200).collect::<Vec<_>>());
    drop(follow);
    peer.send(ack("r", 200..201)).await;
    peer.expect(json!({"type": "leave", "room": "r"})).await;
}

#[tokio::test]
async fn a_read_is_resent_after_a_disconnect_and_after_busy() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let page = tokio::spawn(async move { client.page(room("r"), 2, Some(5)).await });
    peer.expect(json!({"type": "update", "room": "r", "count": 2, "upto": 5})).await;
    drop(peer);
    let mut peer = server.accept(&hello("log-1")).await;
    let update = peer.expect(json!({"type": "update", "count": 2, "upto": 5})).await;
    peer.refuse(&update, "busy", json!({"retry_after_ms": 1})).await;
    let update = peer.expect(json!({"type": "update", "count": 2, "upto": 5})).await;
    peer.answer(&update, reply("r", 4..6, 9)).await;
    let page = soon("a page", page).await.expect("no panic").expect("a page");
    assert_eq!((page.entries.len(), page.latest), (2, Latest(9)));
}

#[tokio::test]
async fn pages_end_where_the_log_ended_at_the_first_page() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let reading = tokio::spawn(async move {
        let mut slots = Vec::new();
        let mut pages = client.pages(room("r"), Latest(-1));
        while let Some(page) = pages.next().await.expect("a page") {
            slots.extend(page.entries.iter().map(|entry| entry.slot));
        }
        slots
    });
    let update = peer.expect(json!({"type": "update", "after": -1})).await;
    peer.answer(&update, reply("r", 0..2, 2)).await;
    let update = peer.expect(json!({"type": "update", "after": 1})).await;
    peer.answer(&update, reply("r", 2..4, 9)).await;
    assert_eq!(soon("the end", reading).await.expect("slots"), [0, 1, 2]);
}

#[tokio::test]
async fn a_page_with_a_gap_is_an_error_and_not_a_shorter_log() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let reading = tokio::spawn(async move { client.pages(room("r"), Latest(-1)).next().await });
    let update = peer.expect(json!({"type": "update", "after": -1})).await;
    peer.answer(&update, reply("r", 1..2, 1)).await;
    let said = soon("an error", reading).await.expect("no panic").expect_err("a hole");
    assert!(said.to_string().contains("room r has no slot 0"), "{said}");
}

#[tokio::test]
async fn the_rooms_come_in_as_many_frames_as_the_server_needs() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let rooms = tokio::spawn(async move { client.rooms().await });
    let watch = peer.expect(json!({"type": "watch"})).await;
    peer.answer(&watch, json!({"type": "heads", "rooms": {"a": 1}, "more": true})).await;
    peer.answer(&watch, json!({"type": "heads", "rooms": {"b": -1}})).await;
    let rooms = soon("the rooms", rooms).await.expect("no panic").expect("rooms");
    assert_eq!(rooms, BTreeMap::from([(room("a"), Latest(1)), (room("b"), Latest(-1))]));
}

/// A follow of a room up to slot 1, with this latest slot, that was then told to wait.
async fn told_to_wait(latest: i64) -> (Client, Peer, Follow) {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut follow = client.follow(room("r"), Start::After(Latest(-1))).await.expect("a follow");
    let join = peer.expect(json!({"type": "join", "after": -1})).await;
    peer.answer(&join, reply("r", 0..2, latest)).await;
    assert_eq!(next(&mut follow).await, [0, 1]);

    peer.send(json!({"type": "error", "code": "unavailable", "message": "not readable",
        "room": "r", "retry_after_ms": 1}))
        .await;
    let told = soon("a word", follow.next()).await;
    assert_eq!(told, Ok(Followed::Waiting("unavailable: not readable".into())));
    (client, peer, follow)
}

#[tokio::test]
async fn a_follow_that_the_server_cannot_serve_reports_it_once_and_continues() {
    let (_client, mut peer, mut follow) = told_to_wait(2).await;
    for _ in 0..2 {
        let join = peer.expect(json!({"type": "join", "after": 1})).await;
        peer.refuse(&join, "unavailable", json!({"retry_after_ms": 1})).await;
    }
    let join = peer.expect(json!({"type": "join", "after": 1})).await;
    peer.answer(&join, reply("r", 2..3, 2)).await;
    assert_eq!(next(&mut follow).await, [2]);
}

#[tokio::test]
async fn a_follow_that_is_served_again_reports_it_although_there_is_nothing_new() {
    let (_client, mut peer, mut follow) = told_to_wait(1).await;
    let join = peer.expect(json!({"type": "join", "after": 1})).await;
    peer.answer(&join, reply("r", 2..2, 1)).await;
    assert_eq!(next(&mut follow).await, [0; 0]);
}

#[tokio::test]
async fn a_read_of_damaged_data_is_not_retried() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let page = tokio::spawn(async move { client.page(room("r"), 2, Some(5)).await });
    let update = peer.expect(json!({"type": "update"})).await;
    peer.send(json!({"type": "error", "code": "unavailable", "req": update["req"],
        "message": "this cannot be read: the archive is damaged", "retry_after_ms": 1}))
        .await;
    match soon("an end", page).await.expect("no panic") {
        Err(ClientError::Refused(error)) => assert_eq!(error.code, ErrorCode::Unavailable),
        other => panic!("{other:?}"),
    }
}

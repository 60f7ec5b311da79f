//! Each request gets its own answer: with ids that callers choose, with concurrent requests, and
//! with late answers.

mod fake;

use std::collections::BTreeMap;

use fake::{Fake, Peer, ack, hello, reply, room, soon};
use roomlog_client::{AppendError, Client, ClientError, Follow, Followed, Pending, Start, draft};
use roomlog_protocol::{ClientAppend, EntryId, ErrorCode, Latest};
use serde_json::{Value, json};

fn under(id: &str, name: &str, body: &str) -> ClientAppend {
    ClientAppend { id: Some(EntryId::new(id).expect("an id")), ..draft(room(name), body) }
}

async fn slot(pending: Pending) -> u64 {
    soon("an outcome", pending).await.expect("committed").appended.slot
}

async fn slots(follow: &mut Follow) -> Vec<u64> {
    match soon("entries", follow.next()).await.expect("entries") {
        Followed::Entries(entries) => entries.iter().map(|entry| entry.slot).collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn one_id_in_two_rooms_by_two_authors_and_with_two_texts_is_four_appends() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut appends = [
        under("k", "one", "text"),
        under("k", "two", "text"),
        under("k", "one", "text"),
        under("k", "one", "other text"),
    ];
    appends[2].author = Some("grace".parse().expect("an author"));
    let mut pending = Vec::new();
    let mut frames = Vec::new();
    for append in appends {
        pending.push(client.append(append).await.expect("accepted"));
        frames.push(peer.expect(json!({"type": "append", "id": "k"})).await);
    }
    peer.refuse(&frames[3], "id_reused", json!({"slot": 0})).await;
    for (at, frame) in frames[..3].iter().enumerate().rev() {
        peer.commit(frame, 10 + at as u64).await;
    }
    match soon("an outcome", pending.remove(3)).await {
        Err(AppendError::Refused(error)) => assert_eq!(error.code, ErrorCode::IdReused),
        other => panic!("{other:?}"),
    }
    for (at, pending) in pending.into_iter().enumerate() {
        assert_eq!(slot(pending).await, 10 + at as u64);
    }
}

#[tokio::test]
async fn one_append_made_twice_has_two_outcomes_across_a_disconnect_too() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let pending = [
        client.append(under("k", "r", "text")).await.expect("accepted"),
        client.append(under("k", "r", "text")).await.expect("accepted"),
    ];
    peer.expect(json!({"id": "k", "seq": 0})).await;
    peer.expect(json!({"id": "k", "seq": 1})).await;
    peer.close(1012).await;
    let mut peer = server.accept(&hello("log-1")).await;
    let frames = [peer.expect(json!({"seq": 0})).await, peer.expect(json!({"seq": 1})).await];
    peer.commit(&frames[1], 4).await;
    peer.commit(&frames[0], 4).await;
    for pending in pending {
        assert_eq!(slot(pending).await, 4);
    }
}

#[tokio::test]
async fn an_answer_without_seq_is_matched_by_its_req() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let a = client.append(under("k", "r", "text")).await.expect("accepted");
    let frame = peer.expect(json!({"type": "append"})).await;
    let answer = json!({"type": "appended", "room": "r", "id": "k", "slot": 3, "committed_at": 1});
    peer.answer(&frame, answer).await;
    assert_eq!(slot(a).await, 3);
}

/// A follow that is not read, with more acks than it buffers.
async fn unread(client: &Client, peer: &mut Peer) -> Follow {
    let follow = client.follow(room("r"), Start::Newest(2)).await.expect("a follow");
    let join = peer.expect(json!({"type": "join", "count": 2})).await;
    peer.answer(&join, reply("r", 8..10, 9)).await;
    for slot in 10..20 {
        peer.send(ack("r", slot..slot + 1)).await;
    }
    follow
}

#[tokio::test]
async fn a_second_follow_of_a_room_gets_nothing_of_the_first_which_is_replaced() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut first = unread(&client, &mut peer).await;
    let mut second = client.follow(room("r"), Start::After(Latest(-1))).await.expect("a follow");
    let join = peer.expect(json!({"type": "join", "after": -1})).await;
    peer.send(ack("r", 20..21)).await;
    peer.answer(&join, reply("r", 0..2, 20)).await;
    assert_eq!(slots(&mut second).await, [0, 1]);
    let end = loop {
        if let Err(end) = soon("an end", first.next()).await {
            break end;
        }
    };
    assert_eq!(end, ClientError::Replaced { room: room("r") });
    assert!(end.to_string().contains("use another client"), "{end}");
}

#[tokio::test]
async fn a_late_reply_to_an_earlier_join_is_not_mistaken_for_that_to_the_latest() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let _first = client.follow(room("r"), Start::Newest(2)).await.expect("a follow");
    let early = peer.expect(json!({"type": "join", "count": 2})).await;
    let mut second = client.follow(room("r"), Start::After(Latest(-1))).await.expect("a follow");
    let late = peer.expect(json!({"type": "join", "after": -1})).await;
    peer.answer(&early, reply("r", 8..10, 9)).await;
    peer.send(ack("r", 10..11)).await;
    peer.answer(&late, reply("r", 0..2, 10)).await;
    assert_eq!(slots(&mut second).await, [0, 1]);
}

#[tokio::test]
async fn a_dropped_follow_leaves_at_once_and_the_room_can_be_followed_again() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let quiet = client.follow(room("r"), Start::Newest(2)).await.expect("a follow");
    let join = peer.expect(json!({"type": "join"})).await;
    peer.answer(&join, reply("r", 0..0, -1)).await;
    drop(quiet);
    peer.expect(json!({"type": "leave", "room": "r"})).await;

    let unanswered = client.follow(room("r"), Start::Newest(2)).await.expect("a follow");
    let join = peer.expect(json!({"type": "join"})).await;
    drop(unanswered);
    let leave = peer.expect(json!({"type": "leave", "room": "r"})).await;
    let mut again = client.follow(room("r"), Start::After(Latest(-1))).await.expect("a follow");
    let joined = peer.expect(json!({"type": "join", "after": -1})).await;
    peer.answer(&join, reply("r", 0..0, -1)).await;
    peer.send(ack("r", 0..1)).await;
    peer.answer(&leave, json!({"type": "left", "room": "r"})).await;
    peer.answer(&joined, reply("r", 0..1, 0)).await;
    assert_eq!(slots(&mut again).await, [0]);
}

#[tokio::test]
async fn a_follow_that_replaces_another_and_is_refused_leaves_the_room() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let first = client.follow(room("r"), Start::Newest(2)).await.expect("a follow");
    let join = peer.expect(json!({"type": "join"})).await;
    peer.answer(&join, reply("r", 0..0, -1)).await;
    let mut second = client.follow(room("r"), Start::After(Latest(7))).await.expect("a follow");
    let join = peer.expect(json!({"type": "join", "after": 7})).await;
    // Not before: the client might notice this first, and leave.
    drop(first);
    peer.refuse(&join, "ahead", json!({"latest": -1})).await;
    let end = soon("an end", second.next()).await;
    assert!(matches!(end, Err(ClientError::Refused(_))), "{end:?}");
    peer.expect(json!({"type": "leave", "room": "r"})).await;
}

fn heads(rooms: Value) -> Value {
    json!({"type": "heads", "rooms": rooms})
}

fn part(rooms: Value) -> Value {
    json!({"type": "heads", "rooms": rooms, "more": true})
}

#[tokio::test]
async fn two_concurrent_lists_of_rooms_are_both_complete() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let client = std::sync::Arc::new(client);
    let rooms = |client: std::sync::Arc<Client>| tokio::spawn(async move { client.rooms().await });
    let first = rooms(client.clone());
    let watch = peer.expect(json!({"type": "watch"})).await;
    peer.answer(&watch, part(json!({"a": 1}))).await;
    let second = rooms(client.clone());
    // A `watch` now would make the server start over, and the first list would lack rooms.
    tokio::task::yield_now().await;
    peer.expect_silence().await;
    peer.answer(&watch, heads(json!({"b": 2}))).await;
    let watch = peer.expect(json!({"type": "watch"})).await;
    // A move meanwhile does not end the list.
    peer.send(heads(json!({"a": 3}))).await;
    peer.answer(&watch, heads(json!({"a": 3, "b": 2}))).await;
    let list = |a| BTreeMap::from([(room("a"), Latest(a)), (room("b"), Latest(2))]);
    let first = soon("the first", first).await.expect("no panic");
    assert_eq!(first.expect("rooms"), list(1));
    let second = soon("the second", second).await.expect("no panic");
    assert_eq!(second.expect("rooms"), list(3));
}

#[tokio::test]
async fn a_list_of_rooms_does_not_end_a_watch_nor_hide_a_move_from_it() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut watch = client.watch().await.expect("a watch");
    let frame = peer.expect(json!({"type": "watch"})).await;
    peer.answer(&frame, heads(json!({"a": 1}))).await;
    assert_eq!(soon("a list", watch.next()).await.expect("heads").rooms[&room("a")], Latest(1));

    let rooms = tokio::spawn(async move { (client.rooms().await, client) });
    let frame = peer.expect(json!({"type": "watch"})).await;
    // The server starts over: this move is only in the list.
    peer.answer(&frame, heads(json!({"a": 2}))).await;
    let (rooms, _client) = soon("the rooms", rooms).await.expect("no panic");
    assert_eq!(rooms.expect("rooms")[&room("a")], Latest(2));
    let moved = soon("a move", watch.next()).await.expect("heads");
    assert_eq!((moved.rooms[&room("a")], moved.more), (Latest(2), None));
    peer.send(heads(json!({"a": 3}))).await;
    assert_eq!(soon("a move", watch.next()).await.expect("heads").rooms[&room("a")], Latest(3));
}

#[tokio::test]
async fn a_watch_that_the_server_ends_is_restarted_on_the_same_connection() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut watch = client.watch().await.expect("a watch");
    peer.expect(json!({"type": "watch"})).await;
    let error = json!({"type": "error", "code": "unavailable", "message": "no list",
        "retry_after_ms": 1});
    peer.send(error).await;
    let frame = peer.expect(json!({"type": "watch"})).await;
    peer.answer(&frame, heads(json!({"a": 1}))).await;
    assert_eq!(soon("a list", watch.next()).await.expect("heads").rooms[&room("a")], Latest(1));
}

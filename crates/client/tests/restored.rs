//! A server that comes back with another log, as after a restore: requests with slots of the old
//! one fail, everything else continues.

mod fake;

use fake::{Fake, hello, reply, room, soon};
use roomlog_client::{AppendError, Client, ClientError, Followed, Reset, Start, State, draft};
use roomlog_protocol::{ClientAppend, ClientUpdate, Latest, Span};
use serde_json::json;

async fn connected_again(client: &Client) {
    let mut state = client.state();
    let again = state.wait_for(|state| *state == State::Connected);
    let _connected = soon("a connection", again).await.expect("a client");
}

fn told(body: &str, change: fn(&mut ClientAppend)) -> ClientAppend {
    let mut append = draft(room("r"), body);
    change(&mut append);
    append
}

#[tokio::test]
async fn an_append_with_slots_of_the_old_log_is_not_sent_to_the_new_one_with_them() {
    let server = Fake::start().await;
    let (client, peer) = server.client(server.options()).await;
    let old = client.hello().log.clone();
    peer.close(1012).await;
    let mut peer = server.accept(&hello("log-2")).await;
    connected_again(&client).await;

    for change in [
        |it: &mut ClientAppend| it.reference = Some(3),
        |it: &mut ClientAppend| it.expect = Some(4),
    ] {
        let late = client.append_of(&old, told("late", change)).await.expect("accepted");
        assert_eq!(soon("an outcome", late).await, Err(AppendError::NewLog));
    }
    let after = told("after", |append| append.after = Some(Latest(7)));
    let after = client.append_of(&old, after).await.expect("accepted");
    let frame = peer.expect(json!({"type": "append", "body": "after", "seq": 0})).await;
    assert_eq!(frame.get("after"), None, "{frame}");
    peer.commit(&frame, 0).await;
    assert!(soon("an outcome", after).await.is_ok());

    // Slots of the current log are valid.
    let new = told("new", |append| append.reference = Some(0));
    let new = client.append(new).await.expect("accepted");
    let frame = peer.expect(json!({"body": "new", "ref": 0})).await;
    peer.commit(&frame, 1).await;
    assert!(soon("an outcome", new).await.is_ok());
}

#[tokio::test]
async fn without_append_to_new_log_everything_pending_fails() {
    let server = Fake::start().await;
    let mut options = server.options();
    options.append_to_new_log = false;
    let (client, mut peer) = server.client(options).await;
    let old = client.hello().log.clone();
    let a = client.append(draft(room("r"), "a")).await.expect("accepted");
    peer.expect(json!({"body": "a"})).await;
    peer.close(1012).await;
    let mut peer = server.accept(&hello("log-2")).await;
    assert_eq!(soon("an outcome", a).await, Err(AppendError::NewLog));
    let late = client.append_of(&old, draft(room("r"), "b")).await.expect("accepted");
    assert_eq!(soon("an outcome", late).await, Err(AppendError::NewLog));
    let again = client.append(draft(room("r"), "a")).await.expect("accepted");
    let frame = peer.expect(json!({"body": "a", "seq": 0})).await;
    peer.commit(&frame, 0).await;
    assert!(soon("an outcome", again).await.is_ok());
}

#[tokio::test]
async fn a_read_with_a_slot_of_the_old_log_fails_and_one_of_the_newest_continues() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let update = |span| ClientUpdate { room: room("r"), span, seen: None, digest: None, req: None };
    let after = client.update(update(Span::After(Latest(4))));
    let upto = client.update(update(Span::UpTo { count: 2, upto: Some(4) }));
    let newest = client.update(update(Span::UpTo { count: 2, upto: None }));
    let restore = async {
        for _ in 0..3 {
            peer.expect(json!({"type": "update", "room": "r"})).await;
        }
        peer.close(1012).await;
        let mut peer = server.accept(&hello("log-2")).await;
        let frame = peer.expect(json!({"type": "update", "count": 2})).await;
        assert_eq!(frame.get("upto"), None, "{frame}");
        peer.answer(&frame, reply("r", 0..2, 1)).await;
        peer
    };
    let (after, upto, newest, _peer) =
        soon("answers", async { tokio::join!(after, upto, newest, restore) }).await;
    assert_eq!((after, upto), (Err(ClientError::NewLog), Err(ClientError::NewLog)));
    assert_eq!(newest.expect("a page").latest, Latest(1));
}

#[tokio::test]
async fn pages_never_mix_two_logs() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut pages = client.pages(room("r"), Latest(-1));
    let first = async {
        let frame = peer.expect(json!({"type": "update", "after": -1})).await;
        peer.answer(&frame, reply("r", 0..2, 9)).await;
    };
    let (page, ()) = tokio::join!(pages.next(), first);
    assert_eq!(page.expect("a page").expect("one").entries.len(), 2);
    peer.close(1012).await;
    let mut peer = server.accept(&hello("log-2")).await;
    connected_again(&client).await;
    assert_eq!(soon("an end", pages.next()).await, Err(ClientError::NewLog));
    peer.expect_silence().await;
}

#[tokio::test]
async fn stored_slots_of_another_log_are_never_requested() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client_with(server.options(), &hello("log-2")).await;
    let span = Span::UpTo { count: 2, upto: Some(4) };
    let update = ClientUpdate { room: room("r"), span, seen: None, digest: None, req: None };
    let read = soon("an answer", client.update_of("log-1", update)).await;
    assert_eq!(read, Err(ClientError::NewLog));
    let mut pages = client.pages(room("r"), Latest(4)).of("log-1");
    assert_eq!(soon("an end", pages.next()).await, Err(ClientError::NewLog));
    peer.expect_silence().await;

    let start = Start::After(Latest(900));
    let mut follow = client.follow_of("log-1", room("r"), start).await.expect("a follow");
    let told = soon("a reset", follow.next()).await;
    assert_eq!((told, follow.log()), (Ok(Followed::Reset(Reset::NewLog)), "log-2"));
    let join = peer.expect(json!({"type": "join", "count": 50})).await;
    assert_eq!(join.get("after"), None, "{join}");
    peer.answer(&join, reply("r", 0..1, 0)).await;
    let first = soon("entries", follow.next()).await;
    assert!(matches!(first, Ok(Followed::Entries(entries)) if entries[0].body() == "body 0"));
}

#[tokio::test]
async fn a_follow_that_had_no_reply_yet_does_not_start_in_the_middle_of_another_log() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut follow = client.follow(room("r"), Start::After(Latest(2))).await.expect("a follow");
    peer.expect(json!({"type": "join", "after": 2})).await;
    peer.close(1012).await;
    let mut peer = server.accept(&hello("log-2")).await;
    let told = soon("a reset", follow.next()).await;
    assert_eq!(told, Ok(Followed::Reset(Reset::NewLog)));
    let join = peer.expect(json!({"type": "join", "count": 50})).await;
    assert_eq!(join.get("after"), None, "{join}");
}

#[tokio::test]
async fn items_from_before_the_log_changed_name_the_old_log() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let (mut watch, mut follow) =
        tokio::join!(async { client.watch().await.expect("a watch") }, async {
            client.follow(room("r"), Start::Newest(9)).await.expect("a follow")
        },);
    for _ in 0..2 {
        let frame = peer.next().await;
        let answer = match frame["type"].as_str() {
            Some("watch") => json!({"type": "heads", "rooms": {"r": 1}}),
            _ => reply("r", 0..2, 1),
        };
        peer.answer(&frame, answer).await;
    }
    peer.close(1012).await;
    let mut peer = server.accept(&hello("log-2")).await;
    connected_again(&client).await;
    // Neither was read until now.
    let heads = soon("heads", watch.next()).await.expect("heads");
    assert_eq!((heads.rooms.len(), watch.log()), (1, "log-1"));
    let entries = soon("entries", follow.next()).await.expect("entries");
    assert!(matches!(entries, Followed::Entries(entries) if entries.len() == 2));
    assert_eq!(follow.log(), "log-1");
    assert_eq!(soon("a reset", follow.next()).await, Ok(Followed::Reset(Reset::NewLog)));
    assert_eq!(follow.log(), "log-2");
    peer.expect(json!({"type": "watch"})).await;
}

#[tokio::test]
async fn a_list_of_rooms_that_spans_two_logs_has_the_rooms_of_the_new_one() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let rooms = tokio::spawn(async move { client.rooms().await });
    let watch = peer.expect(json!({"type": "watch"})).await;
    let part = json!({"type": "heads", "rooms": {"gone": 7}, "more": true});
    peer.answer(&watch, part).await;
    peer.close(1012).await;
    let mut peer = server.accept(&hello("log-2")).await;
    let watch = peer.expect(json!({"type": "watch"})).await;
    peer.answer(&watch, json!({"type": "heads", "rooms": {"here": 0}})).await;
    let rooms = soon("the rooms", rooms).await.expect("no panic").expect("rooms");
    assert_eq!(rooms, [(room("here"), Latest(0))].into());
}

#[tokio::test]
async fn a_follow_reports_that_it_waits_for_the_log_to_reach_its_slot() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut follow = client.follow(room("r"), Start::Newest(1)).await.expect("a follow");
    let join = peer.expect(json!({"type": "join"})).await;
    peer.answer(&join, reply("r", 4..5, 4)).await;
    soon("entries", follow.next()).await.expect("entries");
    peer.close(1012).await;
    let mut peer = server.accept(&hello("log-1")).await;
    let join = peer.expect(json!({"type": "join", "after": 4})).await;
    peer.refuse(&join, "ahead", json!({"latest": 2})).await;
    let told = soon("a word", follow.next()).await;
    assert!(matches!(told, Ok(Followed::Waiting(why)) if why.contains("ahead")));
}

//! The first design, line by line: a test for each line that concerns the server. Their names are
//! the lines. `docs/FIRST_DESIGN.md` says what each came to be.

mod support;

use serde_json::{Value, json};
use support::{Server, digest_after, slot, slots};

#[tokio::test]
async fn read_chat_logs_append_to_a_chat_log() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.append("log", json!({"body": "hello"})).await;
    assert_eq!(ada.update("log", json!({})).await["entries"][0]["body"], "hello");
}

#[tokio::test]
async fn in_the_end_every_client_agrees_on_the_messages_up_to_some_message_and_some_are_ahead() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    let (mut ahead, mut behind) = (server.login("ahead").await, server.login("behind").await);
    ahead.join("r", json!({"after": -1})).await;
    tokio::join!(ada.fill("r", 100, "ada's"), grace.fill("r", 100, "grace's"));
    let all = ahead.acks("r", -1, 199).await;
    // A later login that has read less holds the beginning of the same log.
    let some = behind.update("r", json!({"count": 120, "upto": 119})).await;
    assert_eq!(some["entries"].as_array().expect("entries")[..], all[..120]);
    assert_eq!(some["digest"], digest_after("r", &all[..120]));
}

#[tokio::test]
async fn a_timer_fires_the_client_sends_the_latest_number_it_has_seen_and_gets_all_that_is_missing()
{
    let server = Server::start(&["--page-entries=10"]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    ada.fill("r", 7, "seen").await;
    let mut held = grace.whole_log("r").await;
    ada.fill("r", 25, "missing").await;
    loop {
        let (last, digest) = (held.len() as i64 - 1, digest_after("r", &held));
        let reply = grace.update("r", json!({"after": last, "digest": digest})).await;
        held.extend(reply["entries"].as_array().expect("entries").iter().cloned());
        if reply["latest"] == held.len() as i64 - 1 {
            break;
        }
    }
    assert_eq!(held, ada.whole_log("r").await);
}

#[tokio::test]
async fn a_message_goes_to_a_thread_for_that_session_which_puts_it_into_a_queue() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    // Ada's queue is blocked, and only hers.
    let waiting = ada.post(json!({"type": "append", "room": "r", "body": "x", "after": 1})).await;
    ada.nothing_more().await;
    assert_eq!(slot(&grace.append("r", json!({"body": "0"})).await), 0);
    assert_eq!(slot(&grace.append("r", json!({"body": "1"})).await), 1);
    assert_eq!(slot(&ada.answer(waiting).await), 2);
}

#[tokio::test]
async fn each_connection_starts_a_number_at_0_and_raises_it_by_one_for_each_message() {
    let server = Server::start(&[]).await;
    for connection in 0..2 {
        let mut ada = server.login("ada").await;
        for seq in 0..3 {
            let answer = ada.append("r", json!({"body": "x", "seq": seq})).await;
            assert_eq!((&answer["seq"], slot(&answer)), (&json!(seq), 3 * connection + seq));
        }
    }
}

#[tokio::test]
async fn a_message_says_where_it_stands_relative_to_the_global_list() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    let seen = slot(&ada.append("r", json!({"body": "a question"})).await);
    let answer = grace.append("r", json!({"body": "an answer", "after": seen})).await;
    assert!(slot(&answer) > seen);
}

#[tokio::test]
async fn at_n_not_yet_having_everything_up_to_n_minus_1_first_receive_the_difference() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let mut asked = Vec::new();
    for seq in [2, 1] {
        asked.push(ada.post(json!({"type": "append", "room": "r", "body": "x", "seq": seq})).await);
    }
    ada.nothing_more().await;
    assert_eq!(slot(&ada.append("r", json!({"body": "x", "seq": 0})).await), 0);
    assert_eq!(slot(&ada.answer(asked[0]).await), 2);
    assert_eq!(slot(&ada.answer(asked[1]).await), 1);
}

#[tokio::test]
async fn of_the_sessions_queues_one_head_each_is_held_and_the_chosen_one_gets_the_next_slot() {
    let server = Server::start(&[]).await;
    let mut writers = Vec::new();
    for author in ["a", "b", "c"] {
        let mut writer = server.login(author).await;
        writers.push(tokio::spawn(async move { writer.fill("r", 100, author).await }));
    }
    let mut given = Vec::new();
    for writer in writers {
        let own: Vec<_> = writer.await.expect("a writer").iter().map(slot).collect();
        assert!(own.is_sorted(), "a queue was not first in, first out: {own:?}");
        given.extend(own);
    }
    given.sort_unstable();
    assert_eq!(given, (0..300).collect::<Vec<_>>(), "the slot number grows by one");
}

#[tokio::test]
async fn storage_is_stable() {
    let mut server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 50, "kept").await;
    let before = ada.whole_log("r").await;
    server.kill9().await;
    server.restart().await;
    assert_eq!(server.login("ada").await.whole_log("r").await, before);
}

#[tokio::test]
async fn a_chat_entry_has_a_slot() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let answers = ada.fill("r", 3, "x").await;
    assert_eq!(answers.iter().map(slot).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(slots(&ada.update("r", json!({})).await), [0, 1, 2]);
}

#[tokio::test]
async fn client_append_is_a_new_entry_with_metadata() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.append("r", json!({"body": "0"})).await;
    let metadata =
        json!({"kind": "reaction", "ref": 0, "meta": "{\"client\":\"ios\"}", "sent_at": 5});
    let mut members = metadata.clone();
    members["body"] = json!("👍");
    ada.append("r", members).await;
    let entry = &ada.whole_log("r").await[1];
    for (member, value) in metadata.as_object().expect("an object") {
        assert_eq!(&entry[member], value, "{member}");
    }
}

#[tokio::test]
async fn client_update_is_n_slots_up_to_slot_n_and_minus_1_is_the_current_one() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 20, "x").await;
    assert_eq!(slots(&ada.update("r", json!({"count": 3, "upto": 10})).await), [8, 9, 10]);
    assert_eq!(slots(&ada.update("r", json!({"count": 3, "upto": -1})).await), [17, 18, 19]);
}

#[tokio::test]
async fn server_ack_tells_all_connections_that_the_entry_is_committed() {
    let server = Server::start(&[]).await;
    let mut everyone = Vec::new();
    for author in ["ada", "grace", "joan"] {
        let mut client = server.login(author).await;
        client.join("r", json!({})).await;
        everyone.push(client);
    }
    let answer = everyone[0].append("r", json!({"id": "a-1", "body": "x"})).await;
    let mut told: Vec<Value> = Vec::new();
    for client in &mut everyone {
        told.extend(client.acks("r", -1, slot(&answer)).await);
        client.nothing_more().await;
    }
    assert_eq!(told.len(), 3);
    assert!(told.iter().all(|entry| entry["id"] == "a-1" && *entry == told[0]), "{told:?}");
}

#[tokio::test]
async fn server_reply_is_the_requested_entries_and_the_latest_slot() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 20, "x").await;
    let reply = ada.update("r", json!({"count": 2, "upto": 5})).await;
    assert_eq!((slots(&reply), &reply["latest"]), (vec![4, 5], &json!(19)));
}

#[tokio::test]
async fn more_asked_than_can_be_sent_gives_the_smaller_of_the_two() {
    let server = Server::start(&["--page-entries=5"]).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 20, "x").await;
    let past_the_end = ada.update("r", json!({"count": 2, "upto": 500})).await;
    assert_eq!(slots(&past_the_end), [18, 19]);
    let past_a_page = ada.update("r", json!({"count": 500, "upto": 9})).await;
    assert_eq!(slots(&past_a_page), [5, 6, 7, 8, 9]);
}

#[tokio::test]
async fn the_connection_gives_reliable_fifo() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let append = |n: i64| json!({"type": "append", "room": "r", "body": n.to_string(), "req": n});
    ada.send_all((0..100).map(append)).await;
    for n in 0..100 {
        assert_eq!(slot(&ada.answer(n).await), n);
    }
    let update = |n: i64| json!({"type": "update", "room": "r", "count": 1, "upto": n, "req": n});
    ada.send_all((0..100).map(update)).await;
    for n in 0..100 {
        assert_eq!(slots(&ada.expect("reply").await), [n]);
    }
}

#[tokio::test]
async fn login_recovery_and_reconnect_are_the_same_ask_for_the_last_m_slots() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 30, "x").await;
    for _ in 0..2 {
        let mut grace = server.login("grace").await;
        assert_eq!(slots(&grace.join("r", json!({"count": 4})).await), [26, 27, 28, 29]);
    }
    // Who holds something already asks for what follows it.
    let mut grace = server.login("grace").await;
    assert_eq!(slots(&grace.join("r", json!({"after": 27})).await), [28, 29]);
}

#[tokio::test]
async fn the_user_scrolls_past_the_oldest_message_held_and_gets_the_ones_before_it() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 25, "x").await;
    let mut held = slots(&ada.join("r", json!({"count": 10})).await);
    while held[0] > 0 {
        let older = ada.update("r", json!({"count": 10, "upto": held[0] - 1})).await;
        held.splice(0..0, slots(&older));
    }
    assert_eq!(held, (0..25).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_append_is_written_to_the_database_and_then_acked_to_all_connections() {
    let mut server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    grace.join("r", json!({})).await;
    ada.post(json!({"type": "append", "room": "r", "body": "x"})).await;
    let acked = grace.acks("r", -1, 0).await;
    // The first sight of an entry is enough to find it after a crash.
    server.kill9().await;
    server.restart().await;
    assert_eq!(server.login("ada").await.whole_log("r").await, acked);
}

//! `append` and its `appended`: slots, members, authors, `expect`, `ref`, `after`.

mod support;

use serde_json::{Value, json};
use support::{Server, code, slot, slots};

#[tokio::test]
async fn an_append_is_answered_with_its_room_id_slot_and_time() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.send(json!({"type": "append", "room": "r", "id": "a-1", "body": "hi", "req": 3})).await;
    let mut answer = ada.recv().await;
    assert!(answer["committed_at"].take().as_u64().is_some_and(|ms| ms > 1_700_000_000_000));
    assert_eq!(
        answer,
        json!({"type": "appended", "room": "r", "id": "a-1", "slot": 0,
               "committed_at": Value::Null, "req": 3})
    );
    ada.nothing_more().await;
}

#[tokio::test]
async fn slots_count_from_0_in_every_room_without_a_hole() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    for n in 0..3 {
        for room in ["general", "General", "g~1:x@y.z_-"] {
            assert_eq!(slot(&ada.append(room, json!({"body": "x"})).await), n, "{room}");
        }
    }
}

#[tokio::test]
async fn an_entry_holds_what_was_appended_and_absent_members_are_left_out() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.append("r", json!({"id": "a-1", "body": "", "kind": "text", "meta": null})).await;
    let full = json!({"id": "a-2", "body": "naïve 👋\n\u{0}\"", "kind": "x-1.y", "ref": 0,
                      "meta": "{\"x\":1}", "sent_at": 0});
    ada.append("r", full).await;
    let mut log = ada.whole_log("r").await;
    for entry in &mut log {
        assert!(entry["committed_at"].take().is_u64(), "{entry}");
    }
    let salts = [0, 1].map(|slot: usize| log[slot]["salt"].take());
    assert!(
        salts.iter().all(|salt| salt.as_str().is_some_and(|salt| salt.len() == 16)),
        "{salts:?}"
    );
    assert_ne!(salts[0], salts[1]);
    assert_eq!(
        log,
        [
            json!({"slot": 0, "author": "ada", "id": "a-1", "body": "", "committed_at": null,
                   "salt": null}),
            json!({"slot": 1, "author": "ada", "id": "a-2", "body": "naïve 👋\n\u{0}\"",
                   "committed_at": null, "sent_at": 0, "kind": "x-1.y", "ref": 0,
                   "meta": "{\"x\":1}", "salt": null}),
        ]
    );
}

#[tokio::test]
async fn appended_and_the_entry_agree_on_slot_and_time_and_times_never_decrease() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let answers = ada.fill("r", 200, "x").await;
    let log = ada.whole_log("r").await;
    assert_eq!(answers.len(), log.len());
    for (answer, entry) in answers.iter().zip(&log) {
        for member in ["slot", "id", "committed_at"] {
            assert_eq!(answer[member], entry[member], "{member}");
        }
    }
    let times: Vec<_> = log.iter().map(|entry| entry["committed_at"].as_u64()).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[tokio::test]
async fn without_an_id_the_server_makes_one_for_each_append() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let first = ada.append("r", json!({"body": "x"})).await;
    let second = ada.append("r", json!({"body": "x"})).await;
    assert_eq!((slot(&first), slot(&second)), (0, 1), "a retry without an id is a new entry");
    assert_ne!(first["id"], second["id"]);
    let id = first["id"].as_str().expect("an id");
    assert!((1..=64).contains(&id.len()) && id.bytes().all(|b| (0x21..=0x7e).contains(&b)));
    assert_eq!(ada.whole_log("r").await[0]["id"], id);
}

#[tokio::test]
async fn an_open_server_accepts_another_author_in_an_append() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.append("r", json!({"id": "1", "body": "x", "author": "grace"})).await;
    ada.append("r", json!({"id": "1", "body": "x", "author": "ada"})).await;
    let log = ada.whole_log("r").await;
    assert_eq!(log[0]["author"], "grace");
    assert_eq!(log[1]["author"], "ada");
}

#[tokio::test]
async fn one_connections_appends_to_a_room_keep_their_order_whatever_its_clock_says() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let now = ada.append("clock", json!({"body": ""})).await["committed_at"].clone();
    let now = now.as_u64().expect("a time");
    ada.send_all((0..200_u64).map(|n| {
        // The later ones claim to be the earlier ones, within the two seconds that are believed.
        let sent_at = now - 9 * n;
        json!({"type": "append", "room": "r", "body": n.to_string(), "sent_at": sent_at, "req": n})
    }))
    .await;
    for n in 0..200 {
        assert_eq!(slot(&ada.answer(n).await), n);
    }
}

#[tokio::test]
async fn expect_names_the_slot_that_the_entry_must_get() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let append =
        |expect: u64| json!({"type": "append", "room": "r", "body": "x", "expect": expect});
    assert_eq!(ada.refused(append(1), "expect_failed").await["latest"], -1);
    assert_eq!(slot(&ada.append("r", append(0)).await), 0);
    assert_eq!(ada.refused(append(0), "expect_failed").await["latest"], 0);
    assert_eq!(slot(&ada.append("r", append(1)).await), 1);
    assert_eq!(ada.refused(append(3), "expect_failed").await["latest"], 1);
    assert_eq!(ada.whole_log("r").await.len(), 2);
}

#[tokio::test]
async fn of_two_appends_that_expect_one_slot_one_gets_it() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    for want in 0..20 {
        let frame = json!({"type": "append", "room": "r", "body": "mine", "expect": want});
        let (a, g) = tokio::join!(ada.ask(frame.clone()), grace.ask(frame));
        let (won, lost) = if a["type"] == "appended" { (a, g) } else { (g, a) };
        assert_eq!((won["type"].as_str(), slot(&won)), (Some("appended"), want));
        assert_eq!((code(&lost), &lost["latest"]), ("expect_failed", &json!(want)));
    }
}

#[tokio::test]
async fn a_ref_is_an_earlier_slot_and_one_past_the_end_is_bad_after_the_wait() {
    let server = Server::start(&["--ahead-ms=150"]).await;
    let mut ada = server.login("ada").await;
    let append = |slot: u64| json!({"type": "append", "room": "r", "body": "+1", "ref": slot});
    ada.refused(append(0), "bad_ref").await;
    ada.append("r", json!({"body": "first"})).await;
    ada.append("r", append(0)).await;
    ada.refused(append(2), "bad_ref").await;
    ada.refused(append((1 << 53) - 1), "bad_ref").await;
    assert_eq!(ada.whole_log("r").await.len(), 2);
}

#[tokio::test]
async fn a_ref_to_a_slot_that_is_committed_during_the_wait_is_accepted() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    let waiting = ada.post(json!({"type": "append", "room": "r", "body": "+1", "ref": 0})).await;
    ada.nothing_more().await;
    grace.append("r", json!({"body": "first"})).await;
    assert_eq!(slot(&ada.answer(waiting).await), 1);
}

#[tokio::test]
async fn an_append_with_after_gets_a_greater_slot() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    assert_eq!(slot(&ada.append("r", json!({"body": "x", "after": -1})).await), 0);
    assert_eq!(slot(&ada.append("r", json!({"body": "x", "after": 0})).await), 1);
    assert_eq!(slot(&ada.append("r", json!({"body": "x", "after": 0})).await), 2);
}

#[tokio::test]
async fn an_append_after_a_slot_that_does_not_come_is_ahead() {
    let server = Server::start(&["--ahead-ms=150"]).await;
    let mut ada = server.login("ada").await;
    let append = json!({"type": "append", "room": "r", "id": "a-1", "body": "x", "after": 1});
    assert_eq!(ada.refused(append.clone(), "ahead").await["latest"], -1);
    ada.append("r", json!({"body": "first"})).await;
    let error = ada.refused(append, "ahead").await;
    assert_eq!(
        (&error["latest"], &error["room"], &error["id"]),
        (&json!(0), &json!("r"), &json!("a-1"))
    );
    assert_eq!(slot(&ada.append("r", json!({"id": "a-1", "body": "x", "after": 0})).await), 1);
}

#[tokio::test]
async fn an_append_after_a_slot_that_comes_in_time_is_taken() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    let waiting = ada.post(json!({"type": "append", "room": "r", "body": "x", "after": 1})).await;
    ada.nothing_more().await;
    grace.append("r", json!({"body": "0"})).await;
    ada.nothing_more().await;
    grace.append("r", json!({"body": "1"})).await;
    assert_eq!(slot(&ada.answer(waiting).await), 2);
}

#[tokio::test]
async fn what_waits_holds_up_its_own_room_only() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    let first = ada.post(json!({"type": "append", "room": "r", "body": "1", "after": 0})).await;
    let second = ada.post(json!({"type": "append", "room": "r", "body": "2"})).await;
    assert_eq!(slot(&ada.append("s", json!({"body": "elsewhere"})).await), 0);
    assert_eq!(slots(&ada.update("s", json!({})).await), [0]);
    ada.nothing_more().await;
    grace.append("r", json!({"body": "0"})).await;
    assert_eq!(slot(&ada.answer(first).await), 1);
    assert_eq!(slot(&ada.answer(second).await), 2);
}

#[tokio::test]
async fn without_seq_an_append_after_a_rejected_one_is_committed() {
    let server = Server::start(&["--ahead-ms=150"]).await;
    let mut ada = server.login("ada").await;
    let first = ada.post(json!({"type": "append", "room": "r", "body": "1", "after": 9})).await;
    let second = ada.post(json!({"type": "append", "room": "r", "body": "2"})).await;
    assert_eq!(code(&ada.answer(first).await), "ahead");
    assert_eq!(slot(&ada.answer(second).await), 0);
}

#[tokio::test]
async fn every_append_is_answered_whether_its_author_follows_the_room_or_not() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.append("r", json!({"body": "not following"})).await;
    ada.nothing_more().await;
    ada.join("r", json!({})).await;
    ada.append("r", json!({"body": "following"})).await;
    ada.acks("r", 0, 1).await;
    ada.nothing_more().await;
}

//! Exactly once: `(room, author, id)` names an append for ever.

mod support;

use serde_json::{Value, json};
use support::{Server, code, slot};

#[tokio::test]
async fn an_id_sent_again_answers_with_the_slot_it_has() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let first = ada.append("r", json!({"id": "a-1", "body": "once"})).await;
    assert_ne!(first["repeat"], true);
    ada.append("r", json!({"id": "a-2", "body": "more"})).await;
    let again = ada.append("r", json!({"id": "a-1", "body": "once", "req": 9})).await;
    assert_eq!(
        again,
        json!({"type": "appended", "room": "r", "id": "a-1", "slot": 0, "repeat": true, "req": 9,
               "committed_at": first["committed_at"]})
    );
    assert_eq!(ada.whole_log("r").await.len(), 2);
}

#[tokio::test]
async fn an_id_belongs_to_its_author_and_its_room() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    let same = json!({"id": "1", "body": "x"});
    assert_eq!(slot(&ada.append("r", same.clone()).await), 0);
    assert_eq!(slot(&grace.append("r", same.clone()).await), 1);
    assert_eq!(slot(&ada.append("s", same.clone()).await), 0);
    let for_ada = json!({"id": "1", "body": "x", "author": "ada"});
    let repeat = grace.append("r", for_ada).await;
    assert_eq!((slot(&repeat), &repeat["repeat"]), (0, &json!(true)));
}

#[tokio::test]
async fn a_kind_that_is_left_out_is_text() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.append("r", json!({"id": "1", "body": "x"})).await;
    assert_eq!(
        ada.append("r", json!({"id": "1", "body": "x", "kind": "text"})).await["repeat"],
        true
    );
}

#[tokio::test]
async fn sent_at_after_and_expect_are_not_compared_and_the_first_stay() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let first = json!({"id": "1", "body": "x", "sent_at": 5, "expect": 0, "after": -1});
    ada.append("r", first).await;
    for other in [
        json!({"id": "1", "body": "x"}),
        json!({"id": "1", "body": "x", "sent_at": 6}),
        json!({"id": "1", "body": "x", "after": 0}),
        json!({"id": "1", "body": "x", "expect": 77}),
    ] {
        let again = ada.append("r", other).await;
        assert_eq!((slot(&again), &again["repeat"]), (0, &json!(true)));
    }
    let log = ada.whole_log("r").await;
    assert_eq!((log.len(), &log[0]["sent_at"]), (1, &json!(5)));
}

#[tokio::test]
async fn seq_is_not_compared_either() {
    let server = Server::start(&[]).await;
    let (mut here, mut there) = (server.login("ada").await, server.login("ada").await);
    here.append("r", json!({"id": "1", "body": "x"})).await;
    let again = there.append("r", json!({"id": "1", "body": "x", "seq": 0})).await;
    assert_eq!((slot(&again), &again["repeat"], &again["seq"]), (0, &json!(true), &json!(0)));
    assert_eq!(slot(&there.append("r", json!({"id": "2", "body": "y", "seq": 1})).await), 1);
}

#[tokio::test]
async fn an_id_with_another_body_kind_ref_or_meta_is_reused() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.append("r", json!({"body": "0"})).await;
    ada.append("r", json!({"body": "1"})).await;
    ada.append("r", json!({"id": "i", "body": "x", "kind": "k", "ref": 0, "meta": "m"})).await;
    for other in [
        json!({"id": "i", "body": "y", "kind": "k", "ref": 0, "meta": "m"}),
        json!({"id": "i", "body": "x", "kind": "l", "ref": 0, "meta": "m"}),
        json!({"id": "i", "body": "x", "ref": 0, "meta": "m"}),
        json!({"id": "i", "body": "x", "kind": "k", "ref": 1, "meta": "m"}),
        json!({"id": "i", "body": "x", "kind": "k", "meta": "m"}),
        json!({"id": "i", "body": "x", "kind": "k", "ref": 0, "meta": "n"}),
        json!({"id": "i", "body": "x", "kind": "k", "ref": 0}),
    ] {
        let error = ada.refused(support::with("append", "r", other), "id_reused").await;
        assert_eq!((&error["slot"], &error["id"]), (&json!(2), &json!("i")));
    }
    assert_eq!(ada.whole_log("r").await.len(), 3);
}

#[tokio::test]
async fn repeat_is_checked_before_id_reused_and_that_before_expect() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.append("r", json!({"id": "1", "body": "x"})).await;
    let frame = |id: &str, body: &str| json!({"type": "append", "room": "r", "id": id, "body": body, "expect": 50});
    assert_eq!(ada.ask(frame("1", "x")).await["repeat"], true);
    ada.refused(frame("1", "y"), "id_reused").await;
    ada.refused(frame("2", "y"), "expect_failed").await;
}

#[tokio::test]
async fn a_refused_append_does_not_take_its_id() {
    let server = Server::start(&["--ahead-ms=100"]).await;
    let mut ada = server.login("ada").await;
    let frame = |body: &str| json!({"type": "append", "room": "r", "id": "1", "body": body});
    let (mut expects, mut waits) = (frame("a"), frame("b"));
    expects["expect"] = 9.into();
    waits["after"] = 9.into();
    ada.refused(expects, "expect_failed").await;
    ada.refused(waits, "ahead").await;
    let taken = ada.append("r", frame("c")).await;
    assert_eq!(slot(&taken), 0);
    assert_ne!(taken["repeat"], true);
}

#[tokio::test]
async fn one_id_from_two_connections_at_once_gets_one_slot() {
    let server = Server::start(&[]).await;
    let (mut here, mut there) = (server.login("ada").await, server.login("ada").await);
    let frames = |from: i64| {
        (0..100_i64).map(move |n| {
            json!({"type": "append", "room": "r", "id": format!("i-{n}"), "body": "x",
                   "req": n, "sent_at": from})
        })
    };
    tokio::join!(here.send_all(frames(1)), there.send_all(frames(2)));
    for n in 0..100 {
        let (a, b) = tokio::join!(here.answer(n), there.answer(n));
        assert_eq!((slot(&a), &a["committed_at"]), (slot(&b), &b["committed_at"]));
        let repeats = [&a, &b].iter().filter(|answer| answer["repeat"] == true).count();
        assert_eq!(repeats, 1, "{a} {b}");
    }
    assert_eq!(here.whole_log("r").await.len(), 100);
}

#[tokio::test]
async fn one_id_twice_at_once_on_one_connection_is_answered_twice() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let frame =
        |req: i64| json!({"type": "append", "room": "r", "id": "1", "body": "x", "req": req});
    ada.send_all([frame(1), frame(2)]).await;
    let (first, second) = (ada.answer(1).await, ada.answer(2).await);
    assert_eq!((slot(&first), slot(&second)), (0, 0));
    assert_ne!(first["repeat"], true);
    assert_eq!(second["repeat"], true);
}

#[tokio::test]
async fn one_id_with_two_bodies_at_once_gives_one_of_them_the_slot() {
    let server = Server::start(&[]).await;
    let (mut here, mut there) = (server.login("ada").await, server.login("ada").await);
    for n in 0..20_i64 {
        let frame = |body: &str| json!({"type": "append", "room": "r", "id": format!("i-{n}"), "body": body});
        let (a, b) = tokio::join!(here.ask(frame("a")), there.ask(frame("b")));
        let (won, lost) = if a["type"] == "appended" { (a, b) } else { (b, a) };
        assert_eq!(slot(&won), n);
        assert_eq!((code(&lost), &lost["slot"]), ("id_reused", &json!(n)));
    }
}

#[tokio::test]
async fn a_repeat_is_not_acked_again() {
    let server = Server::start(&[]).await;
    let (mut ada, mut follower) = (server.login("ada").await, server.login("grace").await);
    follower.join("r", json!({})).await;
    ada.append("r", json!({"id": "1", "body": "x"})).await;
    ada.append("r", json!({"id": "1", "body": "x"})).await;
    ada.append("r", json!({"id": "2", "body": "y"})).await;
    let acked = follower.acks("r", -1, 1).await;
    assert_eq!(acked.iter().map(|entry| &entry["id"]).collect::<Vec<_>>(), ["1", "2"]);
    follower.nothing_more().await;
}

#[tokio::test]
async fn repeats_and_reused_ids_are_known_after_a_restart() {
    let mut server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let mut first = Vec::new();
    for n in 0..300 {
        first.push(ada.append("r", json!({"id": format!("i-{n}"), "body": "x"})).await);
    }
    assert!(server.sigterm().await.success());
    server.restart().await;
    let mut ada = server.login("ada").await;
    for (n, before) in first.iter().enumerate() {
        // A newer `after` than the first time: what the author has seen decides nothing here.
        let again = json!({"id": format!("i-{n}"), "body": "x", "after": 299});
        let answer = ada.append("r", again).await;
        assert_eq!(
            (&answer["slot"], &answer["committed_at"], &answer["repeat"]),
            (&before["slot"], &before["committed_at"], &Value::Bool(true))
        );
        let other = json!({"type": "append", "room": "r", "id": format!("i-{n}"), "body": "y"});
        assert_eq!(ada.refused(other, "id_reused").await["slot"], before["slot"]);
    }
    assert_eq!(slot(&ada.append("r", json!({"body": "new", "after": 299})).await), 300);
}

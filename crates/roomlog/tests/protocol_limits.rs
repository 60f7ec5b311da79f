//! Both sides of every limit on names, texts and what is in flight.

mod support;

use serde_json::json;
use support::{Client, Server, slot, slots, with};

#[tokio::test]
async fn a_room_name_has_1_to_128_bytes_of_its_alphabet_and_begins_with_a_letter_or_digit() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let longest = "r".repeat(128);
    for good in ["r", "7", "Az09-._~:@", &longest] {
        assert_eq!(slot(&ada.append(good, json!({"body": "x"})).await), 0, "{good}");
        ada.join(good, json!({})).await;
    }
    let too_long = "r".repeat(129);
    for bad in
        ["", "-r", ".r", "_r", "~r", ":r", "@r", "a b", "a/b", "a#b", "ä", "a\u{0}", &too_long]
    {
        for kind in ["append", "update", "join", "leave"] {
            ada.refused(with(kind, bad, json!({"body": "x"})), "bad_name").await;
        }
    }
}

#[tokio::test]
async fn an_id_has_1_to_64_visible_ascii_characters() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    for good in ["i", "!~\"\\{}", &"i".repeat(64)] {
        assert_eq!(ada.append("r", json!({"body": "x", "id": good})).await["id"], good);
    }
    for bad in ["", "a b", " a", "é", "a\u{7f}", "a\n", &"i".repeat(65)] {
        ada.refused(with("append", "r", json!({"body": "x", "id": bad})), "bad_name").await;
    }
    assert_eq!(ada.whole_log("r").await.len(), 3);
}

#[tokio::test]
async fn a_kind_has_1_to_32_bytes_of_its_alphabet() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    for good in ["k", "a-z.09", &"k".repeat(32)] {
        ada.append("r", json!({"body": "x", "kind": good})).await;
    }
    for bad in ["", "Text", "a b", "a_b", "é", &"k".repeat(33)] {
        ada.refused(with("append", "r", json!({"body": "x", "kind": bad})), "bad_name").await;
    }
    assert_eq!(ada.whole_log("r").await.len(), 3);
}

#[tokio::test]
async fn the_author_of_an_append_has_the_form_of_an_author() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    for good in ["g", "Grace Hopper", &"é".repeat(32)] {
        ada.append("r", json!({"body": "x", "author": good})).await;
    }
    for bad in ["", " g", "g ", "g\u{1}", &"g".repeat(65)] {
        ada.refused(with("append", "r", json!({"body": "x", "author": bad})), "bad_name").await;
    }
    assert_eq!(ada.whole_log("r").await.len(), 3);
}

#[tokio::test]
async fn a_body_has_16384_bytes_and_not_one_more() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let longest = "é".repeat(8_192);
    ada.append("r", json!({"body": longest})).await;
    let too_long = format!("{longest}x");
    ada.refused(with("append", "r", json!({"body": too_long})), "too_large").await;
    let log = ada.whole_log("r").await;
    assert_eq!((log.len(), &log[0]["body"]), (1, &json!(longest)));
}

#[tokio::test]
async fn a_meta_has_4096_bytes_and_not_one_more() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let longest = "é".repeat(2_048);
    ada.append("r", json!({"body": "", "meta": longest})).await;
    let too_long = format!("{longest}x");
    ada.refused(with("append", "r", json!({"body": "", "meta": too_long})), "too_large").await;
    let log = ada.whole_log("r").await;
    assert_eq!((log.len(), &log[0]["meta"]), (1, &json!(longest)));
}

#[tokio::test]
async fn texts_are_measured_in_bytes_of_utf_8_and_not_in_characters_or_escapes() {
    let server = Server::start(&["--body-bytes=10", "--meta-bytes=10"]).await;
    let mut ada = server.login("ada").await;
    for member in ["body", "meta"] {
        let append = |text: &str| {
            let mut members = json!({"body": ""});
            members[member] = text.into();
            with("append", "r", members)
        };
        ada.append("r", append("0123456789")).await;
        ada.append("r", append("ééééé")).await;
        ada.append("r", append("\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}\u{1}")).await;
        ada.refused(append("0123456789a"), "too_large").await;
        ada.refused(append("éééééé"), "too_large").await;
        ada.refused(append("👋👋👋"), "too_large").await;
    }
    assert_eq!(ada.whole_log("r").await.len(), 6);
}

#[tokio::test]
async fn the_limits_of_names_are_settings() {
    let server =
        Server::start(&["--room-bytes=8", "--author-bytes=7", "--id-bytes=6", "--kind-bytes=5"])
            .await;
    let mut nobody = server.connect().await;
    nobody.refused(json!({"type": "login", "author": "12345678"}), "bad_name").await;
    nobody.log_in("1234567").await;
    let mut ada = nobody;
    let longest = json!({"body": "", "id": "123456", "kind": "12345", "author": "7654321"});
    ada.append("12345678", longest.clone()).await;
    ada.refused(with("append", "123456789", longest.clone()), "bad_name").await;
    for (member, too_long) in [("id", "1234567"), ("kind", "123456"), ("author", "12345678")] {
        let mut members = longest.clone();
        members[member] = too_long.into();
        ada.refused(with("append", "12345678", members), "bad_name").await;
    }
    assert_eq!(ada.whole_log("12345678").await.len(), 1);
}

/// Asserts that the socket of `held` is not read: its ping is answered behind `answers` others,
/// which come when `other` appends the first entry of room `r`.
async fn is_not_read_before(held: &mut Client, other: &mut Client, answers: i64) {
    let ping = held.post(json!({"type": "ping"})).await;
    // Others are served meanwhile, so a server that read the ping would have answered it.
    for _ in 0..20 {
        other.update("elsewhere", json!({})).await;
    }
    other.append("r", json!({"body": "first"})).await;
    let mut before = 0;
    loop {
        let frame = held.recv().await;
        if frame["req"] == ping {
            break;
        }
        assert_ne!(frame["type"], "error", "{frame}");
        before += 1;
    }
    assert!(before >= 1, "the ping was read while {answers} were unanswered");
    for _ in before..answers {
        let frame = held.recv().await;
        assert_ne!(frame["type"], "error", "{frame}");
    }
}

#[tokio::test]
async fn a_connection_with_appends_in_flight_unanswered_is_not_read() {
    let server = Server::start(&["--appends-in-flight=3"]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    for _ in 0..2 {
        ada.send(json!({"type": "append", "room": "r", "body": "x", "after": 0})).await;
    }
    // One below the bound: the socket is read.
    ada.nothing_more().await;
    ada.send(json!({"type": "append", "room": "r", "body": "x", "after": 0})).await;
    is_not_read_before(&mut ada, &mut grace, 3).await;
    assert_eq!(grace.whole_log("r").await.len(), 4);
}

#[tokio::test]
async fn a_connection_with_as_many_reads_unanswered_is_not_read() {
    let server = Server::start(&["--appends-in-flight=3"]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    for _ in 0..2 {
        ada.send(json!({"type": "update", "room": "r", "seen": 0})).await;
    }
    ada.nothing_more().await;
    ada.send(json!({"type": "update", "room": "r", "seen": 0})).await;
    is_not_read_before(&mut ada, &mut grace, 3).await;
}

#[tokio::test]
async fn ten_times_appends_in_flight_sent_at_once_are_all_committed() {
    let server = Server::start(&["--appends-in-flight=4"]).await;
    let mut ada = server.login("ada").await;
    let frames = (0..40_i64)
        .map(|n| json!({"type": "append", "room": "r", "body": n.to_string(), "req": n}));
    ada.send_all(frames).await;
    for n in 0..40 {
        assert_eq!(slot(&ada.answer(n).await), n);
    }
}

#[tokio::test]
async fn a_connection_follows_rooms_per_connection_rooms_and_not_one_more() {
    let server = Server::start(&["--rooms-per-connection=3"]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    for room in ["a", "b", "c"] {
        ada.join(room, json!({})).await;
    }
    ada.refused(json!({"type": "join", "room": "d"}), "too_large").await;
    // A second join of a room that is followed needs no place of its own.
    ada.join("c", json!({})).await;
    // Reading needs no place at all.
    ada.update("d", json!({})).await;
    grace.append("d", json!({"body": "not followed"})).await;
    grace.append("c", json!({"body": "followed"})).await;
    ada.acks("c", -1, 0).await;
    ada.nothing_more().await;
    ada.ask(json!({"type": "leave", "room": "a"})).await;
    assert_eq!(slots(&ada.join("d", json!({})).await), [0]);
    ada.refused(json!({"type": "join", "room": "a"}), "too_large").await;
    // The bound is each connection's own.
    grace.join("a", json!({})).await;
}

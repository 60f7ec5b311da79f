//! `seq`: a connection's own order in a room.

mod support;

use serde_json::{Value, json};
use support::{Client, Server, code, slot};

/// An append to room `r` whose id and `req` follow from its `seq`.
fn numbered(seq: i64) -> Value {
    json!({"type": "append", "room": "r", "id": format!("i-{seq}"), "body": "x", "seq": seq,
           "req": seq})
}

/// `numbered`, with one member set.
fn but(seq: i64, member: &str, value: Value) -> Value {
    let mut frame = numbered(seq);
    frame[member] = value;
    frame
}

async fn is_at_its_slot(client: &mut Client, seq: i64) {
    let answer = client.answer(seq).await;
    assert_eq!((&answer["type"], &answer["slot"]), (&json!("appended"), &json!(seq)), "{answer}");
    assert_eq!((&answer["seq"], &answer["id"]), (&json!(seq), &json!(format!("i-{seq}"))));
}

async fn is_out_of_order(client: &mut Client, req: i64, expected: i64) {
    let error = client.answer(req).await;
    assert_eq!((code(&error), &error["seq"]), ("out_of_order", &json!(expected)), "{error}");
}

#[tokio::test]
async fn appends_are_committed_in_the_order_of_their_numbers() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    for seq in [3, 1, 2] {
        ada.send(numbered(seq)).await;
    }
    ada.nothing_more().await;
    ada.send(numbered(0)).await;
    for seq in 0..4 {
        is_at_its_slot(&mut ada, seq).await;
    }
}

#[tokio::test]
async fn each_connection_and_each_room_count_from_0() {
    let server = Server::start(&[]).await;
    let (mut here, mut there) = (server.login("ada").await, server.login("ada").await);
    here.append("a", json!({"body": "x", "seq": 0})).await;
    here.append("b", json!({"body": "x", "seq": 0})).await;
    there.append("a", json!({"body": "x", "seq": 0})).await;
    // A hole in one room holds nothing up in another.
    let waiting = here.post(json!({"type": "append", "room": "a", "body": "x", "seq": 2})).await;
    here.append("b", json!({"body": "x", "seq": 1})).await;
    here.append("a", json!({"body": "x", "seq": 1})).await;
    assert_eq!(slot(&here.answer(waiting).await), 3);
}

#[tokio::test]
async fn sixty_four_wait_and_the_65th_is_out_of_order() {
    // No time-out comes to help.
    let server = Server::start(&["--seq-wait-ms=600000"]).await;
    let mut ada = server.login("ada").await;
    ada.send_all((1..=64).map(numbered)).await;
    ada.nothing_more().await;
    ada.send(numbered(65)).await;
    is_out_of_order(&mut ada, 65, 0).await;
    ada.send(numbered(0)).await;
    is_at_its_slot(&mut ada, 0).await;
}

#[tokio::test]
async fn how_many_wait_is_a_setting() {
    let server = Server::start(&["--seq-wait=2", "--seq-wait-ms=600000"]).await;
    let mut ada = server.login("ada").await;
    ada.send_all([numbered(1), numbered(2)]).await;
    ada.nothing_more().await;
    ada.send(numbered(3)).await;
    is_out_of_order(&mut ada, 3, 0).await;
}

#[tokio::test]
async fn what_has_waited_seq_wait_ms_is_out_of_order_and_may_be_sent_again() {
    let server = Server::start(&["--seq-wait-ms=200"]).await;
    let mut ada = server.login("ada").await;
    ada.send(numbered(0)).await;
    is_at_its_slot(&mut ada, 0).await;
    ada.send_all([numbered(2), numbered(3)]).await;
    is_out_of_order(&mut ada, 2, 1).await;
    is_out_of_order(&mut ada, 3, 1).await;
    ada.send_all([numbered(1), numbered(2), numbered(3)]).await;
    for seq in 1..4 {
        is_at_its_slot(&mut ada, seq).await;
    }
}

#[tokio::test]
async fn a_final_error_uses_its_number() {
    let server = Server::start(&["--ahead-ms=150", "--body-bytes=10"]).await;
    let mut ada = server.login("ada").await;
    ada.send_all([
        but(0, "body", json!("eleven byte")),
        but(1, "id", json!("no space")),
        but(2, "body", json!(5)),
        but(3, "kind", json!("redact")),
        but(4, "ref", json!(7)),
        but(5, "expect", json!(7)),
        numbered(6),
        but(7, "id", json!("i-6")),
    ])
    .await;
    let mut reused = but(8, "id", json!("i-6"));
    reused["body"] = json!("y");
    ada.send_all([reused, numbered(9)]).await;
    for (seq, error) in [
        (0, "too_large"),
        (1, "bad_name"),
        (2, "bad_message"),
        (3, "bad_message"),
        (4, "bad_ref"),
        (5, "expect_failed"),
    ] {
        assert_eq!(code(&ada.answer(seq).await), error, "seq {seq}");
    }
    assert_eq!(slot(&ada.answer(6).await), 0);
    // A repeat of an id under a new number is a commit like any other.
    assert_eq!(ada.answer(7).await["repeat"], true);
    assert_eq!(code(&ada.answer(8).await), "id_reused");
    assert_eq!(slot(&ada.answer(9).await), 1);
}

#[tokio::test]
async fn a_final_error_that_is_early_uses_its_number_too() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.send_all([numbered(2), but(1, "kind", json!("redact")), numbered(0)]).await;
    assert_eq!(slot(&ada.answer(0).await), 0);
    assert_eq!(code(&ada.answer(1).await), "bad_message");
    assert_eq!(slot(&ada.answer(2).await), 1);
}

#[tokio::test]
async fn a_frame_without_a_readable_room_or_seq_uses_no_number() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    for (member, value, error) in [
        ("seq", json!("0"), "bad_message"),
        ("seq", json!(-1), "bad_message"),
        ("seq", json!(0.5), "bad_message"),
        ("room", json!("-r"), "bad_name"),
        ("room", Value::Null, "bad_message"),
    ] {
        ada.refused(but(0, member, value), error).await;
    }
    for seq in 0..2 {
        ada.send(numbered(seq)).await;
        is_at_its_slot(&mut ada, seq).await;
    }
}

#[tokio::test]
async fn a_number_seen_before_gets_its_outcome() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.send_all([numbered(0), but(1, "expect", json!(9)), but(2, "body", json!(5))]).await;
    is_at_its_slot(&mut ada, 0).await;
    assert_eq!(code(&ada.answer(1).await), "expect_failed");
    assert_eq!(code(&ada.answer(2).await), "bad_message");
    for _ in 0..2 {
        ada.send(numbered(0)).await;
        is_at_its_slot(&mut ada, 0).await;
        ada.send(but(1, "expect", json!(9))).await;
        assert_eq!(code(&ada.answer(1).await), "expect_failed");
    }
    // None of that used up a number.
    ada.send(numbered(3)).await;
    assert_eq!(slot(&ada.answer(3).await), 1);
}

#[tokio::test]
async fn a_number_repeated_while_in_flight_is_answered_and_stored_once() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.send_all([numbered(1), but(1, "req", json!(11)), numbered(0)]).await;
    is_at_its_slot(&mut ada, 0).await;
    is_at_its_slot(&mut ada, 1).await;
    let again = ada.answer(11).await;
    assert!(again["slot"] == 1 || code(&again) == "out_of_order", "{again}");
    assert_eq!(ada.whole_log("r").await.len(), 2);
}

#[tokio::test]
async fn a_number_seen_before_with_another_id_is_a_bad_message() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.send(numbered(0)).await;
    is_at_its_slot(&mut ada, 0).await;
    ada.refused(but(0, "id", json!("other")), "bad_message").await;
    ada.send(numbered(1)).await;
    is_at_its_slot(&mut ada, 1).await;
}

#[tokio::test]
async fn the_last_64_outcomes_are_kept_and_older_numbers_are_out_of_order() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.send_all((0..70).map(numbered)).await;
    for seq in 0..70 {
        is_at_its_slot(&mut ada, seq).await;
    }
    ada.send(numbered(6)).await;
    is_at_its_slot(&mut ada, 6).await;
    ada.send(numbered(5)).await;
    is_out_of_order(&mut ada, 5, 70).await;
    ada.send(numbered(70)).await;
    is_at_its_slot(&mut ada, 70).await;
    ada.send(numbered(6)).await;
    is_out_of_order(&mut ada, 6, 71).await;
}

#[tokio::test]
async fn a_connection_uses_seq_in_a_room_always_or_never() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let without = |room: &str| json!({"type": "append", "room": room, "body": "x"});
    ada.send(numbered(0)).await;
    is_at_its_slot(&mut ada, 0).await;
    ada.refused(without("r"), "bad_message").await;
    ada.send(numbered(1)).await;
    is_at_its_slot(&mut ada, 1).await;

    ada.append("never", without("never")).await;
    ada.refused(json!({"type": "append", "room": "never", "body": "x", "seq": 0}), "bad_message")
        .await;
    ada.append("never", without("never")).await;

    // Another connection has its own choice.
    server.login("ada").await.append("r", without("r")).await;
}

#[tokio::test]
async fn after_an_error_that_is_not_final_the_waiting_ones_are_out_of_order() {
    let server = Server::start(&["--ahead-ms=300", "--seq-wait-ms=600000"]).await;
    let mut ada = server.login("ada").await;
    ada.send_all([but(0, "after", json!(5)), numbered(1), numbered(2)]).await;
    let error = ada.answer(0).await;
    assert_eq!((code(&error), &error["latest"]), ("ahead", &json!(-1)));
    is_out_of_order(&mut ada, 1, 0).await;
    is_out_of_order(&mut ada, 2, 0).await;
    // Those still arriving wait, and the client sends again from the refused one.
    ada.send(numbered(3)).await;
    ada.nothing_more().await;
    ada.send_all([numbered(0), numbered(1), numbered(2)]).await;
    for seq in 0..4 {
        is_at_its_slot(&mut ada, seq).await;
    }
}

#[tokio::test]
async fn a_number_waits_for_the_after_of_the_one_before_it() {
    let server = Server::start(&[]).await;
    let (mut ada, mut grace) = (server.login("ada").await, server.login("grace").await);
    ada.send_all([but(0, "after", json!(0)), numbered(1)]).await;
    ada.nothing_more().await;
    grace.append("r", json!({"body": "first"})).await;
    assert_eq!(slot(&ada.answer(0).await), 1);
    assert_eq!(slot(&ada.answer(1).await), 2);
}

#[tokio::test]
async fn a_thousand_numbered_appends_in_any_order_within_the_window_keep_their_order() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    for start in (0..1_000).step_by(50) {
        // Backwards within each fifty, so that 49 wait for the one that comes last.
        ada.send_all((start..start + 50).rev().map(numbered)).await;
        for seq in start..start + 50 {
            is_at_its_slot(&mut ada, seq).await;
        }
    }
}

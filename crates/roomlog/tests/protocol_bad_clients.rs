//! What a broken or hostile client gets, and that other clients are not affected.

mod support;

use serde_json::{Value, json};
use support::{Client, Server, slot, within};
use tokio::io::AsyncReadExt;

/// A server and a bystander who follows a room on it.
async fn server_with_bystander() -> (Server, Client) {
    let server = Server::start(&["--frame-bytes=1024", "--body-bytes=512"]).await;
    let mut bystander = server.login("bystander").await;
    bystander.join("r", json!({"count": 0})).await;
    (server, bystander)
}

/// The bystander appends, is answered and acked, and has seen nothing else.
async fn nobody_else_noticed(bystander: &mut Client) {
    let answer = bystander.append("r", json!({"body": "still here"})).await;
    bystander.acks("r", slot(&answer) - 1, slot(&answer)).await;
    bystander.nothing_more().await;
}

#[tokio::test]
async fn a_frame_that_is_no_json_object_closes_with_4400() {
    let (server, mut bystander) = server_with_bystander().await;
    for text in [
        "",
        " ",
        "hello",
        "[]",
        "[{}]",
        "1",
        "null",
        "\"{}\"",
        "{",
        "}",
        "{}{}",
        "{} x",
        r#"{"type":}"#,
        r#"{"type":"ping",}"#,
        r#"{'type':'ping'}"#,
        r#"{"type":"ping","req":01}"#,
        "{\"type\":\"ping\",\"x\":\"\n\"}",
        r#"{"type":"ping","x":NaN}"#,
    ] {
        let mut broken = server.login("broken").await;
        broken.send_text(text).await;
        assert_eq!(broken.closed().await, Some(4400), "{text:?}");
    }
    // The reason quotes what came, and is cut between two of its characters.
    for cut in 0..4 {
        let mut broken = server.login("broken").await;
        let text = "x".repeat(cut) + &"日".repeat(100);
        broken.send_text(json!(text).to_string()).await;
        assert_eq!(broken.closed().await, Some(4400), "{cut}");
    }
    let mut nobody = server.connect().await;
    nobody.send_text("before a login").await;
    assert_eq!(nobody.closed().await, Some(4400));
    nobody_else_noticed(&mut bystander).await;
}

#[tokio::test]
async fn a_frame_nested_32_deep_is_read_and_one_nested_33_closes_with_4400() {
    let (server, mut bystander) = server_with_bystander().await;
    let mut deep = server.login("deep").await;
    // The frame's own braces are one level.
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels - 1), "]".repeat(levels - 1));
        format!(r#"{{"type":"ping","req":1,"x":{open}{close}}}"#)
    };
    deep.send_text(nested(32)).await;
    assert_eq!(deep.recv().await, json!({"type": "pong", "req": 1}));
    deep.send_text(nested(33)).await;
    assert_eq!(deep.closed().await, Some(4400));
    let mut deeper = server.login("deep").await;
    deeper.send_text(format!(r#"{{"type":"ping","x":{}"#, r#"{"a":"#.repeat(150))).await;
    assert_eq!(deeper.closed().await, Some(4400));
    nobody_else_noticed(&mut bystander).await;
}

#[tokio::test]
async fn wrong_types_missing_members_and_unknown_frames_are_a_bad_message_with_req() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    for frame in [
        json!({}),
        json!({"type": null}),
        json!({"type": 5}),
        json!({"type": "shout"}),
        json!({"type": "Append", "room": "r", "body": "x"}),
        json!({"type": "hello"}),
        json!({"type": "append", "room": "r"}),
        json!({"type": "append", "room": "r", "body": null}),
        json!({"type": "append", "body": "x"}),
        json!({"type": "append", "room": 1, "body": "x"}),
        json!({"type": "append", "room": ["r"], "body": "x"}),
        json!({"type": "append", "room": "r", "body": 1}),
        json!({"type": "append", "room": "r", "body": {"text": "x"}}),
        json!({"type": "append", "room": "r", "body": "x", "id": 1}),
        json!({"type": "append", "room": "r", "body": "x", "kind": true}),
        json!({"type": "append", "room": "r", "body": "x", "meta": {"x": 1}}),
        json!({"type": "append", "room": "r", "body": "x", "author": 1}),
        json!({"type": "append", "room": "r", "body": "x", "seq": "0"}),
        json!({"type": "append", "room": "r", "body": "x", "after": "0"}),
        json!({"type": "append", "room": "r", "body": "x", "expect": "0"}),
        json!({"type": "append", "room": "r", "body": "x", "ref": "0"}),
        json!({"type": "append", "room": "r", "body": "x", "sent_at": "now"}),
        json!({"type": "append", "room": "r", "body": "x", "after": -2}),
        json!({"type": "append", "room": "r", "body": "x", "expect": -1}),
        json!({"type": "append", "room": "r", "body": "x", "ref": -1}),
        json!({"type": "append", "room": "r", "body": "x", "sent_at": -1}),
        json!({"type": "join"}),
        json!({"type": "join", "room": "r", "count": "all"}),
        json!({"type": "join", "room": "r", "after": true}),
        json!({"type": "leave"}),
        json!({"type": "leave", "room": {}}),
        json!({"type": "update", "room": "r", "upto": "-1"}),
        json!({"type": "update", "room": "r", "seen": []}),
    ] {
        ada.refused(frame, "bad_message").await;
    }
    assert_eq!(ada.update("r", json!({})).await["latest"], -1, "something was stored");
}

#[tokio::test]
async fn unknown_members_are_ignored_and_null_is_absent() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.send_text(
        r#"{"type":"append","room":"r","body":"x","id":null,"seq":null,"after":null,"expect":null,
            "kind":null,"ref":null,"meta":null,"sent_at":null,"author":null,"req":1,
            "colour":"red","Body":"y","token":"t","slot":9,"x":{"body":["z"]}}"#,
    )
    .await;
    assert_eq!(slot(&ada.answer(1).await), 0);
    let log = ada.whole_log("r").await;
    let entry = log[0].as_object().expect("an entry");
    let mut members: Vec<_> = entry.keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(members, ["author", "body", "committed_at", "id", "salt", "slot"]);
    let nulls = json!({"count": null, "upto": null, "after": null, "seen": null, "digest": null});
    assert_eq!(ada.update("r", nulls).await["latest"], 0);
    ada.send_text(r#"{"type":"ping","req":null}"#).await;
    assert_eq!(ada.recv().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn a_member_that_stands_twice_is_a_bad_message() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    for text in [
        r#"{"type":"append","room":"r","body":"x","body":"x","req":1}"#,
        r#"{"type":"append","room":"r","room":"r","body":"x","req":1}"#,
        r#"{"type":"append","room":"r","body":"x","id":"a","id":"b","req":1}"#,
        r#"{"type":"append","room":"r","body":"x","meta":null,"meta":"m","req":1}"#,
        r#"{"type":"append","room":"r","body":"x","bod\u0079":"y","req":1}"#,
        r#"{"type":"append","type":"append","room":"r","body":"x","req":1}"#,
        r#"{"type":"update","room":"r","count":1,"count":1,"req":1}"#,
    ] {
        ada.send_text(text).await;
        let error = ada.recv().await;
        assert_eq!((support::code(&error), &error["req"]), ("bad_message", &json!(1)), "{text}");
    }
    ada.send_text(r#"{"type":"append","room":"r","body":"x","req":1,"req":2}"#).await;
    assert_eq!(support::code(&ada.recv().await), "bad_message");
    assert_eq!(ada.update("r", json!({})).await["latest"], -1, "something was stored");
}

#[tokio::test]
async fn a_lone_surrogate_is_a_bad_message_and_a_pair_is_a_character() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    for member in [
        r#""body":"\ud800""#,
        r#""body":"\udc00\ud800""#,
        r#""body":"x","meta":"a\ud83d""#,
        r#""body":"x","id":"\udfff""#,
    ] {
        ada.send_text(format!(r#"{{"type":"append","room":"r",{member},"req":1}}"#)).await;
        assert_eq!(support::code(&ada.answer(1).await), "bad_message", "{member}");
    }
    ada.send_text(r#"{"type":"append","room":"r","body":"\ud83d\udc4b","req":2}"#).await;
    assert_eq!(slot(&ada.answer(2).await), 0);
    assert_eq!(ada.whole_log("r").await[0]["body"], "👋");
}

#[tokio::test]
async fn an_integer_is_an_integer_token_within_two_to_the_53() {
    let server = Server::start(&["--ahead-ms=50"]).await;
    let mut ada = server.login("ada").await;
    for bad in ["1.0", "1e3", "0.5", "9007199254740992", "1e999", "99999999999999999999999", "true"]
    {
        for member in ["after", "expect", "seq", "ref", "sent_at"] {
            ada.send_text(format!(
                r#"{{"type":"append","room":"r","body":"x","{member}":{bad},"req":1}}"#
            ))
            .await;
            assert_eq!(support::code(&ada.answer(1).await), "bad_message", "{member} {bad}");
        }
        ada.send_text(format!(r#"{{"type":"update","room":"r","count":{bad},"req":2}}"#)).await;
        assert_eq!(support::code(&ada.answer(2).await), "bad_message", "count {bad}");
        ada.send_text(format!(r#"{{"type":"ping","req":{bad}}}"#)).await;
        assert_eq!(support::code(&ada.recv().await), "bad_message", "req {bad}");
    }
    const MOST: i64 = (1 << 53) - 1;
    for req in [MOST, -MOST, 0, -1] {
        ada.send(json!({"type": "ping", "req": req})).await;
        assert_eq!(ada.recv().await, json!({"type": "pong", "req": req}));
    }
    ada.send(json!({"type": "ping", "req": -MOST - 1})).await;
    assert_eq!(support::code(&ada.recv().await), "bad_message");
    let latest = json!({"type": "append", "room": "r", "body": "x", "after": MOST});
    ada.refused(latest, "ahead").await;
    ada.append("r", json!({"body": "x", "sent_at": MOST})).await;
    assert_eq!(ada.whole_log("r").await[0]["sent_at"], MOST);
}

#[tokio::test]
async fn a_binary_frame_closes_with_1003() {
    let (server, mut bystander) = server_with_bystander().await;
    let mut broken = server.login("broken").await;
    broken.send_binary(br#"{"type":"ping"}"#).await;
    assert_eq!(broken.closed().await, Some(1003));
    nobody_else_noticed(&mut bystander).await;
}

#[tokio::test]
async fn a_text_frame_that_is_not_utf_8_closes_with_1007() {
    let (server, mut bystander) = server_with_bystander().await;
    let mut broken = server.login("broken").await;
    // One whole text frame of three bytes under a mask of zeros.
    broken.send_raw(&[0x81, 0x83, 0, 0, 0, 0, b'{', 0xff, b'}']).await;
    assert_eq!(broken.closed().await, Some(1007));
    nobody_else_noticed(&mut bystander).await;
}

#[tokio::test]
async fn a_frame_has_frame_bytes_and_one_more_closes_with_1009() {
    let (server, mut bystander) = server_with_bystander().await;
    let ping_of = |bytes: usize| {
        let frame = json!({"type": "ping", "req": 1, "x": ""}).to_string();
        frame.replace(r#""x":"""#, &format!(r#""x":"{}""#, "x".repeat(bytes - frame.len())))
    };
    let mut big = server.login("big").await;
    big.send_text(ping_of(1_024)).await;
    assert_eq!(big.recv().await, json!({"type": "pong", "req": 1}));
    big.send_text(ping_of(1_025)).await;
    assert_eq!(big.closed().await, Some(1009));
    nobody_else_noticed(&mut bystander).await;
}

#[tokio::test]
async fn a_frame_in_pieces_that_is_too_big_as_a_whole_closes_with_1009() {
    let (server, mut bystander) = server_with_bystander().await;
    let mut big = server.login("big").await;
    // Text, continued without end, 512 bytes of spaces a piece.
    for head in [0x01, 0x00, 0x00] {
        let mut piece = vec![head, 0xfe, 0x02, 0x00, 0, 0, 0, 0];
        piece.extend([b' '; 512]);
        big.send_raw(&piece).await;
    }
    assert_eq!(big.closed().await, Some(1009));
    nobody_else_noticed(&mut bystander).await;
}

#[tokio::test]
async fn a_ping_is_answered_with_its_req_or_without() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.send_all([json!({"type": "ping", "req": -7}), json!({"type": "ping"})]).await;
    assert_eq!(ada.recv().await, json!({"type": "pong", "req": -7}));
    assert_eq!(ada.recv().await, json!({"type": "pong"}));
}

#[tokio::test]
async fn a_client_that_answers_no_ping_is_closed_after_idle_ms() {
    let server = Server::start(&["--ping-ms=100", "--idle-ms=1500"]).await;
    let mut silent = server.login("silent").await.into_inner();
    let mut alive = server.login("alive").await;
    alive.join("r", json!({})).await;
    // `alive` reads on, which answers the server's pings, and `silent` only counts bytes.
    let mut bytes = Vec::new();
    let mut other = server.login("other").await;
    tokio::select! {
        cut = within("the cut", silent.read_to_end(&mut bytes)) => { cut.ok(); }
        frame = alive.recv() => panic!("nothing was sent, but {frame} came"),
        frame = other.recv() => panic!("nothing was sent, but {frame} came"),
    }
    assert!(bytes.contains(&0x89), "no ping came before the cut");
    alive.nothing_more().await;
    other.append("r", json!({"body": "x"})).await;
    alive.acks("r", -1, 0).await;
}

#[tokio::test]
async fn hundreds_of_broken_connections_do_not_affect_the_others() {
    let (server, mut bystander) = server_with_bystander().await;
    for n in 0..200 {
        let mut broken = server.login("broken").await;
        broken.join("r", json!({})).await;
        match n % 4 {
            0 => broken.send_text("[").await,
            1 => broken.send_binary(b"\0").await,
            2 => broken.send_raw(&[0xff; 40]).await,
            _ => broken.send_raw(&[0x81, 0xfe]).await,
        }
        // Dropped with its answer unread.
    }
    nobody_else_noticed(&mut bystander).await;
    let appended: Value = server.login("late").await.append("s", json!({"body": "x"})).await;
    assert_eq!(slot(&appended), 0);
}

//! `GET …/events`: a room as Server-Sent Events, without a seam.

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::{Server, backup, restore, roomlog, slot, slots, within};

const EVENTS: &str = "/v1/rooms/r/events";

#[tokio::test]
async fn events_begin_with_the_position_and_continue_with_every_later_entry() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 5, "before").await;
    let mut latest = server.get(EVENTS).events().await;
    let mut all = server.get(&format!("{EVENTS}?after=-1")).events().await;
    let mut some = server.get(&format!("{EVENTS}?after=2")).events().await;
    assert_eq!(latest.status, 200);
    assert_eq!(latest.headers["content-type"], "text/event-stream");
    assert_eq!(latest.headers["roomlog-log"], ada.hello["log"].as_str().expect("a log"));
    assert_eq!(latest.place().await, 4);
    assert_eq!((all.place().await, some.place().await), (-1, 2));
    ada.append("r", json!({"body": "later\nin two lines", "meta": "{}"})).await;
    let log = ada.whole_log("r").await;
    assert_eq!(latest.entry().await, log[5]);
    assert_eq!(all.entries(5).await, log);
    assert_eq!(some.entries(5).await, log[3..]);
}

#[tokio::test]
async fn on_an_empty_room_the_place_is_minus_1_and_nothing_is_stored() {
    let server = Server::start(&[]).await;
    let mut events = server.get(EVENTS).events().await;
    assert_eq!(events.place().await, -1);
    server.get("/v1/rooms/r").send().await.refused(404, "not_found");
    server.login("ada").await.append("r", json!({"body": "first"})).await;
    assert_eq!(slot(&events.entry().await), 0);
}

#[tokio::test]
async fn the_last_event_id_stands_over_after_and_after_over_the_latest() {
    let server = Server::start(&[]).await;
    server.login("ada").await.fill("r", 5, "x").await;
    for (query, header, place) in
        [("?after=1", Some("3"), 3), ("", Some("-1"), -1), ("?after=1", None, 1), ("", None, 4)]
    {
        let mut request = server.get(&format!("{EVENTS}{query}"));
        if let Some(header) = header {
            request = request.header("last-event-id", header);
        }
        assert_eq!(request.events().await.place().await, place, "{query} {header:?}");
    }
}

#[tokio::test]
async fn a_slot_past_the_end_is_ahead_after_the_wait_and_good_when_it_comes_meanwhile() {
    let server = Server::start(&["--ahead-ms=100"]).await;
    let mut ada = server.login("ada").await;
    ada.append("r", json!({"body": "x"})).await;
    let ahead = server.get(&format!("{EVENTS}?after=7")).send().await.refused(409, "ahead");
    assert_eq!((&ahead["latest"], &ahead["room"]), (&json!(0), &json!("r")));
    let server = Server::start(&["--ahead-ms=20000"]).await;
    let mut ada = server.login("ada").await;
    let (mut events, ()) =
        tokio::join!(server.get(EVENTS).header("last-event-id", "1").events(), async {
            drop(ada.fill("r", 3, "x").await)
        });
    assert_eq!((events.place().await, slot(&events.entry().await)), (1, 2));
}

#[tokio::test]
async fn what_is_wrong_with_the_place_or_the_room_is_400() {
    let server = Server::start(&[]).await;
    for query in ["after=-2", "after=x", "after=1.0", "after=05", "after=", "after=1&after=1"] {
        server.get(&format!("{EVENTS}?{query}")).send().await.refused(400, "bad_message");
    }
    for header in ["x", "-2", "1.5", "9007199254740992"] {
        let request = server.get(EVENTS).header("last-event-id", header);
        let error = request.send().await.refused(400, "bad_message");
        assert!(error["message"].as_str().expect("text").contains("Last-Event-ID"), "{error}");
    }
    server.get("/v1/rooms/-r/events").send().await.refused(400, "bad_name");
    assert_eq!(server.post(EVENTS, &json!({})).send().await.status, 405);
}

/// The block that tells an EventSource which log this is, at this place.
fn log_block(place: i64, log: &Value) -> String {
    format!("event: log\nid: {place}\ndata: {}", json!({"log": log}))
}

#[tokio::test]
async fn an_event_source_gets_the_log_and_its_position_in_a_block_with_data() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    for accept in ["text/event-stream", "Text/Event-Stream;q=1", "text/html, text/event-stream"] {
        let mut events = server.get(EVENTS).header("accept", accept).events().await;
        assert_eq!(events.place().await, -1);
        assert_eq!(events.block().await, Some(log_block(-1, &ada.hello["log"])), "{accept}");
    }
    let mut plain = server.get(EVENTS).header("accept", "*/*").events().await;
    assert_eq!(plain.place().await, -1);
    ada.append("r", json!({"body": "x"})).await;
    assert!(plain.block().await.expect("an entry").starts_with("id: 0\ndata: {\"slot\":0,"));
}

#[tokio::test]
async fn after_a_restore_an_event_source_gets_the_new_log_or_an_error() {
    let mut server = Server::start(&["--fold-ms", "1", "--ahead-ms", "20"]).await;
    let mut ada = server.login("ada").await;
    let before = ada.hello["log"].clone();
    ada.fill("r", 5, "kept").await;
    let backup = backup(&server).await;
    ada.fill("r", 5, "lost").await;
    restore(&mut server, &backup).await;
    let back = |place: &str| {
        let request = server.get(EVENTS).header("accept", "text/event-stream");
        request.header("last-event-id", place)
    };
    assert_eq!(back("9").send().await.refused(409, "ahead")["latest"], 4);
    let mut ada = server.login("ada").await;
    let now = ada.hello["log"].clone();
    assert_ne!(now, before);
    ada.fill("r", 6, "new").await;
    let mut events = back("9").events().await;
    assert_eq!(events.place().await, 9);
    assert_eq!(events.block().await, Some(log_block(9, &now)));
    assert_eq!(slot(&events.entry().await), 10);
    // A position with another log is rejected at once, wherever the log ends.
    let (before, now) = (before.as_str().expect("a log"), now.as_str().expect("a log"));
    for path in [EVENTS, "/v1/rooms/r/entries"] {
        for place in [3, 9, 99] {
            let other = server.get(&format!("{path}?after={place}&log={before}")).send().await;
            assert_eq!(other.refused(409, "diverged")["latest"], 10);
        }
        let twice = server.get(&format!("{path}?log={now}&log={now}")).send().await;
        twice.refused(400, "bad_message");
    }
    for same in [now, ""] {
        let page = server.get(&format!("/v1/rooms/r/entries?after=9&log={same}")).send().await;
        assert_eq!((page.status, slots(&page.json())), (200, vec![10]));
        let events = server.get(&format!("{EVENTS}?after=9&log={same}")).events().await;
        assert_eq!(events.status, 200);
    }
}

#[tokio::test]
async fn events_have_headers_that_disable_buffering_in_proxies() {
    let server = Server::start(&[]).await;
    let get = server.get(EVENTS).events().await.headers.clone();
    let head = server.request(hyper::Method::HEAD, EVENTS).send().await;
    for headers in [&get, &head.headers] {
        assert_eq!(headers["content-type"], "text/event-stream");
        assert_eq!(headers["cache-control"], "no-store, no-transform");
        assert_eq!(headers["content-encoding"], "identity");
        assert_eq!(headers["x-accel-buffering"], "no");
        assert!(headers.contains_key("roomlog-log") && !headers.contains_key("content-length"));
    }
    // The answer to a HEAD ends: the connection serves another request.
    let both = server
        .raw(
            format!(
                "HEAD {EVENTS} HTTP/1.1\r\nhost: {0}\r\n\r\n\
                 GET /healthz HTTP/1.1\r\nhost: {0}\r\nconnection: close\r\n\r\n",
                server.address
            )
            .as_bytes(),
        )
        .await;
    assert!(both.ends_with("alive\n"), "{both}");
}

/// Whether any of this ends a line for a reader that goes by Unicode, and not for JSON.
fn has_other_line_ends(text: &str) -> bool {
    text.contains(['\u{85}', '\u{2028}', '\u{2029}'])
}

#[tokio::test]
async fn no_text_breaks_a_line_of_events() {
    let server = Server::start(&[]).await;
    let body = "one\u{2028}two\u{2029}three\u{85}four";
    let append = json!({"author": body, "body": body, "meta": body});
    // Such characters are no part of an author; an error names what was sent.
    server.post("/v1/rooms/r/entries", &append).send().await.refused(400, "bad_name");
    let append = json!({"author": "ada", "body": body, "meta": body});
    let one = server.post("/v1/rooms/r/entries", &append).send().await;
    let lines = format!("{append}\n{append}\n");
    let batch = server.post_text("/v1/rooms/r/entries", "application/x-ndjson", lines).send().await;
    let page = server.get("/v1/rooms/r/entries").send().await;
    assert_eq!(batch.body.lines().count(), 2);
    for answer in [&one, &batch, &page] {
        assert!(answer.body.contains("one\\u2028two\\u2029three\\u0085four"), "{answer:?}");
        assert!(!has_other_line_ends(&answer.body), "{answer:?}");
    }
    let mut events = server.get(&format!("{EVENTS}?after=-1")).events().await;
    events.place().await;
    let block = events.block().await.expect("an entry");
    assert!(!has_other_line_ends(&block), "{block:?}");
    // Frames are looked at by the client of these tests, each of them.
    let mut ada = server.login("ada").await;
    ada.join("r", json!({})).await;
    ada.append("r", json!({"body": body})).await;
    assert_eq!(ada.acks("r", 2, 3).await[0]["body"], body);
    let exported = within("an export", roomlog(&server, "export r").output()).await.expect("a run");
    let exported = String::from_utf8(exported.stdout).expect("UTF-8");
    assert_eq!(exported.lines().count(), 4);
    assert!(!has_other_line_ends(&exported), "{exported}");
}

#[tokio::test]
async fn a_comment_comes_every_event_comment_ms() {
    let server = Server::start(&["--event-comment-ms=20"]).await;
    let mut events = server.get(EVENTS).events().await;
    assert_eq!(events.place().await, -1);
    for _ in 0..3 {
        assert!(events.block().await.expect("a comment").starts_with(':'));
    }
    server.login("ada").await.append("r", json!({"body": "x"})).await;
    assert_eq!(slot(&events.entry().await), 0);
    assert!(events.block().await.expect("a comment").starts_with(':'));
    // Without the setting it is 15 s: nothing comes at once.
    let server = Server::start(&[]).await;
    let mut events = server.get(EVENTS).events().await;
    events.place().await;
    events.is_silent_for(Duration::from_millis(200)).await;
}

#[tokio::test]
async fn a_follower_that_joins_under_load_sees_every_entry_once() {
    // A tail of nothing: what is in the archive is read there, and the rest in the tail.
    let server = Server::start(&["--tail-bytes=0", "--fold-ms=1", "--page-entries=16"]).await;
    let mut watcher = server.get(EVENTS).events().await;
    assert_eq!(watcher.place().await, -1);
    let mut writers = Vec::new();
    for author in ["a", "b", "c", "d"] {
        let mut writer = server.login(author).await;
        writers.push(tokio::spawn(async move { writer.fill("r", 500, "full speed").await }));
    }
    let (mut readers, mut seen) = (Vec::new(), Vec::new());
    for n in 1..=8 {
        seen.extend(watcher.entries(n * 150).await);
        for query in ["?after=-1", "", &format!("?after={}", n * 100)] {
            let mut reader = server.get(&format!("{EVENTS}{query}")).events().await;
            readers.push(tokio::spawn(async move {
                let place = reader.place().await;
                (place, if place < 1_999 { reader.entries(1_999).await } else { Vec::new() })
            }));
        }
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    seen.extend(watcher.entries(1_999).await);
    let log = server.login("reader").await.whole_log("r").await;
    assert_eq!(seen, log);
    for reader in readers {
        let (place, entries) = reader.await.expect("a reader");
        let begin = usize::try_from(place + 1).expect("a slot");
        assert_eq!(entries, log[begin..]);
    }
}

#[tokio::test]
async fn a_follower_that_stops_reading_slows_no_other_and_loses_nothing() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let mut sleeper = server.get(EVENTS).small_buffer().events().await;
    let mut awake = server.get(EVENTS).events().await;
    assert_eq!((sleeper.place().await, awake.place().await), (-1, -1));
    // 12 MB: more than the buffers between the server and one who does not read can hold.
    let body = "z".repeat(12_000);
    let mut seen = Vec::new();
    for n in 0..10 {
        ada.fill("r", 100, &body).await;
        seen.extend(awake.entries(n * 100 + 99).await);
    }
    assert_eq!(sleeper.entries(999).await, seen);
    assert_eq!(seen, ada.whole_log("r").await);
    ada.append("r", json!({"body": "and on"})).await;
    assert_eq!(slot(&sleeper.entry().await), 1_000);
}

#[tokio::test]
async fn a_reader_that_blocks_for_idle_ms_is_closed_and_an_idle_one_is_not() {
    let server = Server::start(&["--idle-ms=300", "--ping-ms=100"]).await;
    let mut sleeper = server.get(EVENTS).small_buffer().events().await;
    let mut quiet = server.get("/v1/rooms/quiet/events").events().await;
    assert_eq!((sleeper.place().await, quiet.place().await), (-1, -1));
    let body = "z".repeat(12_000);
    let mut ada = server.login("ada").await;
    for _ in 0..10 {
        ada.fill("r", 100, &body).await;
    }
    quiet.is_silent_for(Duration::from_millis(900)).await;
    let mut ada = server.login("ada").await;
    ada.append("quiet", json!({"body": "x"})).await;
    assert_eq!(slot(&quiet.entry().await), 0);
    // What was on its way is read; then the body has ended, before the room has.
    assert!(sleeper.rest().await.len() < 1_000);
    // Only the connection is lost: a browser reconnects.
    let mut back = server.get(EVENTS).header("last-event-id", "-1").events().await;
    back.place().await;
    assert_eq!(back.entries(999).await.len(), 1_000);
}

#[tokio::test]
async fn a_follower_over_events_counts_as_a_socket() {
    let server = Server::start(&["--sockets=1"]).await;
    let mut events = server.get(EVENTS).events().await;
    assert_eq!(events.place().await, -1);
    server.get("/healthz").send().await.refused(429, "rate_limited");
    drop(events);
    within("its place", async { while server.get("/healthz").status().await == 429 {} }).await;
}

#[tokio::test]
async fn events_end_when_the_server_stops() {
    let mut server = Server::start(&["--drain-ms=300"]).await;
    let mut events = server.get(EVENTS).events().await;
    let mut ahead = server.get("/v1/rooms/other/events").events().await;
    let mut sleeper = server.get(EVENTS).small_buffer().events().await;
    assert_eq!((events.place().await, ahead.place().await, sleeper.place().await), (-1, -1, -1));
    server.login("ada").await.fill("r", 1_000, &"z".repeat(12_000)).await;
    assert_eq!(events.entries(999).await.len(), 1_000);
    server.terminate().await;
    assert_eq!((events.rest().await, ahead.rest().await), (vec![], vec![]));
    assert_eq!(server.ended().await.code(), Some(0));
}

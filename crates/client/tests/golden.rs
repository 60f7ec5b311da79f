//! The golden transcripts in `/golden`, which the JavaScript SDK replays too
//! (`web/sdk/test/golden.test.js`).
//!
//! A transcript is a list of steps: inputs and expected outputs. Time is `at`, in ms.
#![allow(clippy::print_stderr, reason = "shown when a test fails")]

use std::{fs, path::Path, time::Duration};

use roomlog_client::{
    AppendError, Start,
    outbox::{Outbox, Verdict},
    timeline::{Step, Timeline},
};
use roomlog_protocol::{
    ClientFrame, EntryId, Join, Limits, RoomName, ServerFrame, ServerReply, client::parse,
};
use serde_json::{Value, json};

/// Replays all transcripts of a kind.
fn each(kind: &str, play: impl Fn(&Value)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(kind);
    let mut played = 0;
    for file in fs::read_dir(folder).expect("the transcripts") {
        let text = fs::read_to_string(file.expect("a file").path()).expect("a transcript");
        let script: Value = serde_json::from_str(&text).expect("a transcript is JSON");
        eprintln!("{}", script["what"]);
        play(&script);
        played += 1;
    }
    assert!(played > 0);
}

fn steps(script: &Value) -> &[Value] {
    script["steps"].as_array().expect("steps")
}

fn frame(value: &Value) -> ServerFrame {
    serde_json::from_value(value.clone()).expect("a frame of the server")
}

/// An object as a frame of a client, with its `type`.
fn typed(value: &Value, kind: &str) -> Value {
    let mut value = value.clone();
    value["type"] = kind.into();
    value
}

#[test]
fn the_outbox_sends_and_settles_as_written() {
    each("outbox", |script| {
        let mut limits = Limits::default();
        for (name, limit) in [
            ("appends_in_flight", &mut limits.appends_in_flight),
            ("body_bytes", &mut limits.body_bytes),
        ] {
            *limit = script[name].as_u64().map_or(*limit, |set| set as usize);
        }
        let mut outbox = Outbox::new(1_000, None);
        for step in steps(script) {
            outbox_step(&mut outbox, step, &limits);
        }
    });
}

fn outbox_step(outbox: &mut Outbox<EntryId>, step: &Value, limits: &Limits) {
    let now = Duration::from_millis(step["at"].as_u64().unwrap_or(0));
    if let Some(append) = step.get("push") {
        let text = typed(append, "append").to_string();
        let Ok(ClientFrame::Append(append)) = parse(&text, &Limits::default()) else {
            panic!("no append: {text}");
        };
        let id = append.id.clone().expect("an id");
        outbox.push(id.clone(), *append, id);
    } else if let Some(sends) = step.get("sends") {
        let frames = std::iter::from_fn(|| outbox.next_frame(now, limits));
        let frames = frames.map(|text| serde_json::from_str(&text).expect("JSON"));
        assert_eq!(&Value::Array(frames.collect()), sends);
    } else if let Some(answer) = step.get("frame") {
        match frame(answer) {
            ServerFrame::Appended(appended) => outbox.appended(appended, now),
            ServerFrame::Error(error) => {
                assert_eq!(outbox.refused(error, now, 0.0), Verdict::Continue);
            }
            other => panic!("no answer to an append: {other:?}"),
        }
    } else if step.get("lost").is_some() {
        outbox.disconnected();
    } else if step.get("new_log").is_some() {
        outbox.new_log();
    } else if let Some(expected) = step.get("settled") {
        let settled =
            std::iter::from_fn(|| outbox.next_settled()).map(|(id, outcome)| match outcome {
                Ok(committed) => json!({"id": id, "slot": committed.appended.slot}),
                Err(AppendError::Refused(error)) => json!({"id": id, "error": error.code}),
                Err(AppendError::NewLog) => json!({"id": id, "error": "new_log"}),
                Err(other) => panic!("{other}"),
            });
        assert_eq!(&Value::Array(settled.collect()), expected);
    } else {
        panic!("no such step: {step}");
    }
}

#[test]
fn the_timeline_asks_and_takes_as_written() {
    each("timeline", |script| {
        let room = RoomName::new(script["room"].as_str().expect("a room")).expect("a name");
        let count = script["count"].as_u64().expect("a count");
        let mut timeline = Timeline::new(room, Start::Newest(count));
        for step in steps(script) {
            timeline_step(&mut timeline, step);
        }
    });
}

fn timeline_step(timeline: &mut Timeline, step: &Value) {
    if let Some(asks) = step.get("asks") {
        let join = serde_json::to_value(ClientFrame::Join(Join(timeline.join()))).expect("JSON");
        let mut expected = typed(asks, "join");
        expected["room"] = join["room"].clone();
        assert_eq!(join, expected);
        return;
    }
    let came = ["joined", "page", "ack"].into_iter().find_map(|name| step.get(name));
    let seen = match frame(came.expect("a frame")) {
        ServerFrame::Ack(ack) => timeline.ack(ack.entries),
        ServerFrame::Reply(ServerReply { reply, .. }) if step.get("joined").is_some() => {
            timeline.joined(reply)
        }
        ServerFrame::Reply(ServerReply { reply, .. }) => timeline.page(reply),
        other => panic!("not of a following: {other:?}"),
    };
    let seen = match seen {
        Step::Diverged => json!({"diverged": true}),
        Step::Take(entries) => json!({"takes": slots(&entries)}),
        Step::Gap(entries) => json!({"takes": slots(&entries), "missing": true}),
    };
    for name in ["diverged", "takes", "missing"] {
        assert_eq!(seen.get(name), step.get(name), "{name}: {step}");
    }
}

fn slots(entries: &[roomlog_protocol::Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.slot).collect()
}

//! `kill -9` at any moment: what was acked is at its slot, what was not is there once or not at all.
#![allow(clippy::print_stderr, reason = "shown when a test fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use roomlog_chaos::crash::CrashPlan;
use serde_json::{Value, json};
use support::{Client, Server, digest_after};
use tokio::sync::mpsc;

const ROOMS: [&str; 2] = ["even", "odd"];
const WRITERS: usize = 8;
const APPENDS: usize = 250;

/// Room, author and id: what names an append for ever.
type Name = (String, String, String);

/// What the test knows of the log from the outside.
#[derive(Default)]
struct Known {
    /// Every append that may have reached the server.
    sent: BTreeSet<Name>,
    /// Slot and time of those that were answered.
    answered: BTreeMap<Name, (Value, Value)>,
    /// Each room's entries as they were read after the last crash.
    logs: BTreeMap<String, Vec<Value>>,
}

/// What one writer did until its socket closed.
struct Written {
    sent: Vec<Name>,
    answers: Vec<(Name, Value)>,
}

/// Sends all appends without waiting, and tells `answered` of every answer until the socket closes.
async fn write(
    mut client: Client,
    appends: Vec<(Name, Value)>,
    answered: mpsc::Sender<()>,
) -> Written {
    let mut frames = Vec::with_capacity(appends.len());
    for (n, (_, frame)) in appends.iter().enumerate() {
        let mut frame = frame.clone();
        frame["req"] = n.into();
        frames.push(frame);
    }
    let mut answers = Vec::new();
    // The socket may break in the middle of this, and then reading fails too.
    let all_sent = client.try_send_all(frames).await;
    while answers.len() < appends.len() || !all_sent {
        let Some(answer) = client.next().await else { break };
        assert_eq!(answer["type"], "appended", "{answer}");
        let at = answer["req"].as_u64().and_then(|req| usize::try_from(req).ok()).expect("a req");
        answers.push((appends[at].0.clone(), answer));
        // Fails when the test no longer counts, which is fine.
        answered.send(()).await.ok();
    }
    Written { sent: appends.into_iter().map(|(name, _)| name).collect(), answers }
}

/// Follows a room until its socket closes: all that was shown to anyone.
async fn follow(mut client: Client, room: &'static str, latest: i64) -> Vec<Value> {
    let mut shown = Vec::new();
    client.send(json!({"type": "join", "room": room, "after": latest})).await;
    while let Some(frame) = client.next().await {
        shown.extend(frame["entries"].as_array().expect("entries").iter().cloned());
    }
    shown
}

impl Known {
    fn latest(&self, room: &str) -> i64 {
        self.logs.get(room).map_or(-1, |log| log.len() as i64 - 1)
    }

    /// What `author` sends in this round: first what was never answered, then what is new.
    fn appends_of(&self, author: &str, round: usize) -> Vec<(Name, Value)> {
        let unanswered = self.sent.iter().filter(|name| !self.answered.contains_key(*name));
        let mut names: Vec<Name> = unanswered.filter(|name| name.1 == author).cloned().collect();
        names.extend(
            (0..APPENDS).map(|n| {
                (ROOMS[n % 2].to_owned(), author.to_owned(), format!("round-{round}-{n}"))
            }),
        );
        let frame = |name: &Name| {
            let (room, _, id) = name;
            // A newer `after` than the first time: a repeat is a repeat all the same.
            json!({"type": "append", "room": room, "id": id, "body": format!("body of {id}"),
                   "after": self.latest(room)})
        };
        names.into_iter().map(|name| (name.clone(), frame(&name))).collect()
    }

    /// Reads both rooms and checks them against everything that was ever answered.
    async fn check(&mut self, server: &Server) {
        let mut reader = server.login("reader").await;
        let mut slots = BTreeMap::new();
        for room in ROOMS {
            let log = reader.whole_log(room).await;
            let before = self.logs.insert(room.to_owned(), log.clone()).unwrap_or_default();
            assert_eq!(log[..before.len()], before, "{room}: what was read once has changed");
            let head = reader.update(room, json!({"count": 0})).await;
            assert_eq!(head["digest"], digest_after(room, &log), "{room}");
            for entry in log {
                let text = |member: &str| entry[member].as_str().expect("text").to_owned();
                assert_eq!(text("body"), format!("body of {}", text("id")));
                let name = (room.to_owned(), text("author"), text("id"));
                assert!(self.sent.contains(&name), "{name:?} was never sent");
                let at = (entry["slot"].clone(), entry["committed_at"].clone());
                assert_eq!(slots.insert(name, at), None, "{entry} is there twice");
            }
        }
        for (name, at) in &self.answered {
            assert_eq!(slots.get(name), Some(at), "{name:?} was answered and is not there");
        }
    }

    fn learn(&mut self, written: Written) {
        self.sent.extend(written.sent);
        for (name, answer) in written.answers {
            let at = (answer["slot"].clone(), answer["committed_at"].clone());
            let before = self.answered.insert(name.clone(), at.clone());
            assert!(before.is_none_or(|before| before == at), "{name:?} has two slots");
        }
    }
}

#[tokio::test]
async fn after_kill_9_at_any_moment_every_acked_entry_is_at_its_slot_once() {
    let mut server = Server::start(&[]).await;
    let mut known = Known::default();
    for round in 0..5 {
        let (answered, mut answers) = mpsc::channel(1_000);
        let (mut writers, mut followers) = (Vec::new(), Vec::new());
        for room in ROOMS {
            let reader = server.login("reader").await;
            followers.push((room, tokio::spawn(follow(reader, room, known.latest(room)))));
        }
        for n in 0..WRITERS {
            let author = format!("writer-{n}");
            let appends = known.appends_of(&author, round);
            let client = server.login(&author).await;
            writers.push(tokio::spawn(write(client, appends, answered.clone())));
        }
        let moment = rand::random_range(1..WRITERS * APPENDS * 3 / 4);
        eprintln!("round {round}: kill -9 after {moment} answers");
        for _ in 0..moment {
            support::within("an answer", answers.recv()).await.expect("a writer");
        }
        server.kill9().await;
        drop(answers);
        for writer in writers {
            known.learn(writer.await.expect("a writer"));
        }
        server.restart().await;
        known.check(&server).await;
        for (room, follower) in followers {
            let shown = follower.await.expect("a follower");
            for entry in shown {
                let slot = usize::try_from(support::slot(&entry)).expect("a slot");
                assert_eq!(known.logs[room].get(slot), Some(&entry), "{room}: it was shown");
            }
        }
    }
    finish(&server, known).await;
}

/// Sends again what was never answered: then every append is there, once.
async fn finish(server: &Server, mut known: Known) {
    for n in 0..WRITERS {
        let author = format!("writer-{n}");
        let (answered, answers) = mpsc::channel(1);
        drop(answers);
        let appends = known.appends_of(&author, 99);
        known.learn(write(server.login(&author).await, appends, answered).await);
    }
    known.check(server).await;
    assert!(known.sent.iter().all(|name| known.answered.contains_key(name)));
    let there: usize = known.logs.values().map(Vec::len).sum();
    assert_eq!(there, known.sent.len());
}

#[tokio::test]
async fn a_server_that_is_killed_while_idle_starts_with_the_same_log() {
    let mut server = Server::start(&[]).await;
    for round in 0..4 {
        let mut ada = server.login("ada").await;
        let slot = support::slot(&ada.append("r", json!({"body": "x"})).await);
        assert_eq!(slot, round);
        let before = ada.update("r", json!({})).await;
        server.kill9().await;
        server.restart().await;
        let after = server.login("ada").await.update("r", json!({})).await;
        for member in ["entries", "latest", "digest_at", "digest"] {
            assert_eq!(after[member], before[member], "{member}");
        }
    }
}

#[tokio::test]
async fn a_rejected_append_leaves_nothing_after_a_crash() {
    let mut server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let refused = json!({"type": "append", "room": "r", "id": "1", "body": "x", "expect": 5});
    ada.refused(refused, "expect_failed").await;
    ada.append("r", json!({"id": "2", "body": "x"})).await;
    server.kill9().await;
    server.restart().await;
    let mut ada = server.login("ada").await;
    let taken = ada.append("r", json!({"id": "1", "body": "other"})).await;
    assert_eq!(support::slot(&taken), 1);
    assert_ne!(taken["repeat"], true);
}

/// A short form of `script/crash`.
#[tokio::test(flavor = "multi_thread")]
async fn twenty_crashes_and_every_frame_keeps_every_promise() {
    let binary = env!("CARGO_BIN_EXE_roomlog").into();
    let plan = CrashPlan { binary, seed: rand::random(), crashes: 20, power: false };
    let life = roomlog_chaos::crash::run(&plan).await.expect("a run to its end");
    assert!(life.broken.is_empty(), "{}", life.line());
    assert!(life.entries > 500, "too little was written to show anything: {}", life.line());
}

/// A short form of `script/crash --flips`.
#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_is_found_or_never_served() {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_roomlog"));
    let flips = roomlog_chaos::flips::run(binary, rand::random(), 20).await.expect("a run");
    assert!(flips.served.is_empty(), "{flips:?}");
    assert_eq!(flips.found + flips.harmless, 20, "{flips:?}");
}

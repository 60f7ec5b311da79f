//! Errors of the disk: pending appends have an unknown outcome, the process reports what failed and
//! exits, and the next start has every acked entry, and the others once or not at
//! all.
//!
//! The errors are made by a library in front of the C library's calls: see `support::Fault`.

mod support;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use support::{Client, Fault, Server, code, slot};

/// The slot of each id that was acked.
type Acked = BTreeMap<String, i64>;

fn append(id: &str, bytes: usize) -> Value {
    json!({"type": "append", "room": "r", "id": id, "body": "x".repeat(bytes)})
}

async fn start(fault: &Fault, flags: &[&str]) -> (tempfile::TempDir, Server) {
    let data = tempfile::tempdir().expect("a directory");
    let environment = fault.environment();
    let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, &**value)).collect();
    let server = Server::start_on(data.path(), flags, &environment).await;
    (data, server)
}

async fn append_acked(ada: &mut Client, prefix: &str, count: usize, bytes: usize) -> Acked {
    let mut acked = Acked::new();
    for n in 0..count {
        let id = format!("{prefix}-{n}");
        let answer = ada.ask(append(&id, bytes)).await;
        assert_eq!(answer["type"], "appended", "{answer}");
        acked.insert(id, slot(&answer));
    }
    acked
}

/// Sends appends until the socket closes: those that were acked meanwhile, and all that were sent.
async fn append_until_it_ends(ada: &mut Client, acked: &mut Acked, bytes: usize) -> Vec<String> {
    let (mut sent, mut unknown) = (Vec::new(), 0);
    'sending: for round in 0..1_000 {
        let ids: Vec<String> = (0..4).map(|n| format!("failing-{round}-{n}")).collect();
        sent.extend(ids.iter().cloned());
        if !ada.try_send_all(ids.iter().map(|id| append(id, bytes))).await {
            break;
        }
        let mut answers = 0;
        while answers < ids.len() {
            let Some(answer) = ada.next().await else { break 'sending };
            answers += 1;
            if answer["type"] == "appended" {
                acked.insert(answer["id"].as_str().expect("an id").into(), slot(&answer));
                continue;
            }
            assert!(["unknown_outcome", "unavailable"].contains(&code(&answer)), "{answer}");
            unknown += usize::from(code(&answer) == "unknown_outcome");
        }
    }
    assert!(unknown > 0, "nobody was told that an outcome is unknown");
    sent
}

/// The process has exited by itself, and its last line reports what failed and what to do.
async fn ended_with(server: &mut Server, file: &str) {
    assert_eq!(server.ended().await.code(), Some(1));
    let said = within_a_moment(server).await;
    let last = said.last().expect("a line");
    assert!(last.contains(file), "{last}");
    assert!(last.contains("disk I/O error"), "{last}");
    assert!(last.contains("look at the disk, then start again"), "{last}");
}

/// All lines, once the last one is there.
async fn within_a_moment(server: &Server) -> Vec<String> {
    let is_whole = async {
        loop {
            let said = server.stderr_lines();
            if said.last().is_some_and(|line| line.starts_with("roomlog: the ")) {
                return said;
            }
            tokio::task::yield_now().await;
        }
    };
    support::within("its last line", is_whole).await
}

/// Starts it again, without errors: what was acked is there, what was sent once at most; sent again
/// it is there once.
async fn restart_and_check(server: &mut Server, acked: &Acked, sent: &[String], bytes: usize) {
    server.restart_in_peace().await;
    let mut ada = server.login("ada").await;
    let at = |log: &[Value]| -> Acked {
        let at = log.iter().map(|entry| (entry["id"].as_str().expect("an id").into(), slot(entry)));
        let slots: Acked = at.collect();
        assert_eq!(slots.len(), log.len(), "an id is there twice");
        slots
    };
    let there = at(&ada.whole_log("r").await);
    for (id, slot) in acked {
        assert_eq!(there.get(id), Some(slot), "{id} was acked");
    }
    assert!(there.keys().all(|id| acked.contains_key(id) || sent.contains(id)));
    for id in sent {
        let answer = ada.ask(append(id, bytes)).await;
        assert_eq!(answer["type"], "appended", "{answer}");
        assert_eq!(answer["repeat"] == true, there.contains_key(id), "{id}");
    }
    assert_eq!(at(&ada.whole_log("r").await).len(), acked.len() + unacked(acked, sent));
    drop(ada);
    assert!(server.sigterm().await.success());
}

fn unacked(acked: &Acked, sent: &[String]) -> usize {
    sent.iter().filter(|id| !acked.contains_key(*id)).count()
}

/// A call of a server's fails from a moment on; `bytes` are those of a body.
async fn fails(call: &str, file: &str, bytes: usize) {
    let fault = Fault::of(call, file);
    let (_data, mut server) = start(&fault, &["--fold-ms", "20"]).await;
    let mut ada = server.login("ada").await;
    let mut acked = append_acked(&mut ada, "before", 5, 10).await;
    fault.begin();
    let sent = append_until_it_ends(&mut ada, &mut acked, bytes).await;
    drop(ada);
    ended_with(&mut server, "journal-0000000").await;
    restart_and_check(&mut server, &acked, &sent, bytes).await;
}

#[tokio::test]
async fn a_failed_write_of_a_block_has_an_unknown_outcome_and_ends_the_process() {
    fails("write", "journal-00000001", 10).await;
}

#[tokio::test]
async fn a_block_with_a_failed_sync_has_an_unknown_outcome_and_ends_the_process() {
    fails("sync", "journal-00000001", 10).await;
}

#[tokio::test]
async fn a_failed_write_of_a_new_segment_ends_the_process() {
    fails("write", "journal-00000003", 16_000).await;
}

#[tokio::test]
async fn a_failed_sync_of_a_new_segment_ends_the_process() {
    fails("sync", "journal-00000003", 16_000).await;
}

/// The fold fails from a moment on: only appends in flight then get an error.
async fn fold_fails(call: &str, file: &str, bytes: usize) {
    let fault = Fault::of(call, file);
    let (_data, mut server) = start(&fault, &["--fold-ms", "1"]).await;
    let mut ada = server.login("ada").await;
    let mut acked = append_acked(&mut ada, "before", 5, 10).await;
    fault.begin();
    let mut sent = Vec::new();
    for n in 0..2_000 {
        let id = format!("failing-{n}");
        sent.push(id.clone());
        if !ada.try_send_all([append(&id, bytes)]).await {
            break;
        }
        let Some(answer) = ada.next().await else { break };
        if answer["type"] == "appended" {
            acked.insert(id, slot(&answer));
        } else {
            assert!(["unknown_outcome", "unavailable"].contains(&code(&answer)), "{answer}");
        }
    }
    assert!(sent.len() < 2_000, "the node went on without its archive");
    drop(ada);
    ended_with(&mut server, "archive.db").await;
    restart_and_check(&mut server, &acked, &sent, bytes).await;
}

#[tokio::test]
async fn a_failed_fold_ends_the_process_and_the_next_one_repeats_it() {
    fold_fails("write", "archive.db-wal", 10).await;
}

#[tokio::test]
async fn a_failed_checkpoint_of_the_archive_ends_the_process() {
    fold_fails("write", "archive.db", 16_000).await;
}

#[tokio::test]
async fn a_failed_sync_of_the_archive_ends_the_process() {
    fold_fails("sync", "archive.db", 16_000).await;
}

//! Redactions over the wire, and that nothing of a redacted text stays in any file.

mod support;

use std::{collections::HashSet, fs, path::Path};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use support::{
    Client, PATIENCE, Server, backup, digest_after, roomlog, slot,
    tokens::{self, TokenServer, token},
    within,
};

/// Twelve digits, as in a card's number.
const MARKER: &str = "4929 1738 6054";

fn redact(slot: u64) -> Value {
    json!({"body": "", "kind": "redact", "ref": slot})
}

/// What a redacted entry has of body, meta, salt and commitment.
fn is_redacted(entry: &Value) -> bool {
    let has = |member: &str| entry.get(member).is_some();
    assert_eq!(has("body"), has("salt"), "{entry}");
    assert_eq!(has("body"), !has("commitment"), "{entry}");
    entry["redacted"] == true && !has("body") && !has("meta")
}

/// The files of a directory that hold the marker.
fn holding(directory: &Path) -> Vec<String> {
    let files =
        fs::read_dir(directory).expect("a directory").map(|file| file.expect("a file").path());
    let holds = |path: &Path| {
        let bytes = fs::read(path).unwrap_or_default();
        bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes())
    };
    files
        .filter(|path| path.is_file() && holds(path))
        .map(|path| path.display().to_string())
        .collect()
}

async fn is_wiped(directory: &Path) {
    let wiped = async {
        while !holding(directory).is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, wiped).await;
    assert!(in_time.is_ok(), "still in {:?}", holding(directory));
}

/// Checks the directory of a server that has ended.
async fn verifies(server: &Server) {
    let data = server.directory().to_str().expect("a path");
    let verified = roomlog(server, &format!("verify --data {data}")).output();
    let verified = within("verify", verified).await.expect("a run");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

/// Appends the marker in texts that are short, that take pages of a file, and in metas; gives their slots.
async fn tell_all(client: &mut Client, room: &str) -> Vec<u64> {
    let mut slots = Vec::new();
    for n in 0..40 {
        let body = match n % 4 {
            0 => MARKER.to_owned(),
            1 => format!("{} {MARKER} {}", "x".repeat(9_000), "y".repeat(3_000)),
            _ => "nothing".to_owned(),
        };
        let meta =
            if n % 4 == 2 { json!(format!("{{\"card\":\"{MARKER}\"}}")) } else { Value::Null };
        let appended = client.append(room, json!({"body": body, "meta": meta})).await;
        slots.push(appended["slot"].as_u64().expect("a slot"));
    }
    slots
}

#[tokio::test]
async fn a_redacted_entry_is_sent_without_its_content_and_keeps_the_chain() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.append("r", json!({"id": "a-1", "body": "secret", "meta": "{}"})).await;
    ada.append("r", json!({"body": "hello"})).await;
    let mut grace = server.login("grace").await;
    grace.join("r", json!({})).await;
    let before = ada.whole_log("r").await;
    assert_eq!(slot(&ada.append("r", redact(0)).await), 2);

    let log = ada.whole_log("r").await;
    assert_eq!(log.iter().map(is_redacted).collect::<Vec<_>>(), [true, false, false]);
    for member in ["slot", "author", "id", "committed_at"] {
        assert_eq!(log[0][member], before[0][member]);
    }
    assert_eq!(digest_after("r", &log[..2]), digest_after("r", &before));
    let seen = grace.acks("r", 1, 2).await;
    assert_eq!((&seen[0]["kind"], &seen[0]["ref"]), (&json!("redact"), &json!(0)));
    let verified = within("verify", roomlog(&server, "verify r").output()).await.expect("a run");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    // What was appended is repeated with any body, and over HTTP the answer is the redacted entry.
    let repeat = json!({"id": "a-1", "author": "ada", "body": "another"});
    let answer = server.post("/v1/rooms/r/entries", &repeat).send().await;
    assert_eq!((answer.status, &answer.json()["entry"]), (200, &log[0]));
}

#[tokio::test]
async fn a_redaction_has_a_ref_and_nothing_to_redact_itself() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.append("r", json!({"body": "one"})).await;
    ada.append("r", redact(0)).await;
    for (members, error) in [
        (json!({"body": "", "kind": "redact"}), "bad_message"),
        (json!({"body": "why", "kind": "redact", "ref": 0}), "bad_message"),
        (json!({"body": "", "kind": "redact", "ref": 0, "meta": "why"}), "bad_message"),
        (redact(1), "bad_ref"),
    ] {
        ada.refused(support::with("append", "r", members), error).await;
    }
    let of_bob = json!({"body": "", "kind": "redact", "ref": 0, "author": "bob"});
    let error = ada.refused(support::with("append", "r", of_bob), "forbidden").await;
    let message = error["message"].as_str().expect("text");
    assert!(message.starts_with("slot 0 has another author"), "{message}");
    assert_eq!(ada.update("r", json!({})).await["latest"], 1);
}

#[tokio::test]
async fn who_has_the_right_redacts_what_others_wrote() {
    let it = TokenServer::start(&[]).await;
    let rights = json!({"*": ["read", "append", "create"]});
    let mut ada = it.enter(&token("ada", rights.clone())).await;
    ada.append("r", json!({"body": "one"})).await;
    let mut grace = it.enter(&token("grace", rights)).await;
    grace.refused(support::with("append", "r", redact(0)), "forbidden").await;
    let mut moderator = it.enter(&token("mod", json!({"r": ["read", "append", "redact"]}))).await;
    assert_eq!(slot(&moderator.append("r", redact(0)).await), 1);
    assert!(is_redacted(&ada.whole_log("r").await[0]));
    // A token that may not read learns nothing of what it may not redact.
    let mut writer = it.enter(&token("writer", json!({"r": ["append", "redact"]}))).await;
    for slot in [0, 1] {
        let refused = writer.refused(support::with("append", "r", redact(slot)), "forbidden").await;
        assert_eq!(
            refused["message"],
            "your token may not read this room, so it may not redact in it"
        );
    }
    let post = it.server.post("/v1/rooms/r/entries", &redact(0));
    let writer = token("writer", json!({"r": ["append", "redact"]}));
    post.header("authorization", &tokens::bearer(&writer)).send().await.refused(403, "forbidden");
}

#[tokio::test]
async fn no_file_holds_a_redacted_text_and_no_backup() {
    let mut server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let mut slots = tell_all(&mut ada, "r").await;
    // Another start, so that the texts are in files as an earlier process left them.
    server.kill9().await;
    server.restart().await;
    let mut ada = server.login("ada").await;
    slots.extend(tell_all(&mut ada, "r").await);
    assert!(!holding(server.directory()).is_empty());
    for slot in slots {
        ada.append("r", redact(slot)).await;
    }
    is_wiped(server.directory()).await;
    // An outbox that did not see the answer sends a text again.
    let repeat = json!({"id": "again", "body": MARKER});
    let appended = ada.append("other", repeat.clone()).await;
    ada.append("other", redact(appended["slot"].as_u64().expect("a slot"))).await;
    let mut again = server.login("ada").await;
    assert_eq!(again.append("other", repeat).await["repeat"], true);
    is_wiped(server.directory()).await;
    let copy = backup(&server).await;
    assert_eq!(holding(copy.path()), Vec::<String>::new());

    // The log is whole, and stays so without the texts.
    let log = ada.whole_log("r").await;
    assert_eq!(log.iter().filter(|entry| is_redacted(entry)).count(), 80);
    let digest = ada.update("r", json!({"count": 1})).await["digest"].clone();
    assert_eq!(digest, digest_after("r", &log));
    assert!(server.sigterm().await.success());
    verifies(&server).await;
    assert_eq!(holding(server.directory()), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_is_killed_after_a_redaction_wipes_its_files_at_the_next_start() {
    let mut server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    for slot in tell_all(&mut ada, "r").await {
        ada.append("r", redact(slot)).await;
    }
    server.kill9().await;
    verifies(&server).await;
    server.restart().await;
    is_wiped(server.directory()).await;
    let log = server.login("ada").await.whole_log("r").await;
    assert_eq!(log.iter().filter(|entry| is_redacted(entry)).count(), 40);
}

#[tokio::test]
async fn a_dictionary_does_not_find_a_redacted_pin() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.append("r", json!({"body": "493172"})).await;
    ada.append("r", json!({"body": "493172"})).await;
    ada.append("r", redact(0)).await;
    ada.append("r", redact(1)).await;
    let log = ada.whole_log("r").await;
    let commitments = [0, 1].map(|slot: usize| log[slot]["commitment"].as_str().expect("text"));
    assert_ne!(commitments[0], commitments[1], "equal texts have different commitments");
    let digests = [1, 2].map(|end| digest_after("r", &log[..end]));
    let targets = commitments.iter().copied().chain(digests.iter().map(String::as_str));
    let targets: HashSet<Vec<u8>> = targets.map(support::unhex).collect();
    // Hashed alone, with its length, and with a salt of zeros.
    let mut candidate = *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x06000000";
    for pin in 0..1_000_000 {
        let mut rest = pin;
        for digit in candidate[16..].iter_mut().rev() {
            (*digit, rest) = (b'0' + u8::try_from(rest % 10).expect("a digit"), rest / 10);
        }
        for from in [0, 12, 16] {
            let hash = Sha256::digest(&candidate[from..]);
            assert!(!targets.contains(&hash[..]), "{pin:06} is found");
        }
    }
}

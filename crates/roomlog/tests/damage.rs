//! A flipped bit in the files of a killed server, and one in those of a stopped server, under the real
//! binary: it is rejected, and the message has the file, the place, and what to do; or the journal makes it good.
//!
//! Hundreds of them are flipped in the engines' own tests.

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use support::{Server, serve_if_it_can};
use tempfile::TempDir;

const ENTRIES: usize = 40;

const JOURNAL: &str = "journal-00000001";

/// The directory of a server that was killed or stopped, with entries in three rooms.
async fn directory(killed: bool) -> TempDir {
    let data = tempfile::tempdir().expect("a directory");
    let mut server = Server::start_on(data.path(), &["--fold-ms", "1"], &[]).await;
    let mut ada = server.login("ada").await;
    for n in 0..ENTRIES {
        let room = ["a", "b", "c"][n % 3];
        ada.append(room, json!({"body": format!("entry {n}"), "id": format!("id-{n}")})).await;
    }
    drop(ada);
    if killed {
        server.kill9().await;
    } else {
        assert!(server.sigterm().await.success());
    }
    data
}

/// Flips a bit; gives the file as it was.
fn flip(path: &Path, byte: usize) -> Vec<u8> {
    let whole = fs::read(path).expect("a file");
    let mut flipped = whole.clone();
    flipped[byte] ^= 4;
    fs::write(path, flipped).expect("written");
    whole
}

/// A server does not start, with these messages; with the bit flipped back it starts and has everything.
async fn refused(data: &TempDir, file: &str, byte: usize, says: &[&str]) {
    let path: PathBuf = data.path().join(file);
    let whole = flip(&path, byte);
    let (status, said) = serve_if_it_can(data.path()).await.expect_err("it is refused");
    assert_eq!(status, Some(1), "{said}");
    let last = said.lines().last().unwrap_or_default();
    for words in says {
        assert!(last.contains(words), "{file}, byte {byte}: no {words:?} in {last}");
    }
    fs::write(&path, whole).expect("written");
}

async fn everything_is_there(data: &TempDir) {
    let mut server = Server::start_on(data.path(), &[], &[]).await;
    let mut ada = server.login("ada").await;
    let mut there = 0;
    for room in ["a", "b", "c"] {
        there += ada.whole_log(room).await.len();
    }
    assert_eq!(there, ENTRIES);
    drop(ada);
    assert!(server.sigterm().await.success());
}

#[tokio::test]
async fn a_flipped_bit_of_a_killed_server_is_rejected_with_its_place_or_made_good() {
    let data = directory(true).await;
    let journal = fs::read(data.path().join(JOURNAL)).expect("a file");
    let place = |text: &str| {
        let found = journal.windows(text.len()).rposition(|at| at == text.as_bytes());
        found.expect("a block")
    };
    let damaged = format!("{JOURNAL} is damaged at byte ");
    let says = [&damaged, "position 21 is not what was written, and position 22 follows"];
    refused(&data, JOURNAL, place("entry 20"), &[says[0], says[1], "restore a backup"]).await;
    // The last block, too: it was acked.
    let says = [&damaged, "position 40 is not what was written; positions up to 39 are intact"];
    refused(&data, JOURNAL, place("entry 39"), &says).await;
    refused(&data, JOURNAL, 17, &["its header is not what was written"]).await;
    let moved = "moving archive.db, archive.db-wal and archive.db-shm away is enough";
    refused(&data, "archive.db-wal", 17, &["archive.db-wal is damaged", moved]).await;
    // Of what was not copied yet, the journal has everything.
    flip(&data.path().join("archive.db-wal"), 1_000);
    everything_is_there(&data).await;
}

#[tokio::test]
async fn a_flipped_bit_in_a_stopped_journal_or_the_node_file_is_rejected() {
    let data = directory(false).await;
    refused(&data, "node", 9, &["node is not a node file", "remove it"]).await;
    let journal = fs::read(data.path().join(JOURNAL)).expect("a file");
    let block = journal.windows(8).rposition(|text| text == b"entry 39").expect("a block");
    // Read when the archive is made again from it.
    for file in ["archive.db", "archive.db-wal", "archive.db-shm"] {
        let _was_not_there = fs::remove_file(data.path().join(file));
    }
    let says = [JOURNAL, "is not what was written", "restore a backup"];
    refused(&data, JOURNAL, block, &says).await;
    everything_is_there(&data).await;
}

//! A backup with any manifest: it is refused, or it is the right one. And lines of the answer that sends a backup.
#![no_main]

use std::{fs, io::Read, path::Path, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use roomlog_core::{
    NodeSettings,
    backup::{ArchiveCopy, Backup},
};
use roomlog_protocol::{BackupLine, Digest, MANIFEST_FILE, Manifest};
use roomlog_sqlite::Directory;
use roomlog_testkit::{
    fixtures::proposal,
    life::{Connection, Life},
};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

fuzz_target!(|text: &[u8]| {
    static BASE: OnceLock<(TempDir, Manifest)> = OnceLock::new();
    let (backup, right) = BASE.get_or_init(base);
    let _ = serde_json::from_slice::<BackupLine>(text);
    let parsed = str::from_utf8(text).ok().and_then(|text| Manifest::from_json(text).ok());
    fs::write(backup.path().join(MANIFEST_FILE), text).expect("written");
    let to = tempfile::tempdir().expect("a directory");
    if let Ok(restored) = Directory::restore(backup.path(), &to.path().join("restored")) {
        let same = |of: &Manifest| (of.digest, of.rooms, of.entries, of.position);
        assert_eq!(Some(same(right)), parsed.as_ref().map(same), "{restored:?}");
    }
});

/// A backup, as the server sends it.
fn base() -> (TempDir, Manifest) {
    let (from, backup) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    let mut copy = tokio::runtime::Runtime::new().expect("a runtime").block_on(copy(from.path()));
    let mut bytes = Vec::new();
    copy.archive.read_to_end(&mut bytes).expect("read");
    let manifest = Manifest { sha256: Some(Digest(Sha256::digest(&bytes).into())), ..copy.manifest };
    fs::write(backup.path().join("archive.db"), bytes).expect("written");
    // A seed for the corpus.
    if let Some(seed) = std::env::var_os("ROOMLOG_FUZZ_SEED") {
        fs::write(seed, manifest.to_json()).expect("written");
    }
    (backup, manifest)
}

async fn copy(from: &Path) -> ArchiveCopy {
    let directory = Directory::open(from).expect("a directory");
    let (journal, archive) = (directory.journal.clone(), directory.archive.clone());
    let life = Life::over(journal, archive, directory.identity, NodeSettings::default());
    life.has_caught_up().await;
    let mut connection = Connection::default();
    for n in 0..5 {
        connection.say(&life, proposal("a", "ada", &format!("id-{n}"), "said")).await;
    }
    life.fold_to_head().await.expect("folded");
    let copy = directory.backup().copy(&mut |_| true).expect("a copy");
    life.end().await.expect("ended");
    copy
}

//! Every file and directory that Roomlog makes belongs to its user alone, whatever the umask. One
//! test, as the umask is the process's.

mod node;

use std::{
    fs,
    io::Read,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use node::{Served, append_and_trim, directory};
use roomlog_core::backup::Backup;
use roomlog_protocol::{MANIFEST_FILE, Manifest};
use roomlog_sqlite::{Derived, Directory, claim, private};
use rustix::{fs::Mode, process::umask};
use sha2::{Digest as _, Sha256};

/// Everything below a directory, and the directory, with its mode.
fn modes_of(path: &Path) -> Vec<(PathBuf, u32)> {
    let itself = fs::metadata(path).expect("it is there");
    let mut modes = vec![(path.to_owned(), itself.mode() & 0o777)];
    if itself.is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            modes.extend(modes_of(&entry.expect("an entry").path()));
        }
    }
    modes
}

#[track_caller]
fn assert_private(path: &Path, names: &[&str]) {
    let modes = modes_of(path);
    for (path, mode) in &modes {
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(*mode, wanted, "{} has mode {mode:o}", path.display());
    }
    for name in names {
        assert!(modes.iter().any(|(path, _)| path.ends_with(name)), "no {name} in {modes:?}");
    }
}

#[tokio::test]
async fn every_file_is_private_under_any_umask() {
    let parents = [0o000, 0o022, 0o277].map(|mask| (mask, directory()));
    for (mask, parent) in &parents {
        umask(Mode::from_raw_mode(*mask));
        let data = parent.path().join("new/below");
        let directory = Directory::open(&data).expect("a directory");
        let served = Served::on(directory).expect("a node");
        assert!(served.is_up().await);
        served.append(&["one"]).await;
        served.folded().await;
        let of_journal = ["journal-00000001", "node", "lock"];
        assert_private(&data, &of_journal);
        assert_private(&data, &["archive.db", "archive.db-wal", "archive.db-shm"]);
        assert_private(data.parent().expect("a parent"), &["below"]);

        // While it is copied, as a crash would leave it.
        let backup = served.directory.backup();
        let mut seen = false;
        let mut copying = |_| {
            seen = true;
            assert_private(&data, &["backup.tmp"]);
            true
        };
        let mut copy = backup.copy(&mut copying).expect("a copy");
        assert!(seen);
        let to = parent.path().join("backup");
        private::create_dir_all(&to).expect("a directory");
        let mut bytes = Vec::new();
        copy.archive.read_to_end(&mut bytes).expect("the bytes");
        let sha256 = Some(roomlog_protocol::Digest(Sha256::digest(&bytes).into()));
        let manifest = Manifest { sha256, ..copy.manifest };
        fs::write(to.join("archive.db"), bytes).expect("a file");
        fs::write(to.join(MANIFEST_FILE), manifest.to_json()).expect("a file");

        claim(&data.join("moving"), "to", "there").expect("a claim");
        let derived = Derived::open(&data.join("moving"), "log").expect("a directory");
        served.directory.freeze("moved").expect("frozen");
        assert_private(&data, &["moving/to", "moving/archive.db", "moving/node", "frozen"]);
        drop(derived);
        served.end().await.expect("a good end");
        assert_private(&data, &[]);

        let restored = parent.path().join("restored");
        Directory::restore(&to, &restored).expect("a restore");
        assert_private(&restored, &["journal-00000001", "archive.db", "restored.json"]);
    }
    umask(Mode::from_raw_mode(0o022));
    let empty = directory();
    append_and_trim(&empty, 1).await;
    assert_private(empty.path(), &[]);
}

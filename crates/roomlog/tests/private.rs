//! What the binary writes belongs to its user alone, whatever the umask; what others could change is
//! reported; and `verify` follows no link.

mod support;

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::umask,
};
use support::{Server, backup, roomlog, within};

/// Everything below a directory, and the directory, is private; these names are among it.
#[track_caller]
fn assert_private(path: &Path, names: &[&str]) {
    let mode = fs::symlink_metadata(path).expect("it is there").mode() & 0o777;
    let wanted = if path.is_dir() { 0o700 } else { 0o600 };
    assert_eq!(mode, wanted, "{} has mode {mode:o}", path.display());
    for name in names {
        assert!(path.join(name).exists(), "{name} is not in {}", path.display());
    }
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            assert_private(&entry.expect("an entry").path(), &[]);
        }
    }
}

#[tokio::test]
async fn what_is_written_is_private_whatever_the_umask() {
    // The commands inherit it.
    umask(Mode::empty());
    let parent = tempfile::tempdir().expect("a directory");
    let data = parent.path().join("new/data");
    let mut server = Server::start_on(&data, &["--fold-ms", "1"], &[]).await;
    server.login("ada").await.fill("general", 3, "kept").await;
    let of_the_log = ["journal-00000001", "archive.db"];
    assert_private(&data, &of_the_log);
    assert_private(&data, &["archive.db-wal", "archive.db-shm", "node", "lock"]);
    assert_private(&parent.path().join("new"), &[]);

    let taken = backup(&server).await;
    let backup = taken.path().join("backup");
    assert_private(&backup, &["archive.db", "manifest.json"]);
    let restored = parent.path().join("restored");
    let restore = format!("restore {} {}", backup.display(), restored.display());
    let ended = within("a restore", roomlog(&server, &restore).output()).await.expect("a run");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_private(&restored, &["archive.db", "journal-00000001", "restored.json"]);
    assert!(server.sigterm().await.success());
    assert_private(&data, &["archive.db", "journal-00000001"]);
    let mut server = Server::start_on(&backup, &[], &[]).await;
    assert_private(&backup, &["restored/journal-00000001"]);
    assert!(server.sigterm().await.success());
}

#[tokio::test]
async fn a_server_reports_once_what_other_users_may_change() {
    let data = tempfile::tempdir().expect("a directory");
    assert!(Server::start_on(data.path(), &[], &[]).await.sigterm().await.success());
    let (archive, letter) = (data.path().join("archive.db"), data.path().join("letter.txt"));
    fs::hard_link(&archive, data.path().join("archive.db.mine")).expect("a second name");
    fs::write(letter, "dear ada").expect("a file");
    for (path, mode) in [(&*archive, 0o644), (data.path(), 0o777)] {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("a mode");
    }
    let mut server = Server::start_on(data.path(), &[], &[]).await;
    assert!(server.sigterm().await.success());
    let said = server.stderr_lines();
    for part in ["whose mode cannot be set to 0600", "give Roomlog a directory of its own"] {
        let lines = said.iter().filter(|line| line.contains(part)).count();
        assert_eq!(lines, 1, "{part:?} in {said:?}");
    }
}

#[tokio::test]
async fn verify_follows_no_link_and_waits_for_no_fifo() {
    let server = Server::start(&["--fold-ms", "1"]).await;
    server.login("ada").await.fill("general", 3, "kept").await;
    let taken = backup(&server).await;
    let backup = taken.path().join("backup");
    let archive = backup.join("archive.db");
    let verify = format!("verify --data {}", backup.display());
    let verified = || async {
        let ended = within("verify", roomlog(&server, &verify).output()).await.expect("a run");
        (ended.status.code(), String::from_utf8_lossy(&ended.stderr).into_owned())
    };
    assert_eq!(verified().await.0, Some(0));
    let away = taken.path().join("away");
    fs::rename(&archive, &away).expect("moved");
    symlink(&away, &archive).expect("a link");
    let (code, said) = verified().await;
    assert!(code == Some(1) && said.contains("archive.db is a symbolic link"), "{said}");
    fs::remove_file(&archive).expect("removed");
    mknodat(CWD, &archive, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a FIFO");
    let (code, said) = verified().await;
    assert!(code == Some(1) && said.contains("archive.db is a FIFO"), "{said}");
}

//! `roomlog restore`, and `serve` on a backup: the backup is only read.

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use support::{Server, backup, roomlog, serve_refused, within};

/// All files below a directory, by name.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries =
        fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").path());
    let files = entries.filter(|path| path.is_file());
    files.map(|path| (path.clone(), fs::read(path).expect("a file"))).collect()
}

/// Runs `roomlog restore`: its exit code and its output.
async fn restore(server: &Server, backup: &Path, to: &Path) -> (Option<i32>, String) {
    let args = format!("restore {} {}", backup.display(), to.display());
    let ended = within("a restore", roomlog(server, &args).output()).await.expect("a run");
    let said = [ended.stdout, ended.stderr].concat();
    (ended.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// A server with three entries, and a backup of it.
async fn backed_up() -> (Server, tempfile::TempDir, PathBuf) {
    let server = Server::start(&["--fold-ms", "1"]).await;
    let mut ada = server.login("ada").await;
    ada.fill("general", 3, "kept").await;
    let parent = backup(&server).await;
    let backup = parent.path().join("backup");
    (server, parent, backup)
}

#[tokio::test]
async fn a_backup_can_be_restored_repeatedly() {
    let (server, parent, backup) = backed_up().await;
    let (before, log) = (files(&backup), server.connect().await.hello["log"].clone());
    let mut logs = vec![log];
    for name in ["one", "two"] {
        let to = parent.path().join(name);
        let (code, said) = restore(&server, &backup, &to).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("entries          3"), "{said}");
        let restored = Server::start_on(&to, &[], &[]).await;
        let log = restored.connect().await.hello["log"].clone();
        assert!(said.contains(log.as_str().expect("a log")), "{said}");
        assert!(!logs.contains(&log), "each restore is a log of its own");
        logs.push(log);
        let mut bo = restored.login("bo").await;
        assert_eq!(support::slot(&bo.append("general", json!({"body": "on"})).await), 3);
    }
    assert_eq!(files(&backup), before, "the backup changed");
    assert!(!parent.path().join("one.part").exists());
}

#[tokio::test]
async fn the_new_directory_may_be_given_in_any_usual_form() {
    let (server, parent, backup) = backed_up().await;
    let path = |name: &str| parent.path().join(name);
    for name in ["empty", "empty-by-link", "here"] {
        fs::create_dir(path(name)).expect("a directory");
    }
    std::os::unix::fs::symlink(path("empty-by-link"), path("link")).expect("a link");
    for to in
        [path("new/"), path("empty/"), path("link"), path("here").join("."), path("here/../up")]
    {
        let (code, said) = restore(&server, &backup, &to).await;
        assert_eq!(code, Some(0), "{}: {said}", to.display());
        assert!(to.join("journal-00000001").exists(), "{}", to.display());
    }
    // From within, where the shell's directory is replaced.
    fs::create_dir(path("within")).expect("a directory");
    let mut within_it = roomlog(&server, &format!("restore {} .", backup.display()));
    let ended = within("a restore", within_it.current_dir(path("within")).output()).await;
    assert!(ended.expect("a run").status.success());
    assert!(path("within").join("journal-00000001").exists());

    std::os::unix::fs::symlink(path("nowhere"), path("dangling")).expect("a link");
    let (code, said) = restore(&server, &backup, &path("dangling")).await;
    assert!(code == Some(1) && said.contains("a link that leads nowhere"), "{said}");
    let parts =
        fs::read_dir(parent.path()).expect("a directory").map(|it| it.expect("one").file_name());
    assert!(parts.into_iter().all(|name| !name.to_string_lossy().ends_with(".part")));
}

#[tokio::test]
async fn serve_on_a_backup_reports_it_and_does_not_change_it() {
    let (server, _parent, backup) = backed_up().await;
    let before = files(&backup);
    let mut served = Server::start_on(&backup, &[], &[]).await;
    let said = served.stderr_lines().join("\n");
    assert!(said.contains("is a backup and stays as it is"), "{said}");
    assert!(said.contains("roomlog restore"), "{said}");
    let log = served.connect().await.hello["log"].clone();
    served.login("bo").await.append("general", json!({"body": "on"})).await;
    served.kill9().await;
    assert_eq!(files(&backup), before, "the backup changed");

    // Entries appended since are there when it is served again.
    served.restart().await;
    assert_eq!(served.connect().await.hello["log"], log);
    assert_eq!(served.login("bo").await.whole_log("general").await.len(), 4);
    let verify = format!("verify --data {}", backup.display());
    let verified = within("verify", roomlog(&server, &verify).output()).await.expect("a run");
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success() && said.contains("general\t2\t"), "{said}");
}

#[tokio::test]
async fn a_killed_restore_can_be_run_again() {
    let (server, parent, backup) = backed_up().await;
    let (to, part) = (parent.path().join("data"), parent.path().join("data.part"));
    fs::create_dir(&part).expect("a directory");
    for (name, left) in
        [("archive.db", "half"), ("manifest.json", "{"), ("journal.new", ""), ("lock", "")]
    {
        fs::write(part.join(name), left).expect("a file");
    }
    let (code, said) = restore(&server, &backup, &to).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(!part.exists());
    let restored = Server::start_on(&to, &[], &[]).await;
    assert_eq!(restored.login("bo").await.whole_log("general").await.len(), 3);
}

#[tokio::test]
async fn an_impossible_restore_is_rejected_and_leaves_nothing() {
    let (server, parent, backup) = backed_up().await;
    let path = |name: &str| parent.path().join(name);
    let (code, said) = restore(&server, server.directory(), &path("new")).await;
    assert!(code == Some(1) && said.contains("is no backup"), "{said}");
    let (code, said) = restore(&server, &path("nowhere"), &path("new")).await;
    assert!(code == Some(1) && said.contains("is no backup"), "{said}");

    fs::create_dir(path("full")).expect("a directory");
    fs::write(path("full").join("letter"), "dear ada").expect("a file");
    let (code, said) = restore(&server, &backup, &path("full")).await;
    assert!(code == Some(1) && said.contains("full is not empty"), "{said}");
    // A foreign directory with the name that is used internally is not emptied.
    fs::rename(path("full"), path("new.part")).expect("renamed");
    let (code, said) = restore(&server, &backup, &path("new")).await;
    assert!(code == Some(1) && said.contains("letter"), "{said}");
    assert!(path("new.part").join("letter").exists());
    fs::remove_dir_all(path("new.part")).expect("removed");

    let archive = backup.join("archive.db");
    let mut bytes = fs::read(&archive).expect("an archive");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&archive, &bytes).expect("a file");
    let (code, said) = restore(&server, &backup, &path("new")).await;
    assert!(code == Some(1) && said.contains("the file was changed or is damaged"), "{said}");
    assert!(said.contains(backup.to_str().expect("a path")), "it names the backup: {said}");
    assert!(!path("new").exists() && !path("new.part").exists());
    let refused = serve_refused(&backup, "127.0.0.1:0", &[]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(!backup.join("restored").exists());
}

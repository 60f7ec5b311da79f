//! A server with an older backup of itself.
//!
//! Enters: a running server. Leaves: a backup of it, and the server on that, on the same address.

use std::{fs, path::Path, process::Stdio};

use tempfile::TempDir;
use tokio::process::Command;

use super::{Server, within};

/// A command for this server, with nothing else in its environment.
pub(crate) fn roomlog(server: &Server, args: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    let url = format!("http://{}", server.address);
    command.args(args.split(' ')).env_clear().stdin(Stdio::null());
    command.env("ROOMLOG_SERVER", url).env("ROOMLOG_DATA", server.directory());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// A backup, taken by the command.
pub(crate) async fn backup(server: &Server) -> TempDir {
    let parent = tempfile::tempdir().expect("a directory");
    let to = parent.path().join("backup");
    let command = format!("backup {}", to.display());
    let taken = within("a backup", roomlog(server, &command).output()).await.expect("a run");
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    parent
}

/// Kills the server and starts it again with what the backup holds.
pub(crate) async fn restore(server: &mut Server, backup: &TempDir) {
    server.kill9().await;
    let files = |path: &Path| fs::read_dir(path).expect("a directory").map(|it| it.expect("one"));
    for file in files(server.directory()) {
        fs::remove_file(file.path()).expect("removed");
    }
    for file in files(&backup.path().join("backup")) {
        fs::copy(file.path(), server.directory().join(file.file_name())).expect("copied");
    }
    server.restart().await;
}

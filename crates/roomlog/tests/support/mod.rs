//! Helpers of the tests of the binary.
//!
//! Input: flags of `roomlog serve`. Output: a server process per test on a loopback port, clients
//! that speak the protocol over real sockets, and the expected log, computed independently. The
//! helpers use only what docs/PROTOCOL.md specifies, and every process ends with its test.
#![allow(clippy::print_stderr, reason = "shown when a test fails")]
#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod chat;
mod client;
mod disk;
mod events;
mod http;
mod log;
mod ports;
mod restored;
mod terminal;
mod tls;
pub(crate) mod tokens;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

#[allow(unused_imports, reason = "each test file uses its own part of this")]
pub(crate) use self::{
    client::{Client, code, slot, slots, with},
    disk::{Fault, SmallDisk, may_mount},
    events::Events,
    http::{Answer, Request},
    log::{chained, digest_after, start_digest, unhex},
    restored::{backup, restore, roomlog},
    terminal::{Terminal, pair},
    tls::{Io, Issuer, session},
};

/// How long a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Awaits a future for [`PATIENCE`]; panics with `what` after that.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come within {PATIENCE:?}"),
    }
}

/// A running `roomlog serve`, killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    data: PathBuf,
    /// The temporary directory, removed with the server; `None` if the test brought one.
    _directory: Option<TempDir>,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    said: StderrLines,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

/// The lines that a server has written to standard error.
type StderrLines = Arc<Mutex<Vec<String>>>;

impl Server {
    /// Starts a server on an empty directory and a free port.
    pub(crate) async fn start(flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().to_owned();
        Self { _directory: Some(directory), ..Self::start_on(&data, flags, &[]).await }
    }

    /// Starts a server on a directory of the test, with variables in its environment.
    pub(crate) async fn start_on(
        data: &Path,
        flags: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: Vec<_> = environment.iter().map(owned).collect();
        let said = StderrLines::default();
        let command = serve(data, "127.0.0.1:0", &flags, &environment);
        let (child, address) = launch(command, &said).await;
        Self { child, data: data.into(), _directory: None, flags, environment, said, address }
    }

    /// Starts a server with full logging to this standard error; `None` closes it.
    pub(crate) async fn start_with_stderr(data: &Path, stderr: Option<Stdio>) -> Self {
        let environment = vec![("RUST_LOG".to_owned(), "trace".to_owned())];
        let mut command = Command::new("sh");
        let closing = if stderr.is_some() { "" } else { "2>&-" };
        command.args(["-c", &format!("exec \"$0\" \"$@\" {closing}")]);
        command.arg(env!("CARGO_BIN_EXE_roomlog"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let mut child =
            command.stderr(stderr.unwrap_or_else(Stdio::null)).spawn().expect("a shell");
        // Its copy of the other end goes.
        drop(command);
        let address = within("a port", ports::listened(&mut child)).await;
        let (data, flags, said) = (data.into(), Vec::new(), StderrLines::default());
        Self { child, data, _directory: None, flags, environment, said, address }
    }

    /// Its data directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.data
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().expect("a running process")
    }

    /// The lines on standard error since the last start.
    pub(crate) fn stderr_lines(&self) -> Vec<String> {
        self.said.lock().expect("no panic").clone()
    }

    /// Ends it with SIGKILL and waits until it is gone.
    pub(crate) async fn kill9(&mut self) {
        within("the end of a killed server", self.child.kill()).await.expect("kill");
    }

    /// Starts it again on the same directory, port and flags; it has to be stopped before.
    pub(crate) async fn restart(&mut self) {
        let listen = self.address.to_string();
        self.said = StderrLines::default();
        let command = serve(&self.data, &listen, &self.flags, &self.environment);
        (self.child, self.address) = launch(command, &self.said).await;
    }

    /// As `restart`, without what was in its environment.
    pub(crate) async fn restart_in_peace(&mut self) {
        self.environment.clear();
        self.restart().await;
    }

    /// Sends SIGTERM and does not wait.
    pub(crate) async fn terminate(&self) {
        terminate(&self.child).await;
    }

    /// Sends SIGHUP, as an operator does, and waits until this is on standard error.
    pub(crate) async fn sighup(&self, then: &str) {
        send_signal("HUP", &self.child).await;
        within(then, async {
            while !self.stderr_lines().iter().any(|line| line.contains(then)) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        within("the end of the server", self.child.wait()).await.expect("an exit status")
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) async fn sigterm(&mut self) -> ExitStatus {
        self.terminate().await;
        self.ended().await
    }
}

/// Sends SIGTERM.
pub(crate) async fn terminate(process: &Child) {
    send_signal("TERM", process).await;
}

/// Sends a signal, by its name without `SIG`.
pub(crate) async fn send_signal(name: &str, process: &Child) {
    let pid = process.id().expect("a running process");
    // A shell's own `kill`: the way to a signal without unsafe code.
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().await;
    assert!(sent.expect("a shell").success(), "SIG{name} could not be sent");
}

/// A `roomlog serve` on `data` that must fail: its exit status and output.
pub(crate) async fn serve_refused(data: &Path, listen: &str, flags: &[&str]) -> Output {
    let flags: Vec<_> = flags.iter().map(|flag| (*flag).to_owned()).collect();
    within("the end of a refused server", serve(data, listen, &flags, &[]).output())
        .await
        .expect("run")
}

/// Runs `roomlog serve` until it listens, and kills it then; fails with its exit code and standard
/// error.
pub(crate) async fn serve_if_it_can(data: &Path) -> Result<(), (Option<i32>, String)> {
    let mut child = serve(data, "127.0.0.1:0", &[], &[]).spawn().expect("the binary");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let mut said = String::new();
    while let Some(line) = within("a line", lines.next_line()).await.expect("stderr of the server")
    {
        if line.contains("listening on") {
            within("the end of a killed server", child.kill()).await.expect("kill");
            return Ok(());
        }
        said = said + &line + "\n";
    }
    let ended = within("the end of a refused server", child.wait()).await.expect("an exit status");
    Err((ended.code(), said))
}

/// A `roomlog serve`, to be run.
pub(crate) fn serve(
    data: &Path,
    listen: &str,
    flags: &[String],
    environment: &[(String, String)],
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    command
        .args(["serve", "--listen", listen, "--data"])
        .arg(data)
        .args(flags)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn launch(mut command: Command, said: &StderrLines) -> (Child, SocketAddr) {
    let mut child = command.spawn().expect("the binary");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let address = within("`listening on`", listening(&mut lines, said)).await;
    // The pipe is read to its end, or the server would wait for it; a failed test shows the lines.
    let said = said.clone();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            eprintln!("server: {line}");
            said.lock().expect("no panic").push(line);
        }
    });
    (child, address)
}

async fn listening(lines: &mut Lines<BufReader<ChildStderr>>, said: &StderrLines) -> SocketAddr {
    while let Some(line) = lines.next_line().await.expect("stderr of the server") {
        eprintln!("server: {line}");
        said.lock().expect("no panic").push(line.clone());
        let address = line.split_once("listening on ").and_then(|(_, url)| url.split_once("://"));
        if let Some((_, rest)) = address {
            let address = rest.split_whitespace().next().unwrap_or_default();
            return address
                .trim_end_matches('/')
                .parse()
                .expect("an address behind `listening on`");
        }
    }
    panic!("the server ended before it listened");
}

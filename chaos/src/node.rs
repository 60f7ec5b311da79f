//! A Roomlog node: a process, its data directory, its log output.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    sync::watch,
    time::timeout,
};

/// The timeout of a node's start, in which NATS may hold several elections.
const READY_WITHIN: Duration = Duration::from_secs(150);
/// The timeout of a graceful shutdown.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// How many lines of a node's log an error quotes.
const QUOTED: usize = 40;

pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    binary: PathBuf,
    data: PathBuf,
    /// Flags of `roomlog serve`, besides the address and the directory.
    flags: Vec<String>,
    child: Option<Child>,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Node {
    pub(crate) fn new(
        name: String,
        binary: &Path,
        data: PathBuf,
        flags: Vec<String>,
    ) -> io::Result<Self> {
        let held = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self {
            name,
            address: held.local_addr()?,
            binary: binary.to_owned(),
            data,
            flags,
            child: None,
            lines: Arc::default(),
        })
    }

    /// Starts it and waits until it listens.
    pub(crate) async fn start(&mut self) -> io::Result<()> {
        let mut child = Command::new(&self.binary)
            .args(["serve", "--listen", &self.address.to_string(), "--drain-ms", "3000"])
            .args(&self.flags)
            .arg("--data")
            .arg(&self.data)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        self.child = Some(child);
        let (ready, mut is_ready) = watch::channel(false);
        let lines = self.lines.clone();
        tokio::spawn(async move {
            let mut stderr = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = stderr.next_line().await {
                if line.contains("listening on") {
                    ready.send_replace(true);
                }
                lines.lock().push(line);
            }
        });
        match timeout(READY_WITHIN, is_ready.wait_for(|ready| *ready)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(self.error("is not ready")),
        }
    }

    /// Kills it as `kill -9` does.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _may_have_exited = child.kill().await;
        }
    }

    /// Sends SIGTERM and waits for the exit.
    pub(crate) async fn stop(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM);
        let Some(mut child) = self.child.take() else { return Ok(()) };
        match timeout(ENDS_WITHIN, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(ended) => Err(self.error(&format!("exited with {ended:?}"))),
            Err(_) => Err(self.error("does not shut down")),
        }
    }

    /// Deletes its archive and keeps its identity.
    pub(crate) fn empty(&self) -> io::Result<()> {
        for file in ["archive.db", "archive.db-wal", "archive.db-shm"] {
            match std::fs::remove_file(self.data.join(file)) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => {}
            }
        }
        Ok(())
    }

    /// Its process, if it runs.
    pub(crate) fn pid(&self) -> Option<Pid> {
        let id = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        id.and_then(Pid::from_raw)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _may_have_exited = kill_process(pid, signal);
        }
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    pub(crate) fn log(&self) -> String {
        let lines = self.lines.lock();
        lines[lines.len().saturating_sub(QUOTED)..].join("\n")
    }

    pub(crate) fn error(&self, what: &str) -> io::Error {
        io::Error::other(format!("{} {what}: {}", self.name, self.log()))
    }
}

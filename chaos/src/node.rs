//! A node of ours: a process, its directory, what it says.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
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

use crate::run::Plan;

/// Into how many streams the log is cut: enough that rooms are in several.
const PARTITIONS: u32 = 2;

/// How long a node has to be ready.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// How long one has to end that was asked to.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// A node.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    binary: PathBuf,
    /// It is told that the servers fsync, which they do not.
    declared: bool,
    data: PathBuf,
    journal: String,
    child: Option<Child>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Node {
    /// A node that does not run yet.
    pub(crate) fn new(
        index: usize,
        plan: &Plan,
        data: PathBuf,
        journal: String,
    ) -> io::Result<Self> {
        let held = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok(Self {
            name: format!("node {index}"),
            address: held.local_addr()?,
            binary: plan.binary.clone(),
            declared: !plan.synced,
            data,
            journal,
            child: None,
            said: Arc::default(),
        })
    }

    /// Starts it, and waits until it is ready.
    pub(crate) async fn start(&mut self) -> io::Result<()> {
        let mut child = Command::new(&self.binary)
            .args(["serve", "--listen", &self.address.to_string(), "--journal", &self.journal])
            .args(["--drain-ms", "3000", "--journal-partitions", &PARTITIONS.to_string()])
            .args(self.declared.then_some("--journal-declared"))
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
        let said = self.said.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("listening on") {
                    ready.send_replace(true);
                }
                said.lock().push(line);
            }
        });
        let listens = timeout(READY_WITHIN, is_ready.wait_for(|ready| *ready)).await;
        match listens {
            Ok(Ok(_)) => Ok(()),
            _ => Err(io::Error::other(format!("{} is not ready: {}", self.name, self.said()))),
        }
    }

    /// Kills it as `kill -9` does.
    pub(crate) async fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _gone_already = child.kill().await;
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(&mut self) -> io::Result<()> {
        self.signal(Signal::TERM);
        let Some(mut child) = self.child.take() else { return Ok(()) };
        match timeout(ENDS_WITHIN, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(ended) => Err(io::Error::other(format!(
                "{} ended with {ended:?}: {}",
                self.name,
                self.said()
            ))),
            Err(_) => Err(io::Error::other(format!("{} does not end: {}", self.name, self.said()))),
        }
    }

    /// Throws its archive away; who it is stays.
    pub(crate) fn empty(&self) -> io::Result<()> {
        for file in ["archive.db", "archive.db-wal", "archive.db-shm"] {
            match std::fs::remove_file(self.data.join(file)) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
                _ => {}
            }
        }
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.child.as_ref().and_then(Child::id).and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            let _gone = kill_process(pid, signal);
        }
    }

    /// Whether it has ended without being asked to.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)))
    }

    /// What it said, for a run that failed.
    pub(crate) fn said(&self) -> String {
        let said = self.said.lock();
        let newest = said.len().saturating_sub(40);
        said[newest..].join("\n")
    }
}

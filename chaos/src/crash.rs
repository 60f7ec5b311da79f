//! One server that is killed again and again under load.
//!
//! ```text
//!  writers ──► server ──kill -9, or a power cut──► its directory ──verify──► the next start
//!     └── every frame ──► recorder ──► checker ◄── the log, at the end
//! ```
//!
//! Enters: a seed, which gives the moments. Leaves: a [`Life`]: what was counted, and what was broken. One
//! crash in eight comes while the server starts. Invariant: whatever happens, the directory verifies after
//! each crash, and every append is acked at the end.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use roomlog_checker::{History, check};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    process::Command,
    sync::watch,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    disk::Disk,
    node::Node,
    reading,
    run::seen_by,
    writer::{Recorder, Tally, Writer},
};

/// How many writers, spread over the rooms.
const WRITERS: usize = 6;
/// How many rooms.
const ROOMS: usize = 2;
/// The time between two appends of a writer.
const PACE: Duration = Duration::from_millis(2);
/// The longest time from a start to a crash.
const LONGEST: Duration = Duration::from_millis(400);
/// The longest time into a start at which it is killed.
const LONGEST_START: Duration = Duration::from_millis(40);
/// How long writers may take until everything is answered after the last crash.
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// What crashes, and how often.
#[derive(Debug, Clone)]
pub struct CrashPlan {
    /// The `roomlog` executable.
    pub binary: PathBuf,
    /// The seed of the moments.
    pub seed: u64,
    /// How many crashes.
    pub crashes: u64,
    /// Cut the power of its disk, which drops what was not fsynced; needs root.
    pub power: bool,
}

/// What a run counted.
#[derive(Debug, Clone)]
pub struct Life {
    /// Its plan's.
    pub seed: u64,
    /// How many crashes there were.
    pub crashes: u64,
    /// Appends that were sent, each id once.
    pub appends: usize,
    /// Entries in the log at the end.
    pub entries: usize,
    /// What was broken, a sentence each.
    pub broken: Vec<String>,
    /// All frames, and the log.
    pub history: History,
}

impl Life {
    /// As a line of JSON, without the history.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { seed, crashes, appends, entries, broken, .. } = self;
        json!({
            "seed": seed, "crashes": crashes, "appends": appends, "entries": entries, "broken": broken,
        })
        .to_string()
    }
}

/// Where the files of a server are. The disk is unmounted before its directory is removed.
struct Place {
    disk: Option<Disk>,
    directory: TempDir,
}

impl Place {
    fn new(power: bool) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let disk = power.then(|| Disk::new(directory.path(), "power")).transpose()?;
        Ok(Self { disk, directory })
    }

    fn data(&self) -> PathBuf {
        let directory = self.disk.as_ref().map_or(self.directory.path(), |disk| &disk.mounted);
        directory.join("data")
    }

    /// What is left after the process was killed.
    fn crashed(&self) -> io::Result<()> {
        self.disk.as_ref().map_or(Ok(()), |disk| tokio::task::block_in_place(|| disk.cut()))
    }
}

/// Runs a plan. Needs a multi-threaded runtime.
///
/// # Errors
/// If a server does not start, or cannot be read at the end.
pub async fn run(plan: &CrashPlan) -> io::Result<Life> {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let place = Place::new(plan.power)?;
    let mut node = Node::new("server".into(), &plan.binary, place.data(), Vec::new())?;
    node.start().await?;
    let (recorder, (stop, stopped)) = (Recorder::default(), watch::channel(false));
    let mut writers = JoinSet::new();
    for number in 0..WRITERS {
        let writer = Writer {
            author: format!("w{number}"),
            room: format!("room{}", number % ROOMS),
            nodes: vec![(0, node.address)],
            recorder: recorder.clone(),
            pace: PACE,
            stop: stopped.clone(),
            patience: ANSWERED_WITHIN,
        };
        let room = writer.room.clone();
        writers.spawn(async move { (room, writer.run().await) });
    }
    let mut broken = Vec::new();
    for crash in 1..=plan.crashes {
        sleep(random.random_range(Duration::ZERO..LONGEST)).await;
        node.kill().await;
        place.crashed()?;
        if let Some(why) = refused(&plan.binary, &place.data()).await? {
            broken.push(format!("after crash {crash}: {why}"));
            break;
        }
        if random.random_ratio(1, 8) {
            let moment = random.random_range(Duration::ZERO..LONGEST_START);
            let _cut_short = timeout(moment, node.start()).await;
            node.kill().await;
            place.crashed()?;
        }
        node.start().await?;
    }
    stop.send_replace(true);
    let tallies = writers.join_all().await;
    end(plan, &mut node, &recorder, &tallies, broken).await
}

async fn end(
    plan: &CrashPlan,
    node: &mut Node,
    recorder: &Recorder,
    tallies: &[(String, Tally)],
    mut broken: Vec<String>,
) -> io::Result<Life> {
    let mut history = History { frames: recorder.take(), ..History::default() };
    let (mut appends, mut entries) = (0, 0);
    // Otherwise no server is left that could be read.
    if broken.is_empty() {
        let log = reading::read(&node.name, node.address, &seen_by(tallies)).await;
        history.logs.push(log.map_err(|why| node.error(&why))?);
        node.stop().await?;
        let report = check(&history);
        (appends, entries, broken) = (report.appends, report.entries, report.broken);
        let unacked: usize = tallies.iter().map(|(_, tally)| tally.unacked).sum();
        if unacked > 0 {
            broken.push(format!("{unacked} appends were never acked"));
        }
    }
    Ok(Life { seed: plan.seed, crashes: plan.crashes, appends, entries, broken, history })
}

/// What `roomlog verify` says of a directory that is not as it should be; `None` if it is.
pub(crate) async fn refused(binary: &Path, data: &Path) -> io::Result<Option<String>> {
    let output = Command::new(binary).arg("verify").arg("--data").arg(data).output().await?;
    if output.status.success() {
        return Ok(None);
    }
    let said = [output.stdout, output.stderr].concat();
    Ok(Some(format!("verify: {}", String::from_utf8_lossy(&said).trim())))
}

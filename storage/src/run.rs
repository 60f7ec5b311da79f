//! One seed: a node on a disk that fails, started again, and started once more on what a power cut leaves.
//!
//! Enters: a seed, which gives the fault, its moment, and what is appended. Leaves: a [`Run`]. Invariants, checked at
//! every start: each acked append is at its slot, each other one is there once at most, and nothing else is there; a
//! text whose redaction was acked is not. In the end, no file has such a text, and a backup that succeeded on the
//! failing disk is started and holds what was acked before it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use roomlog_core::{
    NodeError, NodeSettings,
    backup::{ArchiveCopy, Backup},
    outcome::AppendOutcome,
};
use roomlog_protocol::{Digest, MANIFEST_FILE, Manifest};
use roomlog_sqlite::Directory;
use roomlog_testkit::life::{Connection, Life};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use crate::{
    appends::{Appends, ROOMS, texts},
    disk::{self, Fault, Files, Plan},
};

/// How many batches are appended in a life, if nothing fails.
const BATCHES: u64 = 40;
/// The bytes that the journal keeps: so few that segments are trimmed and used again.
const JOURNAL_BYTES: u64 = 16 << 10;
/// Within how many of the calls that it concerns a fault comes.
const CALLS: u64 = 400;
/// The same of the syncs of a WAL, of which a life has a few.
const WAL_SYNCS: u64 = 6;
/// The same of the calls of the archive, most of which copy its WAL.
const ARCHIVE_CALLS: u64 = 12;

/// How long a text may be in the files after a start; a wipe that is not done is continued within a second.
const WIPED_WITHIN: Duration = Duration::from_secs(10);

const FAULTS: [Fault; 7] = [
    Fault::PowerCut,
    Fault::WriteFails,
    Fault::Full,
    Fault::ShortWrite,
    Fault::TornWrite,
    Fault::SyncFails,
    Fault::ReadFails,
];

/// What a seed did.
pub(crate) struct Run {
    seed: u64,
    plan: Plan,
    hits: u64,
    appended: u64,
    acked: usize,
    starts: u64,
    /// The last backup that succeeded on the failing disk, and what was appended before it.
    backup: Option<(Files, Appends)>,
    pub(crate) broken: Vec<String>,
}

impl Run {
    /// A line of JSON.
    pub(crate) fn line(&self) -> Value {
        let fault = format!("{:?}", self.plan.fault);
        json!({
            "seed": self.seed, "fault": fault, "file": self.plan.file, "at": self.plan.at,
            "stays": self.plan.stays, "hits": self.hits, "appended": self.appended, "acked": self.acked,
            "starts": self.starts, "backup": self.backup.is_some(), "broken": self.broken,
        })
    }
}

/// A node on a directory, which is its own until it has ended.
struct Served {
    life: Life,
    directory: Directory,
}

impl Served {
    /// Ends it, with all of its threads.
    async fn end(self) -> Result<(), NodeError> {
        let Self { life, directory } = self;
        let ended = life.end().await;
        // A write that nobody waits for any more may be under way.
        while Arc::strong_count(&directory.journal) + Arc::strong_count(&directory.archive) > 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        ended
    }
}

/// Runs a seed.
pub(crate) async fn run(seed: u64) -> io::Result<Run> {
    let mut random = StdRng::seed_from_u64(seed);
    let fault = FAULTS[(seed % FAULTS.len() as u64) as usize];
    // Some syncs fail that the archive relies on: its WAL's, before it is copied into the file.
    let is_of_wal = fault == Fault::SyncFails && random.random();
    let (file, calls) = if is_of_wal { (Some("archive.db-wal"), WAL_SYNCS) } else { (None, CALLS) };
    let at = random.random_range(0..calls);
    let plan = Plan { fault, file, at, stays: !is_of_wal && random.random() };
    let mut run = Run {
        seed,
        plan,
        hits: 0,
        appended: 0,
        acked: 0,
        starts: 0,
        backup: None,
        broken: Vec::new(),
    };
    let directory = tempfile::tempdir()?;
    disk::watch(directory.path(), seed)?;
    let mut appends = Appends::default();

    // One run in four fails from the first start on.
    let begins_late = !random.random_ratio(1, 4);
    if begins_late {
        run.life(directory.path(), &mut appends, &mut random, None).await;
    }
    run.life(directory.path(), &mut appends, &mut random, Some(plan)).await;
    if fault != Fault::PowerCut {
        disk::plan(None);
        if !is_of_wal {
            run.healthy(directory.path(), &mut appends, &mut random).await;
        }
        // What a failed sync lost must have been written again by now, or not be relied on. After that of a WAL, the
        // power is cut while the start copies it.
        let (file, calls) =
            if is_of_wal { (Some("archive.db"), ARCHIVE_CALLS) } else { (None, CALLS) };
        let cut =
            Plan { fault: Fault::PowerCut, file, at: random.random_range(0..calls), stays: false };
        run.life(directory.path(), &mut appends, &mut random, Some(cut)).await;
    }
    run.hits = disk::hits();
    let image = disk::cut().unwrap_or_default();
    let left = lay(&image)?;
    run.healthy(left.path(), &mut appends, &mut random).await;
    if run.broken.is_empty() {
        run.wiped(left.path(), &appends).await;
    }
    if let Some((files, before)) = run.backup.clone() {
        run.restored(lay(&files)?.path(), &before).await;
    }
    if !run.broken.is_empty() {
        let kept = lay(&image)?.keep();
        run.broken.push(format!("what the power cut left is in {}", kept.display()));
    }
    (run.appended, run.acked) = (appends.next, appends.acked.len());
    Ok(run)
}

/// A directory with these files.
fn lay(files: &Files) -> io::Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    for (name, bytes) in files {
        fs::write(directory.path().join(name), bytes)?;
    }
    Ok(directory)
}

impl Run {
    /// Starts, appends until the node ends or there is enough, and ends. Anything may fail, but nothing that is
    /// acked may be wrong.
    async fn life(
        &mut self,
        path: &Path,
        appends: &mut Appends,
        random: &mut StdRng,
        plan: Option<Plan>,
    ) {
        disk::plan(plan);
        let Ok(served) = self.start(path).await else { return };
        append(&served.life, appends, random).await;
        // On a full disk, a fold waits for space, and so does a backup.
        if plan.is_some_and(|plan| plan.fault != Fault::Full) && random.random_ratio(1, 2) {
            let backup = back_up(&served).await.ok();
            self.backup = backup.map(|files| (files, appends.clone())).or(self.backup.take());
            append(&served.life, appends, random).await;
        }
        let _why = served.end().await;
    }

    /// As [`Self::life`], on a disk that is whole: everything must succeed.
    async fn healthy(&mut self, path: &Path, appends: &mut Appends, random: &mut StdRng) {
        let Some(served) = self.must_start(path).await else { return };
        let life = &served.life;
        self.check(life, appends).await;
        let mut again = Connection::default();
        let unknown = std::mem::take(&mut appends.unknown);
        for &n in &unknown {
            if again.append(life, appends.proposal(n), None, 0).is_err() {
                self.broken.push(format!("append {n} was refused when it was sent again"));
            }
        }
        let outcomes = again.outcomes().await;
        for (&n, (_, outcome)) in unknown.iter().zip(outcomes) {
            match outcome {
                AppendOutcome::Committed { slot, .. } => {
                    appends.acked.insert(n, slot);
                }
                other => self.broken.push(format!("append {n}, sent again: {other:?}")),
            }
        }
        append(life, appends, random).await;
        self.check(life, appends).await;
        if let Err(why) = life.fold_to_head().await {
            self.broken.push(format!("without a fault, the fold fails: {why}"));
        }
        if !appends.unknown.is_empty() {
            self.broken.push(format!("without a fault, unknown: {:?}", appends.unknown));
        }
        if let Err(why) = served.end().await {
            self.broken.push(format!("it ended with an error: {why}"));
        }
    }

    /// Starts once more, and waits until no file has a text that was redacted.
    async fn wiped(&mut self, path: &Path, appends: &Appends) {
        let Some(served) = self.must_start(path).await else { return };
        let (redacted, begun) = (appends.redacted(), Instant::now());
        loop {
            // An error if a file is renamed meanwhile.
            match texts(path).map(|texts| &texts & &redacted) {
                Ok(left) if left.is_empty() => break,
                left if begun.elapsed() > WIPED_WITHIN => {
                    self.broken.push(format!("redacted texts in the files: {left:?}"));
                    break;
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
        let _why = served.end().await;
    }

    /// Starts a backup, which has all that was appended before it.
    async fn restored(&mut self, path: &Path, before: &Appends) {
        let Some(served) = self.must_start(path).await else { return };
        self.check(&served.life, before).await;
        let _why = served.end().await;
    }

    /// Starts a node, which has no reason to refuse.
    async fn must_start(&mut self, path: &Path) -> Option<Served> {
        let started = self.start(path).await;
        started.map_err(|why| self.broken.push(format!("start {}: {why}", self.starts))).ok()
    }

    async fn start(&mut self, path: &Path) -> Result<Served, String> {
        self.starts += 1;
        let directory =
            Directory::open_keeping(path, JOURNAL_BYTES).map_err(|why| why.to_string())?;
        let settings = NodeSettings {
            fold_entries: 25,
            fold_wait: Duration::from_millis(1),
            tail_bytes: 4 << 10,
            ..NodeSettings::default()
        };
        let Directory { identity, journal, archive, .. } = &directory;
        let life = Life::try_over(journal.clone(), archive.clone(), *identity, settings)
            .map_err(|why| why.to_string())?;
        let served = Served { life, directory };
        if served.life.caught_up().await {
            return Ok(served);
        }
        Err(format!("it does not catch up: {:?}", served.end().await))
    }

    /// Compares all logs with what was appended.
    async fn check(&mut self, life: &Life, appends: &Appends) {
        let (mut found, redacted) = (BTreeMap::new(), appends.redacted());
        let maybe_redacted: BTreeSet<u64> = appends.redacts.values().copied().collect();
        for room in 0..ROOMS {
            for stored in life.log_of(&format!("room-{room}")).await {
                let entry = stored.entry;
                let n = entry.id.as_str().trim_start_matches("id-").parse().unwrap_or(u64::MAX);
                let sent = (n < appends.next).then(|| appends.proposal(n));
                let sent = sent.filter(|sent| sent.room.as_str() == format!("room-{room}"));
                let is_right = match &sent {
                    Some(_) if entry.content.is_redacted() => maybe_redacted.contains(&n),
                    Some(sent) => sent.content.body() == entry.body() && !redacted.contains(&n),
                    None => false,
                };
                if !is_right {
                    let what = "is not what was appended, or redacted";
                    self.broken.push(format!("slot {} of room-{room} {what}", entry.slot));
                }
                if let Some(slot) = found.insert(n, entry.slot) {
                    self.broken.push(format!("append {n} is at {slot} and at {}", entry.slot));
                }
            }
        }
        for (n, slot) in &appends.acked {
            if found.get(n) != Some(slot) {
                let now = found.get(n);
                self.broken.push(format!(
                    "start {}: append {n} was acked at {slot}, and is at {now:?}",
                    self.starts
                ));
            }
        }
    }
}

/// The files of a backup, taken as the gateway does.
async fn back_up(served: &Served) -> Result<Files, String> {
    let engine = served.directory.backup();
    let _hold = engine.hold();
    served.life.fold_to_head().await.map_err(|why| why.to_string())?;
    let copy = spawn_blocking(move || -> Result<Files, String> {
        let ArchiveCopy { manifest, mut archive } =
            engine.copy(&mut |_| true).map_err(|why| why.to_string())?;
        let mut bytes = Vec::new();
        archive.read_to_end(&mut bytes).map_err(|why| why.to_string())?;
        let sha256 = Some(Digest(Sha256::digest(&bytes).into()));
        let manifest = Manifest { sha256, ..manifest }.to_json().into_bytes();
        Ok(Files::from([("archive.db".into(), bytes), (MANIFEST_FILE.into(), manifest)]))
    });
    copy.await.map_err(|why| why.to_string())?
}

/// Appends in batches until the node ends.
async fn append(life: &Life, appends: &mut Appends, random: &mut StdRng) {
    let mut connection = Connection::default();
    for _ in 0..BATCHES {
        let mut sent = Vec::new();
        for _ in 0..random.random_range(1..8) {
            let n = appends.next(random);
            if connection.append(life, appends.proposal(n), None, 0).is_ok() {
                sent.push(n);
            }
        }
        if sent.is_empty() {
            return;
        }
        let outcomes = connection.outcomes().await;
        let mut ended = false;
        for (n, (_, outcome)) in sent.into_iter().zip(outcomes) {
            match outcome {
                AppendOutcome::Committed { slot, .. } => {
                    appends.acked.insert(n, slot);
                }
                _ => {
                    appends.unknown.push(n);
                    ended = true;
                }
            }
        }
        if ended {
            return;
        }
    }
}

//! One seed: a node on a disk that fails, started again, and started once more on what a power cut leaves.
//!
//! Enters: a seed, which gives the fault, its moment, and what is appended. Leaves: a [`Run`]. Invariants, checked at
//! every start: each acked append is at its slot, each other one is there once at most, and nothing else is there; a
//! text whose redaction was acked is not. In the end, no file has such a text.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use roomlog_core::{NodeError, NodeSettings, outcome::AppendOutcome, proposal::Proposal};
use roomlog_protocol::Slot;
use roomlog_sqlite::Directory;
use roomlog_testkit::{
    fixtures::{proposal, redaction},
    life::{Connection, Life},
};
use serde_json::{Value, json};

use crate::disk::{self, Fault, Files, Plan};

/// Over how many rooms the appends are spread.
const ROOMS: u64 = 3;
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

/// One append in so many redacts an earlier entry.
const REDACTS: u32 = 12;
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
    pub(crate) broken: Vec<String>,
}

impl Run {
    /// A line of JSON.
    pub(crate) fn line(&self) -> Value {
        let fault = format!("{:?}", self.plan.fault);
        json!({
            "seed": self.seed, "fault": fault, "file": self.plan.file, "at": self.plan.at,
            "stays": self.plan.stays, "hits": self.hits, "appended": self.appended, "acked": self.acked,
            "starts": self.starts, "broken": self.broken,
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

/// What was appended, and what became of it.
#[derive(Default)]
struct Appends {
    next: u64,
    acked: BTreeMap<u64, Slot>,
    unknown: Vec<u64>,
    /// Which of them redact which other one.
    redacts: BTreeMap<u64, u64>,
}

impl Appends {
    /// The next append: some redact an entry that was acked.
    fn next(&mut self, random: &mut StdRng) -> u64 {
        let n = self.next;
        self.next += 1;
        let said: Vec<_> = self.acked.keys().filter(|n| !self.redacts.contains_key(n)).collect();
        if !said.is_empty() && random.random_ratio(1, REDACTS) {
            self.redacts.insert(n, *said[random.random_range(0..said.len())]);
        }
        n
    }

    /// The `n`-th append: always the same.
    fn proposal(&self, n: u64) -> Proposal {
        let Some(of) = self.redacts.get(&n) else { return said(n) };
        let Proposal { room, author, .. } = said(*of);
        redaction(room.as_str(), author.as_str(), &format!("id-{n}"), self.acked[of])
    }

    /// Whose text is gone.
    fn redacted(&self) -> BTreeSet<u64> {
        let acked = self.redacts.iter().filter(|(n, _)| self.acked.contains_key(n));
        acked.map(|(_, of)| *of).collect()
    }
}

/// The `n`-th append, if it says something.
fn said(n: u64) -> Proposal {
    let (room, author) =
        (format!("room-{}", n % ROOMS), ["ada", "grace"][(n / ROOMS % 2) as usize]);
    // Some of them take several pages of a file.
    let body = format!("body {n} ").repeat(if n % 37 == 36 { 900 } else { 1 + (n % 7) as usize });
    proposal(&room, author, &format!("id-{n}"), &body)
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
    let mut run = Run { seed, plan, hits: 0, appended: 0, acked: 0, starts: 0, broken: Vec::new() };
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
        let _why = served.end().await;
    }

    /// As [`Self::life`], on a disk that is whole: everything must succeed.
    async fn healthy(&mut self, path: &Path, appends: &mut Appends, random: &mut StdRng) {
        let served = match self.start(path).await {
            Ok(served) => served,
            Err(why) => return self.broken.push(format!("start {}: {why}", self.starts)),
        };
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
        let served = match self.start(path).await {
            Ok(served) => served,
            Err(why) => return self.broken.push(format!("start {}: {why}", self.starts)),
        };
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

/// Of which appends the files of a directory have the text.
fn texts(directory: &Path) -> io::Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let bytes = fs::read(entry?.path())?;
        let after = |at: usize| bytes[at..].strip_prefix(b"body ");
        for text in (0..bytes.len()).filter(|at| bytes[*at] == b'b').filter_map(after) {
            let number: String = text
                .iter()
                .map(|byte| char::from(*byte))
                .take_while(char::is_ascii_digit)
                .collect();
            if text.get(number.len()) == Some(&b' ') {
                found.extend(number.parse::<u64>());
            }
        }
    }
    Ok(found)
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

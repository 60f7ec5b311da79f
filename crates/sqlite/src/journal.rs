//! The journal of one node: a row per block, one fsync per block.
//!
//! ```text
//!  propose ──► INSERT, COMMIT (fsync) on the caller's thread ──► recent ──► followers
//!                                                           └─► rows ────┘ (those behind)
//! ```
//!
//! Invariants: positions are the ids of rows, 1, 2, 3, … without gaps, and continue after a trim;
//! `propose` returns when the block is on stable storage, so the sequencer calls it on a thread that
//! may wait; after an error that leaves an outcome unknown, every propose fails.

mod follow;
mod rows;
mod trim;
mod wipe;

use std::{
    collections::VecDeque,
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use roomlog_core::journal::{
    Durable, Follow, Journal, JournalCounts, JournalError, JournalFacts, Mark, Partition, Peers,
    Position, Proposed, Wipe,
};
use rusqlite::Connection;
use tokio::sync::watch;

pub(crate) use self::rows::{JournalFile, SCHEMA, create, failed, inspect};
use self::{
    follow::SqliteFollow,
    rows::Tables,
    trim::{Trim, TrimStep},
};
use crate::{
    error::{is_full, sentence},
    files,
    pragma::{self, Copied, Durability},
    private,
    scrub::Search,
    wal,
};

/// How many of the newest blocks are kept in memory for followers.
const RECENT_BLOCKS: usize = 64;

/// How many bytes are committed between two checkpoints. A checkpoint syncs all that it copies at
/// once, and a commit waits for that.
const CHECKPOINT_BYTES: usize = 512 << 10;

/// The length of the WAL, in bytes, at which a commit waits until all of it is copied, so that the
/// next one starts a new round: this delays fewer than one append in a hundred; and a commit that
/// extends the file takes half as long again as one that overwrites an older round.
const WAL_BYTES: usize = 8 << 20;

/// The bytes of a commit besides its block: a leaf page and, now and then, an inner one.
const COMMIT_OVERHEAD: usize = 8 << 10;

/// How much of `journal.db` is kept by default: minutes of a busy log, all of a young one.
pub const JOURNAL_BYTES: u64 = 256 << 20;

/// The journal of one node.
pub struct SqliteJournal {
    facts: JournalFacts,
    path: PathBuf,
    writer: Mutex<BlockWriter>,
    head: watch::Receiver<u64>,
    recent: Arc<Mutex<VecDeque<Durable>>>,
    allowed: Arc<trim::Allowed>,
    /// What a wipe has looked through, if it is not done.
    search: Mutex<Search>,
    /// Open as long as the connections are: closing any descriptor of a file drops the locks that
    /// SQLite holds on it, and another program could then remove the WAL.
    file: File,
}

impl SqliteJournal {
    /// Opens the file; if it is missing, creates it with a new log. What an earlier process left in
    /// the WAL is on stable storage when this returns.
    ///
    /// # Errors
    /// The file cannot be opened, has another format, or was changed.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Self::open_keeping(path, JOURNAL_BYTES)
    }

    /// As [`SqliteJournal::open`]; blocks that may be trimmed are trimmed while the file uses more
    /// than `keep` bytes.
    ///
    /// # Errors
    /// As [`SqliteJournal::open`].
    pub fn open_keeping(path: &Path, keep: u64) -> Result<Self, JournalError> {
        wal::scan(path, Durability::Full).map_err(|error| JournalError(error.to_string()))?;
        let open = failed("cannot be opened");
        let connection = pragma::open_writer(path, &SCHEMA, Durability::Full).map_err(open)?;
        connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(open)?;
        // A file that is refused stays as it is.
        pragma::keep_wal_on_close(&connection, true).map_err(open)?;
        let Tables { log, head, time, trimmed } = rows::open(&connection)?;
        // Once copied into the file, the last rows are not in the WAL, whose end the scan checks.
        rows::set_reached(&connection, head).map_err(open)?;
        // Else a commit that was never fsynced could be read, and lost afterwards.
        pragma::checkpoint_truncate(&connection).map_err(open)?;
        let file = private::open_or_create(path);
        let file = file
            .and_then(|file| file.sync_all().map(|()| file))
            .and_then(|file| files::sync_parent(path).map(|()| file))
            .map_err(|error| JournalError(format!("journal.db: cannot be synced: {error}")))?;
        let trim = Trim::open(&connection, keep, trimmed).map_err(open)?;
        let allowed = trim.allowed.clone();
        let checkpointer = pragma::open_writer(path, &SCHEMA, Durability::Full).map_err(open)?;
        pragma::keep_wal_on_close(&checkpointer, true).map_err(open)?;
        let (moved, head) = watch::channel(head);
        let recent = Arc::new(Mutex::new(VecDeque::with_capacity(RECENT_BLOCKS)));
        let writer = Mutex::new(BlockWriter {
            connection,
            recent: recent.clone(),
            moved,
            time,
            wal_bytes: 0,
            uncopied: 0,
            checkpointer: Checkpointer::start(checkpointer),
            trim,
            begins_round: true,
            copying: false,
            broken: None,
        });
        let facts = JournalFacts {
            log,
            partitions: 1,
            // `propose` writes: what is queued meanwhile makes the next block larger.
            depth: 1,
            is_blocking: true,
            head_is_exact: true,
            is_exclusive: true,
        };
        Ok(Self {
            facts,
            path: path.into(),
            writer,
            head,
            recent,
            allowed,
            search: Mutex::default(),
            file,
        })
    }

    /// Keeps all blocks as long as the result exists.
    #[must_use]
    pub fn hold_trim(&self) -> Arc<()> {
        self.allowed.hold()
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        let writer = self.writer.get_mut();
        let head = *self.head.borrow();
        // The last connection to close removes the WAL; that must be the writer's.
        writer.checkpointer.end();
        // Leaves a file without a WAL, unless the disk failed: an fsync that failed once may report
        // success the next time. What is not copied now is copied at the next start.
        let copied = writer.broken.is_none()
            && rows::set_reached(&writer.connection, head).is_ok()
            && pragma::checkpoint_truncate(&writer.connection).is_ok();
        if copied {
            let _or_an_empty_wal_stays = pragma::keep_wal_on_close(&writer.connection, false);
        }
    }
}

impl Journal for SqliteJournal {
    fn facts(&self) -> &JournalFacts {
        &self.facts
    }

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        None
    }

    fn counts(&self) -> Option<JournalCounts> {
        None
    }

    fn propose(&self, _: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        futures_util::future::ready(self.writer.lock().write(block)).boxed()
    }

    fn follow(&self, _: Partition, after: Mark) -> Box<dyn Follow> {
        Box::new(SqliteFollow {
            path: self.path.clone(),
            reader: None,
            head: self.head.clone(),
            recent: self.recent.clone(),
            read: VecDeque::new(),
            after: after.position.0,
        })
    }

    fn head(&self, _: Partition) -> Result<Position, JournalError> {
        Ok(Position(*self.head.borrow()))
    }

    fn first(&self, _: Partition) -> Result<Position, JournalError> {
        Ok(Position(self.allowed.trimmed() + 1))
    }

    fn has_surplus(&self, _: Partition) -> bool {
        self.allowed.has_surplus()
    }

    fn trim(&self, _: Partition, upto: Position) {
        self.allowed.allow(upto.0);
    }

    fn wipe(&self, partition: Partition, wipe: &Wipe) -> Result<bool, JournalError> {
        self.trim(partition, wipe.upto);
        self.remove_upto(wipe.upto.0)
    }
}

struct BlockWriter {
    connection: Connection,
    recent: Arc<Mutex<VecDeque<Durable>>>,
    moved: watch::Sender<u64>,
    time: u64,
    /// The length of this round of the WAL, estimated.
    wal_bytes: usize,
    /// The bytes committed since the last checkpoint began.
    uncopied: usize,
    checkpointer: Checkpointer,
    trim: Trim,
    /// The next block may be the first of a round of the WAL.
    begins_round: bool,
    /// A checkpoint is running; the block after it may be the first of a round.
    copying: bool,
    /// Why every propose fails: an outcome is unknown, or a checkpoint failed.
    broken: Option<String>,
}

impl BlockWriter {
    fn write(&mut self, block: Bytes) -> Proposed {
        if let Some(why) = &self.broken {
            return Proposed::Unknown(why.clone());
        }
        self.time = self.time.max(now_ms());
        let head = *self.moved.borrow();
        let position = Position(head + 1);
        match self.insert(position, &block) {
            Ok(step) => {
                self.note_wal(block.len(), step);
                self.trim.committed(&self.connection, block.len() as u64, step);
                self.publish(Durable { position, time: self.time, block });
                // This block is durable; an error is that of the next one.
                self.broken = self.limit_wal();
                Proposed::Durable(position)
            }
            Err(error) if is_full(&error) && self.is_undone(head) => {
                Proposed::Refused(error.to_string())
            }
            Err(error) => Proposed::Unknown(self.note_broken("commit failed", &error).0),
        }
    }

    /// Accounts for what a commit has written to the WAL.
    fn note_wal(&mut self, block: usize, step: Option<TrimStep>) {
        let deleted = step.map_or(0, |step| COMMIT_OVERHEAD + step.bytes);
        self.wal_bytes += block + COMMIT_OVERHEAD + deleted;
        self.uncopied += block + COMMIT_OVERHEAD + deleted;
    }

    /// Adds a block; the same transaction trims a few old ones if there are too many, and the first
    /// one of a round of the WAL sets `reached`.
    fn insert(&mut self, position: Position, block: &[u8]) -> rusqlite::Result<Option<TrimStep>> {
        let connection = &self.connection;
        let step = self.trim.step(connection)?;
        let may_begin_round = self.begins_round || self.copying;
        if step.is_none() && !may_begin_round {
            // A statement of its own is a transaction of its own.
            rows::insert(connection, position.0, self.time, block)?;
            return Ok(None);
        }
        let transaction = connection.unchecked_transaction()?;
        if let Some(step) = step {
            Trim::delete(&transaction, step)?;
        }
        rows::insert(&transaction, position.0, self.time, block)?;
        if may_begin_round {
            rows::set_reached(&transaction, position.0)?;
        }
        transaction.commit()?;
        self.begins_round = false;
        Ok(step)
    }

    fn publish(&self, durable: Durable) {
        let position = durable.position.0;
        {
            let mut recent = self.recent.lock();
            if recent.len() == RECENT_BLOCKS {
                recent.pop_front();
            }
            recent.push_back(durable);
        }
        self.moved.send_replace(position);
    }

    fn note_broken(&mut self, what: &str, error: &rusqlite::Error) -> JournalError {
        let why = format!("journal.db: {what}: {}", sentence(error));
        self.broken = Some(why.clone());
        JournalError(why)
    }

    /// Rolls a failed commit back; whether it left nothing behind.
    fn is_undone(&self, head: u64) -> bool {
        if !self.connection.is_autocommit() && self.connection.execute_batch("ROLLBACK").is_err() {
            return false;
        }
        rows::head(&self.connection).is_ok_and(|now| now == head)
    }

    /// Runs checkpoints: a little at a time on another thread while commits go on; and, if the WAL
    /// is long, the rest here, so that the next commit starts a new round. Gives an error after
    /// which nothing can be trusted: after a failed fsync the next one may report success.
    fn limit_wal(&mut self) -> Option<String> {
        let Ok(mut copied) = self.checkpointer.done.try_recv() else {
            if !self.copying && self.uncopied > CHECKPOINT_BYTES {
                (self.copying, self.uncopied) = (true, 0);
                let _or_one_is_running = self.checkpointer.begin.try_send(());
            }
            return None;
        };
        self.copying = false;
        if self.wal_bytes > WAL_BYTES {
            self.wal_bytes = 0;
            copied = copied.and_then(|_| pragma::checkpoint_passive(&self.connection));
        }
        match copied {
            Ok(_) => self.begins_round = true,
            // The WAL is copied once there is room.
            Err(error) if is_full(&error) => {}
            Err(error) => {
                return Some(format!("journal.db: its WAL cannot be copied: {}", sentence(&error)));
            }
        }
        None
    }
}

/// A thread that runs checkpoints while the writer commits.
struct Checkpointer {
    begin: mpsc::SyncSender<()>,
    done: mpsc::Receiver<rusqlite::Result<Copied>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Checkpointer {
    fn start(connection: Connection) -> Self {
        let (begin, asked) = mpsc::sync_channel(1);
        let (tell, done) = mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            while asked.recv().is_ok() {
                if tell.send(pragma::checkpoint_passive(&connection)).is_err() {
                    return;
                }
            }
        });
        Self { begin, done, thread: Some(thread) }
    }

    /// Waits until the thread has ended and its connection is closed.
    fn end(&mut self) {
        // Without the other ends of its channels the thread returns.
        (self.begin, self.done) = (mpsc::sync_channel(1).0, mpsc::sync_channel(1).1);
        if let Some(thread) = self.thread.take() {
            let _ended_or_panicked = thread.join();
        }
    }
}

/// Now, in ms since the epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

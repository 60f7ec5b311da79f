//! The journal of one node: a row per block, one fsync per block.
//!
//! ```text
//!  propose ──► INSERT, COMMIT (fsync) on the caller's thread ──► recent ──► followers
//!                                                           └─► rows ────┘ (those behind)
//! ```
//!
//! Enters: blocks. Leaves: the same, once they are on stable storage. Invariants: positions are the
//! rows' ids, 1, 2, 3, … without holes, and go on behind what was trimmed; `propose` returns when the disk has the block, so whoever
//! proposes has a thread for it, and a lone append is not handed from thread to thread; after an
//! error that leaves an outcome open nothing more is taken.

mod follow;
mod rows;
mod trim;

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    sync::{Arc, mpsc as std_mpsc},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use roomlog_core::journal::{
    Durable, Follow, Journal, JournalCounts, JournalError, JournalFacts, Mark, Partition, Peers,
    Position, Proposed,
};
use rusqlite::Connection;
use tokio::sync::watch;

pub(crate) use self::rows::{FORMAT, begin_behind, begin_same};
pub use self::trim::TrimHold;
use self::{
    follow::SqliteFollow,
    rows::Opened,
    trim::{Step, Trim},
};
use crate::{
    pragma::{self, Sync},
    trouble::{self, is_full},
    wal,
};

/// How many of the newest blocks are kept in memory for followers.
const RECENT_BLOCKS: usize = 64;

/// How many bytes the WAL grows by before the next of them are copied into the file: what is copied at
/// once is synced at once, and a commit that comes then waits for that.
const COPY_BYTES: usize = 512 << 10;

/// How long the WAL is, in bytes, when a commit waits until the rest of it is copied, so that it begins
/// anew: seldom enough to hold up fewer than one append in a hundred, and soon enough, because a commit
/// that makes the file longer takes half as long again as one that writes over an older round.
const WAL_BYTES: usize = 8 << 20;

/// A commit touches at least a leaf and, now and then, an inner page; each is a frame of the WAL.
const COMMIT_OVERHEAD: usize = 8 << 10;

/// How much of `journal.db` is kept when nothing else is said, in bytes: minutes of a busy log, all of a
/// young one.
pub const JOURNAL_BYTES: u64 = 256 << 20;

/// The journal of one node.
pub struct SqliteJournal {
    facts: JournalFacts,
    path: PathBuf,
    writer: Mutex<Writer>,
    head: watch::Receiver<u64>,
    recent: Arc<Mutex<VecDeque<Durable>>>,
    allowed: Arc<trim::Allowed>,
}

pub(crate) fn failed(what: &str, error: &rusqlite::Error) -> JournalError {
    JournalError(format!("journal.db: {what}: {}", trouble::sentence(error)))
}

impl SqliteJournal {
    /// Opens the file, making it with a new log when it is not there. What an earlier process left
    /// in the WAL is brought to stable storage before this returns.
    ///
    /// # Errors
    /// When the file cannot be opened, or is of another format.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        Self::open_keeping(path, JOURNAL_BYTES)
    }

    /// As [`SqliteJournal::open`]; of what may be trimmed, blocks go while the file uses more than
    /// `keep` bytes.
    ///
    /// # Errors
    /// As [`SqliteJournal::open`].
    pub fn open_keeping(path: &Path, keep: u64) -> Result<Self, JournalError> {
        wal::scan(path, Sync::Full).map_err(|error| JournalError(error.to_string()))?;
        let open = |error: rusqlite::Error| failed("cannot be opened", &error);
        let connection = pragma::open_writer(path, Sync::Full).map_err(open)?;
        connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(open)?;
        // A file that is refused stays as it is.
        pragma::leave_the_wal(&connection, true).map_err(open)?;
        let Opened { log, head, time, trimmed } = rows::open(&connection)?;
        // What is copied into the file is no longer in a WAL, whose end the scan finds.
        rows::set_reached(&connection, head).map_err(open)?;
        // A commit that was never fsynced could be shown else, and lost afterwards.
        pragma::checkpoint_truncate(&connection).map_err(open)?;
        sync_file_and_directory(path)
            .map_err(|error| JournalError(format!("journal.db: cannot be synced: {error}")))?;
        let trim = Trim::open(&connection, keep, trimmed).map_err(open)?;
        let allowed = trim.allowed();
        let checkpointer = pragma::open_writer(path, Sync::Full).map_err(open)?;
        pragma::leave_the_wal(&checkpointer, true).map_err(open)?;
        let (moved, head) = watch::channel(head);
        let recent = Arc::new(Mutex::new(VecDeque::with_capacity(RECENT_BLOCKS)));
        let writer = Mutex::new(Writer {
            connection,
            recent: recent.clone(),
            moved,
            time,
            wal_bytes: 0,
            uncopied: 0,
            checkpoints: Checkpoints::start(checkpointer),
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
            is_shared: false,
            is_exclusive: true,
        };
        Ok(Self { facts, path: path.into(), writer, head, recent, allowed })
    }

    /// Keeps all blocks as long as the result is held.
    #[must_use]
    pub fn hold_trim(&self) -> TrimHold {
        TrimHold::new(self.allowed.clone())
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        let writer = self.writer.get_mut();
        let head = *self.head.borrow();
        // The last connection that is closed removes the WAL: it is to be the writer's.
        writer.checkpoints.end();
        // Leaves a file without a WAL; what cannot be copied now is copied at the next start. After an
        // error of the disk nothing is copied: an fsync that failed once may say yes the next time.
        let copied = writer.broken.is_none()
            && rows::set_reached(&writer.connection, head).is_ok()
            && pragma::checkpoint_truncate(&writer.connection).is_ok();
        if copied {
            let _or_an_empty_wal_stays = pragma::leave_the_wal(&writer.connection, false);
        }
    }
}

fn sync_file_and_directory(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
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
}

/// The writer.
struct Writer {
    connection: Connection,
    recent: Arc<Mutex<VecDeque<Durable>>>,
    moved: watch::Sender<u64>,
    time: u64,
    /// What was committed since the WAL was begun, at a guess.
    wal_bytes: usize,
    /// What was committed since a copy was begun.
    uncopied: usize,
    checkpoints: Checkpoints,
    trim: Trim,
    /// The next block may be the first of a round of the WAL.
    begins_round: bool,
    /// The WAL is being copied: whichever block comes when that is done may begin a round.
    copying: bool,
    /// Why nothing can be trusted any more: an outcome was left open, or a copy of the WAL failed.
    broken: Option<String>,
}

impl Writer {
    fn write(&mut self, block: Bytes) -> Proposed {
        if let Some(why) = &self.broken {
            return Proposed::Unknown(why.clone());
        }
        self.time = self.time.max(now_ms());
        let head = *self.moved.borrow();
        let position = Position(head + 1);
        match self.insert(position, &block) {
            Ok(step) => {
                let overhead = COMMIT_OVERHEAD << u32::from(step.is_some());
                self.wal_bytes += block.len() + overhead;
                self.uncopied += block.len() + overhead;
                self.trim.committed(&self.connection, block.len() as u64, step);
                self.publish(Durable { position, time: self.time, block });
                // This block is durable; the next one hears of it.
                self.broken = self.keep_the_wal_short();
                Proposed::Durable(position)
            }
            Err(error) if is_full(&error) && self.is_undone(head) => {
                Proposed::Refused(error.to_string())
            }
            Err(error) => {
                self.breaks(format!("journal.db: commit failed: {}", trouble::sentence(&error)))
            }
        }
    }

    /// An outcome is open: nothing more is taken.
    fn breaks(&mut self, why: String) -> Proposed {
        self.broken = Some(why.clone());
        Proposed::Unknown(why)
    }

    /// Adds a block; in the same transaction a few old ones go where there are too many, and the first
    /// of a round of the WAL notes what the file has reached.
    fn insert(&mut self, position: Position, block: &[u8]) -> rusqlite::Result<Option<Step>> {
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

    /// Whether a commit that failed has left nothing behind, rolled back and read back.
    fn is_undone(&self, head: u64) -> bool {
        if !self.connection.is_autocommit() && self.connection.execute_batch("ROLLBACK").is_err() {
            return false;
        }
        rows::head(&self.connection).is_ok_and(|now| now == head)
    }

    /// Copies the WAL into the file: most of it by another thread while commits go on, a little at a time;
    /// and, when the WAL is long, the rest here, so that the next commit begins it anew. Says why it
    /// cannot go on: after a failed fsync the next one may say that all is well.
    fn keep_the_wal_short(&mut self) -> Option<String> {
        let Some(mut copied) = self.checkpoints.take_done() else {
            if !self.copying && self.uncopied > COPY_BYTES {
                (self.copying, self.uncopied) = (true, 0);
                self.checkpoints.begin();
            }
            return None;
        };
        self.copying = false;
        if self.wal_bytes > WAL_BYTES {
            self.wal_bytes = 0;
            copied = copied.and_then(|()| pragma::checkpoint_passive(&self.connection));
        }
        match copied {
            Ok(()) => self.begins_round = true,
            // The WAL stays as it is, and is copied when there is room.
            Err(error) if is_full(&error) => {}
            Err(error) => {
                let said = trouble::sentence(&error);
                return Some(format!("journal.db: its WAL cannot be copied: {said}"));
            }
        }
        None
    }
}

/// The thread that copies the WAL while the writer goes on.
struct Checkpoints {
    begin: std_mpsc::SyncSender<()>,
    done: std_mpsc::Receiver<rusqlite::Result<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Checkpoints {
    fn start(connection: Connection) -> Self {
        let (begin, asked) = std_mpsc::sync_channel(1);
        let (tell, done) = std_mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            while asked.recv().is_ok() {
                if tell.send(pragma::checkpoint_passive(&connection)).is_err() {
                    return;
                }
            }
        });
        Self { begin, done, thread: Some(thread) }
    }

    /// Waits for the thread to end and its connection to be closed.
    fn end(&mut self) {
        // Without an other end, whatever it waits for fails.
        (self.begin, self.done) = (std_mpsc::sync_channel(1).0, std_mpsc::sync_channel(1).1);
        if let Some(thread) = self.thread.take() {
            let _ended_or_panicked = thread.join();
        }
    }

    fn begin(&self) {
        // Full: it is under way already.
        let _under_way = self.begin.try_send(());
    }

    fn take_done(&self) -> Option<rusqlite::Result<()>> {
        self.done.try_recv().ok()
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

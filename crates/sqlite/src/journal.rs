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
    Durable, Follow, Journal, JournalError, Partition, Position, Proposed,
};
use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use tokio::sync::watch;

pub use trim::TrimHold;
use trim::{Step, Trim};

use crate::{
    node_file::new_ulid,
    pragma::{self, Sync},
};

/// How many of the newest blocks are kept in memory for followers.
const RECENT_BLOCKS: usize = 64;

/// How many blocks a follower that is behind reads at once.
const BLOCKS_PER_READ: i64 = 64;

/// How many bytes the WAL grows by before it is copied into the file.
const WAL_BYTES: usize = 8 << 20;

/// A commit touches at least a leaf and, now and then, an inner page; each is a frame of the WAL.
const COMMIT_OVERHEAD: usize = 8 << 10;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS log (id TEXT NOT NULL, format INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS blocks (
        position INTEGER PRIMARY KEY,
        time     INTEGER NOT NULL,
        block    BLOB NOT NULL
    ) STRICT;";

pub(crate) const FORMAT: i64 = 1;

/// How much of `journal.db` is kept when nothing else is said, in bytes: minutes of a busy log, all of a
/// young one.
pub const JOURNAL_BYTES: u64 = 256 << 20;

/// The journal of one node.
pub struct SqliteJournal {
    log: String,
    path: PathBuf,
    writer: Mutex<Writer>,
    head: watch::Receiver<u64>,
    recent: Arc<Mutex<VecDeque<Durable>>>,
    allowed: Arc<trim::Allowed>,
}

pub(crate) fn failed(what: &str, error: &rusqlite::Error) -> JournalError {
    JournalError(format!("journal.db: {what}: {error}"))
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
        let open = |error: rusqlite::Error| failed("cannot be opened", &error);
        let connection = pragma::open_writer(path, Sync::Full).map_err(open)?;
        connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(open)?;
        // A commit that was never fsynced could be shown else, and lost afterwards.
        pragma::checkpoint_truncate(&connection).map_err(open)?;
        sync_file_and_directory(path)
            .map_err(|error| JournalError(format!("journal.db: cannot be synced: {error}")))?;
        connection.execute_batch(SCHEMA).map_err(open)?;
        connection.execute_batch(trim::SCHEMA).map_err(open)?;
        let trim = trim::Trim::open(&connection, keep).map_err(open)?;
        let allowed = trim.allowed();
        let log = read_or_make_log(&connection).map_err(open)?;
        let (head, time) = head_of(&connection).map_err(open)?;
        let checkpointer = pragma::open_writer(path, Sync::Full).map_err(open)?;
        let (moved, head) = watch::channel(head);
        let recent = Arc::new(Mutex::new(VecDeque::with_capacity(RECENT_BLOCKS)));
        let writer = Mutex::new(Writer {
            connection,
            recent: recent.clone(),
            moved,
            time,
            wal_bytes: 0,
            checkpoints: Checkpoints::start(checkpointer),
            trim,
            broken: false,
        });
        Ok(Self { log, path: path.into(), writer, head, recent, allowed })
    }

    /// Keeps all blocks as long as the result is held.
    #[must_use]
    pub fn hold_trim(&self) -> TrimHold {
        TrimHold::new(self.allowed.clone())
    }
}

impl Drop for SqliteJournal {
    fn drop(&mut self) {
        // Leaves a file without a WAL; what cannot be copied now is copied at the next start.
        let _left_to_the_next_start =
            pragma::checkpoint_truncate(&self.writer.get_mut().connection);
    }
}

/// Makes the file of a new log that goes on behind a position of another one: the next block is one past
/// it. Nobody may have it open.
pub(crate) fn begin_behind(path: &Path, log: &str, position: u64) -> rusqlite::Result<()> {
    let mut connection = Connection::open(path)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    trim::begin_behind(&transaction, log, position)?;
    read_or_make_log(&transaction)?;
    transaction.commit()
}

fn sync_file_and_directory(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

fn read_or_make_log(connection: &Connection) -> rusqlite::Result<String> {
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
    let there = connection.query_row("SELECT id, format FROM log", [], read).optional()?;
    match there {
        Some((log, FORMAT)) => Ok(log),
        Some((_, format)) => Err(rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_MISMATCH),
            Some(format!("format {format} is not known to this version")),
        )),
        None => {
            let log = new_ulid().to_string();
            connection.execute("INSERT INTO log VALUES (?1, ?2)", params![log, FORMAT])?;
            Ok(log)
        }
    }
}

fn head_of(connection: &Connection) -> rusqlite::Result<(u64, u64)> {
    let newest = "SELECT position, time FROM blocks ORDER BY position DESC LIMIT 1";
    let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
    let newest = connection.query_row(newest, [], read).optional()?;
    match newest {
        Some((position, time)) => Ok((position.unsigned_abs(), time.unsigned_abs())),
        None => trim::trimmed(connection),
    }
}

impl Journal for SqliteJournal {
    fn log(&self) -> &str {
        &self.log
    }

    fn depth(&self) -> usize {
        // `propose` writes: what waits meanwhile makes the next block larger.
        1
    }

    fn is_ours_alone(&self) -> bool {
        true
    }

    fn propose(&self, _: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        futures_util::future::ready(self.writer.lock().write(block)).boxed()
    }

    fn follow(&self, _: Partition, after: Position) -> Box<dyn Follow> {
        Box::new(SqliteFollow {
            path: self.path.clone(),
            reader: None,
            head: self.head.clone(),
            recent: self.recent.clone(),
            read: VecDeque::new(),
            after: after.0,
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
    wal_bytes: usize,
    checkpoints: Checkpoints,
    trim: Trim,
    /// An outcome was left open: nothing can be trusted any more.
    broken: bool,
}

impl Writer {
    fn write(&mut self, block: Bytes) -> Proposed {
        if self.broken {
            return Proposed::Unknown("journal.db: an earlier commit failed".into());
        }
        self.time = self.time.max(now_ms());
        let head = *self.moved.borrow();
        let position = Position(head + 1);
        match self.insert(position, &block) {
            Ok(step) => {
                let overhead = COMMIT_OVERHEAD << u32::from(step.is_some());
                self.wal_bytes += block.len() + overhead;
                self.trim.committed(&self.connection, block.len() as u64, step);
                self.publish(Durable { position, time: self.time, block });
                self.keep_the_wal_short();
                Proposed::Durable(position)
            }
            Err(error) if is_full(&error) && self.is_undone(head) => {
                Proposed::Refused(error.to_string())
            }
            Err(error) => {
                self.broken = true;
                Proposed::Unknown(format!("journal.db: commit failed: {error}"))
            }
        }
    }

    /// Adds a block and, in the same transaction, lets go of a few old ones where there are too many.
    fn insert(&self, position: Position, block: &[u8]) -> rusqlite::Result<Option<Step>> {
        let connection = &self.connection;
        let time = self.time.cast_signed();
        let row = params![position.0.cast_signed(), time, block];
        let mut insert = connection.prepare_cached("INSERT INTO blocks VALUES (?1, ?2, ?3)")?;
        let step = self.trim.step(connection)?;
        let Some(step) = step else {
            // A statement of its own is a transaction of its own.
            insert.execute(row)?;
            return Ok(None);
        };
        // What fails leaves the transaction open, for `is_undone` to roll back.
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Trim::delete(connection, step)?;
        insert.execute(row)?;
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(Some(step))
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
        head_of(&self.connection).is_ok_and(|(now, _)| now == head)
    }

    /// Copies the WAL into the file: most of it by another thread while commits go on, and the rest
    /// here, so that the next commit begins the WAL anew.
    fn keep_the_wal_short(&mut self) {
        if self.checkpoints.take_done() {
            // An error here shows again at the next commit, or leaves the WAL longer: no harm.
            let _retried = pragma::checkpoint_passive(&self.connection);
            self.wal_bytes = 0;
        } else if self.wal_bytes > WAL_BYTES {
            self.checkpoints.begin();
        }
    }
}

/// The thread that copies the WAL while the writer goes on.
struct Checkpoints {
    begin: std_mpsc::SyncSender<()>,
    done: std_mpsc::Receiver<()>,
}

impl Checkpoints {
    fn start(connection: Connection) -> Self {
        let (begin, asked) = std_mpsc::sync_channel(1);
        let (tell, done) = std_mpsc::sync_channel(1);
        std::thread::spawn(move || {
            while asked.recv().is_ok() {
                let _retried = pragma::checkpoint_passive(&connection);
                if tell.send(()).is_err() {
                    return;
                }
            }
        });
        Self { begin, done }
    }

    fn begin(&self) {
        // Full: it is under way already.
        let _under_way = self.begin.try_send(());
    }

    fn take_done(&self) -> bool {
        self.done.try_recv().is_ok()
    }
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn missing(position: u64) -> JournalError {
    JournalError(format!(
        "journal.db: position {position} is missing: it was trimmed, or the file is damaged; restore a \
         backup of the whole directory"
    ))
}

struct SqliteFollow {
    path: PathBuf,
    reader: Option<Connection>,
    head: watch::Receiver<u64>,
    recent: Arc<Mutex<VecDeque<Durable>>>,
    read: VecDeque<Durable>,
    after: u64,
}

impl Follow for SqliteFollow {
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>> {
        async {
            let after = self.after;
            self.head
                .wait_for(|head| *head > after)
                .await
                .map_err(|_| JournalError("journal.db: the writer has ended".into()))?;
            let durable = match self.read.pop_front() {
                Some(durable) => durable,
                None => self.recent_or_read()?,
            };
            if durable.position.0 != after + 1 {
                return Err(missing(after + 1));
            }
            self.after += 1;
            Ok(durable)
        }
        .boxed()
    }
}

impl SqliteFollow {
    fn recent_or_read(&mut self) -> Result<Durable, JournalError> {
        {
            let recent = self.recent.lock();
            if let Some(first) = recent.front()
                && let Some(index) = (self.after + 1).checked_sub(first.position.0)
                && let Some(durable) =
                    usize::try_from(index).ok().and_then(|index| recent.get(index))
            {
                self.reader = None;
                return Ok(durable.clone());
            }
        }
        self.read_rows().map_err(|error| failed("cannot be read", &error))?;
        self.read.pop_front().ok_or_else(|| missing(self.after + 1))
    }

    fn read_rows(&mut self) -> rusqlite::Result<()> {
        if self.reader.is_none() {
            self.reader = Some(pragma::open_reader(&self.path)?);
        }
        let Some(reader) = &self.reader else { return Ok(()) };
        let (after, limit) = (self.after.cast_signed(), BLOCKS_PER_READ);
        let rows = "SELECT position, time, block FROM blocks WHERE position > ?1 ORDER BY position LIMIT ?2";
        let mut rows = reader.prepare_cached(rows)?;
        let read = rows.query_map(params![after, limit], |row| {
            Ok(Durable {
                position: Position(row.get::<_, i64>(0)?.cast_unsigned()),
                time: row.get::<_, i64>(1)?.cast_unsigned(),
                block: row.get::<_, Vec<u8>>(2)?.into(),
            })
        })?;
        self.read = read.collect::<rusqlite::Result<_>>()?;
        Ok(())
    }
}

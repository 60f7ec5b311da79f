//! The writer of the journal: one write and one fsync a block.
//!
//! ```text
//!  block ──► record ──► write, fdatasync ──► recent ──► followers
//!                └─ no room: the next segment, which is made already
//! ```
//!
//! Invariants: a block is written once the one before it is on stable storage; a segment counts once its
//! first block is; after an error that leaves an outcome unknown, every write fails. Only a segment that
//! cannot be made refuses a block: in one that is made, there is room for what fits.

use std::{
    collections::VecDeque,
    fs::File,
    io,
    os::unix::fs::FileExt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use parking_lot::Mutex;
use roomlog_core::journal::{Durable, Position, Proposed};
use rustix::io::Errno;
use tokio::sync::watch;
use ulid::Ulid;

use super::{
    format::{self, Header, RECORDS, Reached},
    scan::End,
    segment::{self, Lengths},
    shared::Shared,
    tidy::{self, Spare, Tidy},
};
use crate::files::segment_name;

/// How many of the newest blocks are kept in memory for followers.
const RECENT_BLOCKS: usize = 64;

pub(super) struct BlockWriter {
    pub(super) shared: Arc<Shared>,
    pub(super) recent: Arc<Mutex<VecDeque<Durable>>>,
    pub(super) moved: watch::Sender<u64>,
    pub(super) tidy: Tidy,
    lengths: Lengths,
    /// The segment that is written to.
    header: Header,
    file: File,
    /// Where the next record begins.
    end: u64,
    /// The time of the last block.
    time: u64,
    /// The next segment, if it was too short for a block.
    spare: Option<Spare>,
    /// The segment before this one, until the first block of this one is on stable storage.
    before: Option<(File, u64)>,
    record: Vec<u8>,
    /// Why every write fails.
    broken: Option<String>,
}

/// Why there is no next segment.
enum NoSegment {
    /// Nothing of the block was written.
    Refused(io::Error),
    Failed(String),
}

impl BlockWriter {
    /// Goes on at the end of a segment.
    pub(super) fn new(
        shared: Arc<Shared>,
        keep: u64,
        (header, file): (Header, File),
        end: End,
    ) -> Self {
        let tidy = Tidy::start(shared.clone());
        let mut writer = Self {
            shared,
            recent: Arc::new(Mutex::new(VecDeque::with_capacity(RECENT_BLOCKS))),
            moved: watch::channel(end.head).0,
            tidy,
            lengths: Lengths::keeping(keep),
            header,
            file,
            end: end.at,
            time: end.time,
            spare: None,
            before: None,
            record: Vec::new(),
            broken: None,
        };
        writer.ask_next();
        writer
    }

    /// Makes a block durable.
    pub(super) fn write(&mut self, block: Bytes) -> Proposed {
        let time = self.time.max(now_ms());
        let durable = Durable { position: Position(*self.moved.borrow() + 1), time, block };
        match self.put(&durable) {
            Ok(()) => {}
            Err(NoSegment::Refused(error)) => {
                return Proposed::Refused(format!("the next segment of the journal: {error}"));
            }
            Err(NoSegment::Failed(why)) => return Proposed::Unknown(why),
        }
        if let Err(why) = self.sync() {
            return Proposed::Unknown(why);
        }
        let position = durable.position;
        self.publish(durable);
        Proposed::Durable(position)
    }

    /// Writes a block, not synced.
    fn put(&mut self, durable: &Durable) -> Result<(), NoSegment> {
        if let Some(why) = self.broken.as_ref().or(self.shared.failed.get()) {
            return Err(NoSegment::Failed(why.clone()));
        }
        let room = format::room(durable.block.len());
        if self.end + room > self.header.bytes || self.end >= self.lengths.most {
            self.begin_next(durable.position.0, room)?;
        }
        let encoded = format::encode_record(&mut self.record, durable, self.header.salt);
        let written = match encoded {
            Some(()) => self.file.write_all_at(&self.record, self.end),
            None => Err(io::ErrorKind::FileTooLarge.into()),
        };
        written.map_err(|error| NoSegment::Failed(self.note_broken("a write failed", &error)))?;
        (self.end, self.time) = (self.end + room, durable.time);
        Ok(())
    }

    /// Brings what was written to stable storage; fails with why the outcome is unknown.
    fn sync(&mut self) -> Result<(), String> {
        self.file.sync_data().map_err(|error| self.note_broken("a sync failed", &error))?;
        let Some((before, position)) = self.before.take() else { return Ok(()) };
        self.shared.push(self.header.clone());
        // Not before: without a segment after it, a start would refuse the journal.
        segment::set_reached(&before, Reached { position, is_followed: true })
            .and_then(|()| before.sync_data())
            .map_err(|error| self.note_broken("a write failed", &error))?;
        self.ask_next();
        Ok(())
    }

    fn ask_next(&mut self) {
        self.tidy.ask(self.header.number + 1, self.lengths.next(self.header.bytes));
    }

    /// Begins the next segment with this position, whose record takes `room` bytes.
    fn begin_next(&mut self, first: u64, room: u64) -> Result<(), NoSegment> {
        let Spare { file, bytes } = match self.spare(RECORDS as u64 + room) {
            Ok(spare) => spare,
            // The disk is broken. After any other error the next attempt may succeed.
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                let why = self.note_broken("the next segment cannot be made", &error);
                return Err(NoSegment::Failed(why));
            }
            Err(error) => return Err(NoSegment::Refused(error)),
        };
        let (log, number) = (self.header.log.clone(), self.header.number + 1);
        let (at, time, salt) = (RECORDS as u64, self.time, new_salt());
        let header = Header { log, continues: None, number, salt, first, at, time, bytes };
        let begun = segment::begin(&file, &header);
        begun.map_err(|error| NoSegment::Failed(self.note_broken("a write failed", &error)))?;
        let before = std::mem::replace(&mut self.file, file);
        self.before = Some((before, first - 1));
        (self.header, self.end) = (header, at);
        Ok(())
    }

    /// The next segment, of at least this length.
    fn spare(&mut self, least: u64) -> io::Result<Spare> {
        let mut spare = match self.spare.take().or_else(|| self.tidy.take()) {
            Some(spare) => spare,
            None => {
                let bytes = self.lengths.next(self.header.bytes).max(least);
                return tidy::make(&self.shared, self.header.number + 1, bytes);
            }
        };
        if spare.bytes < least {
            let lengthened = segment::lengthen(&spare.file, spare.bytes, least);
            if let Err(error) = lengthened {
                let is_as_before = spare.file.metadata().is_ok_and(|it| it.len() == spare.bytes);
                // Else it is made again.
                self.spare = is_as_before.then_some(spare);
                return Err(error);
            }
            spare.bytes = least;
        }
        Ok(spare)
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

    fn note_broken(&mut self, what: &str, error: &io::Error) -> String {
        let name = segment_name(self.header.number);
        let why = format!(
            "{name}: {what}: disk I/O error: {error}; look at the disk, then start again: what was acked \
             is there"
        );
        self.broken = Some(why.clone());
        why
    }

    /// Notes in the segment where it ends; does nothing after an error: a sync that failed once may report
    /// success the next time.
    pub(super) fn end(&mut self) -> io::Result<()> {
        if self.broken.is_some() {
            return Ok(());
        }
        let reached = Reached { position: *self.moved.borrow(), is_followed: false };
        segment::set_reached(&self.file, reached).and_then(|()| self.file.sync_data())
    }

    /// Appends the blocks of an older journal, to which `end` must be called afterwards.
    pub(super) fn copy(&mut self, durable: Durable) -> Result<(), String> {
        match self.put(&durable) {
            Ok(()) => {}
            Err(NoSegment::Refused(error)) => return Err(error.to_string()),
            Err(NoSegment::Failed(why)) => return Err(why),
        }
        if let Some((before, _)) = &self.before {
            before.sync_data().map_err(|error| error.to_string())?;
            self.sync()?;
        }
        self.moved.send_replace(durable.position.0);
        Ok(())
    }
}

/// See [`Header::salt`].
pub(super) fn new_salt() -> u64 {
    u64::try_from(Ulid::generate().random() & u128::from(u64::MAX)).unwrap_or_default()
}

/// Now, in ms since the epoch.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

//! What the writer, the followers, the trim and wipes share: which segments there are.
//!
//! Invariants: a segment enters when its first block is on stable storage, so the newest one of the list is
//! never removed while a newer one could be lost; one thread at a time removes or makes files.

use std::{
    collections::VecDeque,
    fs, io,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    format::Header,
    segment::{self, Blank},
};
use crate::{
    error::is_disk_full,
    files::{self, BLANK, segment_name},
};

pub(super) struct Shared {
    pub(super) directory: PathBuf,
    /// Oldest first; the last one is written to.
    segments: Mutex<VecDeque<Header>>,
    /// How many bytes the segments may have before one is trimmed.
    keep: u64,
    /// The last position that may be trimmed.
    upto: AtomicU64,
    /// Shared with the holds: while there is one, nothing is trimmed.
    holds: Arc<()>,
    /// Held by whoever makes, retires or removes a file.
    pub(super) files: Mutex<Blank>,
    /// Why the journal is no longer written, if the trim found that.
    pub(super) failed: OnceLock<String>,
}

impl Shared {
    pub(super) fn new(directory: PathBuf, segments: VecDeque<Header>, keep: u64) -> Self {
        Self {
            directory,
            segments: Mutex::new(segments),
            keep,
            upto: AtomicU64::new(0),
            holds: Arc::default(),
            files: Mutex::default(),
            failed: OnceLock::new(),
        }
    }

    pub(super) fn push(&self, header: Header) {
        self.segments.lock().push_back(header);
    }

    /// The position of the oldest block.
    pub(super) fn first(&self) -> u64 {
        self.segments.lock().front().map_or(1, |oldest| oldest.first)
    }

    /// The segment that has a position; `None` if it was trimmed.
    pub(super) fn segment_of(&self, position: u64) -> Option<Header> {
        let segments = self.segments.lock();
        let after = segments.partition_point(|segment| segment.first <= position);
        segments.get(after.checked_sub(1)?).cloned()
    }

    /// Notes that the blocks of a segment before a position were removed.
    pub(super) fn shorten(&self, shortened: &Header) {
        let mut segments = self.segments.lock();
        if let Some(segment) = segments.iter_mut().find(|it| it.number == shortened.number) {
            *segment = shortened.clone();
        }
    }

    pub(super) fn allow(&self, upto: u64) {
        self.upto.fetch_max(upto, Ordering::AcqRel);
    }

    pub(super) fn hold(&self) -> Arc<()> {
        self.holds.clone()
    }

    pub(super) fn is_held(&self) -> bool {
        Arc::strong_count(&self.holds) > 1
    }

    /// Whether a segment could be trimmed, if that were allowed. This begins an eighth above what is kept,
    /// so that one durable fold allows many trims.
    pub(super) fn has_surplus(&self) -> bool {
        let segments = self.segments.lock();
        segments.len() > 1
            && bytes_of(&segments) > self.keep.saturating_add(self.keep / 8)
            && !self.is_held()
    }

    /// The oldest segment, if it may be trimmed and more is there than is kept.
    pub(super) fn surplus(&self) -> Option<Header> {
        let is_more = bytes_of(&self.segments.lock()) > self.keep;
        self.removable(self.upto.load(Ordering::Acquire)).filter(|_| is_more)
    }

    /// The oldest segment, if another one follows and no position in it is after `upto`.
    pub(super) fn removable(&self, upto: u64) -> Option<Header> {
        let segments = self.segments.lock();
        let ends_before = segments.get(1)?.first <= upto.saturating_add(1);
        segments.front().filter(|_| ends_before && !self.is_held()).cloned()
    }

    /// Takes the oldest segment out of the journal and overwrites it: it is the blank one then. On a full
    /// disk, which only a file system that copies on write can notice here, it is removed as it is.
    pub(super) fn retire(&self, blank: &mut Blank, oldest: &Header) -> io::Result<()> {
        let path = self.directory.join(BLANK);
        if !std::mem::take(&mut blank.is_zeros) {
            segment::erase(&path)?;
        }
        fs::rename(self.directory.join(segment_name(oldest.number)), &path)?;
        self.segments.lock().pop_front();
        // Else a power cut could bring back the name, with zeros.
        files::sync(&self.directory)?;
        match segment::overwrite(&path) {
            Err(error) if is_disk_full(&error) => fs::remove_file(&path),
            overwritten => overwritten.map(|()| blank.is_zeros = true),
        }
    }
}

fn bytes_of(segments: &VecDeque<Header>) -> u64 {
    segments.iter().map(|segment| segment.bytes).sum()
}

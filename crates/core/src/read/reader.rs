//! Reads: the entries of a span, from tail and archive, as one answer.
//!
//! Enters: a room, a span, the limits of a page. Leaves: a [`Page`]. Invariants: a page is
//! contiguous and consistent with one moment; what the tail does not have at that moment is in the
//! archive; reads never pass the sequencer.

use std::sync::Arc;

use roomlog_protocol::{Digest, Latest, RoomName, Slot, Span};
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::{
    blocking::{Threads, can_block_in_place},
    model::{
        archive::{Archive, ArchiveError, Keep},
        head::Head,
        proposal::Stored,
    },
    read::{rooms::Rooms, tail::View},
};

const ARCHIVE_READS: usize = 4;

/// A page of at most this many slots is read on the calling thread, which delays its other tasks by
/// about 50 µs; a hand-over to another thread would cost about as much again. Longer ones go to
/// another thread.
const READ_IN_PLACE: u64 = 64;

/// The limits of a page.
#[derive(Debug, Clone, Copy)]
pub struct PageLimits {
    /// Entries.
    pub entries: u64,
    /// Bytes of bodies and metas; a page of one entry may exceed it.
    pub bytes: usize,
}

/// The answer to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The entries, in slot order.
    pub entries: Vec<Stored>,
    /// The head of the log at the time of the read.
    pub head: Head,
    /// The slot of `digest` if `entries` is empty; −1 for the empty log.
    pub digest_at: Latest,
    /// The digest after that slot.
    pub digest: Digest,
}

/// Why there is no page.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The reader's digest differs from the log's.
    #[error("the log has a different digest at that slot")]
    Diverged {
        /// The latest slot.
        latest: Latest,
    },
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

#[derive(Clone)]
pub(crate) struct Reader {
    rooms: Arc<Rooms>,
    archive: Arc<dyn Archive>,
    permits: Arc<Semaphore>,
    threads: Threads,
}

impl Reader {
    #[must_use]
    pub(crate) fn new(rooms: Arc<Rooms>, archive: Arc<dyn Archive>, threads: Threads) -> Self {
        Self { rooms, archive, permits: Arc::new(Semaphore::new(ARCHIVE_READS)), threads }
    }

    pub(crate) async fn read(
        &self,
        room: &RoomName,
        span: Span,
        digest: Option<Digest>,
        limits: PageLimits,
    ) -> Result<Page, ReadError> {
        let view = self.view(room, |head| bounds(span, head, limits.entries))?;
        let keep = if matches!(span, Span::After(_)) { Keep::Oldest } else { Keep::Newest };
        let head = view.head;
        if let (Some(digest), Span::After(after)) = (digest, span)
            && self.digest_before(room, after.end().min(head.end), &head).await? != digest
        {
            return Err(ReadError::Diverged { latest: Latest::before(head.end) });
        }
        let entries = self.entries(room, view, limits.bytes, keep).await?;
        let at = match (entries.last(), span) {
            (Some(last), _) => {
                return Ok(Page::ending(last.digest, last.entry.slot, head, entries));
            }
            (None, Span::UpTo { upto: Some(upto), .. }) => (upto + 1).min(head.end),
            (None, _) => head.end,
        };
        let digest = self.digest_before(room, at, &head).await?;
        Ok(Page { entries, head, digest_at: Latest::before(at), digest })
    }

    pub(crate) fn head(&self, room: &RoomName) -> Result<Head, ArchiveError> {
        Ok(self.view(room, |_| (0, 0))?.head)
    }

    async fn digest_before(
        &self,
        room: &RoomName,
        end: Slot,
        head: &Head,
    ) -> Result<Digest, ArchiveError> {
        let Some(slot) = end.checked_sub(1) else { return Ok(Digest::start(room)) };
        if end == head.end {
            return Ok(head.digest);
        }
        let view = self.view(room, |_| (slot, end))?;
        let entries = self.entries(room, view, 0, Keep::Oldest).await?;
        entries.first().map(|stored| stored.digest).ok_or_else(|| ArchiveError::Damaged {
            room: room.clone(),
            slot,
            problem: "missing".into(),
        })
    }

    fn view(
        &self,
        room: &RoomName,
        bounds: impl FnOnce(&Head) -> (Slot, Slot),
    ) -> Result<View, ArchiveError> {
        Ok(self.rooms.open_to_read(room)?.view(bounds))
    }

    async fn entries(
        &self,
        room: &RoomName,
        view: View,
        bytes: usize,
        keep: Keep,
    ) -> Result<Vec<Stored>, ArchiveError> {
        let View { first, end, archived, commits, removals, .. } = view;
        let held = commits
            .iter()
            .flat_map(|commit| &commit.entries)
            .filter(|stored| (first..end).contains(&stored.entry.slot))
            .cloned();
        let mut held: Vec<Stored> = held.collect();
        let archived = archived.min(end);
        if first >= archived {
            return Ok(clip(held, bytes, keep));
        }
        let mut entries = self.archived(room, first, archived, bytes, keep).await?;
        for stored in &mut entries {
            if removals.covers(&stored.entry) {
                stored.entry.redact();
            }
        }
        let reaches = entries.last().is_some_and(|stored| stored.entry.slot + 1 == archived);
        if reaches {
            entries.append(&mut held);
        }
        Ok(clip(entries, bytes, keep))
    }

    async fn archived(
        &self,
        room: &RoomName,
        first: Slot,
        end: Slot,
        bytes: usize,
        keep: Keep,
    ) -> Result<Vec<Stored>, ArchiveError> {
        if matches!(self.threads, Threads::None) {
            return self.archive.page(room, first, end, bytes, keep);
        }
        let failed = |problem: &str| ArchiveError::Failed(problem.into());
        let permits = self.permits.clone();
        let permit = permits.acquire_owned().await.map_err(|_| failed("reads have ended"))?;
        if end - first <= READ_IN_PLACE && can_block_in_place() {
            return tokio::task::block_in_place(|| {
                self.archive.page(room, first, end, bytes, keep)
            });
        }
        let (archive, room) = (self.archive.clone(), room.clone());
        let read = tokio::task::spawn_blocking(move || {
            let page = archive.page(&room, first, end, bytes, keep);
            drop(permit);
            page
        });
        read.await.map_err(|_| failed("a read was cut off"))?
    }
}

impl Page {
    fn ending(digest: Digest, slot: Slot, head: Head, entries: Vec<Stored>) -> Self {
        Self { entries, head, digest_at: Latest::at(slot), digest }
    }
}

fn bounds(span: Span, head: &Head, most: u64) -> (Slot, Slot) {
    match span {
        Span::UpTo { count, upto } => {
            let end = upto.map_or(head.end, |upto| (upto + 1).min(head.end));
            (end.saturating_sub(count.min(most)), end)
        }
        Span::After(after) => {
            let next = after.end();
            (next.min(head.end), (next.saturating_add(most)).min(head.end))
        }
    }
}

/// Truncates a page to `bytes` of texts, at least one entry, keeping the end that `keep` names.
#[must_use]
pub fn clip(mut page: Vec<Stored>, bytes: usize, keep: Keep) -> Vec<Stored> {
    let mut sum = 0;
    let mut fits = |stored: &Stored| {
        sum += stored.text_bytes();
        sum <= bytes
    };
    match keep {
        Keep::Oldest => {
            let kept = page.iter().take_while(|stored| fits(stored)).count();
            page.truncate(kept.max(1));
        }
        Keep::Newest => {
            let kept = page.iter().rev().take_while(|stored| fits(stored)).count();
            page.drain(..page.len().saturating_sub(kept.max(1)));
        }
    }
    page
}

#[cfg(test)]
#[path = "tests/reader.rs"]
mod tests;

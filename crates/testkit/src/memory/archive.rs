//! An archive in memory, which can crash inside a fold.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound::{Excluded, Included},
};

use parking_lot::Mutex;
use roomlog_protocol::{Digest, RoomName, RoomRange, Slot};

use roomlog_core::{
    applied::Applied,
    archive::{Archive, ArchiveError, IdKey, Keep, Window},
    head::{Head, Known},
    journal::{Partition, Position},
    proposal::{Original, Stored},
    reader::clip,
};

/// An archive in memory.
#[derive(Default)]
pub struct MemoryArchive(Mutex<State>);

#[derive(Default)]
struct State {
    entries: BTreeMap<(RoomName, Slot), Stored>,
    ids: HashMap<IdKey, Slot>,
    heads: BTreeMap<RoomName, Head>,
    applied: BTreeMap<Partition, Applied>,
    rows_until_crash: Option<usize>,
    not_durable: u64,
    flush_fails: bool,
    full: bool,
}

impl MemoryArchive {
    /// Makes the fold that would write one row more than this fail like a crash: the rows stay,
    /// heads and `applied` do not change.
    pub fn crash_after_rows(&self, rows: Option<usize>) {
        self.0.lock().rows_until_crash = rows;
    }

    /// Keeps the newest `positions` off stable storage.
    pub fn keep_from_disk(&self, positions: u64) {
        self.0.lock().not_durable = positions;
    }

    /// Lets the next flush fail, and only that one, as a disk may.
    pub fn fail_next_flush(&self) {
        self.0.lock().flush_fails = true;
    }

    /// Sets whether it is full.
    pub fn set_full(&self, full: bool) {
        self.0.lock().full = full;
    }
}

impl Archive for MemoryArchive {
    fn applied(&self, partition: Partition) -> Result<Applied, ArchiveError> {
        Ok(self.0.lock().applied.get(&partition).cloned().unwrap_or_default())
    }

    fn head(&self, room: &RoomName) -> Result<Option<Head>, ArchiveError> {
        Ok(self.0.lock().heads.get(room).copied())
    }

    fn page(
        &self,
        room: &RoomName,
        first: Slot,
        end: Slot,
        bytes: usize,
        keep: Keep,
    ) -> Result<Vec<Stored>, ArchiveError> {
        let state = self.0.lock();
        let before =
            first.checked_sub(1).map(|slot| (slot, state.entries.get(&(room.clone(), slot))));
        let mut digest = match before {
            None => Digest::start(room),
            Some((_, Some(stored))) => stored.digest,
            Some((slot, None)) => return Err(damaged(room, slot, "missing")),
        };
        let mut page = Vec::new();
        for slot in first..end {
            let stored = state.entries.get(&(room.clone(), slot));
            let stored = stored.ok_or_else(|| damaged(room, slot, "missing"))?;
            digest = digest.then(&stored.entry);
            if digest != stored.digest {
                return Err(damaged(room, slot, "breaks the digest chain"));
            }
            page.push(stored.clone());
        }
        Ok(clip(page, bytes, keep))
    }

    fn find(&self, keys: &[IdKey]) -> Result<Vec<Option<Known>>, ArchiveError> {
        let state = self.0.lock();
        let known = |key: &IdKey| {
            let slot = *state.ids.get(key)?;
            let entry = &state.entries.get(&(key.room.clone(), slot))?.entry;
            let original = Original::of_entry(entry);
            Some(Known { slot, committed_at: entry.committed_at, original })
        };
        Ok(keys.iter().map(known).collect())
    }

    fn rooms(
        &self,
        range: &RoomRange,
        limit: usize,
    ) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
        let state = self.0.lock();
        let rooms = state.heads.range::<str, _>((Included(&*range.from), Excluded(&*range.to)));
        Ok(rooms.take(limit).map(|(name, head)| (name.clone(), *head)).collect())
    }

    fn room_count(&self) -> Result<u64, ArchiveError> {
        Ok(self.0.lock().heads.len() as u64)
    }

    fn fold(&self, window: &Window) -> Result<Option<u64>, ArchiveError> {
        let state = &mut *self.0.lock();
        for commit in &window.commits {
            for stored in &commit.entries {
                if state.full {
                    return Err(ArchiveError::NoRoom("set full by the test".into()));
                }
                match &mut state.rows_until_crash {
                    Some(0) => return Err(ArchiveError::Failed("a crash inside a fold".into())),
                    Some(rows) => *rows -= 1,
                    None => {}
                }
                let (room, entry) = (commit.room.clone(), &stored.entry);
                let (author, id) = (entry.author.clone(), entry.id.clone());
                let there = state.entries.entry((room.clone(), entry.slot));
                let there = there.or_insert_with(|| stored.clone());
                let redacted = |stored: &Stored| {
                    let mut stored = stored.clone();
                    stored.entry.redact();
                    stored
                };
                let is_redacted = stored.entry.content.is_redacted();
                let is_same =
                    if is_redacted { redacted(there) == *stored } else { there == stored };
                if !is_same && *there != redacted(stored) {
                    return Err(damaged(&room, entry.slot, "another entry has that slot"));
                }
                let slot = state.ids.entry(IdKey { room: room.clone(), author, id });
                if *slot.or_insert(entry.slot) != entry.slot {
                    return Err(damaged(&room, entry.slot, "its id is at another slot"));
                }
            }
        }
        let mut oldest = None;
        for commit in &window.commits {
            for removal in &commit.removes {
                for slot in removal.slots() {
                    let there = state.entries.get_mut(&(commit.room.clone(), slot));
                    let there = there.ok_or_else(|| damaged(&commit.room, slot, "missing"))?;
                    if removal.covers(&there.entry) && !there.entry.content.is_redacted() {
                        let at = there.entry.committed_at;
                        oldest = Some(oldest.map_or(at, |oldest: u64| oldest.min(at)));
                        there.entry.redact();
                    }
                }
            }
            state.heads.insert(commit.room.clone(), commit.head());
        }
        state.applied.insert(window.partition, window.applied.clone());
        Ok(oldest)
    }

    fn make_durable(&self, partition: Partition) -> Result<Position, ArchiveError> {
        if std::mem::take(&mut self.0.lock().flush_fails) {
            return Err(ArchiveError::Failed("the flush failed".into()));
        }
        let applied = self.applied(partition)?.position;
        Ok(Position(applied.0.saturating_sub(self.0.lock().not_durable)))
    }

    fn wipe(&self) -> Result<bool, ArchiveError> {
        Ok(true)
    }
}

fn damaged(room: &RoomName, slot: Slot, problem: &str) -> ArchiveError {
    ArchiveError::Damaged { room: room.clone(), slot, problem: problem.into() }
}

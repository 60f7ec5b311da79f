//! A fold: writes a window of applied entries.
//!
//! ```text
//!  numbers of new rooms ─► runs, room by room ─► a segment of ids ─► heads, state: it counts
//!  └ one transaction ──┘   └ hundreds to thousands of rows each ─┘   └ the last transaction ┘
//! ```
//!
//! Invariants: heads, `applied` and the segment of ids count from the last transaction on; a slot
//! that is present must hold the same entry, or it redacted, so a fold can be repeated; an id is at one
//! slot.

use std::{collections::BTreeMap, sync::Arc};

use roomlog_core::{
    archive::{ArchiveError, Window},
    head::Head,
    proposal::Stored,
    removals::Removals,
};
use roomlog_protocol::RoomName;
use rusqlite::{Connection, Transaction};

use super::{
    entries::Runs,
    ids::{self, IdAt, Ids, Segment, SegmentBuilder, Upkeep},
    pace::Pace,
    rooms::{self, Room},
    run::RUN_ENTRIES,
    sql::{damaged_at, failed, key, number_of, slot_of},
    state::State,
};

/// How many bits of an id's hash choose the share in which it is sorted.
const SHARE_BITS: u32 = 6;

pub(super) struct FoldWriter {
    pub(super) connection: Connection,
    pub(super) state: State,
    pub(super) upkeep: Upkeep,
}

/// A room of the window.
struct Part<'a> {
    name: &'a RoomName,
    room: Room,
    entries: Vec<&'a Stored>,
    removals: Removals,
    head: Head,
}

impl Part<'_> {
    fn runs<'a>(&'a self, connection: &'a Connection) -> Runs<'a> {
        Runs { connection, room: self.name, number: self.room.number }
    }
}

pub(super) fn fold(
    writer: &mut FoldWriter,
    ids: &Ids,
    window: &Window,
) -> Result<Option<u64>, ArchiveError> {
    let pace = &Pace::of(window);
    // Without space even for deletions, the fold itself may still find some.
    unless_full(writer.upkeep.sweep(&writer.connection, pace))?;
    let parts = parts(&mut writer.connection, &mut writer.state, window, pace)?;
    let oldest = put_entries(&writer.connection, &parts, pace)?;
    let new = new_ids(&writer.connection, &ids.segments(), &parts, pace)?;
    let number = writer.upkeep.number();
    let added = new.len() as u64;
    let folded = finish(writer, ids, window, &parts, (number, &new));
    folded.inspect_err(|_| writer.upkeep.discard(number))?;
    // The window counts already; the next fold does the rest of the upkeep.
    unless_full(writer.upkeep.work(&mut writer.connection, &mut writer.state, ids, added, pace))?;
    Ok(oldest)
}

fn unless_full(result: Result<(), ArchiveError>) -> Result<(), ArchiveError> {
    match result {
        Err(ArchiveError::NoRoom(_)) => Ok(()),
        result => result,
    }
}

/// The window, room by room. New rooms get a number, but no entries until the fold is complete.
fn parts<'a>(
    connection: &mut Connection,
    state: &mut State,
    window: &'a Window,
    pace: &Pace,
) -> Result<Vec<Part<'a>>, ArchiveError> {
    let mut of_room: BTreeMap<&RoomName, (Vec<&Stored>, Removals, Head)> = BTreeMap::new();
    let mut way = pace.yielder();
    for commit in &window.commits {
        let (entries, removals, head) = of_room
            .entry(&commit.room)
            .or_insert_with(|| (Vec::new(), Removals::default(), commit.head()));
        entries.extend(&commit.entries);
        commit.removes.iter().for_each(|removal| removals.add(removal));
        *head = commit.head();
        way.after_piece();
    }
    let transaction = connection.transaction().map_err(failed)?;
    let (mut after, mut parts) = (state.clone(), Vec::with_capacity(of_room.len()));
    for (name, (entries, removals, head)) in of_room {
        let room = match rooms::room(&transaction, name)? {
            Some(room) => room,
            None => {
                after.rooms += 1;
                let room = Room { number: after.rooms, head: Head::empty(name) };
                rooms::put(&transaction, &mut after, name, None, &room)?;
                room
            }
        };
        parts.push(Part { name, room, entries, removals, head });
        way.after_piece();
    }
    if after != *state {
        after.write(&transaction)?;
    }
    transaction.commit().map_err(failed)?;
    *state = after;
    // In the order of keys, so that each page of the file is touched once.
    parts.sort_unstable_by_key(|part| part.room.number);
    Ok(parts)
}

/// Returns `committed_at` of the oldest entry that lost its text.
fn put_entries(
    connection: &Connection,
    parts: &[Part<'_>],
    pace: &Pace,
) -> Result<Option<u64>, ArchiveError> {
    let mut batch = Batch::begin(connection, pace)?;
    for part in parts {
        for entries in part.entries.chunks(pace.now().rows) {
            part.runs(connection).extend(entries, pace)?;
            batch = batch.wrote(entries.len())?;
        }
    }
    // Behind the entries: a window may hold both a removal and what it removes.
    let mut oldest: Option<u64> = None;
    for part in parts {
        for mut span in part.removals.slots() {
            while !span.is_empty() {
                let (next, first) = part.runs(connection).remove(&span, &part.removals)?;
                oldest = oldest.into_iter().chain(first).min();
                span = next..=*span.end();
                batch = batch.wrote(RUN_ENTRIES)?;
                pace.yield_now();
            }
        }
    }
    batch.commit()?;
    Ok(oldest)
}

/// The ids of the window that the archive does not have yet, in the order of their hashes.
fn new_ids(
    connection: &Connection,
    segments: &[Arc<Segment>],
    parts: &[Part<'_>],
    pace: &Pace,
) -> Result<Vec<IdAt>, ArchiveError> {
    // By the first bits of their hashes, so that no sort takes long.
    let mut shares: Vec<Vec<_>> = (0..1 << SHARE_BITS).map(|_| Vec::new()).collect();
    let mut way = pace.yielder();
    for (part, entries) in parts
        .iter()
        .flat_map(|part| part.entries.chunks(pace.now().rows).map(move |entries| (part, entries)))
    {
        for stored in entries {
            let hash = ids::hash(part.name, &stored.entry.author, &stored.entry.id);
            let at = key(part.room.number, stored.entry.slot);
            let mut is_there = false;
            for there in ids::entries_of(connection, segments, hash)? {
                is_there |= there == at;
                must_be_another(connection, part, stored, at, there)?;
            }
            if !is_there {
                let share = hash >> (u64::BITS - SHARE_BITS);
                shares[usize::try_from(share).unwrap_or(0)].push((hash, at, part, *stored));
            }
            way.after_piece();
        }
        if entries.len() == pace.now().rows {
            pace.pause();
        }
    }
    let mut new = Vec::new();
    for mut share in shares {
        share.sort_unstable_by_key(|(hash, at, ..)| (*hash, *at));
        for pair in share.windows(2) {
            if let [(hash, there, ..), (same, at, part, stored)] = pair
                && hash == same
            {
                must_be_another(connection, part, stored, *at, *there)?;
            }
        }
        new.extend(share.into_iter().map(|(hash, at, ..)| (hash, at)));
        pace.yield_now();
    }
    Ok(new)
}

/// Refuses an entry whose id another entry of its room has: apply should have detected it.
fn must_be_another(
    connection: &Connection,
    part: &Part<'_>,
    stored: &Stored,
    at: i64,
    there: i64,
) -> Result<(), ArchiveError> {
    if there == at || number_of(there) != part.room.number {
        return Ok(());
    }
    let slot = slot_of(there);
    let other = part.runs(connection).entry(slot)?.entry;
    if (&other.author, &other.id) != (&stored.entry.author, &stored.entry.id) {
        return Ok(());
    }
    let problem = format!("its id is at slot {slot} of the archive already");
    Err(damaged_at(part.name, stored.entry.slot, problem))
}

/// Writes the ids and, in the last transaction, what makes the window count.
fn finish(
    writer: &mut FoldWriter,
    ids: &Ids,
    window: &Window,
    parts: &[Part<'_>],
    (number, new): (i64, &[IdAt]),
) -> Result<(), ArchiveError> {
    let pace = &Pace::of(window);
    let connection = &writer.connection;
    let mut batch = Batch::begin(connection, pace)?;
    let mut segment = SegmentBuilder::new(number, new.len() as u64);
    let mut way = pace.yielder();
    for ids in new.chunks(pace.now().rows) {
        for id in ids {
            segment.push(connection, *id)?;
            way.after_piece();
        }
        batch = batch.wrote(ids.len())?;
    }
    let mut segments = ids.segments().to_vec();
    let mut after = writer.state.clone();
    if !new.is_empty() {
        while !segment.close(connection)? {
            batch = batch.wrote(pace.now().rows)?;
        }
        segments.push(segment.finish());
        after.segments = segments.iter().map(|segment| segment.form).collect();
    }
    for Part { name, room, head, .. } in parts {
        let moved = Room { head: *head, ..*room };
        rooms::put(connection, &mut after, name, Some(room), &moved)?;
        way.after_piece();
    }
    after.set_applied(window.partition, &window.applied);
    after.write(connection)?;
    batch.commit()?;
    writer.state = after;
    ids.replace(segments);
    Ok(())
}

/// One transaction after another on a connection, each of a bounded number of rows.
struct Batch<'a> {
    connection: &'a Connection,
    transaction: Transaction<'a>,
    rows: usize,
    pace: &'a Pace,
}

impl<'a> Batch<'a> {
    fn begin(connection: &'a Connection, pace: &'a Pace) -> Result<Self, ArchiveError> {
        let transaction = connection.unchecked_transaction().map_err(failed)?;
        Ok(Self { connection, transaction, rows: 0, pace })
    }

    /// Counts rows that were written; commits and pauses when they are enough.
    fn wrote(mut self, rows: usize) -> Result<Self, ArchiveError> {
        self.rows += rows;
        if self.rows < self.pace.now().rows {
            return Ok(self);
        }
        let (connection, pace) = (self.connection, self.pace);
        self.commit()?;
        pace.pause();
        Self::begin(connection, pace)
    }

    fn commit(self) -> Result<(), ArchiveError> {
        self.transaction.commit().map_err(failed)
    }
}

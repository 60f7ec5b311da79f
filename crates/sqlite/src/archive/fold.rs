//! A fold: a window of applied entries becomes rows.
//!
//! ```text
//!  rooms that are new get a number ─► runs, room by room ─► a segment of ids ─► heads, state: it counts
//!  └ a transaction ┘                  └ some thousand entries, or ids, a transaction ┘ └ the last one ┘
//! ```
//!
//! Enters: a window. Leaves: nothing; the archive has it. Invariants: heads, `applied` and the segment
//! of ids count from the last transaction on; a slot that is there already must hold the same entry,
//! which is how a fold that a crash cut off is done again; an id is at one slot.

use std::{collections::BTreeMap, sync::Arc};

use roomlog_core::{
    archive::{ArchiveError, Window},
    give_way::{self, GiveWay},
    head::Head,
    proposal::Stored,
};
use roomlog_protocol::RoomName;
use rusqlite::{Connection, Transaction};

use super::{
    Writer, entries, failed,
    ids::{self, Build, IdAt, Ids, Segment},
    key,
    pace::Pace,
    rooms::{self, Room},
    run::damaged,
    state::State,
};

/// How many bits of its hash say in which share an id is sorted.
const SHARE_BITS: u32 = 6;

/// A room of the window.
struct Part<'a> {
    name: &'a RoomName,
    room: Room,
    entries: Vec<&'a Stored>,
    head: Head,
}

/// Takes a window in.
pub(super) fn fold(writer: &mut Writer, ids: &Ids, window: &Window) -> Result<(), ArchiveError> {
    let pace = &Pace::of(window);
    make_room(writer, pace)?;
    let parts = parts(&mut writer.connection, &mut writer.state, window)?;
    put_entries(&writer.connection, &parts, pace)?;
    let new = new_ids(&writer.connection, &ids.segments(), &parts, pace)?;
    let number = writer.upkeep.number();
    let added = new.len() as u64;
    let folded = finish(writer, ids, window, &parts, (number, &new));
    folded.inspect_err(|_| writer.upkeep.discard(number))?;
    match writer.upkeep.work(&mut writer.connection, &mut writer.state, ids, added, pace) {
        // The window is in and counts; the next one does what was left.
        Err(ArchiveError::NoRoom(_)) => Ok(()),
        worked => worked,
    }
}

/// Lets go of some of what nobody reads. Without room even for that, what is to be written may still find
/// some.
fn make_room(writer: &mut Writer, pace: &Pace) -> Result<(), ArchiveError> {
    match writer.upkeep.sweep(&writer.connection, pace) {
        Err(ArchiveError::NoRoom(_)) => Ok(()),
        swept => swept,
    }
}

/// The window, room by room; new rooms get a number, with an empty log until the fold is done.
fn parts<'a>(
    connection: &mut Connection,
    state: &mut State,
    window: &'a Window,
) -> Result<Vec<Part<'a>>, ArchiveError> {
    let mut of_room: BTreeMap<&RoomName, (Vec<&Stored>, Head)> = BTreeMap::new();
    let mut way = GiveWay::default();
    for commit in &window.commits {
        let (entries, head) =
            of_room.entry(&commit.room).or_insert_with(|| (Vec::new(), commit.head()));
        entries.extend(&commit.entries);
        *head = commit.head();
        way.after_piece();
    }
    let transaction = connection.transaction().map_err(|error| failed(&error))?;
    let (mut after, mut parts) = (state.clone(), Vec::with_capacity(of_room.len()));
    for (name, (entries, head)) in of_room {
        let room = match rooms::room(&transaction, name)? {
            Some(room) => room,
            None => {
                after.rooms += 1;
                let room = Room { number: after.rooms, head: Head::empty(name) };
                rooms::put(&transaction, &mut after, name, None, &room)?;
                room
            }
        };
        parts.push(Part { name, room, entries, head });
        way.after_piece();
    }
    if after != *state {
        after.write(&transaction)?;
    }
    transaction.commit().map_err(|error| failed(&error))?;
    *state = after;
    // In the order of the keys, so that pages of the file are touched once.
    parts.sort_unstable_by_key(|part| part.room.number);
    Ok(parts)
}

fn put_entries(
    connection: &Connection,
    parts: &[Part<'_>],
    pace: &Pace,
) -> Result<(), ArchiveError> {
    let mut transaction = Steps::begin(connection, pace)?;
    for Part { name, room, entries, .. } in parts {
        for entries in entries.chunks(pace.rows()) {
            entries::extend(transaction.connection(), name, room.number, entries)?;
            transaction = transaction.step(entries.len())?;
        }
    }
    transaction.commit()
}

/// Those ids of the window that the archive does not have yet, in the order of their hashes.
fn new_ids(
    connection: &Connection,
    segments: &[Arc<Segment>],
    parts: &[Part<'_>],
    pace: &Pace,
) -> Result<Vec<IdAt>, ArchiveError> {
    // By the first bits of their hashes, so that each share is sorted in a short time.
    let mut shares: Vec<Vec<_>> = (0..1 << SHARE_BITS).map(|_| Vec::new()).collect();
    let mut way = GiveWay::default();
    for (part, entries) in parts
        .iter()
        .flat_map(|part| part.entries.chunks(pace.rows()).map(move |entries| (part, entries)))
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
        if entries.len() == pace.rows() {
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
        give_way::now();
    }
    Ok(new)
}

/// Refuses an entry whose id another entry of its room has: apply should have known.
fn must_be_another(
    connection: &Connection,
    part: &Part<'_>,
    stored: &Stored,
    at: i64,
    there: i64,
) -> Result<(), ArchiveError> {
    if there == at || super::number_of(there) != part.room.number {
        return Ok(());
    }
    let slot = super::slot_of(there);
    let other = entries::entry(connection, part.name, part.room.number, slot)?.entry;
    if (&other.author, &other.id) != (&stored.entry.author, &stored.entry.id) {
        return Ok(());
    }
    let problem = format!("its id is at slot {slot} of the archive already");
    Err(damaged(part.name, stored.entry.slot, problem))
}

/// Writes the ids, and in the last transaction what makes the window count.
fn finish(
    writer: &mut Writer,
    ids: &Ids,
    window: &Window,
    parts: &[Part<'_>],
    (number, new): (i64, &[IdAt]),
) -> Result<(), ArchiveError> {
    let pace = &Pace::of(window);
    let mut transaction = Steps::begin(&writer.connection, pace)?;
    let mut build = Build::new(number, new.len() as u64);
    let mut way = GiveWay::default();
    for ids in new.chunks(pace.rows()) {
        for id in ids {
            build.push(transaction.connection(), *id)?;
            way.after_piece();
        }
        transaction = transaction.step(ids.len())?;
    }
    let mut segments = ids.segments().to_vec();
    let mut after = writer.state.clone();
    if !new.is_empty() {
        while !build.close(transaction.connection())? {
            transaction = transaction.step(pace.rows())?;
        }
        segments.push(build.segment());
        after.segments = segments.iter().map(|segment| segment.form()).collect();
    }
    for Part { name, room, head, .. } in parts {
        let moved = Room { head: *head, ..*room };
        rooms::put(transaction.connection(), &mut after, name, Some(room), &moved)?;
        way.after_piece();
    }
    after.set_applied(window.partition, &window.applied);
    after.write(transaction.connection())?;
    transaction.commit()?;
    writer.state = after;
    ids.replace(segments);
    Ok(())
}

/// One transaction after another, none of them long.
struct Steps<'a> {
    connection: &'a Connection,
    transaction: Transaction<'a>,
    rows: usize,
    pace: &'a Pace,
}

impl<'a> Steps<'a> {
    fn begin(connection: &'a Connection, pace: &'a Pace) -> Result<Self, ArchiveError> {
        let transaction = connection.unchecked_transaction().map_err(|error| failed(&error))?;
        Ok(Self { connection, transaction, rows: 0, pace })
    }

    fn connection(&self) -> &Connection {
        &self.transaction
    }

    /// Notes that so many entries, or ids, were written; commits when they are enough.
    fn step(mut self, rows: usize) -> Result<Self, ArchiveError> {
        self.rows += rows;
        if self.rows < self.pace.rows() {
            return Ok(self);
        }
        let (connection, pace) = (self.connection, self.pace);
        self.commit()?;
        pace.pause();
        Self::begin(connection, pace)
    }

    fn commit(self) -> Result<(), ArchiveError> {
        self.transaction.commit().map_err(|error| failed(&error))
    }
}

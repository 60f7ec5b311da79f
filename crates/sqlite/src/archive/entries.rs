//! The entries of rooms, as runs: read as pages, and made longer by a fold.
//!
//! Enters: a connection inside a transaction, a room by name and number. Leaves: entries whose digests
//! were checked, or rows. Invariants: the runs of a room follow each other without a hole; a slot that
//! is there is never written again, but compared.

use std::ops::Range;

use roomlog_core::{
    archive::{ArchiveError, Keep},
    give_way,
    proposal::Stored,
};
use roomlog_protocol::{Digest, RoomName, Slot};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    failed, key, number_of,
    run::{self, Run, damaged},
    slot_of,
};
use crate::sql;

const MISSING: &str = "the entry is missing";

/// The run in a row, when it is one of the room's.
fn run_in<'a>(
    room: &RoomName,
    number: i64,
    key: i64,
    bytes: &'a [u8],
) -> Result<Option<Run<'a>>, ArchiveError> {
    if number_of(key) != number {
        return Ok(None);
    }
    let first = slot_of(key);
    Run::read(bytes, number, first).map(Some).map_err(|problem| damaged(room, first, problem))
}

fn row_of(row: &Row<'_>) -> rusqlite::Result<(i64, Vec<u8>)> {
    Ok((row.get(0)?, row.get(1)?))
}

/// The row of the run that holds a slot, when one does; else of the one before it, of any room.
fn row_at(connection: &Connection, key: i64) -> Result<Option<(i64, Vec<u8>)>, ArchiveError> {
    let read = || connection.prepare_cached(sql::RUN_AT)?.query_row([key], row_of).optional();
    read().map_err(|error| failed(&error))
}

/// One entry.
pub(super) fn entry(
    connection: &Connection,
    room: &RoomName,
    number: i64,
    slot: Slot,
) -> Result<Stored, ArchiveError> {
    let row = row_at(connection, key(number, slot))?;
    let run = match &row {
        Some((key, bytes)) => run_in(room, number, *key, bytes)?,
        None => None,
    };
    let run = run.ok_or_else(|| damaged(room, slot, MISSING))?;
    run.entry(slot).map_err(|problem| damaged(room, slot, problem))
}

/// A page of entries, each of which has the digest that follows from the one before it.
pub(super) fn page(
    connection: &Connection,
    room: &RoomName,
    number: i64,
    span: Range<Slot>,
    bytes: usize,
    keep: Keep,
) -> Result<Vec<Stored>, ArchiveError> {
    let mut page = Page { room, span, bytes, sum: 0, entries: Vec::new(), link: None };
    let query = if keep == Keep::Oldest { sql::RUNS_FROM } else { sql::RUNS_BEFORE };
    let mut statement = connection.prepare_cached(query).map_err(|error| failed(&error))?;
    let bounds = [key(number, page.span.start), key(number, page.span.end)];
    let mut rows = statement.query(bounds).map_err(|error| failed(&error))?;
    while !page.is_done() {
        let next = page.next(keep);
        let row = rows.next().map_err(|error| failed(&error))?;
        let row = row.ok_or_else(|| damaged(room, next, MISSING))?;
        let key: i64 = row.get(0).map_err(|error| failed(&error))?;
        let blob = row.get_ref(1).and_then(|value| Ok(value.as_blob()?));
        let blob = blob.map_err(|error| failed(&error))?;
        let run = run_in(room, number, key, blob)?.ok_or_else(|| damaged(room, next, MISSING))?;
        match keep {
            Keep::Oldest => page.take_oldest(&run)?,
            Keep::Newest => page.take_newest(&run)?,
        }
    }
    if keep == Keep::Newest {
        page.entries.reverse();
    }
    Ok(page.entries)
}

/// A page that is being read: what is left of its span, and what was taken.
struct Page<'a> {
    room: &'a RoomName,
    span: Range<Slot>,
    bytes: usize,
    sum: usize,
    entries: Vec<Stored>,
    /// The digest between the last run read and the next one.
    link: Option<Digest>,
}

impl Page<'_> {
    fn is_done(&self) -> bool {
        self.span.is_empty()
    }

    fn next(&self, keep: Keep) -> Slot {
        if keep == Keep::Oldest { self.span.start } else { self.span.end - 1 }
    }

    fn take_oldest(&mut self, run: &Run<'_>) -> Result<(), ArchiveError> {
        let next = self.span.start;
        self.must_link(run.before(), next == run.first(), next)?;
        self.link = Some(run.digest().map_err(|problem| damaged(self.room, next, problem))?);
        // At least the next slot, which the run may not have.
        for slot in next..self.span.end.min(run.end().max(next + 1)) {
            if !self.take(run, slot)? {
                return Ok(());
            }
            self.span.start = slot + 1;
        }
        Ok(())
    }

    fn take_newest(&mut self, run: &Run<'_>) -> Result<(), ArchiveError> {
        let last = self.span.end - 1;
        let digest = run.digest().map_err(|problem| damaged(self.room, last, problem))?;
        self.must_link(digest, last + 1 == run.end(), last)?;
        self.link = Some(run.before());
        for slot in (self.span.start.max(run.first().min(last))..=last).rev() {
            if !self.take(run, slot)? {
                return Ok(());
            }
            self.span.end = slot;
        }
        Ok(())
    }

    /// Whether a run is the neighbour of the one that was read before it.
    fn must_link(&self, digest: Digest, is_next: bool, slot: Slot) -> Result<(), ArchiveError> {
        match self.link {
            Some(link) if !is_next || link != digest => {
                Err(damaged(self.room, slot, "its run does not follow from the one beside it"))
            }
            _ => Ok(()),
        }
    }

    /// Takes an entry; `false`, and the page is done, when it is full.
    fn take(&mut self, run: &Run<'_>, slot: Slot) -> Result<bool, ArchiveError> {
        let stored = run.entry(slot).map_err(|problem| damaged(self.room, slot, problem))?;
        self.sum += stored.text_bytes();
        if self.sum > self.bytes && !self.entries.is_empty() {
            self.span.end = self.span.start;
            return Ok(false);
        }
        self.entries.push(stored);
        Ok(true)
    }
}

/// Makes a room longer by consecutive entries. Those that are there already are compared.
pub(super) fn extend(
    connection: &Connection,
    room: &RoomName,
    number: i64,
    entries: &[&Stored],
) -> Result<(), ArchiveError> {
    let mut rest = entries;
    while let Some(next) = rest.first() {
        let slot = next.entry.slot;
        let row = row_at(connection, key(number, slot))?;
        let run = match &row {
            Some((key, bytes)) => run_in(room, number, *key, bytes)?,
            None => None,
        };
        rest = match run {
            Some(run) if run.end() > slot => compare(room, &run, rest)?,
            Some(run) if run.end() == slot => {
                let digest = run.digest().map_err(|problem| damaged(room, slot, problem))?;
                must_chain(room, digest, next)?;
                if run.is_open() {
                    put(
                        connection,
                        sql::SET_RUN,
                        run::Writer::after(number, &run),
                        number,
                        run.first(),
                        rest,
                    )?
                    .0
                } else {
                    append(connection, number, digest, rest)?
                }
            }
            None if slot == 0 => {
                let start = Digest::start(room);
                must_chain(room, start, next)?;
                append(connection, number, start, rest)?
            }
            _ => return Err(damaged(room, slot.saturating_sub(1), MISSING)),
        };
    }
    Ok(())
}

/// Lets go of all from a slot of a room on: what a fold that did not come to its end has left.
pub(super) fn cut(
    connection: &Connection,
    room: &RoomName,
    number: i64,
    end: Slot,
) -> Result<(), ArchiveError> {
    let drop = [key(number, end), key(number + 1, 0)];
    let drop = || connection.prepare_cached(sql::DROP_RUNS)?.execute(drop);
    drop().map_err(|error| failed(&error))?;
    let Some(last) = end.checked_sub(1) else { return Ok(()) };
    let row = row_at(connection, key(number, last))?;
    let run = match &row {
        Some((key, bytes)) => run_in(room, number, *key, bytes)?,
        None => None,
    };
    let run = run.ok_or_else(|| damaged(room, last, MISSING))?;
    if run.end() > end {
        let row = params![key(number, run.first()), run::Writer::before(number, &run, end).bytes()];
        let write = || connection.prepare_cached(sql::SET_RUN)?.execute(row);
        write().map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn must_chain(room: &RoomName, before: Digest, next: &Stored) -> Result<(), ArchiveError> {
    if before.then(&next.entry) == next.digest {
        return Ok(());
    }
    Err(damaged(room, next.entry.slot, "it does not follow from what the archive has before it"))
}

/// Passes over those of the entries that a run holds; they must be the same.
fn compare<'a>(
    room: &RoomName,
    run: &Run<'_>,
    entries: &'a [&'a Stored],
) -> Result<&'a [&'a Stored], ArchiveError> {
    let held = entries.iter().take_while(|stored| stored.entry.slot < run.end());
    let mut count = 0;
    for stored in held {
        if !run.holds(stored) {
            let problem = "the archive and the journal have different entries";
            return Err(damaged(room, stored.entry.slot, problem));
        }
        count += 1;
    }
    Ok(&entries[count..])
}

/// Writes new runs until the entries are in, or a run is there already: it is looked at next.
fn append<'a>(
    connection: &Connection,
    number: i64,
    mut before: Digest,
    mut entries: &'a [&'a Stored],
) -> Result<&'a [&'a Stored], ArchiveError> {
    while let Some(next) = entries.first() {
        let slot = next.entry.slot;
        let writer = run::Writer::new(number, slot, before);
        let (rest, written) = put(connection, sql::MAKE_RUN, writer, number, slot, entries)?;
        if !written {
            return Ok(entries);
        }
        if let Some(last) = entries[..entries.len() - rest.len()].last() {
            before = last.digest;
        }
        entries = rest;
    }
    Ok(entries)
}

/// Fills a run and writes it; gives what did not go in, and whether the row was written.
fn put<'a>(
    connection: &Connection,
    statement: &str,
    mut writer: run::Writer,
    number: i64,
    first: Slot,
    entries: &'a [&'a Stored],
) -> Result<(&'a [&'a Stored], bool), ArchiveError> {
    let rest = writer.fill(entries);
    let row = params![key(number, first), writer.bytes()];
    let write = || connection.prepare_cached(statement)?.execute(row);
    let written = write().map_err(|error| failed(&error))?;
    give_way::now();
    Ok((rest, written == 1))
}

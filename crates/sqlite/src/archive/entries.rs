//! The entries of a room, as runs: read as pages, and extended by a fold.
//!
//! Enters: a connection inside a transaction, a room. Leaves: entries whose digests were checked,
//! or rows. Invariants: the runs of a room follow each other without a gap; a slot that is present
//! is written again only to redact it, and otherwise compared.

use std::ops::{Range, RangeInclusive};

use roomlog_core::{
    archive::{ArchiveError, Keep},
    proposal::Stored,
    removals::Removals,
};
use roomlog_protocol::{Digest, RoomName, Slot};
use rusqlite::Connection;

use super::{
    checked::CheckedRuns,
    pace::Pace,
    run::{Run, RunBuilder},
    sql::{self, damaged_at, failed, key, number_of, slot_of},
};

const MISSING: &str = "the entry is missing";

/// The key and the bytes of a run.
type RunRow = (i64, Vec<u8>);

#[derive(Clone, Copy)]
pub(super) struct Runs<'a> {
    pub(super) connection: &'a Connection,
    pub(super) room: &'a RoomName,
    pub(super) number: i64,
}

impl Runs<'_> {
    fn damaged(&self, slot: Slot, problem: impl Into<String>) -> ArchiveError {
        damaged_at(self.room, slot, problem)
    }

    /// The run that holds a slot, or the one before it, of any room.
    fn row_at(&self, slot: Slot) -> Result<Option<RunRow>, ArchiveError> {
        let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        sql::find(self.connection, sql::RUN_AT, [key(self.number, slot)], columns)
    }

    /// Reads a run; `None` if it is of another room.
    fn run<'a>(&self, key: i64, bytes: &'a [u8]) -> Result<Option<Run<'a>>, ArchiveError> {
        if number_of(key) != self.number {
            return Ok(None);
        }
        let first = slot_of(key);
        let run = Run::read(bytes, self.number, first);
        run.map(Some).map_err(|problem| self.damaged(first, problem))
    }

    fn run_in<'a>(&self, row: &'a Option<RunRow>) -> Result<Option<Run<'a>>, ArchiveError> {
        row.as_ref().map_or(Ok(None), |(key, bytes)| self.run(*key, bytes))
    }

    pub(super) fn entry(&self, slot: Slot) -> Result<Stored, ArchiveError> {
        let row = self.row_at(slot)?;
        let run = self.run_in(&row)?.ok_or_else(|| self.damaged(slot, MISSING))?;
        run.entry(slot).map_err(|problem| self.damaged(slot, problem))
    }

    /// The entries of a span, up to `bytes` of text, from the end that `keep` names; at least one.
    pub(super) fn page(
        &self,
        checked: &CheckedRuns,
        span: Range<Slot>,
        bytes: usize,
        keep: Keep,
    ) -> Result<Vec<Stored>, ArchiveError> {
        let mut page = Page {
            runs: *self,
            span,
            bytes,
            sum: 0,
            entries: Vec::new(),
            link: None,
            is_intact: false,
        };
        let query = if keep == Keep::Oldest { sql::RUNS_FROM } else { sql::RUNS_BEFORE };
        let mut statement = self.connection.prepare_cached(query).map_err(failed)?;
        let bounds = [key(self.number, page.span.start), key(self.number, page.span.end)];
        let mut rows = statement.query(bounds).map_err(failed)?;
        while !page.span.is_empty() {
            let next = if keep == Keep::Oldest { page.span.start } else { page.span.end - 1 };
            let missing = || self.damaged(next, MISSING);
            let row = rows.next().map_err(failed)?.ok_or_else(missing)?;
            let key: i64 = row.get(0).map_err(failed)?;
            let bytes = row.get_ref(1).and_then(|value| Ok(value.as_blob()?)).map_err(failed)?;
            let run = self.run(key, bytes)?.ok_or_else(missing)?;
            let left = usize::try_from(page.span.end - page.span.start).unwrap_or(usize::MAX);
            page.is_intact = checked.is_intact(&run, bytes, left);
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

    /// Appends consecutive entries to the room; those that are present are compared.
    pub(super) fn extend(&self, entries: &[&Stored], pace: &Pace) -> Result<(), ArchiveError> {
        let mut rest = entries;
        while let Some(next) = rest.first() {
            let slot = next.entry.slot;
            let row = self.row_at(slot)?;
            rest = match self.run_in(&row)? {
                Some(run) if run.end() > slot => self.compare(&run, rest)?,
                Some(run) if run.end() == slot => {
                    let digest = run.digest().map_err(|problem| self.damaged(slot, problem))?;
                    self.must_chain(digest, next)?;
                    if run.is_open() {
                        self.put(sql::SET_RUN, RunBuilder::after(self.number, &run), rest, pace)?.0
                    } else {
                        self.append(digest, rest, pace)?
                    }
                }
                None if slot == 0 => {
                    let start = Digest::start(self.room);
                    self.must_chain(start, next)?;
                    self.append(start, rest, pace)?
                }
                _ => return Err(self.damaged(slot.saturating_sub(1), MISSING)),
            };
        }
        Ok(())
    }

    /// Removes the texts that `removals` cover in the run with the first slot of a span. Returns the slot
    /// after that run, and `committed_at` of the first entry that had one. The run is written once, and not
    /// if it has none of them.
    pub(super) fn remove(
        &self,
        span: &RangeInclusive<Slot>,
        removals: &Removals,
    ) -> Result<(Slot, Option<u64>), ArchiveError> {
        let first = *span.start();
        let row = self.row_at(first)?;
        let run = self.run_in(&row)?.filter(|run| first < run.end());
        let run = run.ok_or_else(|| self.damaged(first, MISSING))?;
        let without = RunBuilder::without(self.number, &run, (span, removals));
        let Some((without, oldest)) = without.map_err(|problem| self.damaged(first, problem))?
        else {
            return Ok((run.end(), None));
        };
        sql::execute(self.connection, sql::SET_RUN, without.row())?;
        Ok((run.end(), Some(oldest)))
    }

    /// Deletes everything from a slot on: what an interrupted fold left.
    pub(super) fn cut(&self, end: Slot) -> Result<(), ArchiveError> {
        let bounds = [key(self.number, end), key(self.number + 1, 0)];
        sql::execute(self.connection, sql::DROP_RUNS, bounds)?;
        let Some(last) = end.checked_sub(1) else { return Ok(()) };
        let row = self.row_at(last)?;
        let run = self.run_in(&row)?.ok_or_else(|| self.damaged(last, MISSING))?;
        if run.end() > end {
            let cut = RunBuilder::before(self.number, &run, end);
            sql::execute(self.connection, sql::SET_RUN, cut.row())?;
        }
        Ok(())
    }

    fn must_chain(&self, before: Digest, next: &Stored) -> Result<(), ArchiveError> {
        if before.then(&next.entry) == next.digest {
            return Ok(());
        }
        let problem = "it does not follow from what the archive has before it";
        Err(self.damaged(next.entry.slot, problem))
    }

    /// Compares the entries that a run holds, and returns the others.
    fn compare<'a>(
        &self,
        run: &Run<'_>,
        entries: &'a [&'a Stored],
    ) -> Result<&'a [&'a Stored], ArchiveError> {
        let count = entries.partition_point(|stored| stored.entry.slot < run.end());
        let (held, rest) = entries.split_at(count);
        match held.iter().find(|stored| !run.holds(stored)) {
            Some(other) => Err(self
                .damaged(other.entry.slot, "the archive and the journal have different entries")),
            None => Ok(rest),
        }
    }

    /// Writes new runs, up to the next run that is present; returns the entries from there.
    fn append<'a>(
        &self,
        mut before: Digest,
        mut entries: &'a [&'a Stored],
        pace: &Pace,
    ) -> Result<&'a [&'a Stored], ArchiveError> {
        while let Some(next) = entries.first() {
            let builder = RunBuilder::new(self.number, next.entry.slot, before);
            let (rest, written) = self.put(sql::MAKE_RUN, builder, entries, pace)?;
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

    /// Fills a run and writes it; returns the rest, and whether the row was written.
    fn put<'a>(
        &self,
        statement: &str,
        mut builder: RunBuilder,
        entries: &'a [&'a Stored],
        pace: &Pace,
    ) -> Result<(&'a [&'a Stored], bool), ArchiveError> {
        let rest = builder.fill(entries);
        let written = sql::execute(self.connection, statement, builder.row())?;
        pace.yield_now();
        Ok((rest, written == 1))
    }
}

/// A page that is being read: what is left of its span, and the entries so far.
struct Page<'a> {
    runs: Runs<'a>,
    span: Range<Slot>,
    bytes: usize,
    sum: usize,
    entries: Vec<Stored>,
    /// The digest between the last run read and the next one.
    link: Option<Digest>,
    /// All digests of the run that is read now were checked.
    is_intact: bool,
}

impl Page<'_> {
    fn take_oldest(&mut self, run: &Run<'_>) -> Result<(), ArchiveError> {
        let next = self.span.start;
        self.must_link(run.before, next == run.first, next)?;
        self.link = Some(run.digest().map_err(|problem| self.runs.damaged(next, problem))?);
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
        let digest = run.digest().map_err(|problem| self.runs.damaged(last, problem))?;
        self.must_link(digest, last + 1 == run.end(), last)?;
        self.link = Some(run.before);
        for slot in (self.span.start.max(run.first.min(last))..=last).rev() {
            if !self.take(run, slot)? {
                return Ok(());
            }
            self.span.end = slot;
        }
        Ok(())
    }

    /// Checks that a run is the neighbour of the one that was read before it.
    fn must_link(&self, digest: Digest, is_next: bool, slot: Slot) -> Result<(), ArchiveError> {
        match self.link {
            Some(link) if !is_next || link != digest => {
                let problem = "its run does not follow from the one beside it";
                Err(self.runs.damaged(slot, problem))
            }
            _ => Ok(()),
        }
    }

    /// Takes an entry; `false` if the page is full, which ends it.
    fn take(&mut self, run: &Run<'_>, slot: Slot) -> Result<bool, ArchiveError> {
        let stored = if self.is_intact { run.unchecked(slot) } else { run.entry(slot) };
        let stored = stored.map_err(|problem| self.runs.damaged(slot, problem))?;
        self.sum += stored.text_bytes();
        if self.sum > self.bytes && !self.entries.is_empty() {
            self.span.end = self.span.start;
            return Ok(false);
        }
        self.entries.push(stored);
        Ok(true)
    }
}

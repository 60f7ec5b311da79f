//! The upkeep of segments: few and large ones, made of many small ones a little at each fold.
//!
//! Enters: segments, as folds add them. Leaves: larger ones in their place, and no rows of those that
//! do not count any more. Invariants: an id is in exactly one segment that counts; the rows of a
//! segment go when nobody can look them up: neither the state names it nor a look-up holds it.
//! What a fold's upkeep costs is a fixed multiple of the ids it added, so that no fold waits for a
//! large merge.

use std::sync::Arc;

use roomlog_core::archive::ArchiveError;
use rusqlite::{Connection, OptionalExtension};

use super::{
    Ids,
    bucket::IdAt,
    part_key,
    segment::{Build, Segment},
};
use crate::{
    archive::{failed, state::State},
    sql,
};

/// The fewest segments that become one.
const TOGETHER: usize = 4;

/// How many ids a fold merges for each that it added. An id is written some four times on the way from
/// windows of 65,536 to twenty million, and eight times from folds of one.
const MERGED_FOR_EACH: u64 = 12;

/// How many ids a fold merges at least.
const MERGED_LEAST: u64 = 4_096;

/// How many ids one transaction merges.
const IDS_A_TRANSACTION: u64 = 8_192;

/// How many rows one transaction lets go of.
const ROWS_A_SWEEP: i64 = 256;

/// The upkeep of an archive's segments.
pub(in crate::archive) struct Upkeep {
    next: i64,
    merge: Option<Merge>,
    /// Segments that do not count any more; a look-up that began before may still read them.
    retired: Vec<(i64, Arc<()>)>,
    /// Segments whose rows nobody reads.
    garbage: Vec<i64>,
}

impl Upkeep {
    /// Finds what a process that was killed has left behind.
    pub(in crate::archive) fn open(
        connection: &Connection,
        state: &State,
    ) -> Result<Self, ArchiveError> {
        let live: Vec<i64> = state.segments.iter().map(|segment| segment.number).collect();
        let (mut greatest, mut garbage) = (live.iter().copied().max().unwrap_or(0), Vec::new());
        for table in sql::PART_FROM {
            let mut next = 0;
            while let Some(number) = segment_from(connection, table, next)? {
                if !live.contains(&number) && !garbage.contains(&number) {
                    garbage.push(number);
                }
                greatest = greatest.max(number);
                next = number + 1;
            }
        }
        Ok(Self { next: greatest + 1, merge: None, retired: Vec::new(), garbage })
    }

    /// The number of a segment that is about to be written.
    pub(in crate::archive) fn number(&mut self) -> i64 {
        self.next += 1;
        self.next - 1
    }

    /// A segment was not written to its end.
    pub(in crate::archive) fn discard(&mut self, number: i64) {
        self.garbage.push(number);
    }

    /// Works for a fold that added so many ids.
    pub(in crate::archive) fn work(
        &mut self,
        connection: &mut Connection,
        state: &mut State,
        ids: &Ids,
        added: u64,
    ) -> Result<(), ArchiveError> {
        let mut budget = (added * MERGED_FOR_EACH).max(MERGED_LEAST);
        while budget > 0 {
            let Some(merge) = self.merge.take().or_else(|| self.plan(ids)) else { break };
            let number = merge.build.number();
            // On an error it begins anew, with another segment: what it has in memory is ahead of the file.
            let step = merge.step(connection, state, ids, &mut budget);
            match step.inspect_err(|_| self.discard(number))? {
                Step::More(merge) => self.merge = Some(*merge),
                Step::Done(sources) => {
                    self.retired.extend(sources.iter().map(|it| (it.form().number, it.pin())));
                }
            }
        }
        self.sweep(connection)
    }

    fn plan(&mut self, ids: &Ids) -> Option<Merge> {
        let segments = ids.segments();
        let sizes: Vec<u64> = segments.iter().map(|segment| segment.ids()).collect();
        let begin = plan(&sizes)?;
        let sources = &segments[begin..];
        let build = Build::new(self.number(), sizes[begin..].iter().sum());
        let source = |segment: &Arc<Segment>| Source::new(segment.clone());
        Some(Merge { build, sources: sources.iter().map(source).collect() })
    }

    /// Lets go of the rows of segments that nobody can look up in.
    fn sweep(&mut self, connection: &Connection) -> Result<(), ArchiveError> {
        let garbage = &mut self.garbage;
        self.retired.retain(|(number, pin)| {
            let is_read = Arc::strong_count(pin) > 1;
            if !is_read {
                garbage.push(*number);
            }
            is_read
        });
        for _ in 0..SWEEPS_A_FOLD {
            let Some(number) = garbage.last().copied() else { break };
            if !sweep_some(connection, number)? {
                garbage.pop();
            }
        }
        Ok(())
    }
}

/// How many transactions of a sweep follow a fold.
const SWEEPS_A_FOLD: usize = 16;

/// Lets go of some rows of a segment; `false` when it has none.
fn sweep_some(connection: &Connection, number: i64) -> Result<bool, ArchiveError> {
    for (find, drop) in sql::PART_FROM.into_iter().zip(sql::DROP_PARTS) {
        let Some(first) = part_from(connection, find, part_key(number, 0))? else { continue };
        let end = part_key(number + 1, 0);
        if first < end {
            let until = (first + ROWS_A_SWEEP).min(end);
            let drop_them = || connection.prepare_cached(drop)?.execute([first, until]);
            drop_them().map_err(|error| failed(&error))?;
            return Ok(true);
        }
    }
    Ok(false)
}

fn part_from(connection: &Connection, find: &str, key: i64) -> Result<Option<i64>, ArchiveError> {
    let read = || connection.prepare_cached(find)?.query_row([key], |row| row.get(0)).optional();
    read().map_err(|error| failed(&error))
}

fn segment_from(
    connection: &Connection,
    find: &str,
    number: i64,
) -> Result<Option<i64>, ArchiveError> {
    Ok(part_from(connection, find, part_key(number, 0))?.map(super::segment_of))
}

/// Where those begin that are to become one: at the oldest that is at most half as large as all newer
/// ones together, when these are enough. So sizes grow threefold, and an id is written once for each.
fn plan(ids: &[u64]) -> Option<usize> {
    let (mut newer, mut begin) = (0, None);
    for (at, size) in ids.iter().enumerate().rev() {
        if ids.len() - at >= TOGETHER && size * 2 <= newer {
            begin = Some(at);
        }
        newer += size;
    }
    begin
}

/// A merge under way.
struct Merge {
    build: Build,
    sources: Vec<Source>,
}

enum Step {
    More(Box<Merge>),
    Done(Vec<Arc<Segment>>),
}

impl Merge {
    /// Merges for one transaction.
    fn step(
        mut self,
        connection: &mut Connection,
        state: &mut State,
        ids: &Ids,
        budget: &mut u64,
    ) -> Result<Step, ArchiveError> {
        let transaction = connection.transaction().map_err(|error| failed(&error))?;
        let most = IDS_A_TRANSACTION.min(*budget);
        for _ in 0..most {
            let Some(id) = take_least(&transaction, &mut self.sources)? else {
                return self.finish(transaction, state, ids);
            };
            self.build.push(&transaction, id)?;
        }
        *budget -= most;
        transaction.commit().map_err(|error| failed(&error))?;
        Ok(Step::More(Box::new(self)))
    }

    /// The merged segment counts, in the place of those it was made of.
    fn finish(
        self,
        transaction: rusqlite::Transaction<'_>,
        state: &mut State,
        ids: &Ids,
    ) -> Result<Step, ArchiveError> {
        let merged = self.build.finish(&transaction)?;
        let sources: Vec<_> = self.sources.into_iter().map(|source| source.segment).collect();
        let is_source = |segment: &Segment| {
            sources.iter().any(|source| source.form().number == segment.form().number)
        };
        let mut segments = Vec::new();
        let mut merged = Some(merged);
        for segment in ids.segments().iter() {
            if is_source(segment) {
                segments.extend(merged.take());
            } else {
                segments.push(segment.clone());
            }
        }
        let mut after = state.clone();
        after.segments = segments.iter().map(|segment| segment.form()).collect();
        after.write(&transaction)?;
        transaction.commit().map_err(|error| failed(&error))?;
        *state = after;
        ids.replace(segments);
        Ok(Step::Done(sources))
    }
}

/// A segment that is being merged, as far as it was read.
struct Source {
    segment: Arc<Segment>,
    next: i64,
    /// What is left of the bucket before `next`, the least hash last.
    ids: Vec<IdAt>,
}

impl Source {
    fn new(segment: Arc<Segment>) -> Self {
        Self { segment, next: 0, ids: Vec::new() }
    }

    fn least(&mut self, connection: &Connection) -> Result<Option<IdAt>, ArchiveError> {
        while self.ids.is_empty() && self.next < self.segment.buckets() {
            self.ids = self.segment.bucket(connection, self.next)?;
            self.ids.reverse();
            self.next += 1;
        }
        Ok(self.ids.last().copied())
    }
}

fn take_least(
    connection: &Connection,
    sources: &mut [Source],
) -> Result<Option<IdAt>, ArchiveError> {
    let mut least: Option<(IdAt, usize)> = None;
    for (at, source) in sources.iter_mut().enumerate() {
        if let Some(id) = source.least(connection)?
            && least.is_none_or(|(least, _)| id < least)
        {
            least = Some((id, at));
        }
    }
    let Some((id, at)) = least else { return Ok(None) };
    sources[at].ids.pop();
    Ok(Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_become_one_that_are_small_beside_what_is_newer() {
        assert_eq!(plan(&[]), None);
        assert_eq!(plan(&[100, 100, 100]), None);
        assert_eq!(plan(&[100, 100, 100, 100]), Some(0));
        assert_eq!(plan(&[9_000, 100, 100, 100, 3, 100]), Some(1), "the large one is left alone");
        assert_eq!(plan(&[200, 100, 100, 100, 100]), Some(0));
        assert_eq!(plan(&[201, 100, 100, 100, 100]), Some(1));
        assert_eq!(plan(&[1, 9_000, 1, 9_000]), Some(0), "nothing small is left behind");
    }

    #[test]
    fn however_large_folds_are_segments_stay_few() {
        for fold in [[1, 1, 1], [1, 65_536, 3], [65_536, 65_536, 65_536], [70_000, 700, 7]] {
            let (mut sizes, mut most): (Vec<u64>, _) = (Vec::new(), 0);
            for ids in fold.into_iter().cycle().take(20_000) {
                sizes.push(ids);
                while let Some(begin) = plan(&sizes) {
                    let sum = sizes.drain(begin..).sum();
                    sizes.push(sum);
                }
                most = most.max(sizes.len());
            }
            assert!(most <= 20, "{most} segments of folds of {fold:?}");
        }
    }
}

//! The upkeep of segments: few and large ones, made of many small ones a little at each fold.
//!
//! Enters: segments, as folds add them. Leaves: larger ones in their place, and no rows of those that
//! do not count any more. Invariants: an id is in exactly one segment that counts; the rows of a
//! segment go when nobody can look them up: neither the state names it nor a look-up holds it.
//! What a fold's upkeep costs is a fixed multiple of the ids it added, so that no fold waits for a
//! large merge; small merges go before large ones, so that none of them waits for a large one either. A
//! merge that a process did not live to finish is begun anew by the next one. Where no process lives long
//! enough for the larger ones, their sources stay, and are merged by the first that does: some 90 segments
//! after 50,000 folds when each process lives for a hundred of them.

use std::sync::Arc;

use roomlog_core::{archive::ArchiveError, give_way::GiveWay};
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{
    Ids,
    bucket::IdAt,
    part_key,
    segment::{Build, Segment},
};
use crate::{
    archive::{failed, pace::Pace, state::State},
    sql,
};

/// The fewest segments that become one.
const TOGETHER: usize = 4;

/// How many ids a fold merges for each that it added. An id is written some four times on the way from
/// windows of 65,536 to twenty million, and eight times from folds of one.
const MERGED_FOR_EACH: u64 = 12;

/// How many ids a fold merges at least.
const MERGED_LEAST: u64 = 4_096;

/// How many rows one transaction lets go of.
const ROWS_A_SWEEP: i64 = 64;

/// The upkeep of an archive's segments.
pub(in crate::archive) struct Upkeep {
    next: i64,
    /// The merges under way, each of segments that are newer than those of the one before it. The last
    /// one goes on.
    merges: Vec<Merge>,
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
        Ok(Self { next: greatest + 1, merges: Vec::new(), retired: Vec::new(), garbage })
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
        pace: &Pace,
    ) -> Result<(), ArchiveError> {
        let mut budget = (added * MERGED_FOR_EACH).max(MERGED_LEAST);
        while budget > 0 {
            if let Some(merge) = self.plan(ids) {
                self.merges.push(merge);
            }
            let Some(mut merge) = self.merges.pop() else { break };
            let number = merge.build.number();
            // On an error it begins anew, with another segment: what it has in memory is ahead of the file.
            let step = merge.step(connection, &mut budget, pace).and_then(|done| match done {
                None => Ok(Some(merge)),
                Some(transaction) => {
                    let sources = merge.finish(transaction, state, ids)?;
                    self.retired.extend(sources.iter().map(|it| (it.form().number, it.pin())));
                    Ok(None)
                }
            });
            let unfinished = step.inspect_err(|_| self.discard(number))?;
            self.merges.extend(unfinished);
            pace.pause();
        }
        self.sweep(connection, pace)
    }

    /// A merge of segments that are newer than those which are being merged.
    fn plan(&mut self, ids: &Ids) -> Option<Merge> {
        let segments = ids.segments();
        let newer = self.merges.last().map_or(0, |merge| merge.end(&segments));
        let sizes: Vec<u64> = segments[newer..].iter().map(|segment| segment.ids()).collect();
        let begin = plan(&sizes)?;
        let build = Build::new(self.number(), sizes[begin..].iter().sum());
        let source = |segment: &Arc<Segment>| Source::new(segment.clone());
        Some(Merge { build, sources: segments[newer + begin..].iter().map(source).collect() })
    }

    /// Lets go of the rows of segments that nobody can look up in: some of them.
    pub(in crate::archive) fn sweep(
        &mut self,
        connection: &Connection,
        pace: &Pace,
    ) -> Result<(), ArchiveError> {
        let garbage = &mut self.garbage;
        self.retired.retain(|(number, pin)| {
            let is_read = Arc::strong_count(pin) > 1;
            if !is_read {
                garbage.push(*number);
            }
            is_read
        });
        for _ in 0..STEPS_A_SWEEP {
            let Some(number) = garbage.last().copied() else { break };
            if sweep_some(connection, number)? {
                pace.pause();
            } else {
                garbage.pop();
            }
        }
        Ok(())
    }
}

/// How many transactions a sweep has; there is one before a fold, because it makes room, and one behind.
const STEPS_A_SWEEP: usize = 64;

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

/// Where those begin that are to become one: at the newest that is at most half as large as all newer
/// ones together, when these are enough. So sizes grow fourfold, and an id is written once for each.
fn plan(ids: &[u64]) -> Option<usize> {
    let mut newer = 0;
    for (at, size) in ids.iter().enumerate().rev() {
        if ids.len() - at >= TOGETHER && size * 2 <= newer {
            return Some(at);
        }
        newer += size;
    }
    None
}

/// A merge under way.
struct Merge {
    build: Build,
    sources: Vec<Source>,
}

impl Merge {
    /// Merges for one transaction, which is given back when all is merged.
    fn step<'a>(
        &mut self,
        connection: &'a mut Connection,
        budget: &mut u64,
        pace: &Pace,
    ) -> Result<Option<Transaction<'a>>, ArchiveError> {
        let transaction = connection.transaction().map_err(|error| failed(&error))?;
        let most = pace.merged().min(*budget);
        *budget -= most;
        let mut way = GiveWay::default();
        for _ in 0..most {
            let Some(id) = take_least(&transaction, &mut self.sources)? else {
                if self.build.close(&transaction)? {
                    return Ok(Some(transaction));
                }
                break;
            };
            self.build.push(&transaction, id)?;
            way.after_piece();
        }
        transaction.commit().map_err(|error| failed(&error))?;
        Ok(None)
    }

    /// The merged segment counts, in the place of those it was made of, which are given back.
    fn finish(
        self,
        transaction: Transaction<'_>,
        state: &mut State,
        ids: &Ids,
    ) -> Result<Vec<Arc<Segment>>, ArchiveError> {
        let (begin, end) = (self.begin(&ids.segments()), self.end(&ids.segments()));
        let mut segments = ids.segments().to_vec();
        let sources = segments.splice(begin..end, [self.build.segment()]).collect();
        let mut after = state.clone();
        after.segments = segments.iter().map(|segment| segment.form()).collect();
        after.write(&transaction)?;
        transaction.commit().map_err(|error| failed(&error))?;
        *state = after;
        ids.replace(segments);
        Ok(sources)
    }

    /// Where the segments begin that it merges, among those that count.
    fn begin(&self, segments: &[Arc<Segment>]) -> usize {
        let is_source = |segment: &Arc<Segment>| {
            self.sources.iter().any(|it| it.segment.form().number == segment.form().number)
        };
        segments.iter().position(is_source).unwrap_or(segments.len())
    }

    /// The place behind them.
    fn end(&self, segments: &[Arc<Segment>]) -> usize {
        self.begin(segments) + self.sources.len()
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
        assert_eq!(plan(&[9_000, 100, 100, 100, 3, 100]), Some(2), "the large one is left alone");
        assert_eq!(plan(&[200, 100, 100, 100, 100]), Some(1), "the newest first");
        assert_eq!(plan(&[201, 401, 100, 300, 100]), Some(0));
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
            assert!(most <= 30, "{most} segments of folds of {fold:?}");
        }
    }
}

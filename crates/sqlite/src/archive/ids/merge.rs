//! The upkeep of segments: small ones are merged into a few large ones, a little with each fold.
//!
//! Invariants: an id is in exactly one segment that counts; the rows of a segment are deleted once
//! the state does not list it and no look-up holds it. The upkeep of a fold costs a fixed multiple
//! of the ids that it added, so no fold waits for a large merge, and small merges come first. A
//! merge that a restart interrupted starts over. If no process lives long enough for the large
//! ones, their sources stay: some 90 segments after 50,000 folds with a restart every hundred.

use std::sync::Arc;

use roomlog_core::archive::ArchiveError;
use rusqlite::{Connection, Transaction};

use super::{
    bucket::IdAt,
    segment::{Segment, SegmentBuilder},
    segments::Ids,
};
use crate::archive::{
    pace::Pace,
    sql::{self, failed, part_key, segment_of},
    state::State,
};

const LEAST_SOURCES: usize = 4;

/// How many ids a fold merges per id that it added. An id is written some four times on the way
/// from windows of 65,536 to twenty million, and eight times from folds of one.
const MERGED_PER_ID: u64 = 12;

const MERGED_LEAST: u64 = 4_096;

const ROWS_PER_DELETE: i64 = 64;

/// The transactions of a sweep. One sweep runs before a fold, to free space, and one after it.
const DELETES_PER_SWEEP: usize = 64;

pub(in crate::archive) struct Upkeep {
    next: i64,
    /// The unfinished merges, each of newer segments than the one before; the last one proceeds.
    merges: Vec<Merge>,
    /// Segments that no longer count, but that earlier look-ups may still read.
    retired: Vec<(i64, Arc<()>)>,
    /// Segments whose rows nobody reads.
    garbage: Vec<i64>,
}

impl Upkeep {
    /// Finds the segments that a killed process left unfinished.
    pub(in crate::archive) fn open(
        connection: &Connection,
        state: &State,
    ) -> Result<Self, ArchiveError> {
        let live: Vec<i64> = state.segments.iter().map(|segment| segment.number).collect();
        let (mut greatest, mut garbage) = (live.iter().copied().max().unwrap_or(0), Vec::new());
        for find in sql::PART_FROM {
            let mut next = 0;
            while let Some(key) = part_from(connection, find, part_key(next, 0))? {
                let number = segment_of(key);
                if !live.contains(&number) && !garbage.contains(&number) {
                    garbage.push(number);
                }
                greatest = greatest.max(number);
                next = number + 1;
            }
        }
        Ok(Self { next: greatest + 1, merges: Vec::new(), retired: Vec::new(), garbage })
    }

    pub(in crate::archive) fn number(&mut self) -> i64 {
        self.next += 1;
        self.next - 1
    }

    /// Marks an unfinished segment for deletion.
    pub(in crate::archive) fn discard(&mut self, number: i64) {
        self.garbage.push(number);
    }

    /// Merges and deletes, for a fold that added `added` ids.
    pub(in crate::archive) fn work(
        &mut self,
        connection: &mut Connection,
        state: &mut State,
        ids: &Ids,
        added: u64,
        pace: &Pace,
    ) -> Result<(), ArchiveError> {
        let mut budget = (added * MERGED_PER_ID).max(MERGED_LEAST);
        while budget > 0 {
            if let Some(merge) = self.plan(ids) {
                self.merges.push(merge);
            }
            let Some(mut merge) = self.merges.pop() else { break };
            let number = merge.target.form.number;
            // On an error it starts over with another segment: its memory is ahead of the file.
            let step = merge.step(connection, &mut budget, pace).and_then(|done| match done {
                None => Ok(Some(merge)),
                Some(transaction) => {
                    let sources = merge.finish(transaction, state, ids)?;
                    self.retired.extend(sources.iter().map(|it| (it.form.number, it.pin.clone())));
                    Ok(None)
                }
            });
            let unfinished = step.inspect_err(|_| self.discard(number))?;
            self.merges.extend(unfinished);
            pace.pause();
        }
        self.sweep(connection, pace)
    }

    /// A merge of segments that are newer than those being merged.
    fn plan(&mut self, ids: &Ids) -> Option<Merge> {
        let segments = ids.segments();
        let newer = self.merges.last().map_or(0, |merge| merge.end(&segments));
        let sizes: Vec<u64> = segments[newer..].iter().map(|segment| segment.form.ids).collect();
        let begin = plan(&sizes)?;
        let target = SegmentBuilder::new(self.number(), sizes[begin..].iter().sum());
        let source =
            |segment: &Arc<Segment>| Source { segment: segment.clone(), next: 0, ids: Vec::new() };
        Some(Merge { target, sources: segments[newer + begin..].iter().map(source).collect() })
    }

    /// Deletes some rows of segments that nobody can look up.
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
        for _ in 0..DELETES_PER_SWEEP {
            let Some(number) = garbage.last().copied() else { break };
            if delete_some(connection, number)? {
                pace.pause();
            } else {
                garbage.pop();
            }
        }
        Ok(())
    }
}

/// Deletes some rows of a segment; `false` if it has none.
fn delete_some(connection: &Connection, number: i64) -> Result<bool, ArchiveError> {
    for (find, drop) in sql::PART_FROM.into_iter().zip(sql::DROP_PARTS) {
        let Some(first) = part_from(connection, find, part_key(number, 0))? else { continue };
        let end = part_key(number + 1, 0);
        if first < end {
            sql::execute(connection, drop, [first, (first + ROWS_PER_DELETE).min(end)])?;
            return Ok(true);
        }
    }
    Ok(false)
}

fn part_from(connection: &Connection, find: &str, key: i64) -> Result<Option<i64>, ArchiveError> {
    sql::find(connection, find, [key], |row| row.get(0))
}

/// The index of the oldest segment to merge, with all newer ones: the newest one that is at most
/// half as large as all newer ones together, if these are enough. So sizes grow fourfold, and an id
/// is written once per size.
fn plan(ids: &[u64]) -> Option<usize> {
    let mut newer = 0;
    for (at, size) in ids.iter().enumerate().rev() {
        if ids.len() - at >= LEAST_SOURCES && size * 2 <= newer {
            return Some(at);
        }
        newer += size;
    }
    None
}

struct Merge {
    target: SegmentBuilder,
    sources: Vec<Source>,
}

impl Merge {
    /// Merges for one transaction, which is returned uncommitted if it completes the merge.
    fn step<'a>(
        &mut self,
        connection: &'a mut Connection,
        budget: &mut u64,
        pace: &Pace,
    ) -> Result<Option<Transaction<'a>>, ArchiveError> {
        let transaction = connection.transaction().map_err(failed)?;
        let most = pace.now().merged.min(*budget);
        *budget -= most;
        let mut way = pace.yielder();
        for _ in 0..most {
            let Some(id) = take_least(&transaction, &mut self.sources)? else {
                if self.target.close(&transaction)? {
                    return Ok(Some(transaction));
                }
                break;
            };
            self.target.push(&transaction, id)?;
            way.after_piece();
        }
        transaction.commit().map_err(failed)?;
        Ok(None)
    }

    /// Makes the merged segment count in place of its sources, which are returned.
    fn finish(
        self,
        transaction: Transaction<'_>,
        state: &mut State,
        ids: &Ids,
    ) -> Result<Vec<Arc<Segment>>, ArchiveError> {
        let (begin, end) = (self.begin(&ids.segments()), self.end(&ids.segments()));
        let mut segments = ids.segments().to_vec();
        let sources = segments.splice(begin..end, [self.target.finish()]).collect();
        let mut after = state.clone();
        after.segments = segments.iter().map(|segment| segment.form).collect();
        after.write(&transaction)?;
        transaction.commit().map_err(failed)?;
        *state = after;
        ids.replace(segments);
        Ok(sources)
    }

    /// The index of its first source among the segments that count.
    fn begin(&self, segments: &[Arc<Segment>]) -> usize {
        let is_source = |segment: &Arc<Segment>| {
            self.sources.iter().any(|it| it.segment.form.number == segment.form.number)
        };
        segments.iter().position(is_source).unwrap_or(segments.len())
    }

    fn end(&self, segments: &[Arc<Segment>]) -> usize {
        self.begin(segments) + self.sources.len()
    }
}

struct Source {
    segment: Arc<Segment>,
    next: i64,
    /// What is left of the bucket before `next`, the smallest hash last.
    ids: Vec<IdAt>,
}

impl Source {
    fn least(&mut self, connection: &Connection) -> Result<Option<IdAt>, ArchiveError> {
        while self.ids.is_empty() && self.next < 1 << self.segment.form.bits {
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
    fn segments_are_merged_that_are_small_beside_newer_ones() {
        assert_eq!(plan(&[]), None);
        assert_eq!(plan(&[100, 100, 100]), None);
        assert_eq!(plan(&[100, 100, 100, 100]), Some(0));
        assert_eq!(plan(&[9_000, 100, 100, 100, 3, 100]), Some(2), "the large one is left alone");
        assert_eq!(plan(&[200, 100, 100, 100, 100]), Some(1), "the newest first");
        assert_eq!(plan(&[201, 401, 100, 300, 100]), Some(0));
        assert_eq!(plan(&[1, 9_000, 1, 9_000]), Some(0), "nothing small is left behind");
    }

    #[test]
    fn segments_stay_few_whatever_the_size_of_folds() {
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

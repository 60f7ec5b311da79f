//! Apply: durable blocks become entries, in the journal's order.
//!
//! Enters: a durable block, and what the archive knows of its ids. Leaves: commits, to tails and
//! the fold, and an outcome per proposal. Invariants: an id is always found: in memory until its
//! entry is folded and no block in flight was looked up before that, in the archive from then on;
//! memory is asked first. [`Applier::has_room`] bounds what is applied and not folded.

use std::{collections::VecDeque, sync::Arc, vec};

use roomlog_protocol::RoomName;
use thiserror::Error;

use crate::{
    apply::{
        fold::{Effect, FoldQueue},
        held_room::{HeldRooms, Removed, apply_one, hold},
        ids::RecentIds,
        room::{self, HistoryError},
    },
    budget::Charge,
    model::{
        applied::{Applied, Chain, Unwiped},
        archive::{Archive, ArchiveError, IdKey},
        block::{self, BlockName, PastEntry},
        commit::Commit,
        head::Known,
        journal::{Durable, Mark, Partition, Position},
        outcome::AppendOutcome,
        proposal::Proposal,
        rules::Rules,
    },
    read::{delivery::Deliveries, heads::Heads, rooms::Rooms, tail::Tail},
    stats::Stats,
};

/// A folded window whose commits are being released from memory.
struct FoldedWindow {
    /// Blocks before this number may still need the ids.
    barrier: u64,
    effects: vec::IntoIter<Effect>,
    commits: vec::IntoIter<Arc<Commit>>,
}

impl Iterator for FoldedWindow {
    type Item = Arc<Commit>;

    fn next(&mut self) -> Option<Arc<Commit>> {
        loop {
            if let Some(commit) = self.commits.next() {
                return Some(commit);
            }
            self.commits = self.effects.next()?.commits.into_iter();
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RestoreError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    History(#[from] HistoryError),
}

pub(crate) struct Applier {
    parts: ApplierParts,
    applied: Applied,
    /// Of `applied.unwiped`, the blocks that have a text again.
    copies: Unwiped,
    held: HeldRooms,
    ids: RecentIds,
    /// The tails that moved, to be delivered.
    moved: Vec<Arc<Tail>>,
    fresh: usize,
    /// Entries applied and not folded, and one for each such block without any.
    unfolded: usize,
    unfolded_bytes: usize,
    /// Folded windows with commits still in memory.
    folded: VecDeque<FoldedWindow>,
    /// All commits in tails, oldest first; the first `settled` of them are in the archive.
    recent: VecDeque<(Arc<Commit>, Arc<Tail>)>,
    settled: usize,
    recent_bytes: usize,
}

pub(crate) struct ApplierParts {
    pub(crate) partition: Partition,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) heads: Arc<Heads>,
    pub(crate) deliveries: Arc<Deliveries>,
    pub(crate) folds: Arc<FoldQueue>,
    pub(crate) stats: Arc<Stats>,
    /// Bytes applied and not folded.
    pub(crate) unfolded_limit: usize,
    pub(crate) tail_bytes: usize,
    pub(crate) chains: bool,
    /// Whether the journal may be rolled back, so that its followers compare the last block's
    /// stamp.
    pub(crate) stamps: bool,
}

impl Applier {
    pub(crate) fn new(parts: ApplierParts, mut applied: Applied) -> Self {
        if applied.position == Position(0) {
            applied.chain = Some(Chain::START);
        }
        applied.chain = applied.chain.filter(|_| parts.chains);
        // The fold has it.
        applied.unwiped = Unwiped::default();
        parts.stats.at(parts.partition, applied.position);
        Self {
            parts,
            applied,
            copies: Unwiped::default(),
            held: HeldRooms::default(),
            ids: RecentIds::new(),
            moved: Vec::new(),
            fresh: 0,
            unfolded: 0,
            unfolded_bytes: 0,
            folded: VecDeque::new(),
            recent: VecDeque::new(),
            settled: 0,
            recent_bytes: 0,
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        self.applied.mark()
    }

    pub(crate) fn chain(&self) -> Option<Chain> {
        self.applied.chain
    }

    fn read(&mut self, durable: &Durable) {
        self.applied.position = durable.position;
        self.parts.stats.at(self.parts.partition, durable.position);
        self.parts.stats.time(durable.time);
        self.applied.clock.note(durable.time);
        self.applied.stamp = self.parts.stamps.then(|| block::stamp(&durable.block));
    }

    #[must_use]
    pub(crate) fn position(&self) -> Position {
        self.applied.position
    }

    /// Whether another block may be applied before the fold catches up.
    #[must_use]
    pub(crate) fn has_room(&self) -> bool {
        self.unfolded_bytes < self.parts.unfolded_limit
    }

    pub(crate) fn look_up<'a>(
        &self,
        proposals: impl Iterator<Item = &'a Proposal>,
    ) -> Result<Vec<Option<Known>>, ArchiveError> {
        self.parts.archive.find(&proposals.map(IdKey::of).collect::<Vec<_>>())
    }

    /// `None` if the block is skipped.
    pub(crate) fn apply<'a>(
        &mut self,
        durable: &Durable,
        name: &BlockName,
        rules: Rules,
        proposals: impl Iterator<Item = &'a Proposal>,
        archived: &[Option<Known>],
        charges: Vec<Charge>,
    ) -> Result<Option<Vec<AppendOutcome>>, ArchiveError> {
        self.read(durable);
        self.applied.rules = self.applied.rules.max(rules.number());
        if !self.applied.proposers.admit(name) {
            // A copy of a block: it may have a text that was removed since.
            if proposals.zip(archived).any(|(proposal, known)| self.is_removed(proposal, *known)) {
                self.note_copy(durable);
            }
            self.pass_to_fold(Vec::new(), charges);
            return Ok(None);
        }
        let mut touched = Vec::new();
        let mut outcomes = Vec::with_capacity(archived.len());
        for (proposal, archived) in proposals.zip(archived) {
            let held = hold(&mut self.held, &self.parts.rooms, &proposal.room)?;
            let untouched = held.fresh.is_empty();
            let (ids, archived) = (&mut self.ids, archived.as_ref());
            let at = (rules, durable.time);
            let (outcome, removed) =
                apply_one(held, ids, &self.parts.rooms, at, proposal, archived)?;
            outcomes.push(outcome);
            if held.recent == 0 {
                self.held.remove(&proposal.room);
            } else if untouched && !held.fresh.is_empty() {
                touched.push(proposal.room.clone());
            }
            match removed {
                Some(Removed::Here) => self.note_copy(durable),
                Some(Removed::Since(oldest)) => {
                    let since = self.applied.clock.earliest(oldest);
                    // In an earlier block: none removes what it holds itself.
                    let upto = Position(durable.position.0 - 1);
                    self.applied.unwiped = self.applied.unwiped.and(Unwiped { since, upto });
                }
                None => {}
            }
        }
        self.commit_all(&touched, durable.position, charges);
        Ok(Some(outcomes))
    }

    /// Notes a block that has a text again which is removed.
    fn note_copy(&mut self, durable: &Durable) {
        let since = self.applied.clock.earliest(durable.time);
        let copy = Unwiped { since, upto: durable.position };
        self.copies = self.copies.and(copy);
        self.applied.unwiped = self.applied.unwiped.and(copy);
    }

    /// Whether the text of an entry is removed; `known` is what the archive has of it.
    fn is_removed(&self, proposal: &Proposal, known: Option<Known>) -> bool {
        let id = self.ids.hash(&proposal.room, &proposal.author, &proposal.id);
        let Some(known) = self.ids.get(id).copied().or(known) else { return false };
        let held = self.held.get(&proposal.room);
        known.original.is_redacted()
            || held.is_some_and(|held| held.is_removed(known.slot, &proposal.author))
    }

    /// Applies a block of imported entries. Fails if the archive cannot be read, or an entry does
    /// not continue its room: then nothing of the block may remain.
    pub(crate) fn restore(
        &mut self,
        durable: &Durable,
        name: &BlockName,
        history: &[PastEntry],
    ) -> Result<(), RestoreError> {
        self.read(durable);
        if !self.applied.proposers.admit(name) {
            self.pass_to_fold(Vec::new(), Vec::new());
            return Ok(());
        }
        let mut touched = Vec::new();
        for past in history {
            let proposal = &past.proposal;
            let held = hold(&mut self.held, &self.parts.rooms, &proposal.room)?;
            let untouched = held.fresh.is_empty();
            if let Some(stored) = room::restore(&mut held.room, past)? {
                let id = self.ids.hash(&proposal.room, &proposal.author, &proposal.id);
                held.add(&mut self.ids, id, proposal, stored);
            }
            if held.recent == 0 {
                self.held.remove(&proposal.room);
            } else if untouched && !held.fresh.is_empty() {
                touched.push(proposal.room.clone());
            }
        }
        let newest = history.iter().map(|past| past.committed_at).max();
        if let Some(ahead) = newest.filter(|newest| *newest > durable.time) {
            // As if the clock had gone back to the block.
            self.applied.clock.note(ahead);
            self.applied.clock.note(durable.time);
        }
        self.commit_all(&touched, durable.position, Vec::new());
        Ok(())
    }

    fn commit_all(&mut self, touched: &[RoomName], position: Position, charges: Vec<Charge>) {
        let commits = touched.iter().filter_map(|room| self.commit(room, position));
        let commits: Vec<Arc<Commit>> = commits.collect();
        if let Some(chain) = &mut self.applied.chain {
            for commit in &commits {
                let Some(last) = commit.entries.last() else { continue };
                *chain = chain.then(&commit.room, last.entry.slot + 1, &last.digest);
            }
        }
        self.pass_to_fold(commits, charges);
    }

    pub(crate) fn skip(&mut self, durable: &Durable) {
        self.read(durable);
        self.pass_to_fold(Vec::new(), Vec::new());
    }

    fn commit(&mut self, room: &RoomName, position: Position) -> Option<Arc<Commit>> {
        let held = self.held.get_mut(room)?;
        let entries = std::mem::take(&mut held.fresh);
        let first = entries.first()?;
        if first.entry.slot == 0 {
            self.parts.stats.new_room();
        }
        let commit = Arc::new(Commit::new(room.clone(), position, entries));
        held.tail.publish(commit.clone());
        if !std::mem::replace(&mut held.is_noted, true) {
            self.parts.rooms.note_unfolded(&held.tail);
        }
        self.moved.push(held.tail.clone());
        self.parts.heads.moved(room, commit.end());
        self.recent_bytes += commit.weight();
        self.recent.push_back((commit.clone(), held.tail.clone()));
        Some(commit)
    }

    /// Delivers what was committed to followers.
    pub(crate) fn deliver(&mut self) {
        self.parts.deliveries.add(self.moved.drain(..));
    }

    fn pass_to_fold(&mut self, commits: Vec<Arc<Commit>>, charges: Vec<Charge>) {
        let copies = std::mem::take(&mut self.copies);
        let effect = Effect::new(commits, self.applied.clone(), copies, charges);
        self.applied.unwiped = Unwiped::default();
        self.fresh = effect.entries();
        self.unfolded += effect.counted();
        self.unfolded_bytes += effect.bytes();
        self.parts.stats.applied(self.fresh, self.unfolded);
        self.parts.folds.push(effect);
    }

    /// Blocks before number `next_n` may have been looked up before the window was in the archive.
    pub(crate) fn folded(&mut self, effects: Vec<Effect>, next_n: u64) {
        for effect in &effects {
            self.unfolded -= effect.counted();
            self.unfolded_bytes -= effect.bytes();
        }
        self.parts.stats.folded(self.unfolded);
        let (effects, commits) = (effects.into_iter(), Vec::new().into_iter());
        self.folded.push_back(FoldedWindow { barrier: next_n, effects, commits });
    }

    #[must_use]
    pub(crate) fn fresh(&self) -> usize {
        self.fresh
    }

    #[must_use]
    pub(crate) fn has_settled(&self, oldest_n: u64) -> bool {
        self.folded.front().is_some_and(|window| window.barrier <= oldest_n)
            || self.tails_are_long()
    }

    /// Releases about `entries` folded entries from memory, in whole commits, if no block in flight
    /// (`oldest_n` and later) was looked up before they were folded. A window is released in many
    /// small steps, because appends wait meanwhile.
    pub(crate) fn settle(&mut self, oldest_n: u64, entries: usize) {
        let mut left = entries;
        while left > 0
            && let Some(window) = self.folded.front_mut().filter(|it| it.barrier <= oldest_n)
        {
            let Some(commit) = window.next() else {
                self.folded.pop_front();
                continue;
            };
            left = left.saturating_sub(commit.entries.len());
            self.evict_ids(&commit);
        }
        self.trim_tails(entries);
    }

    fn evict_ids(&mut self, commit: &Commit) {
        self.settled += 1;
        let entries = commit.entries.len();
        self.ids.evict(entries);
        let Some(held) = self.held.get_mut(&commit.room) else { return };
        held.tail.note_removed(commit);
        held.recent -= entries;
        // All of it is in the archive: drop the state.
        if held.recent == 0 {
            self.held.remove(&commit.room);
            self.parts.rooms.note_folded(&commit.room);
        }
    }

    fn tails_are_long(&self) -> bool {
        self.settled > 0 && self.recent_bytes > self.parts.tail_bytes
    }

    /// Drops the oldest commits over all tails, down to their share of memory.
    fn trim_tails(&mut self, entries: usize) {
        let mut left = entries;
        while left > 0 && self.tails_are_long() {
            let Some((commit, tail)) = self.recent.pop_front() else { break };
            tail.drop_oldest();
            self.recent_bytes -= commit.weight();
            self.settled -= 1;
            left = left.saturating_sub(commit.entries.len());
        }
    }

    pub(crate) fn close(&self) {
        self.parts.folds.close();
    }
}

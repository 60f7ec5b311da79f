//! Apply: durable blocks become entries, in the journal's order.
//!
//! Enters: a durable block and what the archive knows of its ids. Leaves: commits into tails and fold,
//! and an outcome per proposal. Invariants: an id is found while its entry is anywhere: in memory
//! until it is folded and no block in flight was looked up before that, in the archive from then on;
//! memory is asked first. What is applied and not folded is bounded by [`Applier::has_room`].

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, OnceLock},
    vec,
};

use roomlog_protocol::RoomName;
use thiserror::Error;

use crate::{
    apply::{
        fold::{Effect, FoldQueue, Unfolded},
        ids::{IdHash, RecentIds},
        room::{self, HistoryError, Room},
    },
    model::{
        applied::{Applied, Chain},
        archive::{Archive, ArchiveError, IdKey},
        block::{self, BlockName, Past},
        commit::Commit,
        head::Known,
        journal::{Durable, Mark, Partition, Position},
        outcome::AppendOutcome,
        proposal::{Proposal, Stored},
        rules::Rules,
    },
    read::{heads::Heads, rooms::Rooms, tail::Tail},
    stats::Stats,
};

/// For how many blocks at most followers are not told, while more is on its way: about a millisecond.
const BLOCKS_UNTOLD: usize = 8;

/// A room as apply holds it: from its first block until all of it is folded.
struct Held {
    room: Room,
    /// How many of its entries have their ids in memory: the archive may not have them yet.
    recent: usize,
    /// What the block at hand has added.
    fresh: Vec<Stored>,
    tail: Arc<Tail>,
}

impl Held {
    /// Takes in an entry that the block at hand adds, whose id has this hash.
    fn add(&mut self, ids: &mut RecentIds, id: IdHash, proposal: &Proposal, stored: Stored) {
        let (slot, committed_at) = (stored.entry.slot, stored.entry.committed_at);
        ids.add(id, Known { slot, committed_at, content: proposal.content() });
        self.recent += 1;
        self.fresh.push(stored);
    }
}

/// A window that is in the archive, as far as memory has not let go of it.
struct Folded {
    /// The blocks before this number may still need the ids.
    barrier: u64,
    effects: vec::IntoIter<Effect>,
    commits: vec::IntoIter<Arc<Commit>>,
}

impl Iterator for Folded {
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

/// Why entries of elsewhere were not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RestoreError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// They are not the room's next.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// Applies blocks.
pub(crate) struct Applier {
    partition: Partition,
    stamps: bool,
    archive: Arc<dyn Archive>,
    rooms: Arc<Rooms>,
    heads: Arc<Heads>,
    folds: Arc<FoldQueue>,
    stats: Arc<Stats>,
    applied: Applied,
    held: HashMap<RoomName, Held>,
    ids: RecentIds,
    /// Rooms that moved and whose followers were not told.
    untold: HashMap<RoomName, Arc<Tail>>,
    untold_blocks: usize,
    /// Entries that the last block added.
    fresh: usize,
    unfolded: Unfolded,
    unfolded_limit: Unfolded,
    /// What is in the archive and still in memory, a window each.
    folded: VecDeque<Folded>,
    /// All commits in tails, oldest first; the first `settled` of them are in the archive.
    recent: VecDeque<(Arc<Commit>, Arc<Tail>)>,
    settled: usize,
    recent_bytes: usize,
    tail_bytes: usize,
}

/// The parts that apply works with.
pub(crate) struct Parts {
    pub(crate) partition: Partition,
    pub(crate) archive: Arc<dyn Archive>,
    pub(crate) rooms: Arc<Rooms>,
    pub(crate) heads: Arc<Heads>,
    pub(crate) folds: Arc<FoldQueue>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) unfolded_limit: Unfolded,
    pub(crate) tail_bytes: usize,
    /// Whether other nodes compare what blocks did.
    pub(crate) chains: bool,
    /// Whether the journal could be set back, so that who follows it compares the last block.
    pub(crate) stamps: bool,
}

impl Applier {
    pub(crate) fn new(parts: Parts, applied: Applied) -> Self {
        let Parts {
            partition,
            archive,
            rooms,
            heads,
            folds,
            stats,
            unfolded_limit,
            tail_bytes,
            chains,
            stamps,
        } = parts;
        let mut applied = applied;
        if applied.position == Position(0) {
            applied.chain = Some(Chain::START);
        }
        applied.chain = applied.chain.filter(|_| chains);
        stats.at(partition, applied.position);
        Self {
            partition,
            stamps,
            archive,
            rooms,
            heads,
            folds,
            stats,
            applied,
            held: HashMap::new(),
            ids: RecentIds::new(),
            untold: HashMap::new(),
            untold_blocks: 0,
            fresh: 0,
            unfolded: Unfolded::default(),
            unfolded_limit,
            folded: VecDeque::new(),
            recent: VecDeque::new(),
            settled: 0,
            recent_bytes: 0,
            tail_bytes,
        }
    }

    /// The last block applied.
    pub(crate) fn mark(&self) -> Mark {
        self.applied.mark()
    }

    /// What all blocks applied did, where nodes compare that.
    pub(crate) fn chain(&self) -> Option<Chain> {
        self.applied.chain
    }

    /// The number that the next block of a node must have to take effect, when it is of this incarnation.
    pub(crate) fn next_of(&self, name: &BlockName) -> u64 {
        let proposer = self.applied.proposers.0.get(&name.node);
        proposer.filter(|it| it.incarnation == name.incarnation).map_or(0, |it| it.next)
    }

    fn read(&mut self, durable: &Durable) {
        self.applied.position = durable.position;
        self.stats.at(self.partition, durable.position);
        self.applied.stamp = self.stamps.then(|| block::stamp(&durable.block));
    }

    /// The position of the last block applied.
    #[must_use]
    pub(crate) fn position(&self) -> Position {
        self.applied.position
    }

    /// Whether another block may be applied before the fold has caught up.
    #[must_use]
    pub(crate) fn has_room(&self) -> bool {
        self.unfolded.entries < self.unfolded_limit.entries
            && self.unfolded.bytes < self.unfolded_limit.bytes
    }

    /// What the archive knows of the ids of these proposals.
    ///
    /// # Errors
    /// When the archive cannot be read.
    pub(crate) fn look_up<'a>(
        &self,
        proposals: impl Iterator<Item = &'a Proposal>,
    ) -> Result<Vec<Option<Known>>, ArchiveError> {
        let key = |proposal: &Proposal| IdKey {
            room: proposal.room.clone(),
            author: proposal.author.clone(),
            id: proposal.id.clone(),
        };
        self.archive.find(&proposals.map(key).collect::<Vec<_>>())
    }

    /// Applies a block; `None` when it does not take effect.
    ///
    /// # Errors
    /// When the archive cannot be read.
    pub(crate) fn apply<'a>(
        &mut self,
        durable: &Durable,
        name: &BlockName,
        rules: Rules,
        proposals: impl Iterator<Item = &'a Proposal>,
        archived: &[Option<Known>],
    ) -> Result<Option<Vec<AppendOutcome>>, ArchiveError> {
        self.read(durable);
        self.applied.rules = self.applied.rules.max(rules.number());
        if !self.applied.proposers.admit(name) {
            self.hand_on(Vec::new());
            return Ok(None);
        }
        let mut touched = Vec::new();
        let mut outcomes = Vec::with_capacity(archived.len());
        for (proposal, archived) in proposals.zip(archived) {
            let held = hold(&mut self.held, &self.rooms, &proposal.room)?;
            let untouched = held.fresh.is_empty();
            let (ids, archived) = (&mut self.ids, archived.as_ref());
            outcomes.push(apply_one(held, ids, rules, proposal, durable.time, archived));
            if held.recent == 0 {
                self.held.remove(&proposal.room);
            } else if untouched && !held.fresh.is_empty() {
                touched.push(proposal.room.clone());
            }
        }
        self.commit_all(&touched, durable.position);
        Ok(Some(outcomes))
    }

    /// Applies a block of entries that were committed elsewhere.
    ///
    /// # Errors
    /// When the archive cannot be read, or an entry does not go on where its room ends; nothing of such a
    /// block may stay.
    pub(crate) fn restore(
        &mut self,
        durable: &Durable,
        name: &BlockName,
        history: &[Past],
    ) -> Result<(), RestoreError> {
        self.read(durable);
        if !self.applied.proposers.admit(name) {
            self.hand_on(Vec::new());
            return Ok(());
        }
        let mut touched = Vec::new();
        for past in history {
            let proposal = &past.proposal;
            let held = hold(&mut self.held, &self.rooms, &proposal.room)?;
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
        self.commit_all(&touched, durable.position);
        Ok(())
    }

    /// Publishes what the block at hand added, and hands it on to the fold.
    fn commit_all(&mut self, touched: &[RoomName], position: Position) {
        let commits = touched.iter().filter_map(|room| self.commit(room, position));
        let commits: Vec<Arc<Commit>> = commits.collect();
        if let Some(chain) = &mut self.applied.chain {
            for commit in &commits {
                let Some(last) = commit.entries.last() else { continue };
                *chain = chain.then(&commit.room, last.entry.slot + 1, &last.digest);
            }
        }
        self.hand_on(commits);
    }

    /// Passes over a position that holds nothing of ours.
    pub(crate) fn skip(&mut self, durable: &Durable) {
        self.read(durable);
        self.hand_on(Vec::new());
    }

    /// Publishes what the block at hand added to a room.
    fn commit(&mut self, room: &RoomName, position: Position) -> Option<Arc<Commit>> {
        let held = self.held.get_mut(room)?;
        let entries = std::mem::take(&mut held.fresh);
        if entries.is_empty() {
            return None;
        }
        let frames = OnceLock::new();
        let commit = Arc::new(Commit { room: room.clone(), position, entries, frames });
        held.tail.publish(commit.clone());
        self.untold.insert(room.clone(), held.tail.clone());
        self.heads.moved(room);
        self.recent_bytes += commit.weight();
        self.recent.push_back((commit.clone(), held.tail.clone()));
        Some(commit)
    }

    /// Tells the followers of what was applied. While `more` is on its way, that is put off for a few
    /// blocks: a burst that became several commits wakes a thousand followers once.
    pub(crate) fn tell(&mut self, more: bool) {
        if self.untold.is_empty() {
            return;
        }
        self.untold_blocks += 1;
        if more && self.untold_blocks < BLOCKS_UNTOLD {
            return;
        }
        self.untold_blocks = 0;
        for tail in std::mem::take(&mut self.untold).into_values() {
            tail.tell();
        }
    }

    fn hand_on(&mut self, commits: Vec<Arc<Commit>>) {
        let effect = Effect::new(commits, self.applied.clone());
        self.fresh = effect.entries();
        self.unfolded.entries += effect.counted().entries;
        self.unfolded.bytes += effect.counted().bytes;
        self.stats.applied(self.fresh, self.unfolded.entries);
        self.folds.push(effect);
    }

    /// Takes note of a window that is in the archive. Blocks before number `next_n` may have been
    /// looked up there before it was.
    pub(crate) fn folded(&mut self, effects: Vec<Effect>, next_n: u64) {
        for counted in effects.iter().map(Effect::counted) {
            self.unfolded.entries -= counted.entries;
            self.unfolded.bytes -= counted.bytes;
        }
        self.stats.folded(self.unfolded.entries);
        let (effects, commits) = (effects.into_iter(), Vec::new().into_iter());
        self.folded.push_back(Folded { barrier: next_n, effects, commits });
    }

    /// How many entries the last block added.
    #[must_use]
    pub(crate) fn fresh(&self) -> usize {
        self.fresh
    }

    /// Whether there is something that [`Applier::settle`] lets go of.
    #[must_use]
    pub(crate) fn has_settled(&self, oldest_n: u64) -> bool {
        self.folded.front().is_some_and(|window| window.barrier <= oldest_n)
            || self.tails_are_long()
    }

    /// Lets go of what is in the archive, when no block in flight (`oldest_n` and later) was looked
    /// up before it was: so many entries, and the commit that has the last of them. A window is let go
    /// of in many steps, because appends wait meanwhile.
    pub(crate) fn settle(&mut self, oldest_n: u64, entries: usize) {
        let mut left = entries;
        while left > 0
            && let Some(window) = self.folded.front_mut().filter(|it| it.barrier <= oldest_n)
        {
            let Some(commit) = window.next() else {
                self.folded.pop_front();
                // Once a window, not once a step: it looks at every room when there are too many.
                self.rooms.let_go_of_idle();
                continue;
            };
            left = left.saturating_sub(commit.entries.len());
            self.forget(&commit);
        }
        self.trim_tails(entries);
    }

    /// Lets go of the ids of a commit that is in the archive.
    fn forget(&mut self, commit: &Commit) {
        self.settled += 1;
        let entries = commit.entries.len();
        self.ids.forget(entries);
        let Some(held) = self.held.get_mut(&commit.room) else { return };
        held.recent -= entries;
        // All folded, so the archive can give it again: the state leaves memory.
        if held.recent == 0 {
            self.held.remove(&commit.room);
        }
    }

    fn tails_are_long(&self) -> bool {
        self.settled > 0 && self.recent_bytes > self.tail_bytes
    }

    /// Tails give up their oldest commits, over all rooms, down to their share of memory.
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

    /// Lets the fold's thread end.
    pub(crate) fn close(&self) {
        self.folds.close();
    }
}

fn hold<'a>(
    held: &'a mut HashMap<RoomName, Held>,
    rooms: &Rooms,
    room: &RoomName,
) -> Result<&'a mut Held, ArchiveError> {
    if !held.contains_key(room) {
        let tail = rooms.open(room)?;
        let state = Room { name: room.clone(), head: tail.head() };
        held.insert(room.clone(), Held { room: state, recent: 0, fresh: Vec::new(), tail });
    }
    Ok(held.get_mut(room).unwrap_or_else(|| unreachable!("it was put in above")))
}

fn apply_one(
    held: &mut Held,
    ids: &mut RecentIds,
    rules: Rules,
    proposal: &Proposal,
    journal_time: u64,
    archived: Option<&Known>,
) -> AppendOutcome {
    let id = ids.hash(&proposal.room, &proposal.author, &proposal.id);
    // A row at or past the end is of a fold that a crash cut off: its block is applied again.
    let archived = archived.filter(|known| known.slot < held.room.head.end);
    let known = ids.get(id).or(archived).copied();
    match room::apply(&mut held.room, rules, proposal, journal_time, known.as_ref()) {
        Ok(stored) => {
            let (slot, committed_at) = (stored.entry.slot, stored.entry.committed_at);
            held.add(ids, id, proposal, stored);
            AppendOutcome::Committed { slot, committed_at, repeat: false }
        }
        Err(outcome) => outcome,
    }
}

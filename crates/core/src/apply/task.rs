//! The task that applies: durable blocks, in the journal's order, become entries and outcomes.
//!
//! Enters: durable blocks, word of folds. Leaves: commits into tails and fold, outcomes to those who
//! wait. Invariants: blocks are applied in the journal's order and no other; a commit is published
//! before its author hears of it; the ids of a block are looked up while the journal still writes it.

use std::sync::Arc;

use tokio::{sync::mpsc, time::Instant};
use tracing::{info, warn};

use crate::{
    append::pipeline::{InFlight, Pipeline},
    apply::{
        applier::{Applier, RestoreError},
        fold::Folded,
    },
    episode::Episode,
    model::{
        archive::ArchiveError,
        block::{self, Block, BlockError, BlockName, Content},
        error::NodeError,
        identity::Identity,
        journal::{Durable, Follow, Journal, JournalError, Partition, Position},
        outcome::AppendOutcome,
        phase::Phase,
        rules::Rules,
    },
    peers::{agreement::Agreement, rules::InForce},
    stats::Stats,
};

/// How many entries that are in the archive memory lets go of at once, for which appends wait: some
/// 20 µs. Each is a search and a few frees in memory that no cache holds any more, dearer than its apply
/// was; 128 beside each block of a dozen took the core that apply has, for as long as a window lasted.
const SETTLED_AT_ONCE: usize = 16;

/// The task that applies.
pub(crate) struct ApplierTask {
    pub(crate) partition: Partition,
    pub(crate) identity: Identity,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) applier: Applier,
    pub(crate) folds: mpsc::Receiver<Folded>,
    pub(crate) stats: Arc<Stats>,
    /// Where there are other nodes.
    pub(crate) agreement: Option<Arc<Agreement>>,
    pub(crate) rules: Arc<InForce>,
    /// Our blocks before this number were looked up in the archive.
    pub(crate) looked_up: u64,
    /// Our blocks before this number are applied.
    pub(crate) applied: u64,
    /// Blocks that are not ours in a journal that others may write to.
    pub(crate) foreign: Episode,
}

/// However it ends, cut off or by a panic: neither sequencing nor the fold's thread waits for it for
/// ever.
impl Drop for ApplierTask {
    fn drop(&mut self) {
        if !self.pipeline.is(Phase::Closing) {
            self.pipeline.fail();
        }
        self.applier.close();
    }
}

enum Woken {
    Durable(Result<Durable, JournalError>),
    Fold(Option<Folded>),
    Settle,
    Pushed,
    Failed,
}

impl ApplierTask {
    /// Catches up with the journal, then applies until sequencing has closed and all its blocks are
    /// applied, or the partition fails.
    ///
    /// # Errors
    /// [`NodeError`]; whoever waits was told what is known.
    pub(crate) async fn run(mut self) -> Result<(), NodeError> {
        let ended = self.serve().await;
        if ended.is_err() {
            self.pipeline.fail();
        }
        ended
    }

    async fn serve(&mut self) -> Result<(), NodeError> {
        let applied = self.applier.position();
        let head = self.journal.head(self.partition)?;
        // Of a shared journal the head may be an old one: whoever follows it finds out.
        if applied > head && !self.journal.facts().is_shared {
            return Err(NodeError::JournalBehind { applied, head });
        }
        let mut follow = self.journal.follow(self.partition, self.applier.mark());
        loop {
            self.note_caught_up(head);
            if self.pipeline.is(Phase::Closing) && self.pipeline.is_empty() {
                return Ok(());
            }
            match self.wait(&mut follow).await {
                Woken::Durable(durable) => self.apply(&durable?)?,
                Woken::Fold(folded) => {
                    let ended = || Err(ArchiveError::Failed("the fold's thread ended".into()));
                    self.applier.folded(folded.unwrap_or_else(ended)?, self.looked_up);
                }
                Woken::Settle => self.applier.settle(self.applied, SETTLED_AT_ONCE),
                Woken::Pushed => self.look_ahead()?,
                Woken::Failed => return Ok(()),
            }
            self.note_room();
            let more = !self.pipeline.is_empty() || self.pipeline.inbox.has_post();
            self.applier.tell(more && self.applier.has_room());
        }
    }

    async fn wait(&mut self, follow: &mut Box<dyn Follow>) -> Woken {
        let has_room = self.applier.has_room() || self.pipeline.inbox.is_draining();
        tokio::select! {
            biased;
            durable = follow.next(), if has_room => Woken::Durable(durable),
            folded = self.folds.recv() => Woken::Fold(folded),
            () = self.pipeline.pushed.notified() => {
                if self.pipeline.is(Phase::Failed) { Woken::Failed } else { Woken::Pushed }
            }
            // When nothing else is to be done; others on this thread have their turn first.
            () = tokio::task::yield_now(), if self.applier.has_settled(self.applied) => Woken::Settle,
        }
    }

    fn note_caught_up(&self, head: Position) {
        // In a shared journal our first block stands behind all that anyone was acked before.
        let has_all = !self.journal.facts().is_shared || self.applied > 0;
        if has_all && self.pipeline.is(Phase::CatchingUp) && self.applier.position() >= head {
            info!(position = %head, "caught up with the journal");
            self.pipeline.enter(Phase::Serving);
        }
    }

    fn note_room(&self) {
        let now = self.applier.has_room();
        let changed = self.pipeline.has_room.send_if_modified(|room| {
            let changed = *room != now;
            *room = now;
            changed
        });
        if changed {
            self.pipeline.inbox.set_overloaded(!now);
            self.pipeline.freed.notify_one();
        }
    }

    /// Asks the archive for the ids of blocks that the journal has not given back yet. What is folded
    /// from then on stays in memory until they are applied, so nothing falls between.
    fn look_ahead(&mut self) -> Result<(), NodeError> {
        while let Some((n, submits)) = self.pipeline.to_look_up() {
            let known = self.applier.look_up(submits.iter().map(|submit| &submit.proposal))?;
            self.pipeline.looked_up(n, &submits, known);
            self.looked_up = self.looked_up.max(n + 1);
        }
        Ok(())
    }

    fn apply(&mut self, durable: &Durable) -> Result<(), NodeError> {
        match self.pipeline.take(&durable.block) {
            Some(ours) => {
                let outcomes = self.apply_ours(durable, &ours).inspect_err(|_| {
                    // It has left the pipeline, where a failure would find those who wait.
                    for submit in ours.submits.iter() {
                        self.pipeline.answer(submit, AppendOutcome::Unknown);
                    }
                })?;
                for (submit, outcome) in ours.submits.iter().zip(outcomes) {
                    self.pipeline.answer(submit, outcome);
                }
            }
            None => self.apply_other(durable)?,
        }
        self.stats.block();
        if let Some((agreement, chain)) = self.agreement.as_ref().zip(self.applier.chain()) {
            agreement.note(durable.position, chain);
        }
        // Twice as many as it added at least, so that letting go keeps up.
        self.applier.settle(self.applied, SETTLED_AT_ONCE.max(2 * self.applier.fresh()));
        Ok(())
    }

    fn apply_ours(
        &mut self,
        durable: &Durable,
        ours: &InFlight,
    ) -> Result<Vec<AppendOutcome>, NodeError> {
        let InFlight { n, rules, submits, known, .. } = ours;
        let Identity { node, incarnation } = self.identity;
        let name = BlockName { node, incarnation, n: *n };
        let proposals = submits.iter().map(|submit| &submit.proposal);
        let looked_up_now;
        let known = match known {
            Some(known) => known,
            None => {
                looked_up_now = self.applier.look_up(proposals.clone())?;
                &looked_up_now
            }
        };
        self.note_rules(durable.position, &name, *rules);
        let outcomes = self.applier.apply(durable, &name, *rules, proposals, known)?;
        self.applied = *n + 1;
        self.looked_up = self.looked_up.max(self.applied);
        if self.journal.facts().is_shared {
            self.pipeline.note_applied(self.applied);
        }
        outcomes.ok_or(NodeError::Fenced(durable.position))
    }

    fn note_rules(&self, position: Position, name: &BlockName, named: Rules) {
        if self.rules.note(name.node, named, Instant::now()) {
            info!(rules = named.number(), %position, "newer rules begin");
        }
    }

    /// A block of this node's that was not the oldest under way: a copy of one that has taken effect, or
    /// one whose predecessor is not there, and then all from there on is proposed again.
    fn note_ours(&self, durable: &Durable, name: &BlockName) -> Result<(), NodeError> {
        if name.node != self.identity.node || name.incarnation < self.identity.incarnation {
            return Ok(());
        }
        if name.incarnation > self.identity.incarnation {
            return Err(NodeError::Fenced(durable.position));
        }
        if name.n > self.applier.next_of(name) {
            self.pipeline.note_gap();
        }
        Ok(())
    }

    fn apply_other(&mut self, durable: &Durable) -> Result<(), NodeError> {
        match block::decode(&durable.block, self.rules.knows()) {
            Ok(Block { name, rules, content: Content::Proposals(proposals) }) => {
                self.note_rules(durable.position, &name, rules);
                if let Some(blocks) = self.foreign.ends() {
                    warn!(blocks, "so many blocks that are not ours were skipped");
                }
                let known = self.applier.look_up(proposals.iter())?;
                self.applier.apply(durable, &name, rules, proposals.iter(), &known)?;
                self.note_ours(durable, &name)
            }
            Ok(Block { name, rules, content: Content::History(history) }) => {
                self.note_rules(durable.position, &name, rules);
                self.applier.restore(durable, &name, &history).map_err(|why| match why {
                    RestoreError::Archive(why) => NodeError::Archive(why),
                    RestoreError::History(why) => NodeError::Block {
                        position: durable.position,
                        problem: BlockError::Broken(why.to_string()),
                    },
                })
            }
            Err(BlockError::Foreign) if !self.journal.facts().is_exclusive => {
                if self.foreign.begins() {
                    warn!(position = %durable.position, "skipped what is not a block of ours");
                }
                self.applier.skip(durable);
                Ok(())
            }
            Err(problem) => Err(NodeError::Block { position: durable.position, problem }),
        }
    }
}

//! The applier task: durable blocks, in the journal's order, become entries and outcomes.
//!
//! Enters: durable blocks, results of folds. Leaves: commits, to tails and the fold, and outcomes.
//! Invariants: blocks are applied in the journal's order; a commit is published before its author
//! is notified; the ids of a block are looked up while the journal still writes it.

use std::sync::Arc;

use tokio::{sync::mpsc, time::Instant};
use tracing::{info, warn};

use crate::{
    append::pipeline::{InFlight, Pipeline},
    apply::{
        applier::{Applier, RestoreError},
        fold::FoldResult,
    },
    episode::Episode,
    model::{
        archive::ArchiveError,
        block::{self, Block, BlockError, BlockName, Payload},
        error::NodeError,
        identity::Identity,
        journal::{Durable, Follow, Journal, JournalError, Partition, Position},
        outcome::AppendOutcome,
        phase::Phase,
        rules::Rules,
    },
    peers::{agreement::Agreement, rules::ActiveRules},
    stats::Stats,
};

/// The folded entries that are released from memory in one step, for which appends wait: about 20
/// µs. Each is a search and a few frees in memory that is no longer cached, dearer than its apply
/// was; 128 per block of a dozen saturated the applier's core for as long as a window lasted.
const SETTLED_PER_STEP: usize = 16;

/// What a repeat of an entry in the archive costs, or a redaction, in bytes that take as long to write:
/// three reads, of which the last is a run of about as many bytes.
const ARCHIVE_READ_COST: usize = 16 << 10;

pub(crate) struct ApplierTask {
    pub(crate) partition: Partition,
    pub(crate) identity: Identity,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) applier: Applier,
    pub(crate) folds: mpsc::Receiver<FoldResult>,
    pub(crate) stats: Arc<Stats>,
    /// `None` if there are no other nodes.
    pub(crate) agreement: Option<Arc<Agreement>>,
    pub(crate) rules: Arc<ActiveRules>,
    /// This node's blocks before this number were looked up in the archive.
    pub(crate) looked_up: u64,
    /// This node's blocks before this number are applied.
    pub(crate) applied: u64,
    /// Foreign blocks, in a journal that others may write to.
    pub(crate) foreign: Episode,
}

/// Even if it is aborted or panics, neither the sequencer nor the fold's thread waits for it
/// forever.
impl Drop for ApplierTask {
    fn drop(&mut self) {
        if !self.pipeline.is(Phase::Closing) {
            self.pipeline.fail();
        }
        self.applier.close();
    }
}

enum ApplierEvent {
    Durable(Result<Durable, JournalError>),
    Fold(Option<FoldResult>),
    Settle,
    Pushed,
    Failed,
}

impl ApplierTask {
    /// Catches up with the journal, then applies until the sequencer has closed and all its blocks
    /// are applied, or the partition fails. Answers everything in flight in any case.
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
        // If the head is not exact, following finds out.
        if applied > head && self.journal.facts().head_is_exact {
            return Err(NodeError::JournalBehind { applied, head });
        }
        let mut follow = self.journal.follow(self.partition, self.applier.mark());
        loop {
            self.note_caught_up(head);
            if self.pipeline.is(Phase::Closing) && self.pipeline.is_empty() {
                return Ok(());
            }
            match self.wait(&mut follow).await {
                ApplierEvent::Durable(durable) => self.apply(&durable?)?,
                ApplierEvent::Fold(folded) => {
                    let ended = || Err(ArchiveError::Failed("the fold's thread ended".into()));
                    self.applier.folded(folded.unwrap_or_else(ended)?, self.looked_up);
                }
                ApplierEvent::Settle => self.applier.settle(self.applied, SETTLED_PER_STEP),
                ApplierEvent::Pushed => self.look_ahead()?,
                ApplierEvent::Failed => return Ok(()),
            }
            self.note_room();
            self.applier.deliver();
        }
    }

    async fn wait(&mut self, follow: &mut Box<dyn Follow>) -> ApplierEvent {
        let has_room = self.applier.has_room() || self.pipeline.inbox.is_draining();
        tokio::select! {
            biased;
            // First, though it is rare: under load a block is always ready, and until a folded window is
            // noted it counts as unfolded.
            folded = self.folds.recv() => ApplierEvent::Fold(folded),
            durable = follow.next(), if has_room => ApplierEvent::Durable(durable),
            () = self.pipeline.pushed.notified() => {
                match self.pipeline.is(Phase::Failed) {
                    true => ApplierEvent::Failed,
                    false => ApplierEvent::Pushed,
                }
            }
            // Only if there is nothing else to do, and after other tasks of this thread.
            () = tokio::task::yield_now(), if self.applier.has_settled(self.applied) => {
                ApplierEvent::Settle
            }
        }
    }

    fn note_caught_up(&self, head: Position) {
        // This node's first block follows everything that was acked before.
        let has_all = self.journal.facts().head_is_exact || self.applied > 0;
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

    /// Looks up the ids of blocks that the journal has not returned yet. What is folded from then
    /// on stays in memory until they are applied, so no id is missed.
    fn look_ahead(&mut self) -> Result<(), NodeError> {
        while let Some((n, submits)) = self.pipeline.to_look_up() {
            let known = self.applier.look_up(submits.iter().map(|submit| &*submit.proposal))?;
            self.pipeline.looked_up(n, &submits, known);
            self.looked_up = self.looked_up.max(n + 1);
        }
        Ok(())
    }

    fn apply(&mut self, durable: &Durable) -> Result<(), NodeError> {
        match self.pipeline.take(durable) {
            Some(mut own) => {
                let outcomes = self.apply_own(durable, &mut own).inspect_err(|_| {
                    // It has left the pipeline, so `Pipeline::fail` cannot answer it.
                    for submit in own.submits.iter() {
                        submit.ticket.answer(AppendOutcome::Unknown);
                    }
                })?;
                for (submit, outcome) in own.submits.iter().zip(outcomes) {
                    submit.ticket.answer(outcome);
                }
            }
            None => self.apply_other(durable)?,
        }
        self.stats.block();
        if let Some((agreement, chain)) = self.agreement.as_ref().zip(self.applier.chain()) {
            agreement.note(durable.position, chain);
        }
        // At least twice as many as the block added, so that the release keeps up.
        self.applier.settle(self.applied, SETTLED_PER_STEP.max(2 * self.applier.fresh()));
        Ok(())
    }

    fn apply_own(
        &mut self,
        durable: &Durable,
        own: &mut InFlight,
    ) -> Result<Vec<AppendOutcome>, NodeError> {
        let InFlight { n, rules, submits, charges, known, .. } = own;
        let Identity { node, incarnation } = self.identity;
        let name = BlockName { node, incarnation, n: *n };
        let proposals = submits.iter().map(|submit| &*submit.proposal);
        let looked_up_now;
        let known = match known {
            Some(known) => known,
            None => {
                looked_up_now = self.applier.look_up(proposals.clone())?;
                &looked_up_now
            }
        };
        self.note_rules(durable.position, &name, *rules);
        let mut charges = std::mem::take(charges);
        for ((charge, known), submit) in charges.iter_mut().zip(known).zip(submits.iter()) {
            let reads_archive = known.is_some() || submit.proposal.kind.removes();
            // The sequencer puts fewer of them into a block, so that other rooms do not wait for them.
            charge.account().note_cost(if reads_archive { ARCHIVE_READ_COST } else { 0 });
            // A connection holds what waits to be committed: so one that appends one at a time holds one
            // entry, however far the fold is behind for all.
            charge.pass_to_principal();
        }
        let outcomes = self.applier.apply(durable, &name, *rules, proposals, known, charges)?;
        self.applied = *n + 1;
        self.looked_up = self.looked_up.max(self.applied);
        outcomes.ok_or(NodeError::Fenced(durable.position))
    }

    fn note_rules(&self, position: Position, name: &BlockName, named: Rules) {
        if self.rules.note(name.node, named, Instant::now()) {
            info!(rules = named.number(), %position, "newer rules are in force");
        }
    }

    /// A block that is not the oldest in flight may be a copy; one of a later start ends this node.
    fn check_fence(&self, durable: &Durable, name: &BlockName) -> Result<(), NodeError> {
        let Identity { node, incarnation } = self.identity;
        match name.node == node && name.incarnation > incarnation {
            true => Err(NodeError::Fenced(durable.position)),
            false => Ok(()),
        }
    }

    fn apply_other(&mut self, durable: &Durable) -> Result<(), NodeError> {
        match block::decode_at(durable.position, &durable.block, self.rules.knows()) {
            Ok(Some(Block { name, rules, payload: Payload::Proposals(proposals) })) => {
                self.note_rules(durable.position, &name, rules);
                if let Some(blocks) = self.foreign.note_success() {
                    warn!(blocks, "skipped blocks that Roomlog did not write");
                }
                let known = self.applier.look_up(proposals.iter())?;
                self.applier.apply(durable, &name, rules, proposals.iter(), &known, Vec::new())?;
                self.check_fence(durable, &name)
            }
            Ok(Some(Block { name, rules, payload: Payload::History(history) })) => {
                self.note_rules(durable.position, &name, rules);
                self.applier.restore(durable, &name, &history).map_err(|why| match why {
                    RestoreError::Archive(why) => NodeError::Archive(why),
                    RestoreError::History(why) => NodeError::Block {
                        position: durable.position,
                        problem: BlockError::Broken(why.to_string()),
                    },
                })
            }
            Ok(None) => {
                self.applier.skip(durable);
                Ok(())
            }
            Err(BlockError::Foreign) if !self.journal.facts().is_exclusive => {
                if self.foreign.note_failure() {
                    let position = durable.position;
                    warn!(%position, "skipped a block that Roomlog did not write");
                }
                self.applier.skip(durable);
                Ok(())
            }
            Err(problem) => Err(NodeError::Block { position: durable.position, problem }),
        }
    }
}

//! The one task of a partition: sequencer, journal and apply, in that order, for ever.
//!
//! ```text
//!  inbox ──► sequencer ──block──► journal ──durable──► apply ──► tails, outcomes
//!                                                        └─────► fold ──► archive
//! ```
//!
//! Enters: appends, durable blocks, word of folds. Leaves: commits and outcomes. Invariants: blocks
//! are applied in the journal's order and no other; a commit is published before its author hears
//! of it; the next block is proposed before the last one is applied, so that the journal never waits
//! for apply.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use futures_util::future::{BoxFuture, pending};
use thiserror::Error;
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

use crate::{
    applier::Applier,
    archive::ArchiveError,
    block::{self, BlockError, BlockName, NodeId},
    fold::Folded,
    inbox::Inbox,
    journal::{Durable, Follow, Journal, JournalError, Partition, Position, Proposed},
    mailbox::Outcome,
    proposal::Proposal,
    room::Known,
    sequencer::{Sequencer, Submit, Ticket},
    stats::Stats,
};

/// Why a node cannot go on. What was acked is safe; the process should end and be started again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NodeError {
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The archive failed or is damaged.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A block that this version cannot apply: it must not be passed over.
    #[error("position {position} of the journal holds {problem}")]
    Block {
        /// Where it stands.
        position: Position,
        /// What is wrong with it.
        problem: BlockError,
    },
    /// Journal and archive do not belong together.
    #[error(
        "the archive is at position {applied} and the journal ends at {head}: the journal lost \
         entries or is another one; bring the matching journal back, nothing was changed"
    )]
    JournalBehind {
        /// What the archive has taken in.
        applied: Position,
        /// Where the journal ends.
        head: Position,
    },
    /// Our own block was skipped: another process used this node's identity.
    #[error(
        "position {0} of the journal has a block of this node's that was not the next: another \
         process runs with this node's identity"
    )]
    Fenced(Position),
}

/// A block that was proposed and is not applied yet.
struct InFlight {
    n: u64,
    block: Bytes,
    submits: Vec<Submit>,
    /// What the archive knew of the ids when the block was proposed.
    known: Vec<Option<Known>>,
    /// The journal's answer, until it said durable.
    proposed: Option<BoxFuture<'static, Proposed>>,
}

/// Who this node is.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Its id.
    pub node: NodeId,
    /// Its incarnation: greater at each start.
    pub incarnation: u64,
}

/// The one task of a partition.
pub struct PartitionTask {
    pub(crate) partition: Partition,
    pub(crate) identity: Identity,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) applier: Applier,
    pub(crate) folds: mpsc::Receiver<Folded>,
    pub(crate) ready: watch::Sender<bool>,
    pub(crate) stats: Arc<Stats>,
}

/// What the task woke up for.
enum Woken {
    Inbox,
    Durable(Result<Durable, JournalError>),
    Proposed(Proposed),
    Fold(Option<Folded>),
}

impl PartitionTask {
    /// Catches up with the journal, then serves until the inbox is closed and all it took has its
    /// outcome.
    ///
    /// # Errors
    /// [`NodeError`]; whoever waits was told what is known.
    pub async fn run(mut self) -> Result<(), NodeError> {
        let applied = self.applier.position();
        let head = self.journal.head(self.partition)?;
        if applied > head {
            self.applier.close();
            return Err(NodeError::JournalBehind { applied, head });
        }
        let follow = self.journal.follow(self.partition, applied);
        let mut running = Running {
            follow,
            sequencer: Sequencer::default(),
            in_flight: VecDeque::new(),
            next_n: 0,
            task: self,
        };
        let ended = running.serve(head).await;
        if let Err(problem) = &ended {
            error!(%problem, "the node stops");
            running.task.inbox.close();
            running.answer_all();
        }
        self = running.task;
        self.applier.close();
        ended
    }
}

struct Running {
    task: PartitionTask,
    follow: Box<dyn Follow>,
    sequencer: Sequencer,
    in_flight: VecDeque<InFlight>,
    next_n: u64,
}

impl Running {
    async fn serve(&mut self, caught_up_at: Position) -> Result<(), NodeError> {
        loop {
            if !*self.task.ready.borrow() && self.task.applier.position() >= caught_up_at {
                info!(position = %caught_up_at, "caught up with the journal");
                self.task.ready.send_replace(true);
            }
            self.take_inbox();
            self.propose()?;
            let idle = self.in_flight.is_empty() && self.sequencer.is_empty();
            if idle && self.task.inbox.is_closed() {
                // Closed before it was found empty: nothing can have come since.
                self.take_inbox();
                if self.sequencer.is_empty() {
                    return Ok(());
                }
                continue;
            }
            match self.wait().await {
                Woken::Inbox => {}
                Woken::Durable(durable) => {
                    let durable = durable?;
                    let ours = self.take_ours(&durable);
                    // The journal is free: give it the next block before looking at this one.
                    self.take_inbox();
                    self.propose()?;
                    self.apply(durable, ours)?;
                }
                Woken::Proposed(proposed) => self.proposed(proposed)?,
                Woken::Fold(folded) => {
                    let folded = folded.unwrap_or_else(|| {
                        Err(ArchiveError::Failed("the fold's thread ended".into()))
                    });
                    self.task.applier.folded(folded?, self.next_n);
                    self.settle();
                }
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let room = self.task.applier.has_room();
        self.task.inbox.set_overloaded(!room);
        let in_flight = &mut self.in_flight;
        let proposed = async {
            match in_flight.iter_mut().find_map(|block| block.proposed.as_mut()) {
                Some(proposed) => proposed.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            durable = self.follow.next(), if room => Woken::Durable(durable),
            folded = self.task.folds.recv() => Woken::Fold(folded),
            proposed = proposed => Woken::Proposed(proposed),
            () = self.task.inbox.wait() => Woken::Inbox,
        }
    }

    fn take_inbox(&mut self) {
        let post = self.task.inbox.take();
        for submit in post.submits {
            if let Err(early) = self.sequencer.push(submit) {
                self.answer(&early, Outcome::OutOfOrder);
            }
        }
        for queue in post.forgotten {
            self.sequencer.forget(queue);
        }
    }

    /// Closes a block when the journal can take one and something waits.
    fn propose(&mut self) -> Result<(), NodeError> {
        let room = self.task.applier.has_room() && *self.task.ready.borrow();
        while room && self.in_flight.len() < self.task.journal.depth() {
            let submits = self.sequencer.next_block();
            if submits.is_empty() {
                return Ok(());
            }
            let Identity { node, incarnation } = self.task.identity;
            let name = BlockName { node, incarnation, n: self.next_n };
            let block = block::encode(name, submits.iter().map(|submit| &submit.proposal));
            let proposed = self.task.journal.propose(self.task.partition, block.clone());
            // While the journal works: what the archive knows of these ids. What is folded from now
            // on stays in memory until this block is applied, so nothing falls between.
            let known = self.task.applier.look_up(submits.iter().map(|submit| &submit.proposal))?;
            let proposed = Some(proposed);
            self.in_flight.push_back(InFlight { n: self.next_n, block, submits, known, proposed });
            self.next_n += 1;
        }
        Ok(())
    }

    /// The oldest block in flight, when it is the one that became durable.
    fn take_ours(&mut self, durable: &Durable) -> Option<InFlight> {
        let ours = self.in_flight.front().is_some_and(|block| block.block == durable.block);
        if ours { self.in_flight.pop_front() } else { None }
    }

    fn apply(&mut self, durable: Durable, ours: Option<InFlight>) -> Result<(), NodeError> {
        let Identity { node, incarnation } = self.task.identity;
        if let Some(InFlight { n, submits, known, .. }) = ours {
            let name = BlockName { node, incarnation, n };
            let proposals = submits.iter().map(|submit| &submit.proposal);
            let outcomes = self.task.applier.apply(&durable, &name, proposals, &known)?;
            let outcomes = outcomes.ok_or(NodeError::Fenced(durable.position))?;
            for (submit, outcome) in submits.iter().zip(outcomes) {
                self.answer(submit, outcome);
            }
        } else {
            let problem = |problem| NodeError::Block { position: durable.position, problem };
            match block::decode(&durable.block) {
                Ok(block) => {
                    let known = self.task.applier.look_up(block.proposals.iter())?;
                    let proposals = block.proposals.iter();
                    self.task.applier.apply(&durable, &block.name, proposals, &known)?;
                }
                Err(BlockError::Foreign) => {
                    warn!(position = %durable.position, "skipped what is not a block of ours");
                    self.task.applier.skip(durable.position);
                }
                Err(other) => return Err(problem(other)),
            }
        }
        self.task.stats.block();
        self.settle();
        Ok(())
    }

    /// Lets go of what is folded and no block in flight can need.
    fn settle(&mut self) {
        let oldest = self.in_flight.front().map_or(self.next_n, |block| block.n);
        self.task.applier.settle(oldest);
    }

    fn proposed(&mut self, proposed: Proposed) -> Result<(), NodeError> {
        match proposed {
            Proposed::Durable(_) => {
                // It comes back by `follow`, in its place among the others.
                if let Some(block) =
                    self.in_flight.iter_mut().find(|block| block.proposed.is_some())
                {
                    block.proposed = None;
                }
                Ok(())
            }
            Proposed::Refused(reason) => {
                warn!(reason, "the journal has no room: appends are refused");
                self.refuse();
                Ok(())
            }
            Proposed::Unknown(reason) => Err(JournalError(reason).into()),
        }
    }

    /// Refuses the blocks that the journal did not take, in their order. In a numbered queue only
    /// the first is told why; those behind it are told that it comes first.
    fn refuse(&mut self) {
        // In front of them: what is durable and not applied yet.
        let durable = self.in_flight.iter().take_while(|block| block.proposed.is_none()).count();
        let refused = self.in_flight.split_off(durable);
        if let Some(first) = refused.front() {
            self.next_n = first.n;
        }
        let mut broken = std::collections::HashSet::new();
        for submit in refused.iter().flat_map(|block| &block.submits) {
            let Ticket { queue, seq, .. } = submit.ticket;
            let Some(seq) = seq else {
                self.answer(submit, Outcome::StorageFull);
                continue;
            };
            if !broken.insert(queue) {
                self.answer(submit, Outcome::OutOfOrder);
                continue;
            }
            self.answer(submit, Outcome::StorageFull);
            for behind in self.sequencer.break_queue(&submit.proposal.room, queue, seq) {
                self.answer(&behind, Outcome::OutOfOrder);
            }
        }
    }

    fn answer(&self, submit: &Submit, outcome: Outcome) {
        self.task.inbox.release(Proposal::weight(&submit.proposal));
        submit.ticket.answer(outcome);
    }

    /// The node stops: whoever waits is told what is known.
    fn answer_all(&mut self) {
        for block in std::mem::take(&mut self.in_flight) {
            for submit in &block.submits {
                self.answer(submit, Outcome::Unknown);
            }
        }
        self.take_inbox();
        loop {
            let block = self.sequencer.next_block();
            if block.is_empty() {
                return;
            }
            for submit in &block {
                self.answer(submit, Outcome::Unavailable);
            }
        }
    }
}

//! The task that proposes: what waits in the inbox becomes blocks, as fast as the journal takes them.
//!
//! Enters: appends, the journal's answers. Leaves: blocks in the journal and in the pipeline. Invariant:
//! it is the only caller of `propose`; a block is closed when the journal can take it, and holds
//! what waits then. It does nothing else, so that the journal never waits for apply: on one node
//! `propose` is the write itself, and this task's thread is the one that waits for the disk.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use futures_util::future::{BoxFuture, pending};
use tracing::warn;

use crate::{
    block::{self, BlockName},
    journal::{Journal, JournalError, Partition, Proposed},
    mailbox::Outcome,
    partition::{Identity, NodeError},
    pipeline::{InFlight, Phase, Pipeline},
    sequencer::{Sequencer, Ticket},
};

/// The task that proposes.
pub struct Sequencing {
    pub(crate) partition: Partition,
    pub(crate) identity: Identity,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) sequencer: Sequencer,
    /// The blocks whose answer has not come, by number, oldest first.
    pub(crate) proposed: VecDeque<(u64, BoxFuture<'static, Proposed>)>,
    pub(crate) next_n: u64,
}

enum Woken {
    Proposed(Proposed),
    Inbox,
    Freed,
    Failed,
}

impl Sequencing {
    /// Proposes until the inbox is closed and all it took is proposed, or the partition fails.
    ///
    /// # Errors
    /// [`NodeError`] when the journal leaves an outcome open.
    pub async fn run(mut self) -> Result<(), NodeError> {
        let ended = self.serve().await;
        // Failed already: once more, for a block that was pushed while apply failed.
        if ended.is_err() || self.pipeline.is(Phase::Failed) {
            self.pipeline.fail();
        } else {
            self.pipeline.enter(Phase::Closing);
        }
        self.turn_away();
        ended
    }

    async fn serve(&mut self) -> Result<(), NodeError> {
        loop {
            self.take_inbox();
            if self.pipeline.inbox.is_draining() {
                // Apply waits for the fold at its bound, and does not at the end.
                self.pipeline.pushed.notify_one();
            }
            self.propose();
            if self.proposed.is_empty()
                && self.sequencer.is_empty()
                && self.pipeline.inbox.is_closed()
            {
                // Closed before it was found empty: nothing can have come since.
                self.take_inbox();
                if self.sequencer.is_empty() {
                    return Ok(());
                }
                continue;
            }
            match self.wait().await {
                Woken::Proposed(proposed) => self.answered(proposed)?,
                Woken::Inbox | Woken::Freed => {}
                Woken::Failed => return Ok(()),
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let proposed = async {
            match self.proposed.front_mut() {
                Some((_, proposed)) => proposed.await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            proposed = proposed => Woken::Proposed(proposed),
            () = self.pipeline.inbox.wait() => Woken::Inbox,
            () = self.pipeline.freed.notified() => {
                if self.pipeline.is(Phase::Failed) { Woken::Failed } else { Woken::Freed }
            }
        }
    }

    fn take_inbox(&mut self) {
        let post = self.pipeline.inbox.take();
        let mut turned_away = false;
        for submit in post.submits {
            if let Err(early) = self.sequencer.push(submit) {
                self.pipeline.answer(&early, Outcome::OutOfOrder);
                turned_away = true;
            }
        }
        if turned_away {
            // Followers may wait to be told with the block that these would have become.
            self.pipeline.pushed.notify_one();
        }
        for queue in post.forgotten {
            self.sequencer.forget(queue);
        }
    }

    /// Closes blocks while the journal can take one and something waits.
    fn propose(&mut self) {
        while self.proposed.len() < self.journal.depth() && self.pipeline.takes_block() {
            let submits = self.sequencer.next_block();
            if submits.is_empty() {
                return;
            }
            let Identity { node, incarnation } = self.identity;
            let n = self.next_n;
            self.next_n += 1;
            let name = BlockName { node, incarnation, n };
            let block = block::encode(name, submits.iter().map(|submit| &submit.proposal));
            let submits = Arc::new(submits);
            // First here, then there: it comes back from the journal at any moment.
            self.pipeline.push(InFlight { n, block: block.clone(), submits, known: None });
            self.proposed.push_back((n, self.journal.propose(self.partition, block)));
        }
    }

    fn answered(&mut self, proposed: Proposed) -> Result<(), NodeError> {
        let Some((n, _)) = self.proposed.pop_front() else { return Ok(()) };
        match proposed {
            // It comes back by `follow`, in its place among the others.
            Proposed::Durable(_) => Ok(()),
            Proposed::Refused(reason) => {
                warn!(reason, "the journal has no room: appends are refused");
                self.refuse(n);
                Ok(())
            }
            Proposed::Unknown(reason) => Err(JournalError(reason).into()),
        }
    }

    /// Refuses the blocks from number `n` on, in their order; the next block gets this number. In a
    /// numbered queue only the first append is told why; those behind it are told that it comes
    /// first.
    fn refuse(&mut self, n: u64) {
        self.proposed.clear();
        self.next_n = n;
        let refused = self.pipeline.take_back(n);
        // Followers that were to be told with these blocks are told now: they are gone from there.
        self.pipeline.pushed.notify_one();
        let mut broken = HashSet::new();
        for submit in refused.iter().flat_map(|block| block.submits.iter()) {
            let Ticket { queue, seq, .. } = submit.ticket;
            let Some(seq) = seq else {
                self.pipeline.answer(submit, Outcome::StorageFull);
                continue;
            };
            if !broken.insert(queue) {
                self.pipeline.answer(submit, Outcome::OutOfOrder);
                continue;
            }
            self.pipeline.answer(submit, Outcome::StorageFull);
            for behind in self.sequencer.break_queue(&submit.proposal.room, queue, seq) {
                self.pipeline.answer(&behind, Outcome::OutOfOrder);
            }
        }
    }

    /// What was never proposed when the partition failed is not stored.
    fn turn_away(&mut self) {
        self.take_inbox();
        loop {
            let block = self.sequencer.next_block();
            if block.is_empty() {
                return;
            }
            for submit in &block {
                self.pipeline.answer(submit, Outcome::Unavailable);
            }
        }
    }
}

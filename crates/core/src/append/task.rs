//! The sequencer task: proposes pending appends as blocks, as fast as the journal accepts them.
//!
//! Enters: appends, the journal's answers. Leaves: blocks, to the journal and the pipeline.
//! Invariant: it is the only caller of `propose`; a block is closed when the journal can accept it,
//! and holds what is pending then: on a loop that is what all ready sockets had to say, because this
//! task is woken by the first of them and runs after the last. On a single node `propose` is the write
//! itself, on another thread. After each block the others have their turn: the applier, and those who
//! wait for its answers.
//!
//! If the journal's head is not exact, the first block is empty: it fences late blocks of an earlier
//! start, and its return shows that the node has caught up. While the journal is slow to answer, new
//! appends are `busy`.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, pending},
};
use tokio::{
    task::{spawn_blocking, yield_now},
    time::{Instant, sleep_until},
};
use tracing::warn;

use crate::{
    append::{
        pipeline::{InFlight, Pipeline},
        sequencer::{Sequencer, Submit, Ticket},
    },
    episode::Episode,
    model::{
        block::{self, BlockName},
        error::NodeError,
        identity::Identity,
        journal::{Journal, JournalError, Partition, Proposed},
        outcome::AppendOutcome,
        phase::Phase,
    },
    peers::rules::ActiveRules,
};

/// A journal that leaves a block unanswered for longer makes new appends `busy`.
const STALLED_AFTER: Duration = Duration::from_secs(1);

pub(crate) struct Outstanding {
    n: u64,
    since: Instant,
    answer: BoxFuture<'static, Proposed>,
}

pub(crate) struct SequencerTask {
    pub(crate) partition: Partition,
    pub(crate) identity: Identity,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) sequencer: Sequencer,
    /// Oldest first.
    pub(crate) outstanding: VecDeque<Outstanding>,
    pub(crate) next_n: u64,
    /// When the journal last answered.
    pub(crate) answered_at: Instant,
    pub(crate) rules: Arc<ActiveRules>,
    /// The journal refuses blocks.
    pub(crate) full: Episode,
    /// It has answered nothing for [`STALLED_AFTER`].
    pub(crate) stalled: Episode,
}

/// However it ends, by a panic too: neither the applier nor whoever serves the node waits for it for
/// ever.
impl Drop for SequencerTask {
    fn drop(&mut self) {
        if !self.pipeline.is(Phase::Closing) {
            self.pipeline.fail();
        }
    }
}

enum SequencerEvent {
    Proposed(Proposed),
    Inbox,
    Freed,
    Late,
    Failed,
}

impl SequencerTask {
    /// Runs until the inbox is closed and empty, or the partition fails. Fails if the journal
    /// leaves an outcome unknown.
    pub(crate) async fn run(mut self) -> Result<(), NodeError> {
        let ended = self.serve().await;
        // If it failed already: again, for a block pushed during the failure.
        if ended.is_err() || self.pipeline.is(Phase::Failed) {
            self.pipeline.fail();
        } else {
            self.pipeline.enter(Phase::Closing);
        }
        self.reject_pending();
        ended
    }

    async fn serve(&mut self) -> Result<(), NodeError> {
        if !self.journal.facts().head_is_exact {
            self.propose_block(Vec::new());
        }
        loop {
            self.take_inbox();
            if self.pipeline.inbox.is_closed() && !self.journal.facts().head_is_exact {
                // All sockets are closed, and a journal that other nodes write to may neither answer
                // nor return blocks for long.
                self.pipeline.fail();
                return Ok(());
            }
            if self.pipeline.inbox.is_draining() {
                // Wakes the applier: while draining it does not wait for the fold.
                self.pipeline.pushed.notify_one();
            }
            self.propose();
            if self.outstanding.is_empty()
                && self.sequencer.is_empty()
                && self.pipeline.inbox.is_closed()
            {
                // It was closed before it was found empty; take what came in between.
                self.take_inbox();
                if self.sequencer.is_empty() {
                    return Ok(());
                }
                continue;
            }
            match self.wait().await {
                SequencerEvent::Proposed(proposed) => {
                    self.answered(proposed)?;
                    yield_now().await;
                }
                SequencerEvent::Inbox | SequencerEvent::Freed => {}
                SequencerEvent::Late => self.note_stalled(),
                SequencerEvent::Failed => return Ok(()),
            }
        }
    }

    /// When the journal counts as stalled, unless it answers before.
    fn late_at(&self) -> Option<Instant> {
        let oldest = self.outstanding.front().filter(|_| !self.pipeline.inbox.is_stalled());
        oldest.map(|oldest| oldest.since.max(self.answered_at) + STALLED_AFTER)
    }

    fn note_stalled(&self) {
        self.pipeline.inbox.set_stalled(true);
        if self.stalled.note_failure() {
            warn!("the journal does not answer: new appends are busy");
        }
    }

    fn note_answered(&mut self) {
        self.answered_at = Instant::now();
        self.pipeline.inbox.set_stalled(false);
        if let Some(times) = self.stalled.note_success() {
            warn!(times, "the journal answers again");
        }
    }

    async fn wait(&mut self) -> SequencerEvent {
        let late_at = self.late_at();
        let proposed = async {
            match self.outstanding.front_mut() {
                Some(oldest) => (&mut oldest.answer).await,
                None => pending().await,
            }
        };
        let late = async {
            match late_at {
                Some(late_at) => sleep_until(late_at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            proposed = proposed => SequencerEvent::Proposed(proposed),
            () = self.pipeline.inbox.wait() => SequencerEvent::Inbox,
            () = self.pipeline.freed.notified() => {
                match self.pipeline.is(Phase::Failed) {
                    true => SequencerEvent::Failed,
                    false => SequencerEvent::Freed,
                }
            }
            () = late => SequencerEvent::Late,
        }
    }

    fn take_inbox(&mut self) {
        let post = self.pipeline.inbox.take();
        for submit in post.submits {
            if let Err(early) = self.sequencer.push(submit) {
                early.ticket.answer(AppendOutcome::OutOfOrder { expected: None });
            }
        }
        for queue in post.closed_queues {
            self.sequencer.close_queue(queue, self.next_n);
        }
    }

    fn propose(&mut self) {
        while self.outstanding.len() < self.journal.facts().depth && self.pipeline.takes_block() {
            let submits = self.sequencer.next_block();
            if submits.is_empty() {
                return;
            }
            self.propose_block(submits);
        }
    }

    fn propose_block(&mut self, mut submits: Vec<Submit>) {
        let Identity { node, incarnation } = self.identity;
        let n = self.next_n;
        self.next_n += 1;
        let name = BlockName { node, incarnation, n };
        let rules = self.rules.now();
        let block = block::encode(name, rules, submits.iter().map(|submit| &*submit.proposal));
        let look_up_cost = submits.iter().map(Submit::look_up_cost).sum();
        let charges = submits.iter_mut().filter_map(|submit| submit.charge.take()).collect();
        let (submits, known) = (Arc::new(submits), None);
        // Pushed before it is proposed, because it may come back at any moment.
        let in_flight =
            InFlight { n, rules, block: block.clone(), submits, charges, look_up_cost, known };
        self.pipeline.push(in_flight);
        let (since, answer) = (Instant::now(), self.write(block));
        self.outstanding.push_back(Outstanding { n, since, answer });
    }

    /// Proposes a block: on another thread if that waits for the disk, so that the loop reads on.
    fn write(&self, block: Bytes) -> BoxFuture<'static, Proposed> {
        let (journal, partition) = (self.journal.clone(), self.partition);
        if !journal.facts().is_blocking {
            return journal.propose(partition, block);
        }
        let proposing = spawn_blocking(move || journal.propose(partition, block));
        async {
            match proposing.await {
                Ok(proposed) => proposed.await,
                Err(_) => Proposed::Unknown("its thread has ended".into()),
            }
        }
        .boxed()
    }

    fn answered(&mut self, proposed: Proposed) -> Result<(), NodeError> {
        let Some(Outstanding { n, .. }) = self.outstanding.pop_front() else {
            return Ok(());
        };
        match proposed {
            // The block comes back by `follow`, in order.
            Proposed::Durable(_) => {
                self.note_answered();
                self.sequencer.note_durable(n, self.next_n);
                if let Some(refused_blocks) = self.full.note_success() {
                    warn!(refused_blocks, "the journal has room again");
                }
                Ok(())
            }
            Proposed::Refused(reason) => {
                self.note_answered();
                if self.full.note_failure() {
                    warn!(reason, "the journal has no room: appends are rejected until it has");
                }
                self.reject_from(n);
                Ok(())
            }
            Proposed::Unknown(reason) => Err(JournalError(reason).into()),
        }
    }

    /// Rejects the blocks from number `n` on, in order; the next block gets number `n`. In a
    /// numbered queue, the first append gets the reason, and those behind it `out_of_order`.
    fn reject_from(&mut self, n: u64) {
        self.outstanding.clear();
        self.next_n = n;
        let refused = self.pipeline.take_back(n);
        let mut broken = HashSet::new();
        for submit in refused.iter().flat_map(|block| block.submits.iter()) {
            let Ticket { queue, seq, .. } = submit.ticket;
            let Some(seq) = seq else {
                submit.ticket.answer(AppendOutcome::StorageFull);
                continue;
            };
            if !broken.insert(queue) {
                submit.ticket.answer(AppendOutcome::OutOfOrder { expected: None });
                continue;
            }
            submit.ticket.answer(AppendOutcome::StorageFull);
            for behind in self.sequencer.break_queue(&submit.proposal.room, queue, seq) {
                behind.ticket.answer(AppendOutcome::OutOfOrder { expected: None });
            }
        }
    }

    /// Rejects appends that were never proposed: they are not stored.
    fn reject_pending(&mut self) {
        self.take_inbox();
        loop {
            let block = self.sequencer.next_block();
            if block.is_empty() {
                return;
            }
            for submit in &block {
                submit.ticket.answer(AppendOutcome::Unavailable);
            }
        }
    }
}

//! The sequencer task: proposes pending appends as blocks, as fast as the journal accepts them.
//!
//! Enters: appends, the journal's answers. Leaves: blocks, to the journal and the pipeline.
//! Invariant: it is the only caller of `propose`; a block is closed when the journal can accept it,
//! and holds what is pending then. It does nothing else, so that the journal never waits for apply:
//! on a single node `propose` is the write itself, and this thread waits for the disk.
//!
//! In a shared journal the first block is empty: it fences late blocks of an earlier start, and its
//! return shows that the node has caught up. Unanswered blocks are proposed again, with all behind
//! them, until they come back; meanwhile new appends are `busy`.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{BoxFuture, pending};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

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
    stats::Stats,
};

/// A shared journal that leaves a block unanswered for longer makes new appends `busy`.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// The delay before unanswered blocks are proposed again.
const RETRY_AFTER: Duration = Duration::from_millis(300);

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
    pub(crate) rules: Arc<ActiveRules>,
    pub(crate) stats: Arc<Stats>,
    pub(crate) retry_at: Option<Instant>,
    /// While retrying: when the oldest block was first proposed, and why it is retried.
    pub(crate) retrying: Option<(Instant, String)>,
    pub(crate) alarms: Alarms,
}

#[derive(Default)]
pub(crate) struct Alarms {
    full: Episode,
    retry: Episode,
    /// It has answered nothing for [`STALLED_AFTER`].
    stalled: Episode,
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
    Time,
    Failed,
}

impl SequencerTask {
    pub(crate) fn is_blocking(&self) -> bool {
        self.journal.facts().is_blocking
    }

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
        if self.journal.facts().is_shared {
            self.propose_block(Vec::new());
        }
        loop {
            self.take_inbox();
            if self.journal.facts().is_shared && self.pipeline.inbox.is_closed() {
                // All sockets are closed, and a shared journal may not answer for long.
                self.pipeline.fail();
                return Ok(());
            }
            if self.pipeline.inbox.is_stalled() {
                self.take_applied();
            }
            if self.pipeline.take_gap() {
                let since = self.oldest_since().unwrap_or_else(Instant::now);
                self.schedule_retry(since, "an earlier block is missing".into());
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
                SequencerEvent::Proposed(proposed) => self.answered(proposed)?,
                SequencerEvent::Inbox | SequencerEvent::Freed => {}
                SequencerEvent::Time => self.tick(),
                SequencerEvent::Failed => return Ok(()),
            }
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let waits = self.journal.facts().is_shared && !self.pipeline.inbox.is_stalled();
        let late_at = self.oldest_since().filter(|_| waits).map(|since| since + STALLED_AFTER);
        self.retry_at.into_iter().chain(late_at).min()
    }

    fn oldest_since(&self) -> Option<Instant> {
        let again = self.retrying.as_ref().map(|(since, _)| *since);
        again.or(self.outstanding.front().map(|it| it.since))
    }

    fn is_late(&self) -> bool {
        self.oldest_since().is_some_and(|since| since.elapsed() >= STALLED_AFTER)
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.retry_at.is_some_and(|at| now >= at) {
            self.retry();
        }
        if self.is_late() {
            self.take_applied();
        }
        if self.is_late() {
            let why = self.retrying.as_ref().map(|(_, why)| why.clone());
            self.note_stalled(Some(why.as_deref().unwrap_or("there is no answer yet")));
        }
    }

    /// Sets whether, and why, the journal does not answer.
    fn note_stalled(&mut self, why: Option<&str>) {
        if why.is_none() {
            self.retrying = None;
        }
        let inbox = &self.pipeline.inbox;
        let was_stalled = inbox.is_stalled();
        inbox.set_stalled(why.is_some());
        match why {
            Some(why) if !was_stalled && self.alarms.stalled.begins() => {
                warn!(why, "the journal does not answer: new appends are busy");
            }
            Some(_) => {}
            None => self.log_recovery(),
        }
    }

    fn log_recovery(&self) {
        if let Some(times) = self.alarms.stalled.ends() {
            warn!(times, "the journal answers again");
        }
        if let Some(times) = self.alarms.retry.ends() {
            info!(times, "blocks that were proposed again are durable");
        }
    }

    async fn wait(&mut self) -> SequencerEvent {
        let deadline = self.deadline();
        let proposed = async {
            match self.outstanding.front_mut() {
                Some(oldest) => (&mut oldest.answer).await,
                None => pending().await,
            }
        };
        let time = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
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
            () = time => SequencerEvent::Time,
        }
    }

    fn take_inbox(&mut self) {
        let post = self.pipeline.inbox.take();
        let mut rejected = false;
        for submit in post.submits {
            if let Err(early) = self.sequencer.push(submit) {
                self.pipeline.answer(&early, AppendOutcome::OutOfOrder { expected: None });
                rejected = true;
            }
        }
        if rejected {
            // Followers may wait to be notified with the block that these would have become.
            self.pipeline.pushed.notify_one();
        }
        for queue in post.closed_queues {
            self.sequencer.close_queue(queue);
        }
    }

    fn propose(&mut self) {
        while self.retry_at.is_none()
            && self.outstanding.len() < self.journal.facts().depth
            && self.pipeline.takes_block()
        {
            let submits = self.sequencer.next_block();
            if submits.is_empty() {
                return;
            }
            self.propose_block(submits);
        }
    }

    fn propose_block(&mut self, submits: Vec<Submit>) {
        let Identity { node, incarnation } = self.identity;
        let n = self.next_n;
        self.next_n += 1;
        let name = BlockName { node, incarnation, n };
        let rules = self.rules.now();
        let block = block::encode(name, rules, submits.iter().map(|submit| &submit.proposal));
        let submits = Arc::new(submits);
        // Pushed before it is proposed, because it may come back at any moment.
        self.pipeline.push(InFlight { n, rules, block: block.clone(), submits, known: None });
        self.propose_one(n, block);
    }

    fn take_applied(&mut self) {
        let applied = self.pipeline.applied();
        let mut any = false;
        while self.outstanding.pop_front_if(|it| it.n < applied).is_some() {
            any = true;
        }
        if any {
            self.note_stalled(None);
        }
    }

    fn propose_one(&mut self, n: u64, block: Bytes) {
        let (since, answer) = (Instant::now(), self.journal.propose(self.partition, block));
        self.outstanding.push_back(Outstanding { n, since, answer });
    }

    /// A copy of a block that turns out to be durable is skipped.
    fn schedule_retry(&mut self, since: Instant, why: String) {
        if self.alarms.retry.begins() {
            info!(why, "proposing unanswered blocks again");
        }
        let since = self.retrying.take().map_or(since, |(since, _)| since);
        self.retrying = Some((since, why));
        self.stats.proposed_again();
        self.outstanding.clear();
        self.retry_at.get_or_insert_with(|| Instant::now() + RETRY_AFTER);
    }

    fn retry(&mut self) {
        self.retry_at = None;
        self.pipeline.take_gap();
        for (n, block) in self.pipeline.unapplied() {
            self.propose_one(n, block);
        }
        if self.outstanding.is_empty() {
            // All of them came back meanwhile.
            self.note_stalled(None);
        }
    }

    fn answered(&mut self, proposed: Proposed) -> Result<(), NodeError> {
        let Some(Outstanding { n, since, .. }) = self.outstanding.pop_front() else {
            return Ok(());
        };
        match proposed {
            // The block comes back by `follow`, in order.
            Proposed::Durable(_) => {
                self.note_stalled(None);
                if let Some(refused_blocks) = self.alarms.full.ends() {
                    warn!(refused_blocks, "the journal has room again");
                }
                Ok(())
            }
            Proposed::Unanswered(reason) => {
                self.schedule_retry(since, reason);
                Ok(())
            }
            Proposed::Refused(reason) => {
                if self.alarms.full.begins() {
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
        // Followers that were to be notified with these blocks are notified now.
        self.pipeline.pushed.notify_one();
        let mut broken = HashSet::new();
        for submit in refused.iter().flat_map(|block| block.submits.iter()) {
            let Ticket { queue, seq, .. } = submit.ticket;
            let Some(seq) = seq else {
                self.pipeline.answer(submit, AppendOutcome::StorageFull);
                continue;
            };
            if !broken.insert(queue) {
                self.pipeline.answer(submit, AppendOutcome::OutOfOrder { expected: None });
                continue;
            }
            self.pipeline.answer(submit, AppendOutcome::StorageFull);
            for behind in self.sequencer.break_queue(&submit.proposal.room, queue, seq) {
                self.pipeline.answer(&behind, AppendOutcome::OutOfOrder { expected: None });
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
                self.pipeline.answer(submit, AppendOutcome::Unavailable);
            }
        }
    }
}

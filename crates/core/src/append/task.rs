//! The task that proposes: what waits in the inbox becomes blocks, as fast as the journal takes them.
//!
//! Enters: appends, the journal's answers. Leaves: blocks in the journal and in the pipeline. Invariant:
//! it is the only caller of `propose`; a block is closed when the journal can take it, and holds
//! what waits then. It does nothing else, so that the journal never waits for apply: on one node
//! `propose` is the write itself, and this task's thread is the one that waits for the disk.
//!
//! In a shared journal the first block is empty: it fences what an earlier start left on the wire, and
//! shows when it comes back that the node has caught up. What such a journal leaves without an answer is
//! proposed again, with all behind it, until it comes back; meanwhile new appends are `busy`.

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
    peers::rules::InForce,
    stats::Stats,
};

/// For how long a shared journal may leave a block without an answer until new appends are `busy`.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// The time between two rounds of proposing again.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// A block whose answer has not come.
pub(crate) struct Asked {
    n: u64,
    since: Instant,
    answer: BoxFuture<'static, Proposed>,
}

/// The task that proposes.
pub(crate) struct SequencerTask {
    pub(crate) partition: Partition,
    pub(crate) identity: Identity,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) sequencer: Sequencer,
    /// Oldest first.
    pub(crate) proposed: VecDeque<Asked>,
    pub(crate) next_n: u64,
    pub(crate) rules: Arc<InForce>,
    pub(crate) stats: Arc<Stats>,
    /// When all that is under way is proposed again.
    pub(crate) again_at: Option<Instant>,
    /// What is proposed again: when the oldest of it was proposed first, and why it is now.
    pub(crate) unanswered: Option<(Instant, String)>,
    pub(crate) troubles: Troubles,
}

/// What is said of a journal that fails for a while.
#[derive(Default)]
pub(crate) struct Troubles {
    /// It has no room for a block.
    full: Episode,
    /// Blocks are proposed again.
    again: Episode,
    /// It has answered nothing for [`STALLED_AFTER`].
    stalled: Episode,
}

enum Woken {
    Proposed(Proposed),
    Inbox,
    Freed,
    Time,
    Failed,
}

impl SequencerTask {
    /// Whether `propose` waits for the disk: then this task has its own thread.
    pub(crate) fn is_blocking(&self) -> bool {
        self.journal.facts().is_blocking
    }

    /// Proposes until the inbox is closed and all it took is proposed, or the partition fails.
    ///
    /// # Errors
    /// [`NodeError`] when the journal leaves an outcome open.
    pub(crate) async fn run(mut self) -> Result<(), NodeError> {
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
        if self.journal.facts().is_shared {
            self.propose_block(Vec::new());
        }
        loop {
            self.take_inbox();
            if self.journal.facts().is_shared && self.pipeline.inbox.is_closed() {
                // The sockets are gone, and such a journal may not answer for long.
                self.pipeline.fail();
                return Ok(());
            }
            if self.pipeline.inbox.is_stalled() {
                self.take_applied();
            }
            if self.pipeline.take_gap() {
                let since = self.oldest_since().unwrap_or_else(Instant::now);
                self.propose_again_soon(since, "a block before it is missing".into());
            }
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
                Woken::Time => self.tick(),
                Woken::Failed => return Ok(()),
            }
        }
    }

    /// When there is something to do if nothing happens before.
    fn deadline(&self) -> Option<Instant> {
        let waits = self.journal.facts().is_shared && !self.pipeline.inbox.is_stalled();
        let late_at = self.oldest_since().filter(|_| waits).map(|since| since + STALLED_AFTER);
        self.again_at.into_iter().chain(late_at).min()
    }

    /// Since when the oldest block without an answer waits for it, however often it was proposed.
    fn oldest_since(&self) -> Option<Instant> {
        let again = self.unanswered.as_ref().map(|(since, _)| *since);
        again.or(self.proposed.front().map(|asked| asked.since))
    }

    fn is_late(&self) -> bool {
        self.oldest_since().is_some_and(|since| since.elapsed() >= STALLED_AFTER)
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.again_at.is_some_and(|at| now >= at) {
            self.propose_again();
        }
        if self.is_late() {
            self.take_applied();
        }
        if self.is_late() {
            let why = self.unanswered.as_ref().map(|(_, why)| why.clone());
            self.note_stalled(Some(why.as_deref().unwrap_or("there is no answer yet")));
        }
    }

    /// Notes that the journal does not answer, and why, or that it does again.
    fn note_stalled(&mut self, why: Option<&str>) {
        if why.is_none() {
            self.unanswered = None;
        }
        let inbox = &self.pipeline.inbox;
        let was_stalled = inbox.is_stalled();
        inbox.set_stalled(why.is_some());
        match why {
            Some(why) if !was_stalled && self.troubles.stalled.begins() => {
                warn!(why, "the journal leaves blocks without an answer: new appends are busy");
            }
            Some(_) => {}
            None => self.note_answers(),
        }
    }

    /// Says that the journal answers again, when it was said that it does not.
    fn note_answers(&self) {
        if let Some(times) = self.troubles.stalled.ends() {
            warn!(times, "the journal answers again");
        }
        if let Some(times) = self.troubles.again.ends() {
            info!(times, "blocks were proposed again, and the journal has them");
        }
    }

    async fn wait(&mut self) -> Woken {
        let deadline = self.deadline();
        let proposed = async {
            match self.proposed.front_mut() {
                Some(asked) => (&mut asked.answer).await,
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
            proposed = proposed => Woken::Proposed(proposed),
            () = self.pipeline.inbox.wait() => Woken::Inbox,
            () = self.pipeline.freed.notified() => {
                if self.pipeline.is(Phase::Failed) { Woken::Failed } else { Woken::Freed }
            }
            () = time => Woken::Time,
        }
    }

    fn take_inbox(&mut self) {
        let post = self.pipeline.inbox.take();
        let mut turned_away = false;
        for submit in post.submits {
            if let Err(early) = self.sequencer.push(submit) {
                self.pipeline.answer(&early, AppendOutcome::OutOfOrder { expected: None });
                turned_away = true;
            }
        }
        if turned_away {
            // Followers may wait to be told with the block that these would have become.
            self.pipeline.pushed.notify_one();
        }
        for queue in post.closed_queues {
            self.sequencer.close_queue(queue);
        }
    }

    /// Closes blocks while the journal can take one and something waits.
    fn propose(&mut self) {
        while self.again_at.is_none()
            && self.proposed.len() < self.journal.facts().depth
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
        // First here, then there: it comes back from the journal at any moment.
        self.pipeline.push(InFlight { n, rules, block: block.clone(), submits, known: None });
        self.ask(n, block);
    }

    /// What came back needs no answer any more.
    fn take_applied(&mut self) {
        let applied = self.pipeline.applied();
        let mut some = false;
        while self.proposed.pop_front_if(|asked| asked.n < applied).is_some() {
            some = true;
        }
        if some {
            self.note_stalled(None);
        }
    }

    fn ask(&mut self, n: u64, block: Bytes) {
        let (since, answer) = (Instant::now(), self.journal.propose(self.partition, block));
        self.proposed.push_back(Asked { n, since, answer });
    }

    /// Lets go of the answers that have not come, and proposes all that is under way again in a moment: a
    /// block that is there already is passed over when its copy comes.
    fn propose_again_soon(&mut self, since: Instant, why: String) {
        if self.troubles.again.begins() {
            info!(why, "blocks are proposed again");
        }
        let since = self.unanswered.take().map_or(since, |(since, _)| since);
        self.unanswered = Some((since, why));
        self.stats.proposed_again();
        self.proposed.clear();
        self.again_at.get_or_insert_with(|| Instant::now() + AGAIN_AFTER);
    }

    fn propose_again(&mut self) {
        self.again_at = None;
        self.pipeline.take_gap();
        for (n, block) in self.pipeline.unapplied() {
            self.ask(n, block);
        }
        if self.proposed.is_empty() {
            // All of it came back meanwhile.
            self.note_stalled(None);
        }
    }

    fn answered(&mut self, proposed: Proposed) -> Result<(), NodeError> {
        let Some(Asked { n, since, .. }) = self.proposed.pop_front() else { return Ok(()) };
        match proposed {
            // It comes back by `follow`, in its place among the others.
            Proposed::Durable(_) => {
                self.note_stalled(None);
                if let Some(blocks) = self.troubles.full.ends() {
                    warn!(blocks, "the journal has room again; so many blocks were refused");
                }
                Ok(())
            }
            Proposed::Unanswered(reason) => {
                self.propose_again_soon(since, reason);
                Ok(())
            }
            Proposed::Refused(reason) => {
                if self.troubles.full.begins() {
                    warn!(reason, "the journal has no room: appends are refused until it has");
                }
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

    /// What was never proposed when the partition failed is not stored.
    fn turn_away(&mut self) {
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

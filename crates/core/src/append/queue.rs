//! A queue of appends: those of one connection in one room, or of one POST.
//!
//! Enters: [`Draft`]s. Leaves: the same, in the inbox of their room's partition; their outcomes go to
//! the queue's mailbox. Invariants: appends of a queue are committed in their order; a room is in
//! one partition for ever.

use std::sync::Arc;

use roomlog_protocol::{Author, ClientAppend, EntryId};

use crate::{
    append::{
        inbox::Inbox,
        merge::{QueueId, merge_time},
        sequencer::{Submit, Ticket},
    },
    model::{identity::partition_of, mailbox::Mailbox, outcome::AppendOutcome, proposal::Proposal},
    stats::Stats,
};

/// An append that passed the gateway's checks.
#[derive(Debug, Clone)]
pub struct Draft {
    pub(crate) proposal: Proposal,
    time: u64,
    seq: Option<u64>,
}

impl Draft {
    /// An append that was `received` at this time of the server's clock, ms since the epoch. Hashes
    /// its body and meta.
    #[must_use]
    pub fn new(append: ClientAppend, author: Author, id: EntryId, received: u64) -> Self {
        let (time, seq) = (merge_time(append.sent_at, received), append.seq);
        Self { proposal: Proposal::new(append, author, id), time, seq }
    }

    /// The same append with this number in its queue: if one is rejected, so are those behind it.
    #[must_use]
    pub fn numbered(self, seq: u64) -> Self {
        Self { seq: Some(seq), ..self }
    }

    /// The id of its entry.
    #[must_use]
    pub fn id(&self) -> &EntryId {
        &self.proposal.id
    }

    /// About how many bytes it takes in memory and in a block.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.proposal.weight()
    }
}

/// The inboxes of a node's partitions.
pub(crate) struct Inboxes {
    inboxes: Vec<Arc<Inbox>>,
    stats: Arc<Stats>,
}

impl Inboxes {
    pub(crate) fn new(inboxes: Vec<Arc<Inbox>>, stats: Arc<Stats>) -> Self {
        Self { inboxes, stats }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Inbox> {
        self.inboxes.iter().map(Arc::as_ref)
    }

    fn of(&self, proposal: &Proposal) -> &Inbox {
        let partitions = u32::try_from(self.inboxes.len()).unwrap_or(u32::MAX);
        &self.inboxes[partition_of(&proposal.room, partitions) as usize]
    }
}

/// A queue of appends. When it is dropped, what was taken is still committed.
pub struct Queue {
    id: QueueId,
    mailbox: Arc<Mailbox>,
    inboxes: Arc<Inboxes>,
    is_numbered: bool,
}

impl Queue {
    pub(crate) fn new(id: QueueId, mailbox: Arc<Mailbox>, inboxes: Arc<Inboxes>) -> Self {
        Self { id, mailbox, inboxes, is_numbered: false }
    }

    /// Adds an append; its outcome comes to the mailbox with this token. The sequencer sees it after
    /// [`crate::Node::flush`], so that appends that arrived together share a block.
    ///
    /// # Errors
    /// [`AppendOutcome::Busy`] or [`AppendOutcome::Unavailable`]: nothing was taken.
    pub fn append(&mut self, token: u64, draft: Draft) -> Result<(), AppendOutcome> {
        let submit = self.submit(token, draft);
        let put = self.inboxes.of(&submit.proposal).put(submit);
        put.inspect_err(|outcome| self.count(outcome))
    }

    /// Adds appends to one room, in their order and at once, and lets the sequencer see them.
    ///
    /// # Errors
    /// The outcome of the first that was not taken, and all that were not, that one first.
    pub fn append_all(
        &mut self,
        drafts: Vec<(u64, Draft)>,
    ) -> Result<(), (AppendOutcome, Vec<(u64, Draft)>)> {
        let Some((_, first)) = drafts.first() else { return Ok(()) };
        let inboxes = self.inboxes.clone();
        let inbox = inboxes.of(&first.proposal);
        let submits = drafts.into_iter().map(|(token, draft)| self.submit(token, draft));
        inbox.put_all(submits.collect()).map_err(|(outcome, rest)| {
            let drafts = rest.into_iter().map(|Submit { proposal, time, ticket }| {
                (ticket.token, Draft { proposal, time, seq: ticket.seq })
            });
            self.count(&outcome);
            (outcome, drafts.collect())
        })
    }

    fn submit(&mut self, token: u64, draft: Draft) -> Submit {
        let Draft { proposal, time, seq } = draft;
        self.is_numbered |= seq.is_some();
        let ticket = Ticket { mailbox: self.mailbox.clone(), token, queue: self.id, seq };
        Submit { proposal, time, ticket }
    }

    fn count(&self, outcome: &AppendOutcome) {
        if *outcome == AppendOutcome::Busy {
            self.inboxes.stats.busy();
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Only of a numbered queue does the sequencer keep anything.
        if self.is_numbered {
            self.inboxes.iter().for_each(|inbox| inbox.close_queue(self.id));
        }
    }
}

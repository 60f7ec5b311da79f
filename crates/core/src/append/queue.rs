//! A queue of appends: those of one connection in one room, or of one POST.
//!
//! Enters: [`Draft`]s. Leaves: the same, to the inbox of the room's partition; outcomes go to the
//! queue's mailbox. Invariants: appends of a queue are committed in order; a room never changes its
//! partition.

use std::sync::Arc;

use roomlog_protocol::{Author, ClientAppend, EntryId, Kind, Salt};

use crate::{
    append::{
        inbox::Inbox,
        merge::{QueueId, merge_time},
        sequencer::{Submit, Ticket},
    },
    budget::{Account, Charge},
    model::{
        commit::entry_weight, identity::partition_of, mailbox::Mailbox, outcome::AppendOutcome,
        proposal::Proposal,
    },
    stats::Stats,
};

/// The charge for the work of an `erase`, in bytes: the fold reads [`ERASE_SLOTS`] entries for it, and may
/// write as many again.
///
/// [`ERASE_SLOTS`]: roomlog_protocol::ERASE_SLOTS
const ERASE_WEIGHT: usize = 256 << 10;

/// An append that passed the gateway's checks.
#[derive(Debug)]
pub struct Draft {
    /// In a box, because it is passed on a few times and is large.
    pub(crate) proposal: Box<Proposal>,
    time: u64,
    seq: Option<u64>,
    charge: Option<Charge>,
}

impl Draft {
    /// Charges an append to `account`. Fails with [`AppendOutcome::Busy`] if the account holds as much
    /// as it may.
    pub fn charge(append: &ClientAppend, account: &Account) -> Result<Charge, AppendOutcome> {
        let erasing = if append.kind.as_str() == Kind::ERASE { ERASE_WEIGHT } else { 0 };
        let weight = entry_weight(&append.body, append.meta.as_deref()) + erasing;
        account.charge(weight).ok_or(AppendOutcome::Busy)
    }

    /// An append that was `received` at this time of the server's clock, ms since the epoch. Its
    /// [`Draft::charge`] is kept until its entry is in the archive, or it is rejected. Hashes body and
    /// meta.
    #[must_use]
    pub fn new(
        append: ClientAppend,
        (author, id, salt): (Author, EntryId, Salt),
        received: u64,
        charge: Charge,
    ) -> Self {
        let (time, seq) = (merge_time(append.sent_at, received), append.seq);
        let proposal = Box::new(Proposal::new(append, author, id, salt));
        Self { proposal, time, seq, charge: Some(charge) }
    }

    /// Allows it to remove texts of other authors, if it is of a kind that removes texts.
    #[must_use]
    pub fn with_right_to_remove(mut self) -> Self {
        self.proposal.may_remove = true;
        self
    }

    /// Sets its `seq` in the queue: if one is rejected, so are those behind it.
    #[must_use]
    pub fn numbered(self, seq: u64) -> Self {
        Self { seq: Some(seq), ..self }
    }

    /// The id of its entry.
    #[must_use]
    pub fn id(&self) -> &EntryId {
        &self.proposal.id
    }

    /// Approximate bytes in memory and in a block.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.proposal.weight()
    }
}

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

    fn of(&self, proposal: &Proposal) -> &Arc<Inbox> {
        let partitions = u32::try_from(self.inboxes.len()).unwrap_or(u32::MAX);
        &self.inboxes[partition_of(&proposal.room, partitions) as usize]
    }
}

/// A queue of appends. Appends that were accepted are committed even if it is dropped.
pub struct Queue {
    id: QueueId,
    mailbox: Arc<Mailbox>,
    inboxes: Arc<Inboxes>,
    /// The inbox whose sequencer keeps state of the queue, once it is numbered.
    numbered_in: Option<Arc<Inbox>>,
}

impl Queue {
    pub(crate) fn new(id: QueueId, mailbox: Arc<Mailbox>, inboxes: Arc<Inboxes>) -> Self {
        Self { id, mailbox, inboxes, numbered_in: None }
    }

    /// Adds an append; its outcome goes to the mailbox with this token. The sequencer sees it after
    /// [`crate::Node::flush`], so that appends that arrive together share a block. Fails with
    /// [`AppendOutcome::Busy`], [`AppendOutcome::StorageFull`] or [`AppendOutcome::Unavailable`].
    pub fn append(&mut self, token: u64, draft: Draft) -> Result<(), AppendOutcome> {
        let submit = self.submit(token, draft);
        let put = self.inboxes.of(&submit.proposal).put(submit);
        put.inspect_err(|outcome| self.count(outcome))
    }

    /// Adds appends to one room, in order, and wakes the sequencer; or returns all, and why none
    /// was accepted.
    pub fn append_all(
        &mut self,
        drafts: Vec<(u64, Draft)>,
    ) -> Result<(), (AppendOutcome, Vec<(u64, Draft)>)> {
        let Some((_, first)) = drafts.first() else { return Ok(()) };
        let inboxes = self.inboxes.clone();
        let inbox = inboxes.of(&first.proposal);
        let submits = drafts.into_iter().map(|(token, draft)| self.submit(token, draft));
        inbox.put_all(submits.collect()).map_err(|(outcome, rest)| {
            let drafts = rest.into_iter().map(|submit| {
                let Submit { proposal, time, ticket, charge } = submit;
                (ticket.token, Draft { proposal, time, seq: ticket.seq, charge })
            });
            self.count(&outcome);
            (outcome, drafts.collect())
        })
    }

    fn submit(&mut self, token: u64, draft: Draft) -> Submit {
        let Draft { proposal, time, seq, charge } = draft;
        if seq.is_some() && self.numbered_in.is_none() {
            self.numbered_in = Some(self.inboxes.of(&proposal).clone());
        }
        let ticket = Ticket { mailbox: self.mailbox.clone(), token, queue: self.id, seq };
        Submit { proposal, time, ticket, charge }
    }

    fn count(&self, outcome: &AppendOutcome) {
        if *outcome == AppendOutcome::Busy {
            self.inboxes.stats.busy();
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Some(inbox) = &self.numbered_in {
            inbox.close_queue(self.id);
        }
    }
}

//! The inboxes of all partitions, as the gateway sees them: one.
//!
//! Enters: appends of any room. Leaves: the same, in the inbox of the room's partition. Invariant: a room is
//! in one partition for ever, so its appends keep their order.

use std::sync::Arc;

use crate::{
    append::{
        inbox::{Inbox, Turned},
        merge::QueueId,
        sequencer::Submit,
    },
    model::identity::partition_of,
};

/// The inboxes of a node.
pub struct Inboxes(Vec<Arc<Inbox>>);

impl Inboxes {
    pub(crate) fn new(inboxes: Vec<Arc<Inbox>>) -> Self {
        Self(inboxes)
    }

    fn of(&self, submit: &Submit) -> &Inbox {
        let partitions = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let partition = partition_of(&submit.proposal.room, partitions);
        &self.0[partition as usize]
    }

    /// As [`Inbox::submit`].
    ///
    /// # Errors
    /// [`Turned`]; nothing was taken then.
    pub fn submit(&self, submit: Submit) -> Result<(), Turned> {
        self.of(&submit).submit(submit)
    }

    /// As [`Inbox::put`].
    ///
    /// # Errors
    /// [`Turned`]; nothing was taken then.
    pub fn put(&self, submit: Submit) -> Result<(), Turned> {
        self.of(&submit).put(submit)
    }

    /// As [`Inbox::submit_all`], of appends to one room.
    ///
    /// # Errors
    /// Why not all were taken, and what was not: the first that was turned away, and all behind it.
    pub fn submit_all(&self, submits: Vec<Submit>) -> Result<(), (Turned, Vec<Submit>)> {
        match submits.first() {
            Some(first) => self.of(first).submit_all(submits),
            None => Ok(()),
        }
    }

    /// Lets the partitions know that something was put in.
    pub fn ring(&self) {
        self.0.iter().for_each(|inbox| inbox.ring());
    }

    /// Says that the connection of a queue is gone.
    pub fn forget(&self, queue: QueueId) {
        self.0.iter().for_each(|inbox| inbox.forget(queue));
    }

    /// As [`Inbox::drain`].
    pub fn drain(&self) {
        self.0.iter().for_each(|inbox| inbox.drain());
    }

    /// As [`Inbox::close`].
    pub fn close(&self) {
        self.0.iter().for_each(|inbox| inbox.close());
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.0.iter().any(|inbox| inbox.is_stalled())
    }
}

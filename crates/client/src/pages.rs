//! Reading a log page by page.
//!
//! Enters: a room and a slot. Leaves: replies whose entries follow that slot, without a gap. Invariant:
//! the end is the log's latest slot when the first page was read, so one who reads a busy room comes
//! to an end.

use roomlog_protocol::{ClientUpdate, Reply, RoomName, Span};

use crate::{Client, ClientError};

/// Pages of a room, oldest first, all of one log: that which [`Client::hello`] named when this was made.
pub struct Pages<'a> {
    client: &'a Client,
    room: RoomName,
    after: i64,
    upto: Option<i64>,
    /// The log that is read.
    log: String,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(client: &'a Client, room: RoomName, after: i64) -> Self {
        let log = client.hello().log.clone();
        Self { client, room, after, upto: None, log }
    }

    /// Reads this log and no other, for callers who learned their slots earlier.
    #[must_use]
    pub fn of(mut self, log: &str) -> Self {
        self.log = log.to_owned();
        self
    }

    /// Ends at this slot at the latest.
    #[must_use]
    pub fn upto(mut self, slot: i64) -> Self {
        self.upto = Some(slot);
        self
    }

    /// The next page, `None` at the end. Its entries go no further than the end; then its `digest`
    /// may be of a later slot than its last entry.
    ///
    /// # Errors
    /// As [`Client::update`]; [`ClientError::Hole`] when the server leaves out a slot;
    /// [`ClientError::NewLog`] when it has another log than the one that is read: what was read before is not
    /// part of it.
    pub async fn next(&mut self) -> Result<Option<Reply>, ClientError> {
        if self.upto.is_some_and(|upto| self.after >= upto) {
            return Ok(None);
        }
        let span = Span::After(self.after);
        let room = self.room.clone();
        let update = ClientUpdate { room, span, seen: None, digest: None, req: None };
        let mut reply = self.client.update_of(&self.log, update).await?;
        let upto = self.upto.map_or(reply.latest, |upto| upto.min(reply.latest));
        self.upto = Some(upto);
        reply.entries.retain(|entry| i64::try_from(entry.slot).is_ok_and(|slot| slot <= upto));
        for entry in &reply.entries {
            if i64::try_from(entry.slot) != Ok(self.after + 1) {
                return Err(self.hole(format!("slot {} came instead", entry.slot)));
            }
            self.after += 1;
        }
        if reply.entries.is_empty() && self.after < upto {
            return Err(self.hole(format!("nothing came, and the latest slot is {upto}")));
        }
        Ok(Some(reply).filter(|reply| !reply.entries.is_empty()))
    }

    fn hole(&self, instead: String) -> ClientError {
        ClientError::Hole { room: self.room.clone(), slot: self.after + 1, instead }
    }
}

//! Reading a log page by page. Invariant: the end is the latest slot at the first page, so reading
//! a busy room comes to an end.

use roomlog_protocol::{ClientUpdate, Latest, Reply, RoomName, Span};

use crate::{Client, ClientError};

/// Pages of a room, oldest first, of the log that [`Client::hello`] named when this was created.
pub struct Pages<'a> {
    client: &'a Client,
    room: RoomName,
    after: Latest,
    upto: Option<Latest>,
    log: String,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(client: &'a Client, room: RoomName, after: Latest) -> Self {
        let log = client.hello().log.clone();
        Self { client, room, after, upto: None, log }
    }

    /// Reads this log instead, for a slot that was stored earlier.
    #[must_use]
    pub fn of(mut self, log: &str) -> Self {
        self.log = log.to_owned();
        self
    }

    /// Ends at this slot at the latest.
    #[must_use]
    pub fn upto(mut self, slot: Latest) -> Self {
        self.upto = Some(slot);
        self
    }

    /// The next page; `None` at the end. The last page is cut at the end; its `digest` is not.
    ///
    /// # Errors
    /// As [`Client::update`], and
    /// - [`ClientError::Hole`]: the server left out a slot.
    /// - [`ClientError::NewLog`]: the server has another log now.
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
        reply.entries.retain(|entry| entry.slot < upto.end());
        for entry in &reply.entries {
            if entry.slot != self.after.end() {
                return Err(self.hole(format!("slot {} came instead", entry.slot)));
            }
            self.after = Latest::at(entry.slot);
        }
        if reply.entries.is_empty() && self.after < upto {
            return Err(self.hole(format!("no entry came, and the latest slot is {upto}")));
        }
        Ok(Some(reply).filter(|reply| !reply.entries.is_empty()))
    }

    fn hole(&self, instead: String) -> ClientError {
        ClientError::Hole { room: self.room.clone(), slot: self.after.end(), instead }
    }
}

//! A reader of the journal: the newest blocks from memory, older ones from the segments.
//!
//! Enters: a position. Leaves: every durable block after it, once and in order. Invariant: a
//! missing position is an error, and nothing after it is given.

use std::{collections::VecDeque, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use roomlog_core::journal::{Durable, Follow, JournalError};
use tokio::sync::watch;

use super::{format::Header, records::Records, shared::Shared};

fn trimmed(position: u64) -> JournalError {
    JournalError(format!(
        "the journal: position {position} is missing: it was trimmed, or the files are damaged; restore a \
         backup of the whole directory"
    ))
}

pub(super) struct SegmentFollow {
    pub(super) shared: Arc<Shared>,
    pub(super) head: watch::Receiver<u64>,
    pub(super) recent: Arc<Mutex<VecDeque<Durable>>>,
    /// Of the segment that was read last.
    pub(super) records: Option<Records>,
    pub(super) after: u64,
}

impl Follow for SegmentFollow {
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>> {
        async {
            let after = self.after;
            self.head
                .wait_for(|head| *head > after)
                .await
                .map_err(|_| JournalError("the journal: the writer has ended".into()))?;
            let durable = match self.recent() {
                Some(durable) => durable,
                None => self.read()?,
            };
            self.after += 1;
            Ok(durable)
        }
        .boxed()
    }
}

impl SegmentFollow {
    fn recent(&mut self) -> Option<Durable> {
        let recent = self.recent.lock();
        let index = (self.after + 1).checked_sub(recent.front()?.position.0)?;
        let durable = recent.get(usize::try_from(index).ok()?)?.clone();
        self.records = None;
        Some(durable)
    }

    fn read(&mut self) -> Result<Durable, JournalError> {
        let position = self.after + 1;
        loop {
            let segment = self.shared.segment_of(position).ok_or_else(|| trimmed(position))?;
            let read = self.read_in(&segment, position);
            // What a trim or a wipe has removed meanwhile became zeros.
            if read.is_ok() || self.shared.segment_of(position).as_ref() == Some(&segment) {
                return read;
            }
        }
    }

    fn read_in(&mut self, segment: &Header, position: u64) -> Result<Durable, JournalError> {
        let is_there = |it: &Records| it.number == segment.number && it.next == position;
        let mut records = match self.records.take().filter(is_there) {
            Some(records) => records,
            None => Records::open(&self.shared.directory, segment)?,
        };
        records.seek(position)?;
        let durable = records.read()?;
        self.records = Some(records);
        Ok(durable)
    }
}

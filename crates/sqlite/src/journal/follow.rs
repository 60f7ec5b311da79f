//! A reader of the journal: the newest blocks from memory, older ones from the rows.
//!
//! Enters: a position. Leaves: every durable block after it, once and in order. Invariant: a
//! missing position is an error, and nothing after it is given.

use std::{collections::VecDeque, path::PathBuf, sync::Arc};

use futures_util::{FutureExt, future::BoxFuture};
use parking_lot::Mutex;
use roomlog_core::journal::{Durable, Follow, JournalError};
use rusqlite::Connection;
use tokio::sync::watch;

use super::rows::{self, failed};
use crate::pragma;

/// How many blocks a follower reads from the rows at once.
const BLOCKS_PER_READ: i64 = 64;

fn missing(position: u64) -> JournalError {
    JournalError(format!(
        "journal.db: position {position} is missing: it was trimmed, or the file is damaged; \
         restore a backup of the whole directory"
    ))
}

pub(super) struct SqliteFollow {
    pub(super) path: PathBuf,
    pub(super) reader: Option<Connection>,
    pub(super) head: watch::Receiver<u64>,
    pub(super) recent: Arc<Mutex<VecDeque<Durable>>>,
    pub(super) read: VecDeque<Durable>,
    pub(super) after: u64,
}

impl Follow for SqliteFollow {
    fn next(&mut self) -> BoxFuture<'_, Result<Durable, JournalError>> {
        async {
            let after = self.after;
            self.head
                .wait_for(|head| *head > after)
                .await
                .map_err(|_| JournalError("journal.db: the writer has ended".into()))?;
            let durable = match self.read.pop_front() {
                Some(durable) => durable,
                None => self.recent_or_read()?,
            };
            if durable.position.0 != after + 1 {
                return Err(missing(after + 1));
            }
            self.after += 1;
            Ok(durable)
        }
        .boxed()
    }
}

impl SqliteFollow {
    fn recent_or_read(&mut self) -> Result<Durable, JournalError> {
        {
            let recent = self.recent.lock();
            if let Some(first) = recent.front()
                && let Some(index) = (self.after + 1).checked_sub(first.position.0)
                && let Some(durable) =
                    usize::try_from(index).ok().and_then(|index| recent.get(index))
            {
                self.reader = None;
                return Ok(durable.clone());
            }
        }
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => pragma::open_reader(&self.path).map_err(failed("cannot be read"))?,
        };
        self.read = rows::after(&reader, self.after, BLOCKS_PER_READ)?.into();
        self.reader = Some(reader);
        self.read.pop_front().ok_or_else(|| missing(self.after + 1))
    }
}

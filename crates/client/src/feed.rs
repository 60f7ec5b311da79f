//! The way from the client's task to one who follows or watches.
//!
//! Enters: items, each with the log that it is of. Leaves: the same, in order, then why there are no
//! more. Invariant: the reason for the end stands beside the items and needs no space among them, so a
//! reader that is slow still gets it; a reader that is dropped is noticed at once.

use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{ClientError, driver::Shared};

/// How many items wait for a reader; one holds at most a page of the server.
const ITEMS: usize = 4;

/// The task's end.
pub(crate) struct Feed<T> {
    items: mpsc::Sender<(Arc<str>, T)>,
    end: Arc<OnceLock<ClientError>>,
}

/// The reader's end.
pub(crate) struct Items<T> {
    items: mpsc::Receiver<(Arc<str>, T)>,
    end: Arc<OnceLock<ClientError>>,
    log: Arc<str>,
    shared: Arc<Shared>,
}

/// What became of an item.
pub(crate) enum Handed<T> {
    Taken,
    /// There is no space for it now.
    Full(T),
    /// Nobody reads any more.
    Gone,
}

impl<T> Handed<T> {
    pub(crate) fn map<U>(self, item: impl FnOnce(T) -> U) -> Handed<U> {
        match self {
            Self::Taken => Handed::Taken,
            Self::Full(full) => Handed::Full(item(full)),
            Self::Gone => Handed::Gone,
        }
    }
}

pub(crate) fn feed<T>(shared: &Arc<Shared>) -> (Feed<T>, Items<T>) {
    let (sender, items) = mpsc::channel(ITEMS);
    let end = Arc::new(OnceLock::new());
    let log = shared.hello.borrow().log.as_str().into();
    (Feed { items: sender, end: end.clone() }, Items { items, end, log, shared: shared.clone() })
}

impl<T> Feed<T> {
    pub(crate) fn hand(&self, log: Arc<str>, item: T) -> Handed<T> {
        match self.items.try_send((log, item)) {
            Ok(()) => Handed::Taken,
            Err(TrySendError::Full((_, item))) => Handed::Full(item),
            Err(TrySendError::Closed(_)) => Handed::Gone,
        }
    }

    /// Until there is space, or nobody who reads.
    pub(crate) async fn space(&self) {
        drop(self.items.reserve().await);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.items.is_closed()
    }

    /// Ends it for a reason of its own.
    pub(crate) fn end(self, why: ClientError) {
        // It is set here and nowhere else, once, before the reader can see the end.
        let _ = self.end.set(why);
    }
}

impl<T> Items<T> {
    pub(crate) async fn next(&mut self) -> Result<T, ClientError> {
        match self.items.recv().await {
            Some((log, item)) => {
                self.log = log;
                Ok(item)
            }
            None => Err(self.end.get().cloned().unwrap_or_else(|| self.shared.ended())),
        }
    }

    /// The log that the item handed out last is of.
    pub(crate) fn log(&self) -> &str {
        &self.log
    }
}

impl<T> Drop for Items<T> {
    fn drop(&mut self) {
        self.items.close();
        self.shared.dropped.notify_one();
    }
}

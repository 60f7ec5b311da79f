//! The channel from a client's task to one [`Follow`](crate::Follow) or [`Watch`](crate::Watch).
//!
//! Enters: items, each with its log. Leaves: the same, in order, then the reason for the end.
//! Invariant: that reason needs no space in the channel, so a slow reader still gets it.

use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use crate::{
    ClientError,
    requests::{Delivery, Item},
    shared::Shared,
};

/// How many items are buffered; each is at most one page of the server.
const ITEMS: usize = 4;

pub(crate) struct Feed {
    pub(crate) items: mpsc::Sender<Delivery>,
    end: Arc<OnceLock<ClientError>>,
}

/// The reader's end, which takes one kind of item.
pub(crate) struct Items<T> {
    items: mpsc::Receiver<Delivery>,
    kind: fn(Item) -> Option<T>,
    end: Arc<OnceLock<ClientError>>,
    log: Arc<str>,
    shared: Arc<Shared>,
}

pub(crate) fn feed<T>(shared: &Arc<Shared>, kind: fn(Item) -> Option<T>) -> (Feed, Items<T>) {
    let (sender, items) = mpsc::channel(ITEMS);
    let end = Arc::new(OnceLock::new());
    let log = shared.hello.borrow().log.as_str().into();
    let shared = shared.clone();
    (Feed { items: sender, end: end.clone() }, Items { items, kind, end, log, shared })
}

impl Feed {
    pub(crate) fn end(self, why: ClientError) {
        let _first_and_only = self.end.set(why);
    }
}

impl<T> Items<T> {
    pub(crate) async fn next(&mut self) -> Result<T, ClientError> {
        while let Some(Delivery { log, item, .. }) = self.items.recv().await {
            self.log = log;
            if let Some(item) = (self.kind)(item) {
                return Ok(item);
            }
        }
        Err(self.end.get().cloned().unwrap_or_else(|| self.shared.ended()))
    }

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

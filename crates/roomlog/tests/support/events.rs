//! An HTTP answer that is read piece by piece: Server-Sent Events as a browser would see them.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{HeaderMap, body::Incoming};
use serde_json::Value;
use tokio::{task::JoinHandle, time::timeout};

use super::{Request, within};

/// A body that is being read; dropping it closes its connection.
pub(crate) struct Events {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    body: Incoming,
    read: String,
    running: JoinHandle<()>,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Request<'_> {
    /// Sends it and gives the answer as soon as its head is there.
    pub(crate) async fn events(self) -> Events {
        let (answer, running) = within("an HTTP answer", self.open()).await;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Events { status, headers, body: answer.into_body(), read: String::new(), running }
    }
}

impl Events {
    /// The next block of lines, without the blank line behind it; nothing when the body has ended.
    pub(crate) async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let block = block.to_owned();
                self.read = rest.to_owned();
                return Some(block);
            }
            let frame = within("a piece of the body", self.body.frame()).await?;
            let data: Bytes = frame.ok()?.into_data().expect("no trailers");
            self.read += std::str::from_utf8(&data).expect("UTF-8");
        }
    }

    /// Asserts that nothing comes for a moment.
    pub(crate) async fn is_silent_for(&mut self, moment: Duration) {
        assert_eq!(self.read, "");
        let came = timeout(moment, self.body.frame()).await;
        assert!(came.is_err(), "{came:?}");
    }

    /// The next block, which is a place without an entry, as a slot.
    pub(crate) async fn place(&mut self) -> i64 {
        let block = self.block().await.expect("a place");
        let place = block.strip_prefix("id: ").and_then(|id| id.parse().ok());
        place.unwrap_or_else(|| panic!("not a place alone: {block:?}"))
    }

    /// The next entry, at the slot of its `id`; comments are skipped.
    pub(crate) async fn entry(&mut self) -> Value {
        loop {
            let block = self.block().await.expect("an entry");
            if block.starts_with(':') {
                continue;
            }
            let (id, data) = block.split_once('\n').unwrap_or_else(|| panic!("{block:?}"));
            let data = data.strip_prefix("data: ").unwrap_or_else(|| panic!("{block:?}"));
            let entry: Value = serde_json::from_str(data).expect("JSON in one line");
            assert_eq!(id, format!("id: {}", entry["slot"]), "{block:?}");
            return entry;
        }
    }

    /// The entries up to this slot.
    pub(crate) async fn entries(&mut self, upto: i64) -> Vec<Value> {
        let mut entries = Vec::new();
        while entries.last().is_none_or(|last| super::slot(last) < upto) {
            entries.push(self.entry().await);
        }
        entries
    }

    /// All that comes until the body ends.
    pub(crate) async fn rest(&mut self) -> Vec<String> {
        let mut blocks = Vec::new();
        while let Some(block) = self.block().await {
            blocks.push(block);
        }
        blocks
    }
}

//! One room's appends, in their author's order.
//!
//! ```text
//!   items:   │ numbered: sent on this connection  │ not yet sent │
//!   seq:     │ 4   5   7   8 (6 was answered)     │ –    –    –  │
//!   again:   │     5                              │              │  refused, to be resent
//! ```
//!
//! Invariant: numbered items are a prefix, in ascending `seq`; `again` holds `seq`s of that prefix.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use roomlog_protocol::{ClientAppend, EntryId, Limits};

/// An append without an outcome.
#[derive(Debug)]
pub(super) struct Queued<T> {
    pub(super) append: ClientAppend,
    pub(super) id: EntryId,
    /// Returned to the caller with the outcome.
    pub(super) tag: T,
    pub(super) first_sent: Option<Duration>,
    /// Since when the server refuses it transiently.
    pub(super) refused_since: Option<Duration>,
    /// How many refusals did not match what was sent.
    pub(super) mismatches: u32,
    seq: Option<u64>,
}

impl<T> Queued<T> {
    pub(super) fn new(append: ClientAppend, id: EntryId, tag: T) -> Self {
        let (first_sent, refused_since) = (None, None);
        Self { append, id, tag, first_sent, refused_since, mismatches: 0, seq: None }
    }
}

#[derive(Debug)]
pub(super) struct Queue<T> {
    pub(super) items: VecDeque<Queued<T>>,
    numbered: usize,
    next_seq: u64,
    again: BTreeSet<u64>,
    pub(super) pause_until: Option<Duration>,
    /// Whether the outbox lists it as ready.
    pub(super) is_ready: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            numbered: 0,
            next_seq: 0,
            again: BTreeSet::new(),
            pause_until: None,
            is_ready: false,
        }
    }
}

#[derive(Debug)]
pub(super) enum Next<T> {
    /// This frame, with this `seq`.
    Send(u64, String),
    /// This append exceeds the server's limits, for this reason; it was removed.
    TooLarge(Box<Queued<T>>, String),
    /// Everything is in flight.
    Nothing,
}

impl<T> Queue<T> {
    pub(super) fn push(&mut self, item: Queued<T>) {
        self.items.push_back(item);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn has_work(&self) -> bool {
        !self.again.is_empty() || self.numbered < self.items.len()
    }

    /// The frame to send next, under this `req`: first what was refused, then what is new.
    pub(super) fn next(&mut self, req: i64, now: Duration, limits: &Limits) -> Next<T> {
        let (index, seq) = match self.again.first() {
            Some(seq) => match self.position(*seq) {
                Some(index) => (index, *seq),
                None => unreachable!("`again` holds `seq`s of items only"),
            },
            None if self.numbered < self.items.len() => (self.numbered, self.next_seq),
            None => return Next::Nothing,
        };
        let item = &mut self.items[index];
        item.append.seq = Some(seq);
        item.append.req = Some(req);
        match written(&item.append, limits) {
            Ok(frame) => {
                item.seq = Some(seq);
                item.first_sent.get_or_insert(now);
                if !self.again.remove(&seq) {
                    self.numbered += 1;
                    self.next_seq += 1;
                }
                Next::Send(seq, frame)
            }
            // Only a new one: limits do not change on a connection.
            Err(problem) => match self.items.remove(index) {
                Some(item) => Next::TooLarge(Box::new(item), problem),
                None => Next::Nothing,
            },
        }
    }

    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut Queued<T>> {
        self.position(seq).map(|index| &mut self.items[index])
    }

    pub(super) fn remove(&mut self, seq: u64) -> Option<Queued<T>> {
        let index = self.position(seq)?;
        self.numbered -= 1;
        self.again.remove(&seq);
        self.items.remove(index)
    }

    /// Removes this item and all behind it.
    pub(super) fn remove_from(&mut self, seq: u64) -> VecDeque<Queued<T>> {
        let index = self.position(seq).unwrap_or(self.items.len());
        self.numbered = self.numbered.min(index);
        self.again.retain(|again| *again < seq);
        self.items.split_off(index)
    }

    pub(super) fn resend(&mut self, seq: u64) {
        if self.position(seq).is_some() {
            self.again.insert(seq);
        }
    }

    /// The connection was lost: everything is resent in the same order, with `seq` from 0.
    pub(super) fn disconnected(&mut self) {
        self.items.iter_mut().for_each(|item| (item.seq, item.mismatches) = (None, 0));
        (self.numbered, self.next_seq, self.pause_until) = (0, 0, None);
        self.again.clear();
    }

    /// Another log: drops every `after`, and removes appends with `ref` or `expect`, or all unless
    /// `keep`. Called between connections only.
    pub(super) fn new_log(&mut self, keep: bool) -> Vec<Queued<T>> {
        let (kept, out): (VecDeque<_>, _) =
            self.items.drain(..).partition(|Queued { append, .. }| {
                keep && append.reference.is_none() && append.expect.is_none()
            });
        self.items = kept;
        self.items.iter_mut().for_each(|item| item.append.after = None);
        out.into()
    }

    fn position(&self, seq: u64) -> Option<usize> {
        let key = |item: &Queued<T>| item.seq.unwrap_or(u64::MAX);
        self.items.binary_search_by_key(&seq, key).ok()
    }
}

/// The JSON of the frame, or which limit it exceeds.
fn written(append: &ClientAppend, limits: &Limits) -> Result<String, String> {
    let check = |what: &str, bytes: usize, most: usize| {
        if bytes > most {
            return Err(format!("{what} has {bytes} bytes, more than {most}"));
        }
        Ok(())
    };
    check("body", append.body.len(), limits.body_bytes)?;
    check("meta", append.meta.as_ref().map_or(0, String::len), limits.meta_bytes)?;
    let frame = roomlog_protocol::ClientFrame::Append(Box::new(append.clone()));
    let text = serde_json::to_string(&frame).map_err(|why| why.to_string())?;
    check("the frame", text.len(), limits.frame_bytes)?;
    Ok(text)
}

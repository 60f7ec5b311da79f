//! One room's appends, in the order their author made them.
//!
//! ```text
//!   items:   │ numbered: sent on this connection  │ not yet sent │
//!   seq:     │ 4   5   7   8 (6 was answered)     │ –    –    –  │
//!   again:   │     5                              │              │  refused, to be sent again
//! ```
//!
//! Invariant: numbered items are a prefix, in ascending `seq`; `again` holds numbers of that prefix.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use roomlog_protocol::{ClientAppend, EntryId, Limits};

/// An append that is not answered yet.
#[derive(Debug)]
pub(super) struct Item<T> {
    pub(super) append: ClientAppend,
    pub(super) id: EntryId,
    /// What the caller gets back with the outcome.
    pub(super) tag: T,
    pub(super) first_sent: Option<Duration>,
    /// Since when the server asks to wait with this one.
    pub(super) refused_since: Option<Duration>,
    /// How often it was refused in a way that sending again does not explain.
    pub(super) puzzles: u32,
    seq: Option<u64>,
}

impl<T> Item<T> {
    pub(super) fn new(append: ClientAppend, id: EntryId, tag: T) -> Self {
        let (first_sent, refused_since) = (None, None);
        Self { append, id, tag, first_sent, refused_since, puzzles: 0, seq: None }
    }
}

#[derive(Debug)]
pub(super) struct Queue<T> {
    items: VecDeque<Item<T>>,
    numbered: usize,
    next_seq: u64,
    again: BTreeSet<u64>,
    /// Nothing is sent before.
    pub(super) pause_until: Option<Duration>,
    /// Whether it stands in the outbox's line of rooms with something to send.
    pub(super) in_line: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            items: VecDeque::new(),
            numbered: 0,
            next_seq: 0,
            again: BTreeSet::new(),
            pause_until: None,
            in_line: false,
        }
    }
}

/// What a queue has to send next.
#[derive(Debug)]
pub(super) enum Next<T> {
    /// This frame, with this number.
    Send(u64, String),
    /// Nothing: this one the server would never take.
    TooLarge(Box<Item<T>>, String),
    /// All is on its way.
    Nothing,
}

impl<T> Queue<T> {
    pub(super) fn push(&mut self, item: Item<T>) {
        self.items.push_back(item);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn has_work(&self) -> bool {
        !self.again.is_empty() || self.numbered < self.items.len()
    }

    /// The frame to send next, under this mark: what was refused first, then what is new.
    pub(super) fn next(&mut self, req: i64, now: Duration, limits: &Limits) -> Next<T> {
        let (index, seq) = match self.again.first() {
            Some(seq) => match self.position(*seq) {
                Some(index) => (index, *seq),
                None => unreachable!("`again` holds numbers of items only"),
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
            // Only a new one can be too large: limits do not change on a connection.
            Err(problem) => match self.items.remove(index) {
                Some(item) => Next::TooLarge(Box::new(item), problem),
                None => Next::Nothing,
            },
        }
    }

    pub(super) fn get_mut(&mut self, seq: u64) -> Option<&mut Item<T>> {
        self.position(seq).map(|index| &mut self.items[index])
    }

    /// Takes out the item with this number: it has its outcome.
    pub(super) fn remove(&mut self, seq: u64) -> Option<Item<T>> {
        let index = self.position(seq)?;
        self.numbered -= 1;
        self.again.remove(&seq);
        self.items.remove(index)
    }

    /// Takes out the item with this number and all behind it: none of them can be taken.
    pub(super) fn remove_from(&mut self, seq: u64) -> VecDeque<Item<T>> {
        let index = self.position(seq).unwrap_or(self.items.len());
        self.numbered = self.numbered.min(index);
        self.again.retain(|again| *again < seq);
        self.items.split_off(index)
    }

    pub(super) fn send_again(&mut self, seq: u64) {
        if self.position(seq).is_some() {
            self.again.insert(seq);
        }
    }

    /// The connection is gone: numbers begin at 0 again, and all that has no outcome is sent again,
    /// in the same order with the same ids.
    pub(super) fn disconnected(&mut self) {
        self.items.iter_mut().for_each(|item| {
            item.seq = None;
            item.puzzles = 0;
        });
        (self.numbered, self.next_seq, self.pause_until) = (0, 0, None);
        self.again.clear();
    }

    /// The slots that authors saw are gone: `after` is dropped; what names one by `ref` or `expect`
    /// is taken out, and everything when nothing is to be kept. Called between connections only.
    pub(super) fn new_log(&mut self, keep: bool) -> Vec<Item<T>> {
        let (kept, out): (VecDeque<_>, _) =
            self.items.drain(..).partition(|Item { append, .. }| {
                keep && append.reference.is_none() && append.expect.is_none()
            });
        self.items = kept;
        self.items.iter_mut().for_each(|item| item.append.after = None);
        out.into()
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Item<T>> {
        (self.numbered, self.next_seq) = (0, 0);
        self.again.clear();
        self.items.drain(..)
    }

    fn position(&self, seq: u64) -> Option<usize> {
        let key = |item: &Item<T>| item.seq.unwrap_or(u64::MAX);
        self.items.binary_search_by_key(&seq, key).ok()
    }
}

/// The text of the frame, or why no server with these limits takes it.
fn written(append: &ClientAppend, limits: &Limits) -> Result<String, String> {
    let check = |what: &str, bytes: usize, most: u64| {
        if bytes as u64 > most {
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

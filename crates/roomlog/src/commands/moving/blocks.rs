//! Blocks of history on their way into a journal, some at once, none before its predecessor.
//!
//! Enters: entries, room by room, in slot order. Leaves: durable blocks. Invariant: a block counts only
//! when all before it are durable, so what has no answer is proposed again with all that stand behind it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use roomlog_core::{
    block::{self, BLOCK_BYTES, BLOCK_ENTRIES, BlockName, Past},
    identity::NodeId,
    journal::{Journal, Partition, Position, Proposed},
    proposal::{Proposal, Stored},
};
use roomlog_protocol::{RoomName, digest::hash};

use crate::failure::Failure;

/// How many blocks are under way at once.
const AT_ONCE: usize = 8;

/// How often what has no answer is proposed again, and how long after.
const TRIES: usize = 60;
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The way into a partition of a journal.
pub(super) struct Blocks {
    journal: Arc<dyn Journal>,
    partition: Partition,
    /// Nobody else's: it is made for this run.
    node: NodeId,
    next_n: u64,
    /// Where the last block stands that has taken effect.
    last: Position,
    history: Vec<Past>,
    bytes: usize,
    waiting: Vec<Bytes>,
}

impl Blocks {
    pub(super) fn new(journal: Arc<dyn Journal>, partition: Partition, node: NodeId) -> Self {
        Self {
            journal,
            partition,
            node,
            next_n: 0,
            last: Position(0),
            history: Vec::new(),
            bytes: 0,
            waiting: Vec::new(),
        }
    }

    /// Puts an entry in.
    ///
    /// # Errors
    /// When the journal does not take it, or does not answer.
    pub(super) async fn push(&mut self, room: &RoomName, stored: &Stored) -> Result<(), Failure> {
        let past = past(room, stored);
        let weight = past.proposal.weight();
        if self.history.len() >= BLOCK_ENTRIES || self.bytes + weight > BLOCK_BYTES {
            self.close().await?;
        }
        self.bytes += weight;
        self.history.push(past);
        Ok(())
    }

    /// Brings all that was put in into the journal.
    ///
    /// # Errors
    /// As [`Blocks::push`].
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        self.close().await?;
        self.propose().await
    }

    async fn close(&mut self) -> Result<(), Failure> {
        if self.history.is_empty() {
            return Ok(());
        }
        let name = BlockName { node: self.node, incarnation: 1, n: self.next_n };
        self.next_n += 1;
        self.bytes = 0;
        self.waiting.push(block::encode_history(name, &std::mem::take(&mut self.history)));
        if self.waiting.len() >= AT_ONCE { self.propose().await } else { Ok(()) }
    }

    async fn propose(&mut self) -> Result<(), Failure> {
        let mut why = String::new();
        for _ in 0..TRIES {
            let asked = self
                .waiting
                .iter()
                .map(|block| self.journal.propose(self.partition, block.clone()));
            let answers = join_all(asked).await;
            // One that stands before its predecessor was passed over there.
            let mut last = self.last;
            let missing = answers.iter().position(|answer| match answer {
                Proposed::Durable(position) if *position > last => {
                    last = *position;
                    false
                }
                _ => true,
            });
            self.last = last;
            let Some(missing) = missing else {
                self.waiting.clear();
                return Ok(());
            };
            self.waiting.drain(..missing);
            if let Proposed::Refused(said) | Proposed::Unanswered(said) | Proposed::Unknown(said) =
                &answers[missing]
            {
                said.clone_into(&mut why);
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
        Err(Failure::said(format!(
            "the journal does not take what is moved: {why}; run it again: it goes on where it stopped"
        )))
    }
}

fn past(room: &RoomName, stored: &Stored) -> Past {
    let entry = &stored.entry;
    let proposal = Proposal {
        room: room.clone(),
        author: entry.author.clone(),
        id: entry.id.clone(),
        kind: entry.kind.clone(),
        reference: entry.reference,
        sent_at: entry.sent_at,
        expect: None,
        body: entry.body.clone(),
        body_hash: hash(&entry.body),
        meta: entry.meta.as_ref().map(|meta| (meta.clone(), hash(meta))),
    };
    Past { proposal, slot: entry.slot, committed_at: entry.committed_at }
}

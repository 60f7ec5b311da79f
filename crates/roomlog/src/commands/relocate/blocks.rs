//! Proposes blocks of history to a partition of a journal, several concurrently.
//!
//! Input: entries, room by room, in slot order. Output: durable blocks. A block takes effect only
//! after all blocks before it, so a block without an answer is proposed again with all that follow
//! it.

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

const IN_FLIGHT: usize = 8;

const RETRIES: usize = 60;
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct Blocks {
    journal: Arc<dyn Journal>,
    partition: Partition,
    /// Generated for this run, so no other node proposes under it.
    node: NodeId,
    next_n: u64,
    /// The position of the last block that took effect.
    last: Position,
    history: Vec<Past>,
    bytes: usize,
    pending: Vec<Bytes>,
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
            pending: Vec::new(),
        }
    }

    /// Adds an entry; fails if the journal refuses a block or does not answer.
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
        self.pending.push(block::encode_history(name, &std::mem::take(&mut self.history)));
        if self.pending.len() >= IN_FLIGHT { self.propose().await } else { Ok(()) }
    }

    async fn propose(&mut self) -> Result<(), Failure> {
        let mut why = String::new();
        for _ in 0..RETRIES {
            let propose = |block: &Bytes| self.journal.propose(self.partition, block.clone());
            let answers = join_all(self.pending.iter().map(propose)).await;
            // A block at a position before its predecessor's was ignored there.
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
                self.pending.clear();
                return Ok(());
            };
            self.pending.drain(..missing);
            if let Proposed::Refused(reason)
            | Proposed::Unanswered(reason)
            | Proposed::Unknown(reason) = &answers[missing]
            {
                reason.clone_into(&mut why);
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        Err(Failure::other(format!(
            "the journal does not accept the moved entries: {why}; run the move again to continue"
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

//! Proposes blocks of history to a partition of a journal, several concurrently.
//!
//! Input: entries, room by room, in slot order. Output: durable blocks. A block that was stored before
//! its predecessor is sent again by the journal, even after its answer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::join_all;
use roomlog_core::{
    block::{self, BLOCK_BYTES, BLOCK_ENTRIES, BlockName, PastEntry},
    identity::NodeId,
    journal::{Journal, Partition, Proposed},
    proposal::{Proposal, Stored},
};
use roomlog_protocol::RoomName;
use tokio::time::timeout;

use crate::failure::Failure;

const IN_FLIGHT: usize = 8;

/// How long the journal may take to answer what is in flight.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

pub(super) struct Blocks {
    journal: Arc<dyn Journal>,
    partition: Partition,
    /// Generated for this run, so no other node proposes under it.
    node: NodeId,
    next_n: u64,
    history: Vec<PastEntry>,
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
        let failed = |why: &str| {
            Failure::other(format!(
                "the journal does not accept the moved entries: {why}; run the move again to \
                 continue"
            ))
        };
        let blocks = self.pending.drain(..);
        let answers = join_all(blocks.map(|block| self.journal.propose(self.partition, block)));
        let answers = timeout(ANSWER_TIMEOUT, answers).await;
        for answer in answers.map_err(|_| failed("it does not answer"))? {
            match answer {
                Proposed::Durable(_) => {}
                Proposed::Refused(why) | Proposed::Unknown(why) => return Err(failed(&why)),
            }
        }
        Ok(())
    }
}

fn past(room: &RoomName, stored: &Stored) -> PastEntry {
    let entry = &stored.entry;
    let proposal = Proposal {
        room: room.clone(),
        author: entry.author.clone(),
        id: entry.id.clone(),
        kind: entry.kind.clone(),
        reference: entry.reference,
        sent_at: entry.sent_at,
        expect: None,
        may_remove: false,
        commitment: entry.content.commitment(),
        content: entry.content.clone(),
    };
    PastEntry { proposal, slot: entry.slot, committed_at: entry.committed_at }
}

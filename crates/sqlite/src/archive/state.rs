//! What the archive says of itself: one row, which moves with `applied` and with nothing else.
//!
//! Enters: the file at the start; from then on what a fold made true. Leaves: the same, as JSON with a
//! checksum over it. Invariant: whatever the other tables hold counts as far as this row says so; a
//! row that was changed is not read.

use std::collections::BTreeMap;

use roomlog_core::{
    applied::{Applied, Chain, Proposer, Proposers},
    archive::ArchiveError,
    identity::NodeId,
    journal::{Partition, Position, Stamp},
};
use roomlog_protocol::Digest;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::{failed, is_damaged};
use crate::sql;

/// What the archive says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    applied: BTreeMap<Partition, AppliedForm>,
    /// How many rooms have a row, which is the greatest number of a room too.
    pub(super) rooms: i64,
    /// The wrapping sum of their rows' sums.
    pub(super) rooms_sum: i64,
    /// The segments of ids that count, oldest first.
    pub(super) segments: Vec<SegmentForm>,
}

/// A segment of ids, as the state names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentForm {
    /// Its number.
    pub(super) number: i64,
    /// How many ids it holds.
    pub(super) ids: u64,
    /// It has 2^bits buckets.
    pub(super) bits: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AppliedForm {
    position: u64,
    /// In hexadecimal: JSON's numbers are no 64 bits everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stamp: Option<String>,
    /// In hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chain: Option<Digest>,
    proposers: Vec<ProposerForm>,
    #[serde(default)]
    rules: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ProposerForm {
    node: Ulid,
    incarnation: u64,
    next: u64,
}

impl State {
    /// Reads the row; an archive that has none is new.
    pub(super) fn read(connection: &Connection) -> Result<Option<Self>, ArchiveError> {
        let columns =
            |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?));
        let row = connection
            .prepare_cached(sql::STATE)
            .and_then(|mut statement| statement.query_row([], columns).optional());
        let Some((text, crc)) = row.map_err(|error| failed(&error))? else { return Ok(None) };
        if crc32fast::hash(text.as_bytes()) != crc {
            return Err(is_damaged("its state does not have the checksum it was given"));
        }
        let state = serde_json::from_str(&text);
        state.map(Some).map_err(|error| is_damaged(&format!("its state cannot be read: {error}")))
    }

    /// Writes the row.
    pub(super) fn write(&self, connection: &Connection) -> Result<(), ArchiveError> {
        let text =
            serde_json::to_string(self).map_err(|error| ArchiveError::Failed(error.to_string()))?;
        let row = params![text, crc32fast::hash(text.as_bytes())];
        let write = || connection.prepare_cached(sql::SET_STATE)?.execute(row);
        write().map(drop).map_err(|error| failed(&error))
    }

    /// What it has taken in of a partition.
    pub(super) fn applied(&self, partition: Partition) -> Applied {
        let Some(form) = self.applied.get(&partition) else {
            return Applied::default();
        };
        let AppliedForm { position, stamp, chain, proposers, rules } = form;
        let proposer = |form: &ProposerForm| {
            let ProposerForm { node, incarnation, next } = *form;
            (NodeId(node.to_bytes()), Proposer { incarnation, next })
        };
        let proposers = Proposers(proposers.iter().map(proposer).collect());
        let stamp = stamp.as_deref().and_then(|hex| u64::from_str_radix(hex, 16).ok()).map(Stamp);
        let chain = chain.map(|Digest(chain)| Chain(chain));
        Applied { position: Position(*position), stamp, chain, proposers, rules: *rules }
    }

    /// Notes what it has taken in of a partition.
    pub(super) fn set_applied(&mut self, partition: Partition, applied: &Applied) {
        let form = |(node, proposer): (&NodeId, &Proposer)| ProposerForm {
            node: Ulid::from_bytes(node.0),
            incarnation: proposer.incarnation,
            next: proposer.next,
        };
        let proposers = applied.proposers.0.iter().map(form).collect();
        let stamp = applied.stamp.map(|Stamp(stamp)| format!("{stamp:016x}"));
        let chain = applied.chain.map(|Chain(chain)| Digest(chain));
        let (position, rules) = (applied.position.0, applied.rules);
        let form = AppliedForm { position, stamp, chain, proposers, rules };
        self.applied.insert(partition, form);
    }
}

//! What the archive records about itself: its log, and one row of state.
//!
//! Enters: the file at the start; from then on what each fold made true. Leaves: the same, as JSON
//! with a checksum. Invariant: the other tables count only as far as this row says so, and it
//! changes in the same transaction as `applied`.

use std::collections::BTreeMap;

use roomlog_core::{
    applied::{Applied, Chain, JournalClock, Proposer, Proposers, Unwiped},
    archive::ArchiveError,
    identity::NodeId,
    journal::{Partition, Position, Stamp},
};
use roomlog_protocol::Digest;
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::sql::{self, damaged};
use crate::error::check_format;

/// The log that a file is the archive of; `None` if the file is new.
pub(super) fn read_log(connection: &Connection) -> Result<Option<String>, ArchiveError> {
    let is_made = sql::find(connection, sql::IS_MADE, [], |row| row.get::<_, bool>(0))?;
    if is_made != Some(true) {
        return Ok(None);
    }
    let columns = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?));
    let log = sql::find(connection, sql::LOG, [], columns)?;
    let (log, format) = log.ok_or_else(|| damaged("the name of its log is missing"))?;
    check_format(format, sql::FORMAT).map_err(of_format)?;
    Ok(Some(log))
}

pub(super) fn of_format(why: String) -> ArchiveError {
    ArchiveError::Failed(format!("archive.db: {why}"))
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    applied: BTreeMap<Partition, AppliedForm>,
    /// How many rooms have a row, and so the greatest number of a room.
    pub(super) rooms: i64,
    /// The wrapping sum of the sums of their rows.
    pub(super) rooms_sum: i64,
    /// The segments of ids that count, oldest first.
    pub(super) segments: Vec<SegmentForm>,
}

/// A segment of ids, as the state lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentForm {
    pub(super) number: i64,
    /// How many ids it holds.
    pub(super) ids: u64,
    /// It has 2^bits buckets.
    pub(super) bits: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct AppliedForm {
    position: u64,
    /// In hexadecimal: not every JSON number has 64 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stamp: Option<String>,
    /// In hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    chain: Option<Digest>,
    proposers: Vec<ProposerForm>,
    #[serde(default)]
    rules: u16,
    #[serde(default)]
    unwiped_since: u64,
    #[serde(default)]
    unwiped_upto: u64,
    #[serde(default)]
    newest_time: u64,
    #[serde(default)]
    time_back: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct ProposerForm {
    node: Ulid,
    incarnation: u64,
    next: u64,
}

impl State {
    pub(super) fn read(connection: &Connection) -> Result<Self, ArchiveError> {
        let columns = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, u32>(1)?));
        let row = sql::find(connection, sql::STATE, [], columns)?;
        let (text, crc) = row.ok_or_else(|| damaged("its state is missing"))?;
        if crc32fast::hash(text.as_bytes()) != crc {
            return Err(damaged("its state does not have the checksum it was given"));
        }
        let state = serde_json::from_str(&text);
        state.map_err(|error| damaged(&format!("its state cannot be read: {error}")))
    }

    pub(super) fn write(&self, connection: &Connection) -> Result<(), ArchiveError> {
        let text =
            serde_json::to_string(self).map_err(|error| ArchiveError::Failed(error.to_string()))?;
        let crc = crc32fast::hash(text.as_bytes());
        sql::execute(connection, sql::SET_STATE, params![text, crc]).map(drop)
    }

    /// What was applied of a partition.
    pub(super) fn applied(&self, partition: Partition) -> Applied {
        let Some(form) = self.applied.get(&partition) else { return Applied::default() };
        let AppliedForm { position, stamp, chain, proposers, rules, .. } = form;
        let proposer = |form: &ProposerForm| {
            let ProposerForm { node, incarnation, next } = *form;
            (NodeId(node.to_bytes()), Proposer { incarnation, next })
        };
        let proposers = Proposers(proposers.iter().map(proposer).collect());
        let stamp = stamp.as_deref().and_then(|hex| u64::from_str_radix(hex, 16).ok()).map(Stamp);
        let chain = chain.map(|Digest(chain)| Chain(chain));
        let unwiped = Unwiped { since: form.unwiped_since, upto: Position(form.unwiped_upto) };
        let clock = JournalClock { newest: form.newest_time, back: form.time_back };
        let (position, rules) = (Position(*position), *rules);
        Applied { position, stamp, chain, proposers, rules, clock, unwiped }
    }

    pub(super) fn set_applied(&mut self, partition: Partition, applied: &Applied) {
        let form = |(node, proposer): (&NodeId, &Proposer)| ProposerForm {
            node: Ulid::from_bytes(node.0),
            incarnation: proposer.incarnation,
            next: proposer.next,
        };
        let proposers = applied.proposers.0.iter().map(form).collect();
        let stamp = applied.stamp.map(|Stamp(stamp)| format!("{stamp:016x}"));
        let chain = applied.chain.map(|Chain(chain)| Digest(chain));
        let form = AppliedForm {
            position: applied.position.0,
            stamp,
            chain,
            proposers,
            rules: applied.rules,
            unwiped_since: applied.unwiped.since,
            unwiped_upto: applied.unwiped.upto.0,
            newest_time: applied.clock.newest,
            time_back: applied.clock.back,
        };
        self.applied.insert(partition, form);
    }
}

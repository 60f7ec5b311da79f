//! The identity of a node, and the partition of a room.

use roomlog_protocol::RoomName;
use sha2::{Digest, Sha256};

use crate::model::journal::Partition;

/// The id of a node, created once and kept in its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 16]);

/// The identity of a running node.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Its id.
    pub node: NodeId,
    /// Its incarnation, increased at each start.
    pub incarnation: u64,
}

/// The partition of a room: the first 8 bytes of SHA-256 of its name, modulo `partitions`.
#[must_use]
pub fn partition_of(room: &RoomName, partitions: u32) -> Partition {
    if partitions <= 1 {
        return 0;
    }
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(room.as_bytes()));
    let hash = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    u32::try_from(hash % u64::from(partitions)).unwrap_or(0)
}

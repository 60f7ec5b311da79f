//! Who a node is, and which partition a room belongs to.

use roomlog_protocol::RoomName;
use sha2::{Digest, Sha256};

use crate::model::journal::Partition;

/// The id of a node: made once, kept in its directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub [u8; 16]);

/// Who this node is.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Its id.
    pub node: NodeId,
    /// Its incarnation: greater at each start.
    pub incarnation: u64,
}

/// The partition of a room: the first 8 bytes of SHA-256 of its name, modulo how many there are.
#[must_use]
pub fn partition_of(room: &RoomName, partitions: u32) -> Partition {
    if partitions <= 1 {
        return 0;
    }
    let [a, b, c, d, e, f, g, h, ..] = <[u8; 32]>::from(Sha256::digest(room.as_bytes()));
    let hash = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    u32::try_from(hash % u64::from(partitions)).unwrap_or(0)
}

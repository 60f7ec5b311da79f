//! Frames from a server: the same types are written by the gateway and read by clients.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Author, Digest, Entry, EntryId, ErrorCode, Limits, Refusal, RoomName, Slot};

/// A frame from a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ServerFrame {
    /// The first frame.
    Hello(Hello),
    /// Logged in.
    Welcome {
        /// As whom.
        author: Author,
    },
    /// An append of this connection is committed.
    Appended(Appended),
    /// Entries are committed.
    Ack(ServerAck),
    /// The answer to `join` and `update`.
    Reply(ServerReply),
    /// No longer following.
    Left {
        /// The room.
        room: RoomName,
        /// The mark of the `leave`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        req: Option<i64>,
    },
    /// The answer to `ping`.
    Pong {
        /// The mark of the `ping`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        req: Option<i64>,
    },
    /// The latest slots of rooms.
    Heads(Heads),
    /// A frame was refused.
    Error(ErrorFrame),
}

/// `hello`: what the server says of itself: which log it has, how durable it is, and its limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the protocol: 1.
    pub protocol: u32,
    /// Name and version of the server, for people.
    pub server: String,
    /// The name of the server's log. Slots are of one log: one that was learned under another name means
    /// nothing here.
    pub log: String,
    /// How to log in: `open` (any author), or `token`.
    pub auth: String,
    /// What an append that was answered has survived: `fsync` (one disk), `quorum` (a majority of a
    /// cluster's), or `declared` (what the cluster's operator vouches for).
    pub durability: String,
    /// The limits of this server.
    pub limits: Limits,
}

/// `appended`: your append is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// The room.
    pub room: RoomName,
    /// The id of the append.
    pub id: EntryId,
    /// Its slot.
    pub slot: Slot,
    /// The journal's time, ms since the epoch.
    pub committed_at: u64,
    /// True when it was there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<bool>,
    /// The number of the append, when it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The mark of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req: Option<i64>,
}

/// ServerAck: these entries are committed; to every connection that follows the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAck {
    /// The room.
    pub room: RoomName,
    /// The entries, in slot order.
    pub entries: Vec<Entry>,
}

/// What a read gives: the requested entries, at most a page of the server, and where the log ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The room.
    pub room: RoomName,
    /// The entries, in slot order, without a gap.
    pub entries: Vec<Entry>,
    /// The latest slot of the log when it was read; −1 when it is empty.
    pub latest: i64,
    /// The slot that `digest` is of: that of the last entry; without entries, where the log or the
    /// request ends.
    pub digest_at: i64,
    /// The digest of the log up to slot `digest_at`: two logs with the same one are the same up to there.
    pub digest: Digest,
}

/// ServerReply: a [`Reply`] on a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReply {
    /// What was read.
    #[serde(flatten)]
    pub reply: Reply,
    /// The mark of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req: Option<i64>,
}

/// `heads`: the latest slots of rooms, for `watch`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Heads {
    /// Room to latest slot.
    pub rooms: BTreeMap<RoomName, i64>,
    /// True on all but the last of the first frames: the list is not complete yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<bool>,
    /// The mark of the `watch`, on the first frames.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req: Option<i64>,
}

/// `error`: a frame was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFrame {
    /// What went wrong.
    pub code: ErrorCode,
    /// A sentence for a person.
    pub message: String,
    /// The room of the refused frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
    /// The id of the refused append.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<EntryId>,
    /// Its number; of `out_of_order` the one expected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The mark of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req: Option<i64>,
    /// The slot that the id of `id_reused` has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// Where the room's log ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<i64>,
    /// How long to wait before sending again, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// How long a client should wait after a refusal that waiting can mend, in ms.
pub const RETRY_AFTER_MS: u64 = 500;

impl From<Refusal> for ErrorFrame {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code,
            message: refusal.message,
            room: refusal.room,
            id: refusal.id,
            seq: refusal.seq,
            req: refusal.req,
            slot: refusal.slot,
            latest: refusal.latest,
            retry_after_ms: refusal.code.is_transient().then_some(RETRY_AFTER_MS),
        }
    }
}

//! What a server sends and clients read: frames on a WebSocket, and the lines that answer a batch over
//! HTTP. Members that a reader does not know are skipped.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Author, Digest, Entry, EntryId, ErrorCode, Latest, Limits, Refusal, RoomName, Slot,
    json::PutMembers,
};

/// A frame from a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum ServerFrame {
    /// The first frame.
    Hello(Box<Hello>),
    /// Logged in.
    Welcome {
        /// The connection's author.
        author: Author,
    },
    /// An append of this connection is committed.
    Appended(Appended),
    /// New entries of a followed room.
    Ack(ServerAck),
    /// The answer to `join` and `update`.
    Reply(ServerReply),
    /// The answer to `leave`.
    Left {
        /// The room.
        room: RoomName,
        /// The `req` of the `leave`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        req: Option<i64>,
    },
    /// The answer to `ping`.
    Pong {
        /// The `req` of the `ping`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        req: Option<i64>,
    },
    /// The latest slots of rooms.
    Heads(Heads),
    /// A refused frame, or the end of a follow or watch.
    Error(ErrorFrame),
}

/// `hello`: the server's log, durability and limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the protocol: 1.
    pub protocol: u32,
    /// Name and version of the server, for people.
    pub server: String,
    /// The name of the server's log. Slots of another log mean nothing here.
    pub log: String,
    /// How to log in: `open` (any author) or `token`.
    pub auth: String,
    /// What a committed append survives: `fsync` (on one disk), `quorum` (on a majority of a
    /// cluster), or `declared` (what the cluster's operator guarantees).
    pub durability: String,
    /// The limits of this server.
    pub limits: Limits,
}

/// `appended`: an append of this connection is committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Appended {
    /// The room.
    pub room: RoomName,
    /// The id of the append.
    pub id: EntryId,
    /// The slot of the entry.
    pub slot: Slot,
    /// The journal's time, in ms since the Unix epoch.
    pub committed_at: u64,
    /// `Some(true)` if the entry was in the log already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeat: Option<bool>,
    /// The `seq` of the append, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The `req` of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req: Option<i64>,
}

impl Appended {
    /// Writes its frame as JSON, as [`write_json`](crate::write_json) does, and much faster.
    pub fn put_frame(&self, to: &mut Vec<u8>) {
        let mut members = PutMembers(to);
        members.text(r#"{"type":"appended","room":"#, self.room.local());
        members.text(r#","id":"#, &self.id);
        members.number(r#","slot":"#, self.slot);
        members.number(r#","committed_at":"#, self.committed_at);
        match self.repeat {
            Some(true) => members.0.extend_from_slice(br#","repeat":true"#),
            Some(false) => members.0.extend_from_slice(br#","repeat":false"#),
            None => {}
        }
        if let Some(seq) = self.seq {
            members.number(r#","seq":"#, seq);
        }
        if let Some(req) = self.req {
            members.number(r#","req":"#, req);
        }
        to.push(b'}');
    }
}

/// `ack`: new entries, sent to every connection that follows the room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerAck {
    /// The room.
    pub room: RoomName,
    /// The entries, in slot order.
    pub entries: Vec<Entry>,
}

/// The result of a read: up to a page of the requested entries, and where the log ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The room.
    pub room: RoomName,
    /// The entries, in slot order, without a gap.
    pub entries: Vec<Entry>,
    /// The latest slot of the log; −1 if it is empty.
    pub latest: Latest,
    /// The slot of `digest`: that of the last entry or, without entries, where the log or the
    /// request ends.
    pub digest_at: Latest,
    /// The digest of the log up to `digest_at`: logs with equal digests have equal entries up to
    /// there.
    pub digest: Digest,
}

/// `reply`: a [`Reply`] on a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerReply {
    /// The result.
    #[serde(flatten)]
    pub reply: Reply,
    /// The `req` of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req: Option<i64>,
}

/// `heads`: the latest slots of rooms, for `watch`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Heads {
    /// Latest slots, by room.
    pub rooms: BTreeMap<RoomName, Latest>,
    /// `Some(true)` if the first list of all rooms goes on in the next frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more: Option<bool>,
    /// The `req` of the `watch`, on the frames of the first list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req: Option<i64>,
}

/// `error`: a refused frame, or the end of a follow or watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorFrame {
    /// The kind of error, for programs.
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: String,
    /// The room of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub room: Option<RoomName>,
    /// The id of the append.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<EntryId>,
    /// The `seq` of the append; for `out_of_order` the expected one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The `req` of the frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub req: Option<i64>,
    /// For `id_reused`: the slot of the entry with that id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot: Option<Slot>,
    /// The room's latest slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<Latest>,
    /// How long to wait before a retry, in ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// How long a client should wait after a transient refusal that names no time, in ms.
pub const RETRY_AFTER_MS: u64 = 500;

impl From<Refusal> for ErrorFrame {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message, room, id, seq, req, latest, slot, retry_after_ms } = refusal;
        let retry_after_ms =
            code.is_transient().then_some(retry_after_ms.unwrap_or(RETRY_AFTER_MS));
        Self { code, message, room, id, seq, req, slot, latest, retry_after_ms }
    }
}

/// The outcome of one line of a batch, as a client reads it: `entry` or `error`. Members that its
/// sender knows, such as the body, are skipped and cost no memory. The refusal of a whole request has the
/// same form, with `error`.
///
/// ```json
/// {"entry":{"slot":7,"author":"ada","id":"a-1","body":"hi","committed_at":5},"repeat":true}
/// {"error":{"code":"busy","message":"…","retry_after_ms":500}}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BatchLine {
    /// The committed entry.
    #[serde(default)]
    pub entry: Option<Placed>,
    /// `Some(true)` if the entry was in the log already.
    #[serde(default)]
    pub repeat: Option<bool>,
    /// Why it was refused, or why its outcome is unknown.
    #[serde(default)]
    pub error: Option<Box<ErrorFrame>>,
}

/// The place of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Placed {
    /// Its slot.
    pub slot: Slot,
    /// The id of the append.
    pub id: EntryId,
    /// The journal's time, in ms since the Unix epoch.
    pub committed_at: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_entry_or_an_error() {
        let json = r#"{"entry":{"slot":7,"author":"ada","id":"a-1","body":"hi","committed_at":5},"repeat":true}"#;
        let line: BatchLine = serde_json::from_str(json).expect("a line");
        let entry = line.entry.expect("an entry");
        assert_eq!((entry.slot, entry.committed_at, line.repeat), (7, 5, Some(true)));
        let json = r#"{"error":{"code":"busy","message":"wait","retry_after_ms":500}}"#;
        let line: BatchLine = serde_json::from_str(json).expect("a line");
        let error = line.error.expect("an error");
        assert_eq!((error.code, error.retry_after_ms), (ErrorCode::Busy, Some(500)));
    }
}

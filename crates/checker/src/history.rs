//! What was recorded of a run: frames, and every node's log.
//!
//! Enters: the JSON of frames. Leaves: the members that the checker reads, or which one is missing.

use serde_json::Value;

/// The record of a run.
#[derive(Debug, Default)]
pub struct History {
    /// The frames of all connections, in the order of one clock.
    pub frames: Vec<Frame>,
    /// Every node's log at the end.
    pub logs: Vec<NodeLog>,
}

/// A node's complete log.
#[derive(Debug, Clone, Default)]
pub struct NodeLog {
    /// The node's name in the report.
    pub node: String,
    /// `reply` frames that cover all its rooms from slot 0, each room's in slot order.
    pub replies: Vec<String>,
}

/// Which way a frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the server.
    Sent,
    /// From the server.
    Received,
}

/// A frame as sent over the wire.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The number of its connection, never reused.
    pub connection: u64,
    /// Which way it went.
    pub direction: Direction,
    /// Its JSON.
    pub text: String,
}

/// An entry as sent to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) slot: u64,
    pub(crate) author: String,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) body: String,
    pub(crate) meta: Option<String>,
    pub(crate) reference: Option<u64>,
    pub(crate) sent_at: Option<u64>,
    pub(crate) committed_at: u64,
}

pub(crate) type FromFrame<T> = Result<T, String>;

pub(crate) fn text<'a>(frame: &'a Value, member: &str) -> FromFrame<&'a str> {
    let value = frame.get(member).and_then(Value::as_str);
    value.ok_or_else(|| format!("no text {member:?} in {frame}"))
}

pub(crate) fn number(frame: &Value, member: &str) -> FromFrame<u64> {
    let value = frame.get(member).and_then(Value::as_u64);
    value.ok_or_else(|| format!("no number {member:?} in {frame}"))
}

pub(crate) fn entries(frame: &Value) -> FromFrame<Vec<Seen>> {
    let entries = frame.get("entries").and_then(Value::as_array);
    let entries = entries.ok_or_else(|| format!("no entries in {frame}"))?;
    entries.iter().map(entry).collect()
}

fn entry(value: &Value) -> FromFrame<Seen> {
    let maybe = |member: &str| value.get(member).and_then(Value::as_u64);
    Ok(Seen {
        slot: number(value, "slot")?,
        author: text(value, "author")?.into(),
        id: text(value, "id")?.into(),
        kind: value.get("kind").and_then(Value::as_str).unwrap_or("text").into(),
        body: text(value, "body")?.into(),
        meta: value.get("meta").and_then(Value::as_str).map(Into::into),
        reference: maybe("ref"),
        sent_at: maybe("sent_at"),
        committed_at: number(value, "committed_at")?,
    })
}

pub(crate) fn signed(slot: u64) -> i64 {
    i64::try_from(slot).unwrap_or(i64::MAX)
}

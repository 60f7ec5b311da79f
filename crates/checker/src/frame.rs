//! A frame, and what of it the checker reads.

use serde_json::Value;

/// Which way a frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the server.
    Sent,
    /// From the server.
    Received,
}

/// A frame as it went over a wire.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The connection; a number is never another connection's.
    pub connection: u64,
    /// Which way.
    pub direction: Direction,
    /// Its text.
    pub text: String,
}

/// An entry as it was sent to someone.
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

/// What a frame does not have and should.
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

//! What was recorded of a run: frames, and every node's log.
//!
//! Enters: the JSON of frames. Leaves: the members that the checker reads, or which one is missing.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};

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

/// An entry as sent to a client. The same one before and after its redaction is equal: the commitment
/// stands for the body.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) slot: u64,
    pub(crate) author: String,
    pub(crate) id: String,
    pub(crate) kind: String,
    /// `None` if redacted.
    pub(crate) body: Option<String>,
    pub(crate) commitment: [u8; 32],
    pub(crate) reference: Option<u64>,
    pub(crate) sent_at: Option<u64>,
    pub(crate) committed_at: u64,
}

impl PartialEq for Seen {
    fn eq(&self, other: &Self) -> bool {
        let members =
            |it: &Self| (it.slot, it.committed_at, it.sent_at, it.reference, it.commitment);
        members(self) == members(other)
            && (&self.author, &self.id, &self.kind) == (&other.author, &other.id, &other.kind)
    }
}

impl Eq for Seen {}

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
    let (body, commitment) = if value.get("redacted").is_some() {
        (None, from_hex(text(value, "commitment")?)?)
    } else {
        (Some(text(value, "body")?.to_owned()), commitment(value)?)
    };
    Ok(Seen {
        slot: number(value, "slot")?,
        author: text(value, "author")?.into(),
        id: text(value, "id")?.into(),
        kind: value.get("kind").and_then(Value::as_str).unwrap_or("text").into(),
        body,
        commitment,
        reference: maybe("ref"),
        sent_at: maybe("sent_at"),
        committed_at: number(value, "committed_at")?,
    })
}

/// What body and meta enter the digest as.
fn commitment(value: &Value) -> FromFrame<[u8; 32]> {
    let salt = URL_SAFE_NO_PAD.decode(text(value, "salt")?).map_err(|why| why.to_string())?;
    let mut hash = Sha256::new();
    hash.update(salt);
    lp(&mut hash, text(value, "body")?);
    if value.get("meta").is_some() {
        lp(&mut hash, text(value, "meta")?);
    }
    Ok(hash.finalize().into())
}

pub(crate) fn lp(hash: &mut Sha256, text: &str) {
    hash.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    hash.update(text.as_bytes());
}

fn from_hex(text: &str) -> FromFrame<[u8; 32]> {
    let digit = |at: usize| text.get(at..at + 2).and_then(|byte| u8::from_str_radix(byte, 16).ok());
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(digit).collect();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| format!("no 32 bytes of hex: {text}"))
}

pub(crate) fn signed(slot: u64) -> i64 {
    i64::try_from(slot).unwrap_or(i64::MAX)
}

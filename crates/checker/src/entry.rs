//! Entries, and the members of frames that the checker reads.
//!
//! Enters: the JSON of a frame. Leaves: its members, or which one is missing or wrong.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// An entry as sent to a client. The same one before and after its redaction is equal: the commitment
/// stands for the body.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) slot: u64,
    pub(crate) author: String,
    pub(crate) id: String,
    pub(crate) kind: String,
    /// `None` if redacted.
    pub(crate) said: Option<Said>,
    pub(crate) commitment: [u8; 32],
    pub(crate) reference: Option<u64>,
    pub(crate) sent_at: Option<u64>,
    pub(crate) committed_at: u64,
}

/// What a redaction removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) body: String,
    pub(crate) meta: Option<String>,
}

impl Seen {
    /// Whether it removes texts, and none removes it.
    pub(crate) fn removes(&self) -> bool {
        matches!(&*self.kind, "redact" | "erase")
    }
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
    let (said, commitment) = if value.get("redacted").is_some() {
        if let Some(left) = ["body", "meta", "salt"].iter().find(|it| value.get(**it).is_some()) {
            return Err(format!("a redacted entry has a {left}: {value}"));
        }
        (None, from_hex(text(value, "commitment")?)?)
    } else {
        let meta = value.get("meta").map(|_| text(value, "meta")).transpose()?;
        let body = text(value, "body")?.to_owned();
        (Some(Said { body, meta: meta.map(Into::into) }), commitment(value)?)
    };
    Ok(Seen {
        slot: number(value, "slot")?,
        author: text(value, "author")?.into(),
        id: text(value, "id")?.into(),
        kind: value.get("kind").and_then(Value::as_str).unwrap_or("text").into(),
        said,
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

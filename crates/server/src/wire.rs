//! What the server says, as bytes: JSON, and the WebSocket frames around it.
//!
//! Enters: pages, commits, outcomes. Leaves: frames that are written as they are. Invariants: a frame
//! holds at most a page (`page_entries`, `page_bytes`), and at least one entry; a commit is encoded
//! once, by whoever sends it first, and its bytes are shared.

use bytes::{BufMut, Bytes, BytesMut};
use roomlog_core::{archive::Keep, proposal::Stored, reader::Page, tail::Commit};
use roomlog_protocol::{CloseCode, Digest, Limits, RoomName, ServerFrame, Slot, latest_of};
use serde::Serialize;

/// What surrounds the entries of a reply or ack, in bytes, at most: a room of 128 bytes, a digest,
/// a log's id, three integers and the names.
const ENVELOPE_BYTES: usize = 512;

/// A WebSocket text frame of a server: never masked, never fragmented (RFC 6455, 5.2).
pub(crate) fn text_frame(payload: &[u8]) -> Bytes {
    frame(0x81, payload)
}

/// A WebSocket ping.
pub(crate) fn ping_frame() -> Bytes {
    frame(0x89, b"")
}

/// The answer to a WebSocket ping.
pub(crate) fn pong_frame(payload: &[u8]) -> Bytes {
    frame(0x8a, payload)
}

/// A WebSocket close, with a reason for people.
pub(crate) fn close_frame(code: CloseCode, reason: &str) -> Bytes {
    let mut payload = (code as u16).to_be_bytes().to_vec();
    // A control frame holds 125 bytes; our reasons are ASCII and shorter.
    payload.extend(reason.bytes().take(120));
    frame(0x88, &payload)
}

fn frame(first: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    frame.put_u8(first);
    match payload.len() {
        short @ 0..=125 => frame.put_u8(short as u8),
        middle @ 126..=0xffff => {
            frame.put_u8(126);
            frame.put_u16(middle as u16);
        }
        long => {
            frame.put_u8(127);
            frame.put_u64(long as u64);
        }
    }
    frame.put_slice(payload);
    frame.freeze()
}

/// JSON of what cannot fail to be JSON: our own types, with text keys.
pub(crate) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|error| unreachable!("our types are JSON: {error}"))
}

/// A frame of the server as a WebSocket frame.
pub(crate) fn server_frame(frame: &ServerFrame) -> Bytes {
    text_frame(&json(frame))
}

/// The acks that tell of these entries: one, or more when a page cannot hold them all.
pub(crate) fn acks(room: &RoomName, entries: &[Stored], limits: &Limits) -> Vec<Bytes> {
    let prefix = format!(r#"{{"type":"ack","room":"{room}","entries":["#);
    let mut frames = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let (body, count) = joined(rest.iter(), limits);
        let payload = [prefix.as_bytes(), &body, b"]}"].concat();
        frames.push(text_frame(&payload));
        rest = &rest[count..];
    }
    frames
}

/// The frames of a commit, encoded at most once.
pub(crate) fn commit_frames<'a>(commit: &'a Commit, limits: &Limits) -> &'a [Bytes] {
    commit.frames.get_or_init(|| acks(&commit.room, &commit.entries, limits))
}

/// As many entries as a page holds, joined by commas, and how many they are.
fn joined<'a>(entries: impl Iterator<Item = &'a Stored>, limits: &Limits) -> (Vec<u8>, usize) {
    let (most, bytes) = page_bounds(limits);
    let mut body = Vec::new();
    let mut count = 0;
    for stored in entries.take(most) {
        let before = body.len();
        if count > 0 {
            body.push(b',');
        }
        body.extend(json(&stored.entry));
        if count > 0 && body.len() > bytes {
            body.truncate(before);
            break;
        }
        count += 1;
    }
    (body, count)
}

/// These entries as Server-Sent Events. JSON has no line break, so one `data:` line holds an entry.
pub(crate) fn events<'a>(entries: impl Iterator<Item = &'a Stored>) -> Bytes {
    let mut events = Vec::new();
    for stored in entries {
        events.extend_from_slice(format!("id: {}\ndata: ", stored.entry.slot).as_bytes());
        events.extend(json(&stored.entry));
        events.extend_from_slice(b"\n\n");
    }
    events.into()
}

fn page_bounds(limits: &Limits) -> (usize, usize) {
    let size = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    (size(limits.page_entries), size(limits.page_bytes).saturating_sub(ENVELOPE_BYTES))
}

/// A page as JSON, and where it ended.
pub(crate) struct Encoded {
    /// The members of a `reply`, without the opening brace, `type`, `req` and the closing brace.
    members: Vec<u8>,
    /// The slot behind the last entry; `None` when there is no entry.
    pub(crate) end: Option<Slot>,
}

/// Encodes a page, clipped to what a page may hold, from the end that is kept.
pub(crate) fn page(room: &RoomName, page: &Page, keep: Keep, limits: &Limits) -> Encoded {
    let (most, bytes) = page_bounds(limits);
    let mut texts: Vec<(&Stored, Vec<u8>)> = Vec::new();
    let mut sum = 0;
    let from_the_kept_end: Box<dyn Iterator<Item = &Stored>> = match keep {
        Keep::Oldest => Box::new(page.entries.iter()),
        Keep::Newest => Box::new(page.entries.iter().rev()),
    };
    for stored in from_the_kept_end.take(most) {
        let text = json(&stored.entry);
        sum += text.len() + 1;
        if sum > bytes && !texts.is_empty() {
            break;
        }
        texts.push((stored, text));
    }
    if keep == Keep::Newest {
        texts.reverse();
    }
    let last = texts.last().map(|(stored, _)| *stored);
    let (at, digest) = match last {
        Some(stored) => (latest_of(stored.entry.slot + 1), stored.digest),
        None => (page.digest_at, page.digest),
    };
    let body: Vec<Vec<u8>> = texts.into_iter().map(|(_, text)| text).collect();
    let members = members(room, &body.join(&b','), page.head.end, at, digest);
    Encoded { members, end: last.map(|stored| stored.entry.slot + 1) }
}

fn members(room: &RoomName, entries: &[u8], end: Slot, at: i64, digest: Digest) -> Vec<u8> {
    let head = format!(r#""room":"{room}","entries":["#);
    let latest = latest_of(end);
    let tail = format!(r#"],"latest":{latest},"digest_at":{at},"digest":"{digest}""#);
    [head.as_bytes(), entries, tail.as_bytes()].concat()
}

impl Encoded {
    /// As a `reply` frame.
    pub(crate) fn reply(&self, req: Option<i64>) -> Bytes {
        let req = req.map_or_else(String::new, |req| format!(r#","req":{req}"#));
        text_frame(&[br#"{"type":"reply","#, &*self.members, req.as_bytes(), b"}"].concat())
    }

    /// As the body of an HTTP answer.
    pub(crate) fn body(&self, log: &str) -> Vec<u8> {
        let log = format!(r#","log":"{log}"}}"#);
        [b"{", &*self.members, log.as_bytes()].concat()
    }
}

//! What the server sends, as bytes: JSON, and the WebSocket frames, events and HTTP answers around it.
//!
//! Enters: pages, commits, frames, refusals. Leaves: bytes to write unchanged, and responses.
//! Invariants: all JSON is written by [`write_json`], or in the same bytes, so that a line of it is one
//! line for every reader; a frame of entries holds at most a page (`page_entries`, `page_bytes`), and at least one
//! entry; a commit is encoded once, by its first sender, and its bytes are shared; an error over HTTP
//! has the code and members of an `error` frame, and the status of the contract.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use bytes::{BufMut, Bytes, BytesMut};
use roomlog_core::{archive::Keep, budget::Charge, commit::Commit, proposal::Stored, reader::Page};
use roomlog_protocol::{
    CloseCode, ErrorCode, ErrorFrame, Latest, Limits, Refusal, RoomName, ServerFrame, Slot,
    write_json,
};
use serde::Serialize;
use serde_json::json;

/// The most bytes of a reply or ack besides its entries: a room of 128 bytes, a digest, a log's id,
/// three integers and the member names.
const ENVELOPE_BYTES: usize = 512;

/// The first byte of a text frame: never fragmented (RFC 6455, 5.2).
const TEXT: u8 = 0x81;

/// The bytes of the longest header of our frames, which have no mask.
const LONGEST_HEADER: usize = 10;

/// The bytes of the header of a frame with at most 125 bytes of payload.
const SHORT_HEADER: usize = 2;

pub(crate) fn server_frame(frame: &ServerFrame) -> Bytes {
    let mut bytes = Vec::new();
    put_server_frame(&mut bytes, frame);
    exact(bytes)
}

/// Writes a frame behind what is there.
pub(crate) fn put_server_frame(bytes: &mut Vec<u8>, frame: &ServerFrame) {
    // The header of most answers is as long.
    let begin = bytes.len() + SHORT_HEADER;
    bytes.resize(begin, 0);
    match frame {
        ServerFrame::Appended(appended) => appended.put_frame(bytes),
        frame => put_json(bytes, frame),
    }
    let (header, length) = websocket_header(TEXT, bytes.len() - begin);
    if length == SHORT_HEADER {
        bytes[begin - SHORT_HEADER..begin].copy_from_slice(&header[..SHORT_HEADER]);
    } else {
        bytes.splice(begin - SHORT_HEADER..begin, header[..length].iter().copied());
    }
}

pub(crate) fn ping_frame() -> Bytes {
    websocket_frame(0x89, &[])
}

pub(crate) fn pong_frame(payload: &[u8]) -> Bytes {
    websocket_frame(0x8a, &[payload])
}

pub(crate) fn close_frame(code: CloseCode, reason: &str) -> Bytes {
    let mut payload = (code as u16).to_be_bytes().to_vec();
    // A control frame holds 125 bytes, and a reason may quote what the client sent, so it is cut;
    // between characters, because it must be UTF-8.
    let reason = &reason[..reason.floor_char_boundary(120)];
    payload.extend(reason.bytes());
    websocket_frame(0x88, &[&payload])
}

/// A WebSocket frame of a server, never masked; its payload is in pieces.
pub(crate) fn websocket_frame(first: u8, payload: &[&[u8]]) -> Bytes {
    let length = payload.iter().map(|piece| piece.len()).sum();
    let (header, bytes) = websocket_header(first, length);
    let mut frame = BytesMut::with_capacity(bytes + length);
    frame.put_slice(&header[..bytes]);
    payload.iter().for_each(|piece| frame.put_slice(piece));
    frame.freeze()
}

/// The header of a frame, and how many bytes it has.
fn websocket_header(first: u8, length: usize) -> ([u8; LONGEST_HEADER], usize) {
    let mut header = [0; LONGEST_HEADER];
    header[0] = first;
    let bytes = match length {
        short @ 0..=125 => {
            header[1] = short as u8;
            2
        }
        middle @ 126..=0xffff => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(middle as u16).to_be_bytes());
            4
        }
        long => {
            header[1] = 127;
            header[2..].copy_from_slice(&(long as u64).to_be_bytes());
            LONGEST_HEADER
        }
    };
    (header, bytes)
}

/// JSON of our own types, which cannot fail: they have text keys.
pub(crate) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_json(&mut bytes, value);
    bytes
}

fn put_json<T: Serialize>(bytes: &mut Vec<u8>, value: &T) {
    write_json(bytes, value).unwrap_or_else(|error| unreachable!("our types are JSON: {error}"));
}

/// The acks of these entries: several if one page cannot hold them all.
pub(crate) fn acks(room: &RoomName, entries: &[Stored], limits: &Limits) -> Vec<Bytes> {
    let prefix = format!(r#"{{"type":"ack","room":"{room}","entries":["#);
    let mut frames = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        let (body, count) = joined(rest, limits);
        frames.push(websocket_frame(TEXT, &[prefix.as_bytes(), &body, b"]}"]));
        rest = &rest[count..];
    }
    frames
}

pub(crate) fn commit_frames<'a>(commit: &'a Commit, limits: &Limits) -> &'a [Bytes] {
    commit.frames.get_or_init(|| acks(&commit.room, &commit.entries, limits))
}

/// As many entries as a page holds, and their number.
fn joined(entries: &[Stored], limits: &Limits) -> (Vec<u8>, usize) {
    let (most, bytes) = page_bounds(limits);
    let mut body = Vec::new();
    let count = put_oldest(&mut body, &entries[..entries.len().min(most)], bytes);
    (body, count)
}

/// Entries as Server-Sent Events. JSON has no line break, so one `data:` line holds an entry.
pub(crate) fn events<'a>(entries: impl Iterator<Item = &'a Stored>) -> Bytes {
    let mut events = Vec::new();
    for stored in entries {
        events.extend_from_slice(format!("id: {}\ndata: ", stored.entry.slot).as_bytes());
        stored.entry.put_json(&mut events);
        events.extend_from_slice(b"\n\n");
    }
    exact(events)
}

/// The same bytes, and no memory besides: what is charged by its length must not hold what it grew to.
pub(crate) fn exact(bytes: Vec<u8>) -> Bytes {
    bytes.into_boxed_slice().into()
}

fn page_bounds(limits: &Limits) -> (usize, usize) {
    (limits.page_entries, limits.page_bytes.saturating_sub(ENVELOPE_BYTES))
}

/// A page as JSON, and where it ended.
pub(crate) struct EncodedPage {
    /// An open object: the members of a `reply` without `type` and `req`.
    open: Vec<u8>,
    /// The slot after the last entry; `None` without entries.
    pub(crate) end: Option<Slot>,
}

/// An estimate of the bytes of an entry besides its text.
const ENTRY_OVERHEAD: usize = 160;

/// Encodes a page, clipped to the limits at the end that is not kept.
pub(crate) fn page(room: &RoomName, page: &Page, keep: Keep, limits: &Limits) -> EncodedPage {
    let (most, bytes) = page_bounds(limits);
    let surplus = page.entries.len().saturating_sub(most);
    let entries = match keep {
        Keep::Oldest => &page.entries[..page.entries.len() - surplus],
        Keep::Newest => &page.entries[surplus..],
    };
    let estimate = entries.iter().map(|stored| stored.text_bytes() + ENTRY_OVERHEAD).sum::<usize>();
    let mut open = Vec::with_capacity(estimate.min(bytes) + ENVELOPE_BYTES);
    open.extend_from_slice(format!(r#"{{"room":"{room}","entries":["#).as_bytes());
    let entries = match keep {
        Keep::Oldest => &entries[..put_oldest(&mut open, entries, bytes)],
        Keep::Newest => &entries[entries.len() - put_newest(&mut open, entries, bytes)..],
    };
    let (at, digest) = match entries.last() {
        Some(last) => (Latest::at(last.entry.slot), last.digest),
        None => (page.digest_at, page.digest),
    };
    let latest = Latest::before(page.head.end);
    let tail = format!(r#"],"latest":{latest},"digest_at":{at},"digest":"{digest}""#);
    open.extend_from_slice(tail.as_bytes());
    EncodedPage { open, end: entries.last().map(|last| last.entry.slot + 1) }
}

/// Appends as many of the first entries as fit `bytes`, at least one, joined by commas; returns how
/// many.
fn put_oldest(to: &mut Vec<u8>, entries: &[Stored], bytes: usize) -> usize {
    let begin = to.len();
    for (count, stored) in entries.iter().enumerate() {
        let before = to.len();
        if count > 0 {
            to.push(b',');
        }
        stored.entry.put_json(to);
        if count > 0 && to.len() - begin > bytes {
            to.truncate(before);
            return count;
        }
    }
    entries.len()
}

/// The same with the last entries. If not all fit, they are encoded once more, from the end: so no more
/// is held than twice what is kept, and one entry.
fn put_newest(to: &mut Vec<u8>, entries: &[Stored], bytes: usize) -> usize {
    let begin = to.len();
    if put_oldest(to, entries, bytes) == entries.len() {
        return entries.len();
    }
    to.truncate(begin);
    let (mut reversed, mut ends) = (Vec::new(), vec![0]);
    for stored in entries.iter().rev() {
        stored.entry.put_json(&mut reversed);
        let commas = ends.len() - 1;
        if commas > 0 && reversed.len() + commas > bytes {
            break;
        }
        ends.push(reversed.len());
    }
    for (at, piece) in ends.windows(2).rev().enumerate() {
        if at > 0 {
            to.push(b',');
        }
        to.extend_from_slice(&reversed[piece[0]..piece[1]]);
    }
    ends.len() - 1
}

impl EncodedPage {
    pub(crate) fn reply(&self, req: Option<i64>) -> Bytes {
        let req = req.map_or_else(String::new, |req| format!(r#","req":{req}"#));
        websocket_frame(TEXT, &[br#"{"type":"reply","#, &self.open[1..], req.as_bytes(), b"}"])
    }

    pub(crate) fn body(mut self, log: &str) -> Bytes {
        self.open.extend_from_slice(format!(r#","log":"{log}"}}"#).as_bytes());
        exact(self.open)
    }
}

/// Bytes of an answer and what they are charged with, until the socket has taken them.
struct ChargedBytes(Bytes, #[expect(dead_code, reason = "given back when it is dropped")] Charge);

impl AsRef<[u8]> for ChargedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The same bytes, charged as long as anything holds them.
pub(crate) fn charged(bytes: Bytes, charge: Charge) -> Bytes {
    Bytes::from_owner(ChargedBytes(bytes, charge))
}

pub(crate) fn respond(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(crate) fn respond_json(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    respond(status, "application/json", body.into())
}

pub(crate) fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", text.into())
}

/// An error: the same members as an `error` frame, below `error`.
pub(crate) fn refuse(refusal: Refusal) -> Response<Body> {
    let status = StatusCode::from_u16(refusal.code.http_status());
    refuse_as(status.unwrap_or(StatusCode::BAD_REQUEST), refusal)
}

/// An error for which HTTP has a status of its own.
pub(crate) fn refuse_as(status: StatusCode, refusal: Refusal) -> Response<Body> {
    let error = ErrorFrame::from(refusal);
    let mut response = respond_json(status, json(&json!({ "error": error })));
    if let Some(ms) = error.retry_after_ms {
        let seconds = HeaderValue::from(ms.div_ceil(1_000));
        response.headers_mut().insert(header::RETRY_AFTER, seconds);
    }
    response
}

pub(crate) fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::BadMessage, message)
}

pub(crate) fn not_found(message: &str) -> Refusal {
    Refusal::new(ErrorCode::NotFound, message)
}

pub(crate) fn unknown_outcome(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::UnknownOutcome, message)
}

#[cfg(test)]
mod tests {
    use roomlog_core::head::Head;
    use roomlog_protocol::{Content, Digest, Entry, Salt};

    use super::*;

    /// A page of 64 entries whose JSON is six times as long as their texts.
    fn hostile_page() -> Page {
        let room = "r".parse().expect("a room");
        let entry = |slot| Entry {
            slot,
            author: "mallory".parse().expect("an author"),
            id: format!("m-{slot}").parse().expect("an id"),
            content: Content::Said {
                body: "\u{1}".repeat(16 << 10).into(),
                meta: None,
                salt: Salt([0; 12]),
            },
            committed_at: 1,
            sent_at: None,
            kind: Default::default(),
            reference: None,
        };
        let digest = Digest::start(&room);
        let entries = (0..64).map(|slot| Stored { entry: entry(slot), digest }).collect();
        let head = Head { end: 64, committed_at: 1, digest };
        Page { entries, head, digest_at: Latest::at(63), digest }
    }

    #[test]
    fn a_page_takes_little_more_memory_while_it_is_encoded_than_it_may_be_long() {
        let (limits, room) = (Limits::default(), "r".parse().expect("a room"));
        let hostile = hostile_page();
        for (keep, begins) in [(Keep::Oldest, 0), (Keep::Newest, 54)] {
            let page = page(&room, &hostile, keep, &limits);
            // It grows by doubling.
            let most = 2 * (limits.page_bytes + (6 << 14) + ENVELOPE_BYTES);
            assert!(page.open.capacity() <= most, "{keep:?}: {}", page.open.capacity());
            let body = page.body("l");
            let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let entries = json["entries"].as_array().expect("entries");
            assert!(body.len() <= limits.page_bytes, "{}", body.len());
            assert_eq!((entries.len(), &entries[0]["slot"]), (10, &json!(begins)), "{keep:?}");
        }
    }

    #[test]
    fn a_page_that_fits_is_whole_and_one_too_long_entry_is_a_page_of_its_own() {
        let (room, hostile) = ("r".parse().expect("a room"), hostile_page());
        for keep in [Keep::Oldest, Keep::Newest] {
            let large = Limits { page_bytes: 16 << 20, ..Limits::default() };
            let whole = page(&room, &hostile, keep, &large).body("l");
            let small = Limits { page_bytes: 1_024, ..Limits::default() };
            let one = page(&room, &hostile, keep, &small).body("l");
            let slots = |body: &[u8]| {
                let json: serde_json::Value = serde_json::from_slice(body).expect("JSON");
                let entries = json["entries"].as_array().expect("entries").clone();
                entries.iter().map(|it| it["slot"].as_u64().expect("a slot")).collect::<Vec<_>>()
            };
            assert_eq!(slots(&whole), (0..64).collect::<Vec<_>>());
            assert_eq!(slots(&one), [if keep == Keep::Oldest { 0 } else { 63 }]);
        }
    }

    #[test]
    fn an_empty_page_has_no_entries() {
        let (limits, room) = (Limits::default(), "r".parse().expect("a room"));
        let empty = Page { entries: Vec::new(), ..hostile_page() };
        for keep in [Keep::Oldest, Keep::Newest] {
            let page = page(&room, &empty, keep, &limits);
            assert_eq!(page.end, None);
            assert!(page.body("l").starts_with(br#"{"room":"r","entries":[],"latest":63,"#));
        }
    }
}

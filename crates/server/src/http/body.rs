//! The body of a POST: what its headers declare, and its bytes.
//!
//! Enters: headers, a body as it arrives. Leaves: its bytes, one append or lines of them; or why
//! not. Invariants: memory is reserved before bytes are kept; what is compressed, or not in UTF-8,
//! is never parsed: each line of it would be an error in an answer with status 200.

use std::time::Duration;

use axum::{
    body::{Body, HttpBody},
    http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header},
};
use http_body_util::BodyExt;
use roomlog_core::budget::Charge;
use roomlog_protocol::{ErrorCode, Refusal};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    gateway::{FREE_PAGE, Gateway, holds_too_much},
    limited::Limit,
    principals::Client,
    wire::{bad, refuse_as},
};

/// How long, and how many bytes of, the rest of a refused body are read: a client that is still
/// sending when its connection closes never sees the answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 16 << 20;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum ContentKind {
    One,
    Lines,
}

/// Why nothing of a body is read: the status and the message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ContentError(StatusCode, &'static str);

const COMPRESSED: ContentError = ContentError(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "compressed bodies are not supported: send it again without Content-Encoding",
);
const TRANSFER_CODING: ContentError = ContentError(
    StatusCode::NOT_IMPLEMENTED,
    "the only Transfer-Encoding supported is chunked: send it again without compression",
);
const UNKNOWN_TYPE: ContentError = ContentError(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "send an append as application/json, or several as application/x-ndjson",
);
const NOT_UTF8: ContentError = ContentError(
    StatusCode::UNSUPPORTED_MEDIA_TYPE,
    "the body is compressed, or its text is not UTF-8: send JSON in UTF-8, uncompressed",
);
/// A byte order mark is no JSON (RFC 8259, 8.1).
const BYTE_ORDER_MARK: ContentError = ContentError(
    StatusCode::BAD_REQUEST,
    "the body begins with a byte order mark: send UTF-8 without one",
);

impl ContentError {
    pub(super) fn answer(self) -> Response<Body> {
        let mut answer = refuse_as(self.0, bad(self.1));
        if self == COMPRESSED {
            let identity = HeaderValue::from_static("identity");
            answer.headers_mut().insert(header::ACCEPT_ENCODING, identity);
        }
        answer
    }
}

pub(super) fn content_kind(headers: &HeaderMap) -> Result<ContentKind, ContentError> {
    if items(headers, header::CONTENT_ENCODING).any(|coding| coding != "identity") {
        return Err(COMPRESSED);
    }
    let mut codings = items(headers, header::TRANSFER_ENCODING);
    if codings.next().is_some_and(|coding| coding != "chunked") || codings.next().is_some() {
        return Err(TRANSFER_CODING);
    }
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(kind), None) = (types.next(), types.next()) else { return Err(UNKNOWN_TYPE) };
    let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = kind.split(';').map(str::trim);
    let kind = match parts.next() {
        Some("application/json") => ContentKind::One,
        Some("application/x-ndjson") => ContentKind::Lines,
        _ => return Err(UNKNOWN_TYPE),
    };
    let is_other_charset = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let value = value.trim().trim_matches('"');
        name.trim() == "charset" && !["utf-8", "utf8", "us-ascii"].contains(&value)
    };
    if parts.any(is_other_charset) { Err(NOT_UTF8) } else { Ok(kind) }
}

/// The items of a header that is a list, on one line or several, in lower case.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = String> {
    let lines = headers.get_all(name).iter();
    let items = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let items = items.map(|item| item.trim_ascii().to_ascii_lowercase());
    items.filter(|item| !item.is_empty()).map(|item| item.escape_ascii().to_string())
}

/// Checks the first four bytes: JSON in UTF-8 has no control characters and no invalid bytes there;
/// compressed data and UTF-16 have.
pub(super) fn check_beginning(body: &[u8]) -> Result<(), ContentError> {
    let begin = &body[..body.len().min(4)];
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    let is_invalid = std::str::from_utf8(begin).is_err_and(|error| error.error_len().is_some());
    if is_invalid || begin.iter().any(is_control) {
        return Err(NOT_UTF8);
    }
    if begin.starts_with(b"\xef\xbb\xbf") { Err(BYTE_ORDER_MARK) } else { Ok(()) }
}

/// The bytes of a body, charged to its client.
pub(super) struct RequestBody {
    pub(super) bytes: Vec<u8>,
    charge: Charge,
}

/// Reads a body of at most `most` bytes. Fails with [`ErrorCode::Busy`] if the client holds as much
/// as it may.
pub(super) async fn read(
    gateway: &Gateway,
    body: &mut Body,
    most: usize,
    client: &Client,
) -> Result<RequestBody, Refusal> {
    let limits = &gateway.config.limits;
    let due = Instant::now() + limits.body_for;
    let cut_short = || bad("the body did not arrive in full");
    let late = |_| {
        if Instant::now() < due {
            return cut_short();
        }
        gateway.config.metrics.limited(Limit::BodyMs);
        bad("the body did not arrive within body_ms: send less at once")
    };
    let mut read = RequestBody { bytes: Vec::new(), charge: client.memory.open() };
    // A body of a known length is admitted whole, before it is read: what is refused uses up nothing.
    let declared = body.size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    if let Some(bytes) = declared.filter(|bytes| *bytes <= most) {
        client.admit_bytes(bytes)?;
    }
    loop {
        let next = due.min(Instant::now() + limits.idle_for);
        let frame = timeout_at(next, body.frame()).await.map_err(late)?;
        let Some(frame) = frame else { return Ok(read) };
        let Ok(data) = frame.map_err(|_| cut_short())?.into_data() else { continue };
        if read.bytes.len() + data.len() > most {
            let message = format!("the body has more than {most} bytes");
            return Err(Refusal::new(ErrorCode::TooLarge, message));
        }
        if declared.is_none() {
            client.admit_bytes(data.len())?;
        }
        read.reserve(data.len(), most)?;
        read.bytes.extend_from_slice(&data);
    }
}

impl RequestBody {
    /// The charge, without the bytes.
    pub(super) fn into_charge(self) -> Charge {
        self.charge
    }

    /// Makes room for `bytes` more of at most `most`, charged before it is taken. Grows by doubling.
    fn reserve(&mut self, bytes: usize, most: usize) -> Result<(), Refusal> {
        let (needed, had) = (self.bytes.len() + bytes, self.bytes.capacity());
        if needed <= had {
            return Ok(());
        }
        let wanted = needed.max(2 * had).min(most);
        if !self.charge.cover(wanted, FREE_PAGE, 1) {
            return Err(holds_too_much());
        }
        self.bytes.reserve_exact(wanted - self.bytes.len());
        Ok(())
    }
}

/// Reads the rest of a refused body, as far as its client is likely to send it. It counts as what the
/// client sends, as far as its rate allows that.
pub(super) async fn discard(mut body: Body, client: &Client) {
    let rest = async {
        let mut bytes = 0;
        while bytes < LINGER_BYTES
            && let Some(Ok(frame)) = body.frame().await
        {
            let count = frame.data_ref().map_or(0, |data| data.len());
            let _over = client.admit_bytes(count);
            bytes += count;
        }
    };
    let _too_slow = timeout(LINGER, rest).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(lines: &[(&str, &str)]) -> Result<ContentKind, ContentError> {
        let line = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"))
        };
        content_kind(&lines.iter().map(line).collect())
    }

    #[test]
    fn a_type_is_known_in_any_case_and_with_a_redundant_charset() {
        for of_one in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;Charset=\"UTF-8\"; x=y",
            "application/json;",
        ] {
            assert_eq!(kind(&[("content-type", of_one)]), Ok(ContentKind::One), "{of_one}");
        }
        assert_eq!(kind(&[("content-type", "application/x-ndjson")]), Ok(ContentKind::Lines));
        for other in ["", "text/plain", "application/jsonx", "application/json, text/plain"] {
            assert_eq!(kind(&[("content-type", other)]), Err(UNKNOWN_TYPE), "{other}");
        }
        assert_eq!(kind(&[]), Err(UNKNOWN_TYPE));
        for charset in ["latin1", "utf-16", "\"ISO-8859-1\"", ""] {
            let other = format!("application/json; charset={charset}");
            assert_eq!(kind(&[("content-type", &other)]), Err(NOT_UTF8), "{other}");
        }
    }

    #[test]
    fn only_the_identity_coding_and_the_chunked_transfer_coding_are_read() {
        let json = ("content-type", "application/json");
        for plain in [("content-encoding", "identity"), ("content-encoding", "")] {
            assert_eq!(kind(&[json, plain]), Ok(ContentKind::One), "{plain:?}");
        }
        assert_eq!(kind(&[json, ("transfer-encoding", "Chunked")]), Ok(ContentKind::One));
        for coding in ["gzip", "br", "GZIP", "identity, gzip", "x"] {
            assert_eq!(kind(&[json, ("content-encoding", coding)]), Err(COMPRESSED));
        }
        let second = [json, ("content-encoding", "identity"), ("content-encoding", "zstd")];
        assert_eq!(kind(&second), Err(COMPRESSED));
        for coding in ["gzip, chunked", "chunked, chunked", "identity"] {
            let answer = kind(&[json, ("transfer-encoding", coding)]);
            assert_eq!(answer, Err(TRANSFER_CODING), "{coding}");
        }
    }

    #[test]
    fn a_body_that_begins_with_no_text_or_a_byte_order_mark_is_not_read() {
        for text in ["", "{", "{}", "\r\n{}", "é", "👋"] {
            assert_eq!(check_beginning(text.as_bytes()), Ok(()), "{text:?}");
        }
        assert_eq!(check_beginning("\u{feff}{}".as_bytes()), Err(BYTE_ORDER_MARK));
        let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let gzip = b"\x1f\x8b\x08\x00\x00";
        let (zstd, zlib, xz) = (b"\x28\xb5\x2f\xfd\x04", b"\x78\x9c\xab\x56\xca", b"\xfd7zXZ");
        for other in [&utf16[..], b"\xff\xfe{\0", b"\xfe\xff\0{", gzip, zstd, zlib, xz] {
            assert_eq!(check_beginning(other), Err(NOT_UTF8), "{other:?}");
        }
    }
}

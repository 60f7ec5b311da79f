//! What a POST says of its body, and whether that is something this server reads.
//!
//! Enters: headers, and a body's beginning. Leaves: one append or lines of them; or a refusal of the whole.
//! Invariant: what is compressed, or not in UTF-8, is never read as text: line by line, each would be wrong
//! by itself in an answer whose status says that all went well.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, Response, StatusCode, header, header::HeaderValue},
};
use roomlog_protocol::{ErrorCode, Refusal};

use super::refuse_as;

/// What a body holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// One append.
    One,
    /// Several, a line each.
    Lines,
}

/// Why a body is not read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is compressed.
    Encoded,
    /// It is compressed on its way.
    TransferEncoded,
    /// Its type is another.
    Type,
    /// Its text is not UTF-8.
    Charset,
    /// It begins with a byte order mark, which is no JSON (RFC 8259, 8.1).
    ByteOrderMark,
}

/// What the body of a POST with these headers holds.
pub(super) fn kind_of(headers: &HeaderMap) -> Result<Kind, Unread> {
    if items(headers, header::CONTENT_ENCODING).any(|coding| coding != "identity") {
        return Err(Unread::Encoded);
    }
    let mut codings = items(headers, header::TRANSFER_ENCODING);
    if codings.next().is_some_and(|coding| coding != "chunked") || codings.next().is_some() {
        return Err(Unread::TransferEncoded);
    }
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(kind), None) = (types.next(), types.next()) else { return Err(Unread::Type) };
    let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = kind.split(';').map(str::trim);
    let kind = match parts.next() {
        Some("application/json") => Kind::One,
        Some("application/x-ndjson") => Kind::Lines,
        _ => return Err(Unread::Type),
    };
    let is_other_charset = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or_default();
        let value = value.trim().trim_matches('"');
        name.trim() == "charset" && !["utf-8", "utf8", "us-ascii"].contains(&value)
    };
    if parts.any(is_other_charset) { Err(Unread::Charset) } else { Ok(kind) }
}

/// Checks how a body begins: JSON in UTF-8 has no control characters and no wrong bytes there; what is
/// compressed, or UTF-16, has.
pub(super) fn check_beginning(body: &[u8]) -> Result<(), Unread> {
    let begin = &body[..body.len().min(4)];
    let is_control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    let is_wrong = std::str::from_utf8(begin).is_err_and(|error| error.error_len().is_some());
    if is_wrong || begin.iter().any(is_control) {
        return Err(Unread::Charset);
    }
    if begin.starts_with(b"\xef\xbb\xbf") { Err(Unread::ByteOrderMark) } else { Ok(()) }
}

/// The items of a header that lists them, on one line or several, in lower case.
fn items(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = String> {
    let lines = headers.get_all(name).iter();
    let items = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let items = items.map(|item| item.trim_ascii().to_ascii_lowercase());
    items.filter(|item| !item.is_empty()).map(|item| item.escape_ascii().to_string())
}

impl Unread {
    /// The answer: nothing of the body is taken.
    pub(super) fn answer(self) -> Response<Body> {
        let (status, message) = match self {
            Self::Encoded => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "compressed bodies are not read: send it again without Content-Encoding",
            ),
            Self::TransferEncoded => (
                StatusCode::NOT_IMPLEMENTED,
                "no Transfer-Encoding but chunked is read: send it again without compression",
            ),
            Self::Type => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send an append as application/json, or several as application/x-ndjson",
            ),
            Self::Charset => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body is compressed, or its text is not UTF-8: send JSON in UTF-8, uncompressed",
            ),
            Self::ByteOrderMark => (
                StatusCode::BAD_REQUEST,
                "the body begins with a byte order mark: send UTF-8 without one",
            ),
        };
        let is_encoded = self == Self::Encoded;
        let mut answer = refuse_as(status, Refusal::new(ErrorCode::BadMessage, message));
        if is_encoded {
            let identity = HeaderValue::from_static("identity");
            answer.headers_mut().insert(header::ACCEPT_ENCODING, identity);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(lines: &[(&str, &str)]) -> Result<Kind, Unread> {
        let line = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"))
        };
        kind_of(&lines.iter().map(line).collect())
    }

    #[test]
    fn a_type_is_known_in_any_case_and_with_the_charset_that_it_has_anyway() {
        for of_one in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;Charset=\"UTF-8\"; x=y",
            "application/json;",
        ] {
            assert_eq!(kind(&[("content-type", of_one)]), Ok(Kind::One), "{of_one}");
        }
        assert_eq!(kind(&[("content-type", "application/x-ndjson")]), Ok(Kind::Lines));
        for other in ["", "text/plain", "application/jsonx", "application/json, text/plain"] {
            assert_eq!(kind(&[("content-type", other)]), Err(Unread::Type), "{other}");
        }
        assert_eq!(kind(&[]), Err(Unread::Type));
        for charset in ["latin1", "utf-16", "\"ISO-8859-1\"", ""] {
            let other = format!("application/json; charset={charset}");
            assert_eq!(kind(&[("content-type", &other)]), Err(Unread::Charset), "{other}");
        }
    }

    #[test]
    fn a_coding_but_identity_and_a_transfer_coding_but_chunked_are_not_read() {
        let json = ("content-type", "application/json");
        for plain in [("content-encoding", "identity"), ("content-encoding", "")] {
            assert_eq!(kind(&[json, plain]), Ok(Kind::One), "{plain:?}");
        }
        assert_eq!(kind(&[json, ("transfer-encoding", "Chunked")]), Ok(Kind::One));
        for coding in ["gzip", "br", "GZIP", "identity, gzip", "x"] {
            assert_eq!(kind(&[json, ("content-encoding", coding)]), Err(Unread::Encoded));
        }
        let second = [json, ("content-encoding", "identity"), ("content-encoding", "zstd")];
        assert_eq!(kind(&second), Err(Unread::Encoded));
        for coding in ["gzip, chunked", "chunked, chunked", "identity"] {
            let said = kind(&[json, ("transfer-encoding", coding)]);
            assert_eq!(said, Err(Unread::TransferEncoded), "{coding}");
        }
    }

    #[test]
    fn what_begins_as_no_text_or_with_a_byte_order_mark_is_not_read() {
        for text in ["", "{", "{}", "\r\n{}", "é", "👋"] {
            assert_eq!(check_beginning(text.as_bytes()), Ok(()), "{text:?}");
        }
        assert_eq!(check_beginning("\u{feff}{}".as_bytes()), Err(Unread::ByteOrderMark));
        let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let gzip = b"\x1f\x8b\x08\x00\x00";
        let (zstd, zlib, xz) = (b"\x28\xb5\x2f\xfd\x04", b"\x78\x9c\xab\x56\xca", b"\xfd7zXZ");
        for other in [&utf16[..], b"\xff\xfe{\0", b"\xfe\xff\0{", gzip, zstd, zlib, xz] {
            assert_eq!(check_beginning(other), Err(Unread::Charset), "{other:?}");
        }
    }
}

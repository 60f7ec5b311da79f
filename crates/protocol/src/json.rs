//! JSON as Roomlog writes it, on the wire and on standard output.
//!
//! Enters: values. Leaves: lines of JSON.
//!
//! Some readers split lines at Unicode line ends (Python's `splitlines`), and terminals
//! interpret C1 control characters; JSON allows both unescaped in strings. Invariant: U+0080 to U+009F,
//! U+2028 and U+2029 are written as `\u` escapes, which every JSON parser reads as the same text.

use std::io::{self, Write};

use memchr::memchr2_iter;
use serde::Serialize;
use serde_json::{Serializer, ser::Formatter};

const LEADS: [u8; 2] = [0xc2, 0xe2];

/// Writes a value as one line of JSON, without the line feed.
///
/// # Errors
/// If writing to `to` fails, or the value is not JSON, such as a map with keys that are not text.
pub fn write_json<T: Serialize + ?Sized>(to: impl Write, value: &T) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(to, OneLine))
}

/// Writes a text as [`write_json`] does, and much faster if nothing in it is escaped.
fn put_text(to: &mut Vec<u8>, text: &str) {
    if json_bytes(text) > text.len() {
        // A vector takes what is written, and a text is JSON.
        let _infallible = write_json(to, text);
        return;
    }
    to.push(b'"');
    to.extend_from_slice(text.as_bytes());
    to.push(b'"');
}

/// Writes members of an object whose names need no escapes, as [`write_json`] does, and much faster.
pub(crate) struct PutMembers<'a>(pub(crate) &'a mut Vec<u8>);

impl PutMembers<'_> {
    /// `before` is what comes before the value: `,"name":`, or the beginning of the object.
    pub(crate) fn number(&mut self, before: &str, number: impl itoa::Integer) {
        self.0.extend_from_slice(before.as_bytes());
        self.0.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    /// See [`Self::number`].
    pub(crate) fn text(&mut self, before: &str, text: &str) {
        self.0.extend_from_slice(before.as_bytes());
        put_text(self.0, text);
    }
}

/// How many bytes [`write_json`] writes of a text at most, without its quotes: a few more for text with
/// characters that begin as those do that it escapes.
#[must_use]
pub fn json_bytes(text: &str) -> usize {
    // In chunks whose sums fit a byte, so that the compiler compares many bytes at a time: this is done
    // for each entry on the path of its ack.
    let more = |byte: &u8| {
        u8::from(*byte < b' ') * 5
            + u8::from(matches!(*byte, b'"' | b'\\'))
            + u8::from(LEADS.contains(byte)) * 4
    };
    let chunks = text.as_bytes().chunks(32);
    text.len() + chunks.map(|chunk| usize::from(chunk.iter().map(more).sum::<u8>())).sum::<usize>()
}

struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: Write + ?Sized>(
        &mut self,
        to: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let bytes = fragment.as_bytes();
        let mut written = 0;
        for at in memchr2_iter(LEADS[0], LEADS[1], bytes) {
            let Some((character, length)) = escaped(&bytes[at..]) else { continue };
            to.write_all(&bytes[written..at])?;
            write!(to, "\\u{character:04x}")?;
            written = at + length;
        }
        to.write_all(&bytes[written..])
    }
}

/// The character at the start of these bytes, and its length, if it has to be escaped.
fn escaped(bytes: &[u8]) -> Option<(u16, usize)> {
    match *bytes {
        [0xc2, last @ 0x80..=0x9f, ..] => Some((last.into(), 2)),
        [0xe2, 0x80, last @ 0xa8..=0xa9, ..] => Some((0x2000 + u16::from(last - 0x80), 3)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &str) -> String {
        let mut json = Vec::new();
        write_json(&mut json, value).expect("JSON");
        String::from_utf8(json).expect("UTF-8")
    }

    #[test]
    fn line_ends_and_c1_controls_are_escaped_and_nothing_else_is() {
        let text = "a\u{2028}\u{2029}b\u{85}c\u{9b}\n\u{a0}«é»…’日本 👋\u{2027}\u{202a}";
        let json = written(text);
        assert_eq!(
            json,
            "\"a\\u2028\\u2029b\\u0085c\\u009b\\n\u{a0}«é»…’日本 👋\u{2027}\u{202a}\""
        );
        assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
    }

    #[test]
    fn the_most_bytes_of_a_text_as_json_are_known_before_and_are_exact_for_ascii() {
        for text in (0..=0x2_ffff).filter_map(char::from_u32).map(String::from) {
            let bytes = written(&text).len() - 2;
            let most = json_bytes(&text);
            assert!(bytes <= most && most <= bytes + 4, "{text:?}: {bytes}, {most}");
        }
        for (text, bytes) in [("", 0), ("\u{1}", 6), ("\"\\", 4), ("plain", 5)] {
            assert_eq!(json_bytes(&text.repeat(1_000)), 1_000 * bytes, "{text:?}");
        }
    }

    #[test]
    fn every_character_is_read_back_and_none_ends_a_line() {
        let is_c0_or_c1 = |c: char| c.is_control() && c != '\u{7f}';
        let ends_a_line = |c: char| is_c0_or_c1(c) || matches!(c, '\u{2028}' | '\u{2029}');
        for text in (0..=0x2_ffff).filter_map(char::from_u32).map(String::from) {
            let json = written(&text);
            assert_eq!(serde_json::from_str::<String>(&json).expect("JSON"), text);
            assert!(!json.contains(ends_a_line), "{text:?} as {json}");
        }
    }
}

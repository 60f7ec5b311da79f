//! JSON as Roomlog reads it from clients and writes it, on the wire and on standard output.
//!
//! Read: one object, strictly and lazily. Members are parsed when they are read, so that a bad one does
//! not hide the others (the answer to a refused append has its `req`, `room` and `seq`). `null` counts
//! as absent; a duplicate member is an error; integers are JSON integer tokens, so `1.0` and `1e3` are
//! not.
//!
//! Written: some readers split lines at Unicode line ends (Python's `splitlines`), and terminals
//! interpret C1 control characters; JSON allows both unescaped in strings. Invariant: U+0080 to U+009F,
//! U+2028 and U+2029 are written as `\u` escapes, which every JSON parser reads as the same text.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Write},
};

use memchr::memchr2_iter;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor},
};
use serde_json::{Serializer, ser::Formatter, value::RawValue};

use crate::{
    Latest,
    limits::{MAX_DEPTH, MAX_INTEGER},
};

/// Why a text cannot be parsed as an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Malformed {
    /// Not a well-formed JSON object.
    NotAnObject(String),
    /// Nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnObject(why) => write!(f, "not a well-formed JSON object: {why}"),
            Self::TooDeep => write!(f, "nested deeper than {MAX_DEPTH}"),
        }
    }
}

/// What is wrong with one member, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberError(pub String);

/// The members of one object, borrowed from its text.
#[derive(Debug)]
pub struct Object<'a> {
    members: Vec<(Cow<'a, [u8]>, &'a RawValue)>,
}

impl<'a> Object<'a> {
    /// Parses an object.
    ///
    /// # Errors
    /// [`Malformed`]: not a well-formed JSON object, or nested too deep.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        if is_too_deep(text) {
            return Err(Malformed::TooDeep);
        }
        serde_json::from_str(text).map_err(|why| Malformed::NotAnObject(why.to_string()))
    }

    /// The JSON of a member; `None` if it is absent or `null`.
    fn raw(&self, name: &str) -> Result<Option<&'a str>, MemberError> {
        let mut found = self.members.iter().filter(|(key, _)| **key == *name.as_bytes());
        let first = found.next();
        if found.next().is_some() {
            return Err(MemberError(format!("`{name}` appears twice")));
        }
        Ok(first.map(|(_, raw)| raw.get()).filter(|raw| *raw != "null"))
    }

    /// A text member. An error if it is a duplicate, no string, or has a lone surrogate.
    pub fn text(&self, name: &str) -> Result<Option<Cow<'a, str>>, MemberError> {
        let Some(raw) = self.raw(name)? else { return Ok(None) };
        match serde_json::from_str(raw) {
            Ok(Text(text)) => Ok(Some(text)),
            Err(_) => Err(MemberError(format!("`{name}` must be a string of Unicode text"))),
        }
    }

    /// An integer member from `least` to 2^53 − 1. An error if it is a duplicate or anything else.
    pub fn integer(&self, name: &str, least: i64) -> Result<Option<i64>, MemberError> {
        let Some(raw) = self.raw(name)? else { return Ok(None) };
        match raw.parse() {
            Ok(number) if (least..=MAX_INTEGER).contains(&number) => Ok(Some(number)),
            _ => Err(MemberError(format!("`{name}` must be an integer from {least} to 2^53-1"))),
        }
    }

    /// A member that is a latest slot, as [`Object::integer`].
    pub fn latest(&self, name: &str) -> Result<Option<Latest>, MemberError> {
        Ok(self.integer(name, Latest::EMPTY.0)?.map(Latest))
    }

    /// An integer member from 0 to 2^53 − 1, as [`Object::integer`].
    pub fn natural(&self, name: &str) -> Result<Option<u64>, MemberError> {
        Ok(self.integer(name, 0)?.map(i64::unsigned_abs))
    }
}

/// Whether brackets and braces are nested deeper than [`MAX_DEPTH`]. The text may be malformed.
fn is_too_deep(text: &str) -> bool {
    // Counting bytes is much faster than tracking strings, and few texts have that many brackets.
    let opening = text.bytes().filter(|byte| matches!(byte, b'{' | b'[')).count();
    opening > MAX_DEPTH && depth(text) > MAX_DEPTH
}

/// The nesting depth of brackets and braces outside strings.
fn depth(text: &str) -> usize {
    let (mut now, mut most) = (0_usize, 0);
    let mut bytes = text.bytes();
    let mut in_string = false;
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if in_string => {
                bytes.next();
            }
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                now += 1;
                most = most.max(now);
            }
            b'}' | b']' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    most
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut members = Vec::with_capacity(8);
        while let Some(Key(key)) = map.next_key()? {
            members.push((key, map.next_value()?));
        }
        Ok(Object { members })
    }
}

/// A key as bytes, because one with a lone surrogate is well-formed JSON. The newtype makes serde
/// borrow unless something is escaped; a bare `Cow` always owns.
#[derive(Deserialize)]
#[serde(transparent)]
struct Key<'a>(#[serde(borrow)] Cow<'a, [u8]>);

/// The value of a text member, as [`Key`].
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

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
    pub(crate) fn number(&mut self, before: &str, number: impl fmt::Display) {
        // A vector takes what is written.
        let _infallible = write!(self.0, "{before}{number}");
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

    #[test]
    fn only_a_well_formed_object_is_parsed() {
        for text in
            ["", "[]", "1", "{", r#"{"a":}"#, r#"{"a":1}x"#, "null", r#"{"a":01}"#, "{'a':1}"]
        {
            assert!(matches!(Object::parse(text), Err(Malformed::NotAnObject(_))), "{text}");
        }
        for text in ["{}", r#" {"a":1e999} "#, r#"{"\ud800":1}"#, r#"{"a":"\ud800"}"#] {
            assert!(Object::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn nested_32_deep_is_read_and_33_is_not() {
        let nested = |n: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(n), "]".repeat(n));
        assert!(Object::parse(&nested(31)).is_ok());
        assert_eq!(Object::parse(&nested(32)).expect_err("too deep"), Malformed::TooDeep);
        assert!(Object::parse(r#"{"a":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"[[["}"#).is_ok());
    }

    #[test]
    fn integers_are_integer_tokens_up_to_two_to_the_53() {
        let read = |raw: &str| {
            let text = format!(r#"{{"n":{raw}}}"#);
            Object::parse(&text).expect("an object").integer("n", -1)
        };
        assert_eq!(read("-1"), Ok(Some(-1)));
        assert_eq!(read("9007199254740991"), Ok(Some(9_007_199_254_740_991)));
        assert_eq!(read("null"), Ok(None));
        for bad in
            ["-2", "9007199254740992", "1.0", "1e3", "\"1\"", "true", "99999999999999999999999"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_duplicate_member_and_a_lone_surrogate_are_refused() {
        let twice = Object::parse(r#"{"a":null,"a":1,"b":"\ud800"}"#).expect("an object");
        assert_eq!(twice.natural("a"), Err(MemberError("`a` appears twice".into())));
        assert!(twice.text("b").is_err());
        assert_eq!(twice.text("c"), Ok(None));
    }

    #[test]
    fn a_text_is_borrowed_unless_something_in_it_is_escaped_and_a_key_may_be() {
        let object = Object::parse(r#"{"a":"x","\u0062":"\u0079"}"#).expect("an object");
        assert!(matches!(object.text("a"), Ok(Some(Cow::Borrowed("x")))));
        assert_eq!(object.text("b"), Ok(Some("y".into())));
    }

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

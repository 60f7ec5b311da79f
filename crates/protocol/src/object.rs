//! JSON objects from clients, read strictly and lazily.
//!
//! Enters: a text. Leaves: its members that the protocol knows; others are ignored. Members are parsed when
//! they are read, so that a bad one does not hide the others (the answer to a refused append has its `req`,
//! `room` and `seq`). Invariants: `null` counts as absent; a duplicate member is an error; integers are JSON
//! integer tokens, so `1.0` and `1e3` are not.

use std::{borrow::Cow, fmt};

use memchr::memchr;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    Latest,
    limits::{MAX_DEPTH, MAX_INTEGER},
    plain,
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

macro_rules! members {
    ($($member:ident $name:literal)*) => {
        /// A member of a frame.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Member {
            $($member,)*
        }

        const MEMBERS: usize = [$($name),*].len();

        impl Member {
            /// Its name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$member => $name,)*
                }
            }

            fn of(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$member),)*
                    _ => None,
                }
            }
        }
    };
}

members! {
    After "after"
    Author "author"
    Body "body"
    Count "count"
    Digest "digest"
    Expect "expect"
    Id "id"
    Kind "kind"
    Meta "meta"
    Ref "ref"
    Req "req"
    Room "room"
    Seen "seen"
    SentAt "sent_at"
    Seq "seq"
    Token "token"
    Type "type"
    Upto "upto"
}

/// The members of one object, borrowed from its text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Object<'a> {
    /// As JSON, in the order of [`Member`].
    values: [Option<&'a str>; MEMBERS],
    /// A bit for each member that appears twice.
    twice: u32,
    /// Whether a string may have an escape.
    has_escapes: bool,
}

impl<'a> Object<'a> {
    /// Parses an object.
    ///
    /// # Errors
    /// [`Malformed`]: not a well-formed JSON object, or nested too deep.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let mut plain = Self::default();
        match plain::read(text, |name, value| plain.add(name, value)) {
            Some(()) => Ok(plain),
            None => Self::by_library(text),
        }
    }

    /// The same, for any object.
    pub(crate) fn by_library(text: &'a str) -> Result<Self, Malformed> {
        if is_too_deep(text) {
            return Err(Malformed::TooDeep);
        }
        let object = serde_json::from_str(text);
        let object: Self = object.map_err(|why| Malformed::NotAnObject(why.to_string()))?;
        Ok(Self { has_escapes: memchr(b'\\', text.as_bytes()).is_some(), ..object })
    }

    fn add(&mut self, name: &str, value: &'a str) {
        let Some(member) = Member::of(name) else { return };
        if self.values[member as usize].replace(value).is_some() {
            self.twice |= 1 << member as u32;
        }
    }

    /// The JSON of a member; `None` if it is absent or `null`.
    fn raw(&self, member: Member) -> Result<Option<&'a str>, MemberError> {
        if self.twice & 1 << member as u32 != 0 {
            return Err(MemberError(format!("`{}` appears twice", member.name())));
        }
        Ok(self.values[member as usize].filter(|raw| *raw != "null"))
    }

    /// A text member. An error if it is a duplicate, no string, or has a lone surrogate.
    pub fn text(&self, member: Member) -> Result<Option<Cow<'a, str>>, MemberError> {
        let Some(raw) = self.raw(member)? else { return Ok(None) };
        let unquoted = |raw: &'a str| raw.strip_prefix('"')?.strip_suffix('"');
        if let Some(text) = unquoted(raw).filter(|_| !self.has_escapes) {
            return Ok(Some(text.into()));
        }
        match serde_json::from_str(raw) {
            Ok(Text(text)) => Ok(Some(text)),
            Err(_) => {
                Err(MemberError(format!("`{}` must be a string of Unicode text", member.name())))
            }
        }
    }

    /// An integer member from `least` to 2^53 − 1. An error if it is a duplicate or anything else.
    pub fn integer(&self, member: Member, least: i64) -> Result<Option<i64>, MemberError> {
        let Some(raw) = self.raw(member)? else { return Ok(None) };
        match raw.parse() {
            Ok(number) if (least..=MAX_INTEGER).contains(&number) => Ok(Some(number)),
            _ => {
                let name = member.name();
                Err(MemberError(format!("`{name}` must be an integer from {least} to 2^53-1")))
            }
        }
    }

    /// A member that is a latest slot, as [`Object::integer`].
    pub fn latest(&self, member: Member) -> Result<Option<Latest>, MemberError> {
        Ok(self.integer(member, Latest::EMPTY.0)?.map(Latest))
    }

    /// An integer member from 0 to 2^53 − 1, as [`Object::integer`].
    pub fn natural(&self, member: Member) -> Result<Option<u64>, MemberError> {
        Ok(self.integer(member, 0)?.map(i64::unsigned_abs))
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
        deserializer.deserialize_map(AnyObject)
    }
}

struct AnyObject;

impl<'de> Visitor<'de> for AnyObject {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut object = Object::default();
        while let Some(Key(key)) = map.next_key()? {
            let value = map.next_value::<&RawValue>()?.get();
            if let Ok(name) = str::from_utf8(&key) {
                object.add(name, value);
            }
        }
        Ok(object)
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
        // Many brackets that are not nested, or in a text, are not deep; those in a text close none.
        let siblings = vec!["[]"; 40].join(",");
        for fine in [
            format!(r#"{{"a":[{siblings}]}}"#),
            format!(r#"{{"a":{}{},"b":[]}}"#, "[".repeat(31), "]".repeat(31)),
            format!(r#"{{"a":"{0}\"{0}"}}"#, "[".repeat(40)),
        ] {
            assert!(Object::parse(&fine).is_ok(), "{fine}");
        }
        let closed_in_texts = format!(r#"{{"a":{}1{}}}"#, r#"["]","#.repeat(32), "]".repeat(32));
        assert_eq!(Object::parse(&closed_in_texts).expect_err("too deep"), Malformed::TooDeep);
    }

    #[test]
    fn integers_are_integer_tokens_up_to_two_to_the_53() {
        let read = |raw: &str| {
            let text = format!(r#"{{"seq":{raw}}}"#);
            Object::parse(&text).expect("an object").integer(Member::Seq, -1)
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
        let twice = Object::parse(r#"{"seq":null,"seq":1,"body":"\ud800"}"#).expect("an object");
        assert_eq!(twice.natural(Member::Seq), Err(MemberError("`seq` appears twice".into())));
        assert!(twice.text(Member::Body).is_err());
        assert_eq!(twice.text(Member::Room), Ok(None));
    }

    #[test]
    fn a_text_is_borrowed_unless_something_in_it_is_escaped_and_a_key_may_be() {
        let object = Object::parse(r#"{"body":"x","\u006deta":"\u0079"}"#).expect("an object");
        assert!(matches!(object.text(Member::Body), Ok(Some(Cow::Borrowed("x")))));
        assert_eq!(object.text(Member::Meta), Ok(Some("y".into())));
    }
}

//! Plain JSON objects: no escape, no fraction, nothing nested. Nearly every frame is one, and each is read
//! on the path of its ack.
//!
//! Enters: a text. Leaves: its members, or `None` if it is not plain; then a JSON library decides. Invariant: a
//! plain object is well-formed, and has the members that the library would find.

use memchr::memchr2;

/// A string of at most so many bytes is short.
const SHORT: usize = 16;

/// Reads a plain object: calls `add` for each member, with its name and its value, which is JSON.
pub(crate) fn read<'a>(text: &'a str, mut add: impl FnMut(&'a str, &'a str)) -> Option<()> {
    let mut scan = Scan { text, at: 0 };
    scan.skip(b'{')?;
    if scan.skip(b'}').is_none() {
        loop {
            let name = scan.string()?;
            scan.skip(b':')?;
            add(&name[1..name.len() - 1], scan.value()?);
            if scan.skip(b',').is_none() {
                break scan.skip(b'}')?;
            }
        }
    }
    scan.next().is_none().then_some(())
}

/// A text that is read up to `at`.
struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    /// The next byte that is not white space.
    fn next(&mut self) -> Option<u8> {
        loop {
            match *self.text.as_bytes().get(self.at)? {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// Skips a byte; `None` if another one comes next.
    fn skip(&mut self, byte: u8) -> Option<()> {
        let is_next = self.next()? == byte;
        self.at += usize::from(is_next);
        is_next.then_some(())
    }

    /// Takes a token of this length.
    fn take(&mut self, bytes: usize) -> Option<&'a str> {
        let token = self.text.get(self.at..self.at + bytes)?;
        self.at += bytes;
        Some(token)
    }

    fn value(&mut self) -> Option<&'a str> {
        match self.next()? {
            b'"' => self.string(),
            b'-' | b'0'..=b'9' => self.integer(),
            b't' => self.take(4).filter(|word| *word == "true"),
            b'f' => self.take(5).filter(|word| *word == "false"),
            b'n' => self.take(4).filter(|word| *word == "null"),
            _ => None,
        }
    }

    /// A string, with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let is_string = self.next()? == b'"';
        let text = &self.text.as_bytes()[self.at + 1..];
        let ends = |byte: &u8| matches!(byte, b'"' | b'\\') || *byte < b' ';
        // A search of many bytes at a time is slower for the few of a name.
        let length = match text.iter().take(SHORT).position(ends) {
            Some(length) => length,
            None => memchr2(b'"', b'\\', text)?,
        };
        // Not by `any`, which looks at one byte at a time.
        let controls = text[..length].iter().fold(false, |any, byte| any | (*byte < b' '));
        let is_plain = is_string && text[length] == b'"' && !controls;
        self.take(length + 2).filter(|_| is_plain)
    }

    /// An integer. After a fraction's first digits comes no comma and no brace.
    fn integer(&mut self) -> Option<&'a str> {
        let rest = &self.text.as_bytes()[self.at..];
        let sign = usize::from(rest.first() == Some(&b'-'));
        let count = rest[sign..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_plain = count == 1 || (count > 1 && rest[sign] != b'0');
        self.take(sign + count).filter(|_| is_plain)
    }
}

#[cfg(test)]
mod tests {
    use super::{SHORT, read};
    use crate::object::Object;

    /// How many members a text has; `None` if it is not plain.
    fn members(text: &str) -> Option<usize> {
        let mut count = 0;
        read(text, |_, _| count += 1).map(|()| count)
    }

    #[test]
    fn a_plain_object_has_the_members_that_the_library_finds() {
        let frame =
            r#"{"type":"append","room":"général","seq":-12,"body":"{x}","a":null , "b":false}"#;
        for (text, count) in [(frame, 6), (" \t\r\n{ } ", 0)] {
            assert_eq!(members(text), Some(count), "{text}");
            assert_eq!(Object::parse(text), Object::by_library(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_library() {
        for text in [
            r#"{"a":"\n"}"#,
            r#"{"\u0061":1}"#,
            r#"{"a":1.0}"#,
            r#"{"a":1e3}"#,
            r#"{"a":[]}"#,
            r#"{"a":{}}"#,
        ] {
            assert!(members(text).is_none() && Object::parse(text).is_ok(), "{text}");
        }
    }

    /// Short texts and long ones are read differently.
    #[test]
    fn a_text_with_a_control_character_is_not_plain_wherever_it_is() {
        for length in 1..3 * SHORT {
            assert_eq!(members(&format!(r#"{{"a":"{}"}}"#, "x".repeat(length))), Some(1));
            for at in 0..length {
                for controls in ["\x1f", "\x1f\0"] {
                    let mut text = "x".repeat(length);
                    text.replace_range(at..=at, controls);
                    assert_eq!(members(&format!(r#"{{"a":"{text}"}}"#)), None, "{at} of {length}");
                }
            }
        }
    }

    /// Each text that differs from a frame by one or two bytes, or ends before it.
    #[test]
    fn whatever_is_malformed_is_not_plain() {
        let frame = br#"{"seq":-1,"id":"x","req":true }"#;
        let bytes = b"{}\":,-01e.\\ \t\x01\x0ba[n";
        let mut plain = 0;
        for first in 0..frame.len() {
            for second in first..frame.len() {
                for (one, two) in bytes.iter().flat_map(|one| bytes.map(|two| (*one, two))) {
                    let mut text = frame.to_vec();
                    (text[first], text[second]) = (one, two);
                    let text = String::from_utf8(text).expect("UTF-8");
                    plain += usize::from(members(&text).is_some());
                    assert_eq!(Object::parse(&text), Object::by_library(&text), "{text}");
                }
            }
        }
        assert!(plain > 1_000, "{plain}");
        for length in 0..frame.len() {
            let text = str::from_utf8(&frame[..length]).expect("UTF-8");
            assert!(members(text).is_none(), "{text}");
        }
    }
}

//! JSON that is safe for a terminal.
//!
//! Enters: text of others. Leaves: the same JSON, in which a character that could control a terminal, or is
//! invisible, is `\uXXXX`.

use std::io::{self, Write};

use roomlog_terminal::text;
use serde_json::ser::Formatter;

/// How a `serde_json` serializer writes its strings.
pub(crate) struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W>(&mut self, out: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        write_escaped(out, fragment)
    }
}

/// Writes a part of JSON in which such characters are within strings.
pub(crate) fn write_escaped<W: ?Sized + Write>(out: &mut W, json: &str) -> io::Result<()> {
    let mut rest = json;
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| text::is_escaped_in_json(*c)) {
        out.write_all(&rest.as_bytes()[..at])?;
        let mut units = [0; 2];
        for unit in c.encode_utf16(&mut units) {
            write!(out, "\\u{unit:04x}")?;
        }
        rest = &rest[at + c.len_utf8()..];
    }
    out.write_all(rest.as_bytes())
}

#[cfg(test)]
mod tests {
    use serde::Serialize;
    use serde_json::Serializer;

    use super::*;

    #[test]
    fn escaped_json_is_the_same_and_safe_for_a_terminal() {
        let text = "a\u{9b}2J\u{7f}\u{202e}\u{feff}\u{2028}ö👩‍👩‍👧\n\"";
        let mut out = Vec::new();
        let mut escaping = Serializer::with_formatter(&mut out, Escaping);
        text.serialize(&mut escaping).expect("written");
        let written = String::from_utf8(out).expect("UTF-8");
        assert_eq!(written, r#""a\u009b2J\u007f\u202e\ufeff\u2028ö👩‍👩‍👧\n\"""#);
        assert_eq!(serde_json::from_str::<String>(&written).expect("JSON"), text);
    }
}

//! Entries as a person reads them, one a line.
//!
//! Enters: an entry. Leaves: `SLOT TIME <author> body`. Invariant: exactly one line, and no control
//! character, so that no body can move the reader's cursor.

use std::fmt::{self, Write};

use jiff::Timestamp;
use roomlog_protocol::Entry;

/// An entry as one line of text.
pub(crate) struct Shown<'a>(pub(crate) &'a Entry);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        write!(f, "{} {} ", entry.slot, time(entry))?;
        match entry.kind.as_str() {
            "action" => write!(f, "* {} ", entry.author)?,
            "text" => write!(f, "<{}> ", entry.author)?,
            kind => write!(f, "<{}> ({kind}) ", entry.author)?,
        }
        if let Some(slot) = entry.reference {
            write!(f, "(to {slot}) ")?;
        }
        plain(f, &entry.body)
    }
}

/// When it was said, in UTC.
fn time(entry: &Entry) -> String {
    utc(entry.said_at())
}

/// A time in ms since the epoch, in UTC.
pub(crate) fn utc(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| format!("{ms}ms"), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn plain(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    for c in text.chars() {
        if c.is_control() && c != '\t' {
            write!(f, "{}", c.escape_default())?;
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        Shown(&serde_json::from_str(json).expect("an entry")).to_string()
    }

    #[test]
    fn an_entry_is_one_line_whatever_is_in_it() {
        let json = r#"{"slot":7,"author":"ada","id":"a","body":"a\nb\u001b[2J","committed_at":1763796120123}"#;
        assert_eq!(shown(json), r"7 2025-11-22T07:22:00Z <ada> a\nb\u{1b}[2J");
    }

    #[test]
    fn kinds_refs_and_imported_times_are_shown() {
        let json = r#"{"slot":1,"author":"ada","id":"a","body":"waves","kind":"action","committed_at":1763796120123,"sent_at":1420110000000}"#;
        assert_eq!(shown(json), "1 2015-01-01T11:00:00Z * ada waves");
        let json = r#"{"slot":2,"author":"bo","id":"b","body":"👍","kind":"reaction","ref":1,"committed_at":1763796120123,"sent_at":1763796120000}"#;
        assert_eq!(shown(json), "2 2025-11-22T07:22:00Z <bo> (reaction) (to 1) 👍");
    }
}

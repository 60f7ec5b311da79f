//! Formats an entry as one line, `SLOT TIME <author> body`, that is safe for a terminal (see
//! [`text`]).

use std::fmt;

use jiff::Timestamp;
use roomlog_protocol::{Content, Entry};
use roomlog_terminal::text;

pub(crate) struct Shown<'a>(pub(crate) &'a Entry);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        write!(f, "{} {} ", entry.slot, utc(entry.written_at()))?;
        let author = text::name(entry.author.as_str(), usize::MAX);
        match entry.kind.as_str() {
            "action" => write!(f, "* {author} ")?,
            "text" => write!(f, "<{author}> ")?,
            kind => write!(f, "<{author}> ({kind}) ")?,
        }
        if let Some(slot) = entry.reference {
            write!(f, "(to {slot}) ")?;
        }
        match &entry.content {
            Content::Said { body, .. } => f.write_str(&text::printed(body)),
            Content::Redacted(_) => f.write_str("(redacted)"),
        }
    }
}

/// A time in ms since the epoch, in UTC.
pub(crate) fn utc(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| format!("{ms}ms"), |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// A number with its noun, such as `1 room` or `2 rooms`.
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str) -> String {
        Shown(&serde_json::from_str(json).expect("an entry")).to_string()
    }

    #[test]
    fn an_entry_is_one_line_whatever_its_text() {
        let json = r#"{"slot":7,"author":"ada","id":"a","body":"a\nb\u001b[2J","committed_at":1763796120123,"salt":"cm9vbWxvZy1zbHQw"}"#;
        assert_eq!(shown(json), "7 2025-11-22T07:22:00Z <ada> a␊b␛[2J");
        let json = r#"{"slot":7,"author":"ad\u200ba","id":"a","body":"a\u202eb\u009bm","committed_at":1763796120123,"salt":"cm9vbWxvZy1zbHQw"}"#;
        assert_eq!(shown(json), "7 2025-11-22T07:22:00Z <ad\u{fffd}a> ab\u{fffd}m");
    }

    #[test]
    fn kinds_refs_and_imported_times_are_shown() {
        let json = r#"{"slot":1,"author":"ada","id":"a","body":"waves","kind":"action","committed_at":1763796120123,"sent_at":1420110000000,"salt":"cm9vbWxvZy1zbHQw"}"#;
        assert_eq!(shown(json), "1 2015-01-01T11:00:00Z * ada waves");
        let json = r#"{"slot":2,"author":"bo","id":"b","body":"👍","kind":"reaction","ref":1,"committed_at":1763796120123,"sent_at":1763796120000,"salt":"cm9vbWxvZy1zbHQw"}"#;
        assert_eq!(shown(json), "2 2025-11-22T07:22:00Z <bo> (reaction) (to 1) 👍");
        let gone = json.replace(
            r#""salt":"cm9vbWxvZy1zbHQw""#,
            r#""redacted":true,"commitment":"COMMITMENT""#,
        );
        let gone = gone.replace("COMMITMENT", &"ab".repeat(32));
        assert_eq!(shown(&gone), "2 2025-11-22T07:22:00Z <bo> (reaction) (to 1) (redacted)");
    }
}

//! A line of JSON, as `export` writes it.
//!
//! Enters: a line. Leaves: an entry with the author, id, kind, ref, meta and time it has there.
//! `committed_at` is left behind: the new log has its own. Invariant: an entry without an author or an
//! id is refused, since importing it twice would add it twice.

use roomlog_protocol::{Author, EntryId, Kind, Slot};
use serde::Deserialize;

use super::{Line, Told};

#[derive(Deserialize)]
struct Exported {
    slot: Option<Slot>,
    author: Author,
    id: EntryId,
    body: String,
    sent_at: Option<u64>,
    #[serde(default)]
    kind: Kind,
    #[serde(rename = "ref")]
    reference: Option<Slot>,
    meta: Option<String>,
}

/// Reads a line.
pub(super) fn line(line: &str) -> Line {
    match serde_json::from_str(line) {
        Ok(Exported { slot, author, id, body, sent_at, kind, reference, meta }) => {
            let said_again = false;
            Line::Entry(Box::new(Told {
                author,
                id,
                kind,
                body,
                sent_at,
                meta,
                reference,
                slot,
                said_again,
            }))
        }
        Err(why) => Line::Unreadable(format!("it is no entry as `export` writes it: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_export_writes_is_read_whole() {
        let json = r#"{"slot":3,"author":"ada","id":"a-1","body":"👍","committed_at":9,"sent_at":8,"kind":"reaction","ref":1,"meta":"{}"}"#;
        let Line::Entry(told) = line(json) else { panic!("no entry") };
        assert_eq!((told.slot, told.reference, told.sent_at), (Some(3), Some(1), Some(8)));
        assert_eq!(
            (told.author.as_str(), told.id.as_str(), told.body.as_str()),
            ("ada", "a-1", "👍")
        );
        assert_eq!((told.kind.as_str(), told.meta.as_deref()), ("reaction", Some("{}")));
    }

    #[test]
    fn what_has_no_author_or_no_id_is_refused() {
        for json in [r#"{"author":"ada","body":""}"#, r#"{"id":"a","body":""}"#, "[]", "{"] {
            assert!(matches!(line(json), Line::Unreadable(_)), "{json}");
        }
    }
}

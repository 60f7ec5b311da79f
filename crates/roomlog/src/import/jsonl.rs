//! A line of JSON as `export` prints it.
//!
//! `committed_at` and `salt` are dropped: the new log has its own. A redacted entry is imported with an
//! empty body, so that others may still refer to it; redactions have nothing left to do. An entry without an author or an id is
//! rejected: importing it twice would add it twice.

use roomlog_protocol::{Author, EntryId, Kind, Slot};
use serde::Deserialize;

use super::{
    item::{Imported, Key, Line, Reference},
    lines::LineFormat,
};

#[derive(Deserialize)]
struct Exported {
    slot: Option<Slot>,
    author: Author,
    id: EntryId,
    body: Option<String>,
    #[serde(default)]
    redacted: bool,
    sent_at: Option<u64>,
    kind: Option<Kind>,
    #[serde(rename = "ref")]
    reference: Option<Slot>,
    meta: Option<String>,
}

/// The lines of all files: slots may continue in the next one.
#[derive(Default)]
pub(super) struct Jsonl {
    log: u32,
    last: Option<Slot>,
}

impl LineFormat for Jsonl {
    fn line(&mut self, line: &str) -> Line {
        let Exported { slot, author, id, body, sent_at, kind, reference, meta, .. } =
            match read(line) {
                Ok(exported) => exported,
                Err(why) => {
                    return Line::Unreadable(format!("not an entry as `export` prints it: {why}"));
                }
            };
        let kind = kind.unwrap_or_default();
        if let Some(slot) = slot {
            // A slot that is not above the last one begins another log.
            self.log += u32::from(self.last.is_some_and(|last| slot <= last));
            self.last = Some(slot);
        }
        if kind.removes() {
            return Line::Skipped;
        }
        let key = |number| Key { log: self.log, number };
        Line::Entry(Box::new(Imported {
            author,
            id,
            kind,
            body: body.unwrap_or_default(),
            sent_at,
            meta,
            reference: reference.map(|slot| Reference { key: key(slot), needed: true }),
            key: slot.map(key),
            edited_at: None,
            duplicate: false,
        }))
    }

    fn is_complete(&self, line: &str) -> bool {
        fits(line)
    }
}

pub(super) fn fits(line: &str) -> bool {
    read(line).is_ok()
}

fn read(line: &str) -> serde_json::Result<Exported> {
    let exported: Exported = serde_json::from_str(line)?;
    if exported.body.is_none() && !exported.redacted {
        return Err(serde::de::Error::missing_field("body"));
    }
    Ok(exported)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: &str) -> Line {
        Jsonl::default().line(line)
    }

    #[test]
    fn an_exported_entry_is_read_in_full() {
        let json = r#"{"slot":3,"author":"ada","id":"a-1","body":"👍","committed_at":9,"sent_at":8,"kind":"reaction","ref":1,"meta":"{}"}"#;
        let Line::Entry(entry) = line(json) else { panic!("no entry") };
        let reference = entry.reference.map(|reference| reference.key.number);
        assert_eq!(
            (entry.key.map(|key| key.number), reference, entry.sent_at),
            (Some(3), Some(1), Some(8))
        );
        assert_eq!(
            (entry.author.as_str(), entry.id.as_str(), entry.body.as_str()),
            ("ada", "a-1", "👍")
        );
        assert_eq!((entry.kind.as_str(), entry.meta.as_deref()), ("reaction", Some("{}")));
    }

    #[test]
    fn a_redacted_entry_has_an_empty_body() {
        let json = r#"{"slot":3,"author":"ada","id":"a-1","committed_at":9,"redacted":true,"commitment":"ab"}"#;
        let Line::Entry(entry) = line(json) else { panic!("no entry") };
        assert_eq!((entry.key.map(|key| key.number), entry.body.as_str()), (Some(3), ""));
        let bare = r#"{"slot":3,"author":"ada","id":"a-1","committed_at":9}"#;
        let Line::Unreadable(why) = line(bare) else { panic!("it is read") };
        assert!(why.contains("missing field `body`"), "{why}");
        let redaction = r#"{"slot":4,"author":"mod","id":"m-1","body":"","kind":"redact","ref":3}"#;
        assert_eq!(line(redaction), Line::Skipped);
    }

    #[test]
    fn null_is_absent() {
        let json = r#"{"slot":null,"author":"ada","id":"a","body":"x","kind":null,"ref":null,"meta":null,"sent_at":null}"#;
        let Line::Entry(entry) = line(json) else { panic!("no entry") };
        assert_eq!((entry.key, entry.reference, entry.kind.is_text()), (None, None, true));
    }

    #[test]
    fn a_slot_that_is_not_above_the_last_begins_another_log() {
        let mut jsonl = Jsonl::default();
        let logs = [0, 1, 5, 0, 3].map(|slot| {
            let json = format!(r#"{{"slot":{slot},"author":"ada","id":"a","body":""}}"#);
            match jsonl.line(&json) {
                Line::Entry(entry) => entry.key.map(|key| key.log),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(logs, [0, 0, 0, 1, 1].map(Some));
    }

    #[test]
    fn an_entry_without_author_or_id_is_rejected() {
        for json in [r#"{"author":"ada","body":""}"#, r#"{"id":"a","body":""}"#, "[]", "{"] {
            assert!(matches!(line(json), Line::Unreadable(_)), "{json}");
        }
    }
}

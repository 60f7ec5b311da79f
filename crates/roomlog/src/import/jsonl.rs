//! A line of JSON, as `export` writes it.
//!
//! Enters: a line. Leaves: an entry with the author, id, kind, ref, meta and time it has there.
//! `committed_at` is left behind: the new log has its own. Invariant: an entry without an author or an
//! id is refused, since importing it twice would add it twice.

use roomlog_protocol::{Author, EntryId, Kind, Slot};
use serde::Deserialize;

use super::{Key, Line, Lines, Reference, Told};

#[derive(Deserialize)]
struct Exported {
    slot: Option<Slot>,
    author: Author,
    id: EntryId,
    body: String,
    sent_at: Option<u64>,
    kind: Option<Kind>,
    #[serde(rename = "ref")]
    reference: Option<Slot>,
    meta: Option<String>,
}

/// The lines of all files: slots may go on from one to the next.
#[derive(Default)]
pub(super) struct Jsonl {
    /// Which log it is, and the last slot of it.
    log: u32,
    last: Option<Slot>,
}

impl Lines for Jsonl {
    /// Reads a line. A slot that is not above the last one begins another log.
    fn line(&mut self, line: &str) -> Line {
        let told = match serde_json::from_str(line) {
            Ok(told) => told,
            Err(why) => {
                return Line::Unreadable(format!("it is no entry as `export` writes it: {why}"));
            }
        };
        let Exported { slot, author, id, body, sent_at, kind, reference, meta } = told;
        if let Some(slot) = slot {
            self.log += u32::from(self.last.is_some_and(|last| slot <= last));
            self.last = Some(slot);
        }
        let key = |number| Key { log: self.log, number };
        Line::Entry(Box::new(Told {
            author,
            id,
            kind: kind.unwrap_or_default(),
            body,
            sent_at,
            meta,
            reference: reference.map(|slot| Reference { key: key(slot), needed: true }),
            key: slot.map(key),
            edited_at: None,
            said_again: false,
        }))
    }

    fn is_whole(&self, line: &str) -> bool {
        fits(line)
    }
}

/// Whether it is an entry.
pub(super) fn fits(line: &str) -> bool {
    serde_json::from_str::<Exported>(line).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: &str) -> Line {
        Jsonl::default().line(line)
    }

    #[test]
    fn what_export_writes_is_read_whole() {
        let json = r#"{"slot":3,"author":"ada","id":"a-1","body":"👍","committed_at":9,"sent_at":8,"kind":"reaction","ref":1,"meta":"{}"}"#;
        let Line::Entry(told) = line(json) else { panic!("no entry") };
        let reference = told.reference.map(|reference| reference.key.number);
        assert_eq!(
            (told.key.map(|key| key.number), reference, told.sent_at),
            (Some(3), Some(1), Some(8))
        );
        assert_eq!(
            (told.author.as_str(), told.id.as_str(), told.body.as_str()),
            ("ada", "a-1", "👍")
        );
        assert_eq!((told.kind.as_str(), told.meta.as_deref()), ("reaction", Some("{}")));
    }

    #[test]
    fn null_is_absent() {
        let json = r#"{"slot":null,"author":"ada","id":"a","body":"x","kind":null,"ref":null,"meta":null,"sent_at":null}"#;
        let Line::Entry(told) = line(json) else { panic!("no entry") };
        assert_eq!((told.key, told.reference, told.kind.is_text()), (None, None, true));
    }

    #[test]
    fn a_slot_that_is_not_above_the_last_begins_another_log() {
        let mut jsonl = Jsonl::default();
        let logs = [0, 1, 5, 0, 3].map(|slot| {
            let json = format!(r#"{{"slot":{slot},"author":"ada","id":"a","body":""}}"#);
            match jsonl.line(&json) {
                Line::Entry(told) => told.key.map(|key| key.log),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(logs, [0, 0, 0, 1, 1].map(Some));
    }

    #[test]
    fn what_has_no_author_or_no_id_is_refused() {
        for json in [r#"{"author":"ada","body":""}"#, r#"{"id":"a","body":""}"#, "[]", "{"] {
            assert!(matches!(line(json), Line::Unreadable(_)), "{json}");
        }
    }
}

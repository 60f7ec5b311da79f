//! Which texts an entry removes: PROTOCOL.md, *Redaction* and *Erasure*.
//!
//! Enters: the kind, `ref` and body of an entry or an append. Leaves: what it removes. Invariant: an entry
//! that removes texts has none itself, so it is never redacted.

use std::ops::RangeInclusive;

use crate::{Author, Entry, ErrorCode, Kind, Slot};

/// The most slots of which one `erase` removes the texts.
pub const ERASE_SLOTS: u64 = 4_096;

/// The texts that one entry removes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Removal {
    /// That of one entry: a `redact`.
    Entry(Slot),
    /// Those of an author in the [`ERASE_SLOTS`] slots that end with `last`, or of everybody: an `erase`.
    Span {
        /// The last of the slots.
        last: Slot,
        /// `None` for everybody.
        author: Option<Author>,
    },
}

impl Removal {
    /// What an entry of this form removes; `None` if it is of another kind, has no `ref`, or its body is no
    /// name of an author.
    #[must_use]
    pub fn of(kind: &Kind, reference: Option<Slot>, body: &str) -> Option<Self> {
        let slot = reference.filter(|_| kind.removes())?;
        if kind.as_str() == Kind::REDACT {
            return Some(Self::Entry(slot));
        }
        let author = match body {
            "" => None,
            body => Some(Author::stored(body).ok()?),
        };
        Some(Self::Span { last: slot, author })
    }

    /// The slots of the entries that it may concern.
    #[must_use]
    pub fn slots(&self) -> RangeInclusive<Slot> {
        match self {
            Self::Entry(slot) => *slot..=*slot,
            Self::Span { last, .. } => last.saturating_sub(ERASE_SLOTS - 1)..=*last,
        }
    }

    /// Whether it removes the text of an entry.
    #[must_use]
    pub fn covers(&self, entry: &Entry) -> bool {
        self.covers_slot(entry.slot, &entry.author) && !entry.kind.removes()
    }

    /// As [`Removal::covers`], of an entry of this author whose kind removes nothing.
    #[must_use]
    pub fn covers_slot(&self, slot: Slot, of: &Author) -> bool {
        let is_its_author = match self {
            Self::Entry(_) | Self::Span { author: None, .. } => true,
            Self::Span { author: Some(author), .. } => author == of,
        };
        is_its_author && self.slots().contains(&slot)
    }
}

/// Refuses an append of a kind that removes texts, if it names no slot or has a text, which nobody could
/// remove.
pub(crate) fn check_removal(
    (kind, reference): (&Kind, Option<Slot>),
    body: &str,
    meta: Option<&str>,
) -> Result<(), (ErrorCode, String)> {
    let (needs, has) = match kind.as_str() {
        Kind::REDACT => ("the slot of the entry to redact", "an empty `body` and no `meta`"),
        Kind::ERASE => ("the last of the slots to erase", "no `meta`"),
        _ => return Ok(()),
    };
    let bad = |message| Err((ErrorCode::BadMessage, message));
    if reference.is_none() {
        return bad(format!("`{kind}` needs `ref`: {needs}"));
    }
    if meta.is_some() || kind.as_str() == Kind::REDACT && !body.is_empty() {
        return bad(format!("`{kind}` has {has}"));
    }
    if !body.is_empty() {
        Author::stored(body).map_err(|why| (ErrorCode::BadName, why.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Content, EntryId, Salt};

    fn entry(slot: Slot, author: &str, kind: &str) -> Entry {
        Entry {
            slot,
            author: Author::new(author).expect("an author"),
            id: EntryId::new("a-1").expect("an id"),
            content: Content::Said { body: "hi".into(), meta: None, salt: Salt([0; 12]) },
            committed_at: 5,
            sent_at: None,
            kind: Kind::new(kind).expect("a kind"),
            reference: None,
        }
    }

    fn removal(kind: &str, reference: Option<Slot>, body: &str) -> Option<Removal> {
        Removal::of(&Kind::new(kind).expect("a kind"), reference, body)
    }

    #[test]
    fn a_redact_removes_one_text_and_an_erase_those_of_a_span() {
        let redact = removal("redact", Some(7), "").expect("a removal");
        let all = removal("erase", Some(5_000), "").expect("a removal");
        let of_ada = removal("erase", Some(9), "ada").expect("a removal");
        assert_eq!((redact.slots(), all.slots(), of_ada.slots()), (7..=7, 905..=5_000, 0..=9));
        assert!(
            redact.covers(&entry(7, "bob", "text")) && !redact.covers(&entry(8, "bob", "text"))
        );
        assert!(all.covers(&entry(905, "bob", "edit")) && !all.covers(&entry(904, "bob", "edit")));
        assert!(
            of_ada.covers(&entry(9, "ada", "text")) && !of_ada.covers(&entry(9, "bob", "text"))
        );
    }

    #[test]
    fn what_removes_is_not_removed_and_other_forms_remove_nothing() {
        let all = removal("erase", Some(9), "").expect("a removal");
        assert!(!all.covers(&entry(3, "ada", "redact")) && !all.covers(&entry(3, "ada", "erase")));
        for (kind, reference, body) in
            [("text", Some(1), ""), ("erase", None, ""), ("erase", Some(1), "a\n")]
        {
            assert_eq!(removal(kind, reference, body), None);
        }
    }
}

//! The names of the protocol: authors, ids, kinds; rooms are in [`crate::rooms`].
//!
//! Enters: a string from a client, a file or the journal. Leaves: a name in the form that the table
//! "Names and limits" defines, compared as bytes, cheap to clone. Invariant: a name always has that
//! form.

use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;

use crate::visible::check_visible;

/// Why a string is not a name: the kind of name and the broken rule, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} {problem}")]
pub struct NameError {
    what: &'static str,
    problem: String,
}

impl NameError {
    pub(crate) fn new(what: &'static str, problem: impl Into<String>) -> Self {
        Self { what, problem: problem.into() }
    }
}

/// What every tuple struct around an `Arc<str>` implements to be used as a string.
macro_rules! text_impls {
    ($name:ident) => {
        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(&self.0, f)
            }
        }

        impl std::ops::Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                &*self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                &*self.0 == *other
            }
        }
    };
}

pub(crate) use text_impls;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $check:path, $read:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        text_impls!($name);

        impl $name {
            /// The maximum length in bytes. A server's setting may be smaller, never larger.
            pub const MAX_BYTES: usize = $max;

            /// Checks the form.
            ///
            /// # Errors
            /// [`NameError`]: the text is empty, too long, or has a character that is not allowed.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check_length($what, text, Self::MAX_BYTES)?;
                $check(text).map_err(|problem| NameError::new($what, problem))?;
                Ok(Self(text.into()))
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        // Without a `String` on the way: every served entry has two or three names.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::$read(&text)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().into()
            }
        }
    };
}

name!(
    /// Who wrote an entry: 1–64 bytes of UTF-8, no control, invisible or direction character, no white
    /// space at either end. Entries that are in a log already may have others.
    Author, "author", 64, check_author, stored
);
name!(
    /// The id of an append: 1–64 bytes 0x21–0x7E, unique per room and author for ever.
    EntryId, "id", 64, check_id, new
);
name!(
    /// The kind of an entry: 1–32 bytes of `a–z 0–9 - .`.
    Kind, "kind", 32, check_kind, new
);

/// Checks that a name has 1 to `most` bytes.
pub(crate) fn check_length(what: &'static str, text: &str, most: usize) -> Result<(), NameError> {
    match text.len() {
        0 => Err(NameError::new(what, "is empty")),
        bytes if bytes > most => {
            Err(NameError::new(what, format!("has {bytes} bytes, more than {most}")))
        }
        _ => Ok(()),
    }
}

fn check_author(text: &str) -> Result<(), &'static str> {
    check_stored_author(text)?;
    check_visible(text)
}

/// What every author in a log complies with.
fn check_stored_author(text: &str) -> Result<(), &'static str> {
    if text.chars().any(char::is_control) {
        return Err("may hold no control character");
    }
    if text.trim() != text {
        return Err("may not begin or end with white space");
    }
    Ok(())
}

fn check_id(text: &str) -> Result<(), &'static str> {
    if text.bytes().all(|b| (0x21..=0x7e).contains(&b)) {
        Ok(())
    } else {
        Err("may only hold visible ASCII, no space")
    }
}

fn check_kind(text: &str) -> Result<(), &'static str> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    if text.bytes().all(allowed) { Ok(()) } else { Err("may only hold a-z 0-9 - .") }
}

impl Author {
    /// Checks the form of an author that is in a log already, perhaps from before invisible characters
    /// were refused.
    ///
    /// # Errors
    /// [`NameError`]: the text is empty, too long, or has a control character or white space at an end.
    pub fn stored(text: &str) -> Result<Self, NameError> {
        check_length("author", text, Self::MAX_BYTES)?;
        check_stored_author(text).map_err(|problem| NameError::new("author", problem))?;
        Ok(Self(text.into()))
    }
}

impl Kind {
    /// The kind of an entry that names none.
    pub const TEXT: &str = "text";

    /// The kind that removes body, meta and salt of the entry at its `ref`.
    pub const REDACT: &str = "redact";

    /// The kind that removes them from many entries, up to its `ref`.
    pub const ERASE: &str = "erase";

    /// Whether entries of this kind remove texts of others, and have none.
    #[must_use]
    pub fn removes(&self) -> bool {
        [Self::REDACT, Self::ERASE].contains(&self.as_str())
    }

    /// Whether this is [`Kind::TEXT`], which the wire omits.
    #[must_use]
    pub fn is_text(&self) -> bool {
        self.as_str() == Self::TEXT
    }
}

impl Default for Kind {
    fn default() -> Self {
        // Shared, because nearly every entry has it.
        static TEXT: std::sync::LazyLock<Kind> =
            std::sync::LazyLock::new(|| Kind(Kind::TEXT.into()));
        TEXT.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_has_no_control_character_and_no_white_space_at_its_ends() {
        assert!(Author::new(&"é".repeat(32)).is_ok());
        assert!(Author::new(&"é".repeat(33)).is_err());
        assert!(Author::new("Ada Lovelace 👋").is_ok());
        for bad in [" ada", "ada ", "a\tb", "a\u{85}b", "\u{3000}ada", ""] {
            assert!(Author::new(bad).is_err() && Author::stored(bad).is_err(), "{bad:?}");
        }
        let invisible = "ada\u{200b}";
        assert!(Author::new(invisible).is_err() && Author::stored(invisible).is_ok());
    }

    #[test]
    fn an_id_is_visible_ascii() {
        assert!(EntryId::new(&"!".repeat(64)).is_ok());
        assert!(EntryId::new(&"!".repeat(65)).is_err());
        for bad in ["a b", "é", "", "\x7f"] {
            assert!(EntryId::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_kind_is_lower_case_and_short() {
        assert!(Kind::new(&"k".repeat(32)).is_ok());
        assert!(Kind::new(&"k".repeat(33)).is_err());
        assert!(Kind::new("Text").is_err());
        assert!(Kind::default().is_text());
    }
}

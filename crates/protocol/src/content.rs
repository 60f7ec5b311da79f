//! The content of an entry: what its author said, or what a redaction left.
//!
//! Invariant: a redacted content has no salt.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{Commitment, Salt, names::text_impls};

/// What an entry says, or what is left of it after a redaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// It was never redacted.
    Said {
        /// The text; may be empty.
        body: Body,
        /// Text for clients that the server does not read.
        meta: Option<Arc<str>>,
        /// The salt of its commitment.
        salt: Salt,
    },
    /// Body, meta and salt are gone.
    Redacted(Commitment),
}

impl Content {
    /// The commitment; hashes the content unless it is redacted.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        match self {
            Self::Said { body, meta, salt } => Commitment::new(salt, body, meta.as_deref()),
            Self::Redacted(commitment) => *commitment,
        }
    }

    /// The text; empty if redacted.
    #[must_use]
    pub fn body(&self) -> &str {
        match self {
            Self::Said { body, .. } => body,
            Self::Redacted(_) => "",
        }
    }

    /// The metadata; `None` if redacted.
    #[must_use]
    pub fn meta(&self) -> Option<&str> {
        match self {
            Self::Said { meta, .. } => meta.as_deref(),
            Self::Redacted(_) => None,
        }
    }

    /// The salt; `None` if redacted.
    #[must_use]
    pub fn salt(&self) -> Option<Salt> {
        match self {
            Self::Said { salt, .. } => Some(*salt),
            Self::Redacted(_) => None,
        }
    }

    /// Whether body, meta and salt are gone.
    #[must_use]
    pub fn is_redacted(&self) -> bool {
        matches!(self, Self::Redacted(_))
    }

    /// Bytes of body and meta.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        self.body().len() + self.meta().map_or(0, str::len)
    }
}

/// The text of an entry, as it was sent, never normalised; may be empty. Cheap to clone. It derefs
/// to `str` and compares with strings: `body == "hello"`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Body(Arc<str>);

text_impls!(Body);

impl PartialEq<String> for Body {
    fn eq(&self, other: &String) -> bool {
        *self.0 == **other
    }
}

impl PartialEq<Body> for &str {
    fn eq(&self, other: &Body) -> bool {
        *self == &*other.0
    }
}

impl From<Cow<'_, str>> for Body {
    fn from(text: Cow<'_, str>) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Arc<str>> for Body {
    fn from(text: Arc<str>) -> Self {
        Self(text)
    }
}

impl From<Body> for Arc<str> {
    fn from(body: Body) -> Self {
        body.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_compares_with_any_string() {
        let body = Body::from("hello");
        assert_eq!(body, "hello");
        assert_eq!("hello", body);
        assert_eq!(body, *"hello");
        assert_eq!(body, String::from("hello"));
        assert!(body != "Hello" && body.starts_with("he"));
    }
}

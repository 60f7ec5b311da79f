//! The text of an entry.
//!
//! Enters: a string. Leaves: the same, cheap to clone, which compares with any other string. Invariant: it
//! is as it was sent, never normalised.

use std::{fmt, ops::Deref, sync::Arc};

use serde::{Deserialize, Serialize};

/// The text of an entry; may be empty. It derefs to `str` and compares with `&str`: `entry.body == "hello"`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Body(Arc<str>);

impl Body {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Body {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Body {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Body {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

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

impl fmt::Display for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
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

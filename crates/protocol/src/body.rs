//! The text of an entry.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::names::text_impls;

/// The text of an entry, as it was sent, never normalised; may be empty. Cheap to clone. It derefs
/// to `str` and compares with strings: `entry.body == "hello"`.
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

//! Revoked tokens.
//!
//! Enters: revocations, in the order of their log. Leaves: whether a token is revoked. Invariant: a
//! revocation is kept for [`KEPT_S`], and no token lives longer; there are at most [`MOST`].

use std::collections::HashMap;

use roomlog_protocol::{Author, Namespace};
use serde::{Deserialize, Serialize};

use crate::access::Access;

/// How long a revocation is kept, in seconds: 400 days. The longest life that may be allowed to tokens.
pub const KEPT_S: u64 = 400 * 24 * 60 * 60;

/// How many revocations are kept.
pub const MOST: usize = 100_000;

/// Tokens that are revoked: those with a `jti`, or all of an author, or of everybody, that were issued
/// before a time.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Revocation {
    /// One token.
    Token {
        /// Its `jti`.
        jti: String,
    },
    /// The tokens of an author.
    Author {
        /// The author.
        author: Author,
        /// The namespace of its tokens; `None`: of those that have none.
        #[serde(rename = "ns", default, skip_serializing_if = "Option::is_none")]
        namespace: Option<Namespace>,
        /// In seconds since the Unix epoch, exclusive.
        issued_before: u64,
    },
    /// The tokens of everybody.
    All {
        /// In seconds since the Unix epoch, exclusive.
        issued_before: u64,
    },
}

/// What of them is known now.
#[derive(Debug, Clone, Default)]
pub struct Revocations {
    /// By `jti`, when each was revoked.
    tokens: HashMap<String, u64>,
    /// By namespace and author: issued before, and when that was revoked.
    authors: HashMap<(String, Author), (u64, u64)>,
    all_before: u64,
}

impl Revocations {
    /// Adds one that was made at this time, in seconds since the Unix epoch.
    pub fn add(&mut self, revocation: Revocation, at: u64) {
        let oldest = at.saturating_sub(KEPT_S);
        self.tokens.retain(|_, at| *at >= oldest);
        self.authors.retain(|_, (_, at)| *at >= oldest);
        match revocation {
            Revocation::Token { jti } => _ = self.tokens.insert(jti, at),
            Revocation::Author { author, namespace, issued_before } => {
                let namespace = namespace.as_deref().unwrap_or_default().to_owned();
                let kept = self.authors.entry((namespace, author)).or_default();
                *kept = (kept.0.max(issued_before), at);
            }
            Revocation::All { issued_before } => {
                self.all_before = self.all_before.max(issued_before);
            }
        }
    }

    /// Whether no more may be added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.tokens.len() + self.authors.len() >= MOST
    }

    /// Whether what this author has is revoked.
    #[must_use]
    pub fn are_of(&self, author: &Author, access: &Access) -> bool {
        let Some(token) = &access.token else { return false };
        let key = (access.namespace().to_owned(), author.clone());
        let before = self.authors.get(&key).map_or(0, |(before, _)| *before).max(self.all_before);
        token.issued_at < before
            || token.jti.as_ref().is_some_and(|jti| self.tokens.contains_key(jti))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::access::{RoomRights, TokenId};

    fn access(jti: &str, issued_at: u64, namespace: Option<&str>) -> Access {
        let token = TokenId { jti: Some(jti.into()), issued_at, expires_at: u64::MAX };
        let namespace = namespace.map(|it| Namespace::new(it).expect("a namespace"));
        Access::of_token(token, namespace, RoomRights::default(), &[], BTreeSet::new())
            .expect("an access")
    }

    fn read(json: &str) -> Revocation {
        serde_json::from_str(json).expect("a revocation")
    }

    #[test]
    fn a_token_is_revoked_by_its_id_its_author_or_its_age() {
        let [ada, bob] = ["ada", "bob"].map(|name| Author::new(name).expect("an author"));
        let mut revoked = Revocations::default();
        revoked.add(read(r#"{"jti":"t-1"}"#), 100);
        revoked.add(read(r#"{"author":"ada","issued_before":50}"#), 100);
        revoked.add(read(r#"{"author":"bob","ns":"acme","issued_before":50}"#), 100);
        for (author, access, is_revoked) in [
            (&ada, access("t-1", 90, None), true),
            (&ada, access("t-2", 49, None), true),
            (&ada, access("t-2", 50, None), false),
            (&ada, access("t-2", 49, Some("acme")), false),
            (&bob, access("t-2", 49, Some("acme")), true),
            (&bob, access("t-2", 49, None), false),
            (&bob, access("t-1", 90, Some("acme")), true),
            (&ada, Access::open(), false),
        ] {
            assert_eq!(revoked.are_of(author, &access), is_revoked, "{author} {access:?}");
        }
        revoked.add(read(r#"{"issued_before":91}"#), 100);
        assert!(revoked.are_of(&bob, &access("t-3", 90, None)));
        assert!(!revoked.are_of(&bob, &access("t-3", 91, None)));
    }

    #[test]
    fn a_revocation_is_kept_for_400_days() {
        let ada = Author::new("ada").expect("an author");
        let mut revoked = Revocations::default();
        revoked.add(read(r#"{"jti":"t-1"}"#), 100);
        revoked.add(read(r#"{"jti":"t-2"}"#), 100 + KEPT_S);
        assert!(revoked.are_of(&ada, &access("t-1", 90, None)));
        revoked.add(read(r#"{"jti":"t-3"}"#), 101 + KEPT_S);
        assert!(!revoked.are_of(&ada, &access("t-1", 90, None)));
        assert!(revoked.are_of(&ada, &access("t-2", 90, None)));
    }
}

//! Revoked tokens.
//!
//! Enters: revocations, in the order of their log. Leaves: whether a token is revoked. Invariant: a
//! revocation is kept for [`KEPT_S`], and no token lives longer; there are at most [`MOST`].

use std::collections::{BTreeSet, HashMap};

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

/// Whose tokens are revoked, besides everybody's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Whose {
    /// That of a `jti`.
    Token(String),
    /// Those of an author, in a namespace.
    Author(String, Author),
}

/// What of them is known now.
#[derive(Debug, Clone, Default)]
pub struct Revocations {
    /// Issued before, in seconds since the Unix epoch, and when that was revoked.
    kept: HashMap<Whose, (u64, u64)>,
    /// The same by when, so that those that are too old are found without a look at all.
    by_age: BTreeSet<(u64, Whose)>,
    all_before: u64,
}

impl Revocations {
    /// Adds one that was made at this time, in seconds since the Unix epoch.
    pub fn add(&mut self, revocation: Revocation, at: u64) {
        self.forget_before(at.saturating_sub(KEPT_S));
        let (whose, issued_before) = match revocation {
            Revocation::Token { jti } => (Whose::Token(jti), u64::MAX),
            Revocation::Author { author, namespace, issued_before } => {
                let namespace = namespace.as_deref().unwrap_or_default().to_owned();
                (Whose::Author(namespace, author), issued_before)
            }
            Revocation::All { issued_before } => {
                self.all_before = self.all_before.max(issued_before);
                return;
            }
        };
        let before = self.kept.get(&whose).copied();
        if let Some((_, revoked_at)) = before {
            self.by_age.remove(&(revoked_at, whose.clone()));
        }
        self.by_age.insert((at, whose.clone()));
        self.kept.insert(whose, (issued_before.max(before.map_or(0, |(before, _)| before)), at));
    }

    fn forget_before(&mut self, oldest: u64) {
        while self.by_age.first().is_some_and(|(at, _)| *at < oldest)
            && let Some((_, whose)) = self.by_age.pop_first()
        {
            self.kept.remove(&whose);
        }
    }

    /// Whether no more may be added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.kept.len() >= MOST
    }

    /// Whether what this author has is revoked.
    #[must_use]
    pub fn are_of(&self, author: &Author, access: &Access) -> bool {
        let Some(token) = &access.token else { return false };
        let before = |whose: &Whose| self.kept.get(whose).map_or(0, |(before, _)| *before);
        let of_author = before(&Whose::Author(access.namespace().to_owned(), author.clone()));
        let of_token = token.jti.clone().map_or(0, |jti| before(&Whose::Token(jti)));
        token.issued_at < of_author.max(of_token).max(self.all_before)
    }
}

#[cfg(test)]
mod tests {
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

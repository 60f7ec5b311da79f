//! What somebody may do.
//!
//! Enters: the claims `rooms`, `as`, `ops` and `ns` of a token, or an open server. Leaves: answers to
//! "may it?", and the ranges of rooms that it may read. Invariants: what no claim gives is not allowed; a
//! room of another namespace does not exist.

use std::collections::{BTreeMap, BTreeSet};

use roomlog_protocol::{Author, Namespace, RoomName, RoomRange};
use serde::{Deserialize, Serialize};

/// How far the clocks of issuer and server may differ, in seconds.
pub const LEEWAY_S: u64 = 30;

/// What may be done with a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Right {
    /// Read, follow and list it.
    Read,
    /// Append entries, but not the first.
    Append,
    /// Append its first entry, with [`Right::Append`].
    Create,
    /// Redact entries of others.
    Redact,
    /// Erase what others wrote in it.
    Admin,
}

/// What an operator may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Take a backup.
    Backup,
    /// Read the metrics.
    Metrics,
    /// Erase texts.
    Erase,
    /// Revoke tokens.
    Revoke,
}

/// Rights by patterns of names: a name, or the beginning of names followed by `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "BTreeMap<String, BTreeSet<Right>>", into = "BTreeMap<String, BTreeSet<Right>>")]
pub struct RoomRights(BTreeMap<String, BTreeSet<Right>>);

impl TryFrom<BTreeMap<String, BTreeSet<Right>>> for RoomRights {
    type Error = String;

    fn try_from(patterns: BTreeMap<String, BTreeSet<Right>>) -> Result<Self, String> {
        for pattern in patterns.keys() {
            let name = pattern.strip_suffix('*').unwrap_or(pattern);
            // `*` alone stands for all names.
            if !(name.is_empty() && pattern == "*") {
                RoomName::new(name).map_err(|why| {
                    format!("the pattern {pattern:?} is no name, and no beginning of names with `*`: {why}")
                })?;
            }
        }
        Ok(Self(patterns))
    }
}

impl From<RoomRights> for BTreeMap<String, BTreeSet<Right>> {
    fn from(rights: RoomRights) -> Self {
        rights.0
    }
}

impl RoomRights {
    fn have(&self, name: &str, right: Right) -> bool {
        self.0.iter().any(|(pattern, rights)| {
            let is_of = match pattern.strip_suffix('*') {
                Some(prefix) => name.starts_with(prefix),
                None => name == pattern,
            };
            is_of && rights.contains(&right)
        })
    }
}

/// Whose names somebody may write entries under, besides its own.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Others {
    Anyone,
    These(BTreeSet<Author>),
}

/// What a token is identified by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenId {
    /// Its `jti`.
    pub jti: Option<String>,
    /// When it was issued, in seconds since the Unix epoch; 0 if it does not say.
    pub issued_at: u64,
    /// When it expires, in seconds since the Unix epoch.
    pub expires_at: u64,
}

impl TokenId {
    /// When what it has opened ends, in seconds since the Unix epoch, if it is taken at the time `now`:
    /// a token that is taken after it has expired, because clocks differ, holds for as long as they may.
    #[must_use]
    pub fn ends_at(&self, now: u64) -> u64 {
        if now < self.expires_at { self.expires_at } else { self.expires_at + LEEWAY_S }
    }
}

/// What somebody may do, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// `None` on an open server: everything.
    rooms: Option<RoomRights>,
    others: Others,
    operations: BTreeSet<Operation>,
    namespace: Option<Namespace>,
    /// The token that gives it; `None` on an open server.
    pub token: Option<TokenId>,
}

impl Access {
    /// Everything, as anyone has it on an open server.
    #[must_use]
    pub fn open() -> Self {
        Self {
            rooms: None,
            others: Others::Anyone,
            operations: BTreeSet::new(),
            namespace: None,
            token: None,
        }
    }

    /// Nothing, as before a login.
    #[must_use]
    pub fn nothing() -> Self {
        let (rooms, others) = (Some(RoomRights::default()), Others::These(BTreeSet::new()));
        Self { rooms, others, ..Self::open() }
    }

    /// What a token gives. `others` is its claim `as`: names, or `*` for any.
    ///
    /// # Errors
    /// A sentence: a name in `others` is no author.
    pub fn of_token(
        token: TokenId,
        namespace: Option<Namespace>,
        rooms: RoomRights,
        others: &[String],
        operations: BTreeSet<Operation>,
    ) -> Result<Self, String> {
        let others = match others {
            [any] if any == "*" => Others::Anyone,
            names => Others::These(
                names
                    .iter()
                    .map(|name| {
                        Author::new(name).map_err(|why| format!("`as` has {name:?}: {why}"))
                    })
                    .collect::<Result<_, _>>()?,
            ),
        };
        Ok(Self { rooms: Some(rooms), others, operations, namespace, token: Some(token) })
    }

    /// The room that is meant by a name of the client.
    #[must_use]
    pub fn room(&self, named: &RoomName) -> RoomName {
        named.within(self.namespace.as_ref())
    }

    /// The namespace of all its rooms; empty if there is none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// Whether it has a right to a room, which may be of any namespace.
    #[must_use]
    pub fn may(&self, room: &RoomName, right: Right) -> bool {
        room.namespace() == self.namespace()
            && self.rooms.as_ref().is_none_or(|rooms| rooms.have(room.local(), right))
    }

    /// Whether `author` may write entries under the name of `other`.
    #[must_use]
    pub fn may_speak_for(&self, author: &Author, other: &Author) -> bool {
        author == other
            || match &self.others {
                Others::Anyone => true,
                Others::These(names) => names.contains(other),
            }
    }

    /// Whether it may do this at the operators' door.
    #[must_use]
    pub fn may_operate(&self, operation: Operation) -> bool {
        self.operations.contains(&operation)
    }

    /// The rooms that it may read, in byte order; no two ranges overlap.
    #[must_use]
    pub fn readable(&self) -> Vec<RoomRange> {
        let namespace = self.namespace.as_ref();
        let Some(RoomRights(rights)) = &self.rooms else {
            return vec![RoomRange::of_prefix(namespace, "")];
        };
        let readable = rights.iter().filter(|(_, rights)| rights.contains(&Right::Read));
        let mut ranges: Vec<_> = readable
            .filter_map(|(pattern, _)| match pattern.strip_suffix('*') {
                Some(prefix) => Some(RoomRange::of_prefix(namespace, prefix)),
                None => {
                    RoomName::new(pattern).ok().map(|it| RoomRange::of_room(&it.within(namespace)))
                }
            })
            .collect();
        // The larger one first, where two begin with the same name: names and prefixes nest, and
        // never overlap otherwise.
        ranges.sort_by(|one, other| one.from.cmp(&other.from).then(other.to.cmp(&one.to)));
        ranges.dedup_by(|later, earlier| later.to <= earlier.to);
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(json: &str) -> Result<RoomRights, String> {
        serde_json::from_str(json).map_err(|why| why.to_string())
    }

    fn access(rooms: &str, namespace: Option<&str>) -> Access {
        let token = TokenId { jti: None, issued_at: 0, expires_at: 0 };
        let namespace = namespace.map(|it| Namespace::new(it).expect("a namespace"));
        let rooms = rights(rooms).expect("rights");
        Access::of_token(token, namespace, rooms, &[], BTreeSet::new()).expect("an access")
    }

    fn room(name: &str) -> RoomName {
        RoomName::stored(name).expect("a room")
    }

    #[test]
    fn a_right_is_given_by_any_pattern_that_fits() {
        let access = access(r#"{"team-*":["read"],"team-a":["append"],"*":[]}"#, None);
        for (name, right, may) in [
            ("team-a", Right::Read, true),
            ("team-a", Right::Append, true),
            ("team-a", Right::Create, false),
            ("team-b", Right::Append, false),
            ("team", Right::Read, false),
            ("/acme/team-a", Right::Read, false),
        ] {
            assert_eq!(access.may(&room(name), right), may, "{name} {right:?}");
        }
    }

    #[test]
    fn a_pattern_is_a_name_or_a_beginning_and_a_star() {
        assert!(rights(r#"{"*":["read"],"a*":["admin","redact"],"a":["create"]}"#).is_ok());
        for bad in [
            r#"{"a*b":["read"]}"#,
            r#"{"":["read"]}"#,
            r#"{"**":["read"]}"#,
            r#"{"/acme/*":["read"]}"#,
            r#"{"a":["write"]}"#,
            r#"{"a":"read"}"#,
        ] {
            assert!(rights(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_may_be_read_is_ranges_that_do_not_overlap() {
        let access = access(
            r#"{"b*":["read"],"ba*":["read"],"b":["read"],"c":["append"],"a":["read"],"d":["read"]}"#,
            Some("acme"),
        );
        let ranges = access.readable();
        let acme = Namespace::new("acme").expect("a namespace");
        let of = |name: &str| RoomRange::of_room(&room(name));
        let prefix = RoomRange::of_prefix(Some(&acme), "b");
        assert_eq!(ranges, [of("/acme/a"), prefix, of("/acme/d")]);
        assert!(!Access::open().may(&room("/acme/a"), Right::Read));
        assert!(Access::open().may(&room("a"), Right::Create));
    }

    #[test]
    fn one_speaks_for_itself_and_for_whom_the_token_names() {
        let [ada, bob, eve] = ["ada", "bob", "eve"].map(|name| Author::new(name).expect("a name"));
        let token = || TokenId { jti: None, issued_at: 0, expires_at: 0 };
        let of = |others: &[&str]| {
            let others: Vec<_> = others.iter().map(|&name| name.to_owned()).collect();
            Access::of_token(token(), None, RoomRights::default(), &others, BTreeSet::new())
        };
        let some = of(&["bob"]).expect("an access");
        assert!(some.may_speak_for(&ada, &ada) && some.may_speak_for(&ada, &bob));
        assert!(!some.may_speak_for(&ada, &eve));
        assert!(of(&["*"]).is_ok_and(|any| any.may_speak_for(&ada, &eve)));
        assert!(of(&[" x"]).is_err());
    }
}

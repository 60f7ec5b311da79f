//! The names of rooms, and the namespaces that keep tenants of one server apart.
//!
//! ```text
//!  general           a room; its name on the wire and in the log
//!  /acme/general     the room `general` of the namespace `acme` in the log; on the wire `general`
//!  /~/revoked        a room of the server's own
//! ```
//!
//! Enters: a string from a client, a file or the journal. Leaves: a name, cheap to clone. Invariants:
//! rooms are compared and stored by their full name, and shown to clients without its namespace, which
//! a token adds to what its client names. No name on the wire has a `/`, so no client can name a room of
//! another namespace. Full names are sorted so that each namespace is a range, before all rooms that
//! have none.

use std::{borrow::Borrow, fmt, ops::Deref, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize, Serializer};

use crate::names::{NameError, check_length, text_impls};

const ROOM: &str = "room";
const NAMESPACE: &str = "namespace";

/// The namespace of the server's own rooms; clients cannot have it, because of its first character.
const SYSTEM: &str = "~";

/// The name of a room: 1–128 bytes of `A–Z a–z 0–9 - . _ ~ : @`, the first a letter or digit; perhaps in
/// a namespace. As a string it is the full name; [`fmt::Display`] and JSON show it as its clients do,
/// without the namespace.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct RoomName(Arc<str>);

/// A namespace: 1–32 bytes of `A–Z a–z 0–9 - . _`, the first a letter or digit.
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Namespace(Arc<str>);

/// A range of rooms by their full names: from the first, inclusive, to the last, exclusive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RoomRange {
    /// The first name that may be in it.
    pub from: String,
    /// The first name after it.
    pub to: String,
}

impl RoomName {
    /// The most bytes of a name without its namespace. A server's setting may be smaller, never larger.
    pub const MAX_BYTES: usize = 128;

    /// Checks the form of a name on the wire.
    ///
    /// # Errors
    /// [`NameError`]: the text is empty, too long, or has a character that is not allowed.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// Checks the form of a full name, as the journal and the archive hold it.
    ///
    /// # Errors
    /// [`NameError`]: the namespace or the name does not have its form.
    pub fn stored(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix('/').and_then(|rest| rest.split_once('/')) {
            Some((SYSTEM, name)) => check(name)?,
            Some((namespace, name)) => {
                Namespace::new(namespace)?;
                check(name)?;
            }
            None => check(text)?,
        }
        Ok(Self(text.into()))
    }

    /// A room of the server's own, which no client can name.
    ///
    /// # Errors
    /// As [`RoomName::new`].
    pub fn system(name: &str) -> Result<Self, NameError> {
        Self::stored(&format!("/{SYSTEM}/{name}"))
    }

    /// The room of this name in a namespace.
    #[must_use]
    pub fn within(&self, namespace: Option<&Namespace>) -> Self {
        namespace.map_or_else(|| self.clone(), |it| Self(format!("/{it}/{}", self.local()).into()))
    }

    /// Whether it is a room of the server's own.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.namespace() == SYSTEM
    }

    /// The full name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without its namespace.
    #[must_use]
    pub fn local(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// The namespace; empty if it has none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(namespace, _)| &namespace[1..])
    }
}

impl Namespace {
    /// The most bytes of a namespace.
    pub const MAX_BYTES: usize = 32;

    /// Checks the form.
    ///
    /// # Errors
    /// [`NameError`]: the text is empty, too long, or has a character that is not allowed.
    pub fn new(text: &str) -> Result<Self, NameError> {
        check_length(NAMESPACE, text, Self::MAX_BYTES)?;
        check_characters(NAMESPACE, text, b"-._")?;
        Ok(Self(text.into()))
    }
}

impl RoomRange {
    /// All rooms of a log, those of the server and of all namespaces too.
    #[must_use]
    pub fn every() -> Self {
        Self { from: String::new(), to: "\u{7f}".into() }
    }

    /// The rooms of a namespace whose names begin with this.
    #[must_use]
    pub fn of_prefix(namespace: Option<&Namespace>, prefix: &str) -> Self {
        let mut from = namespace.map_or_else(String::new, |it| format!("/{it}/")) + prefix;
        // Above all that a name may hold.
        let to = format!("{from}\u{7f}");
        if from.is_empty() {
            // A name begins with a letter or a digit, all of which are above `/`.
            from.push('0');
        }
        Self { from, to }
    }

    /// The pattern of all rooms, whatever their namespace.
    pub const ALL: &str = "/*";

    /// The rooms of a pattern: a name, or the beginning of names and `*`, of those without a namespace or,
    /// with `/acme/` before it, of the namespace `acme`; or [`RoomRange::ALL`], which has the server's own
    /// rooms too.
    ///
    /// # Errors
    /// [`NameError`]: the namespace or the name does not have its form.
    pub fn of_pattern(pattern: &str) -> Result<Self, NameError> {
        if pattern == Self::ALL {
            return Ok(Self::every());
        }
        let (namespace, local) = match pattern.strip_prefix('/').and_then(|it| it.split_once('/')) {
            Some((namespace, local)) => (Some(Namespace::new(namespace)?), local),
            None => (None, pattern),
        };
        let name = local.strip_suffix('*').unwrap_or(local);
        // `*` alone stands for all names.
        if !name.is_empty() || local.is_empty() {
            check(name)?;
        }
        Ok(if name.len() < local.len() {
            Self::of_prefix(namespace.as_ref(), name)
        } else {
            Self::of_room(&RoomName(pattern.into()))
        })
    }

    /// The room of this full name.
    #[must_use]
    pub fn of_room(room: &RoomName) -> Self {
        Self { from: room.as_str().into(), to: format!("{}\0", room.as_str()) }
    }

    /// What of it is after this room; all of it if there is none.
    #[must_use]
    pub fn after(self, room: Option<&RoomName>) -> Self {
        let Some(room) = room else { return self };
        let from = format!("{}\0", room.as_str()).max(self.from).min(self.to.clone());
        Self { from, to: self.to }
    }

    /// Whether a room is in it.
    #[must_use]
    pub fn holds(&self, room: &RoomName) -> bool {
        (self.from.as_str()..self.to.as_str()).contains(&room.as_str())
    }

    /// Whether no room is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from >= self.to
    }
}

fn check(name: &str) -> Result<(), NameError> {
    check_length(ROOM, name, RoomName::MAX_BYTES)?;
    check_characters(ROOM, name, b"-._~:@")
}

fn check_characters(what: &'static str, text: &str, others: &[u8]) -> Result<(), NameError> {
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte)) {
        let others =
            others.iter().map(|byte| format!(" {}", char::from(*byte))).collect::<String>();
        return Err(NameError::new(what, format!("may only hold A-Z a-z 0-9{others}")));
    }
    if !text.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return Err(NameError::new(what, "must begin with a letter or a digit"));
    }
    Ok(())
}

/// The name as its clients see it.
impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.local())
    }
}

/// The full name.
impl fmt::Debug for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Deref for RoomName {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for RoomName {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for RoomName {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl Borrow<str> for RoomName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for RoomName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.local())
    }
}

impl TryFrom<String> for RoomName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl FromStr for RoomName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl From<RoomName> for String {
    fn from(name: RoomName) -> Self {
        name.0.as_ref().into()
    }
}

text_impls!(Namespace);

impl Serialize for Namespace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl TryFrom<String> for Namespace {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(text: &str) -> RoomName {
        RoomName::stored(text).expect("a room")
    }

    fn refused<T: fmt::Debug>(result: Result<T, NameError>) -> String {
        result.expect_err("should be refused").to_string()
    }

    #[test]
    fn a_room_name_has_128_bytes_at_most_and_begins_with_a_letter_or_digit() {
        assert!(RoomName::new(&"r".repeat(128)).is_ok());
        assert_eq!(refused(RoomName::new(&"r".repeat(129))), "room has 129 bytes, more than 128");
        assert_eq!(refused(RoomName::new("")), "room is empty");
        assert_eq!(refused(RoomName::new("a b")), "room may only hold A-Z a-z 0-9 - . _ ~ : @");
        assert!(RoomName::new("a-._~:@Z9").is_ok());
        for bad in ["-a", ".a", "@a", "a/b", "/acme/a", "ä", "a\0"] {
            assert!(RoomName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_room_of_a_namespace_is_stored_by_its_full_name_and_shown_without() {
        let acme = Namespace::new("acme").expect("a namespace");
        let general = room("general").within(Some(&acme));
        assert!(general == "/acme/general" && general == room("/acme/general"));
        assert_eq!((general.local(), general.namespace()), ("general", "acme"));
        assert_eq!(general.to_string(), "general");
        assert_eq!(serde_json::to_string(&general).expect("JSON"), "\"general\"");
        assert_eq!((room("general").local(), room("general").namespace()), ("general", ""));
        for bad in ["/acme/", "//a", "/a", "/acme/a/b", "acme/a", "/-a/b", "/~/", "/a:b/c"] {
            assert!(RoomName::stored(bad).is_err(), "{bad:?}");
        }
        assert!(RoomName::system("revoked").is_ok_and(|room| room == "/~/revoked"));
        assert!(Namespace::new("~").is_err() && Namespace::new(&"n".repeat(33)).is_err());
    }

    #[test]
    fn a_range_holds_the_rooms_of_its_namespace_and_prefix_alone() {
        let acme = Namespace::new("acme").expect("a namespace");
        let rooms =
            ["/acme/a", "/acme/team-1", "/acmes/a", "/~/revoked", "0", "acme", "team-", "z~~"];
        let of = |range: RoomRange| {
            let holds = |name: &&&str| range.holds(&room(name));
            rooms.iter().filter(holds).copied().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(of(RoomRange::every()), rooms.join(" "));
        assert_eq!(of(RoomRange::of_prefix(None, "")), "0 acme team- z~~");
        assert_eq!(of(RoomRange::of_prefix(Some(&acme), "")), "/acme/a /acme/team-1");
        assert_eq!(of(RoomRange::of_prefix(Some(&acme), "team-")), "/acme/team-1");
        assert_eq!(of(RoomRange::of_prefix(None, "team-")), "team-");
        assert_eq!(of(RoomRange::of_room(&room("/acme/a"))), "/acme/a");
        let pattern = |text| RoomRange::of_pattern(text).map_or_else(|why| why.to_string(), of);
        assert_eq!(pattern("*"), "0 acme team- z~~");
        assert_eq!(pattern(RoomRange::ALL), rooms.join(" "));
        assert!(room("/~/revoked").is_system() && !room("/acme/a").is_system());
        assert_eq!(pattern("team-*"), "team-");
        assert_eq!(pattern("/acme/team*"), "/acme/team-1");
        assert_eq!(pattern("/acme/a"), "/acme/a");
        assert_eq!(pattern(""), "room is empty");
        assert_eq!(pattern("a*b"), "room may only hold A-Z a-z 0-9 - . _ ~ : @");
        assert_eq!(pattern("/~/*"), "namespace may only hold A-Z a-z 0-9 - . _");
        assert_eq!(of(RoomRange::every().after(Some(&room("acme")))), "team- z~~");
        assert!(RoomRange::of_room(&room("a")).after(Some(&room("a"))).is_empty());
        assert!(RoomRange::of_room(&room("a")).after(Some(&room("b"))).is_empty());
    }
}

//! What the readers produce, how they are configured, and the hashes in ids.

use std::{fmt, path::PathBuf, sync::Arc};

use encoding_rs::Encoding;
use jiff::tz::TimeZone;
use roomlog_protocol::{Author, EntryId, Kind};
use sha2::{Digest, Sha256};

/// How files are read, as far as they do not specify it themselves.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// Whether joins and other notices are imported.
    pub(crate) joins: bool,
    /// The time zone of times without one.
    pub(crate) zone: TimeZone,
    /// The encoding of text that is not UTF-8.
    pub(crate) encoding: Option<&'static Encoding>,
}

/// The position of a line, or of the beginning of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) path: Arc<PathBuf>,
    pub(crate) line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// How entries of a history refer to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Key {
    /// Which of the logs in the files: each has its own numbers.
    pub(crate) log: u32,
    pub(crate) number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) key: Key,
    /// Whether the entry is meaningless without it, as a reaction is and a reply is not.
    pub(crate) needed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Imported {
    pub(crate) author: Author,
    pub(crate) id: EntryId,
    pub(crate) kind: Kind,
    pub(crate) body: String,
    pub(crate) sent_at: Option<u64>,
    pub(crate) meta: Option<String>,
    pub(crate) reference: Option<Reference>,
    /// How other entries of the history refer to it.
    pub(crate) key: Option<Key>,
    /// When its text was last changed, if the history has it.
    pub(crate) edited_at: Option<u64>,
    /// Whether an equal line came before, in the same minute or second.
    pub(crate) duplicate: bool,
}

impl Imported {
    /// An entry without a reference; fails if the id or the kind is invalid.
    pub(super) fn new(
        author: Author,
        id: &str,
        kind: &str,
        body: String,
        sent_at: Option<u64>,
    ) -> Result<Self, String> {
        Ok(Self {
            author,
            id: EntryId::new(id).map_err(|why| why.to_string())?,
            kind: Kind::new(kind).map_err(|why| why.to_string())?,
            body,
            sent_at,
            meta: None,
            reference: None,
            key: None,
            edited_at: None,
            duplicate: false,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    Entry(Box<Imported>),
    /// A join, a part or another notice that was not asked for.
    Skipped,
    /// The last line has no newline, so it may be half written.
    Unfinished,
    /// No entry, for this reason.
    Unreadable(String),
    /// Not a line: a remark on the entries that follow.
    Note(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) line: Line,
    /// Whether it has replacement characters for bytes that are invalid in the encoding.
    pub(crate) mended: bool,
    /// How many bytes of all files were read up to here.
    pub(crate) bytes: u64,
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 64 bits, for a name that an id or an author cannot contain.
pub(super) fn short_hash(text: &str) -> String {
    hex(&Sha256::digest(text)[..8])
}

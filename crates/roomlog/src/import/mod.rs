//! Reading the history of another chat.
//!
//! ```text
//!  files ──► reader (a thread) ──► Item: an entry to append, or what became of a line
//!              irc · jsonl           bounded channel
//! ```
//!
//! Enters: files. Leaves: items in the order of the files. Invariant: every line that is not blank
//! comes out as exactly one item; nothing is dropped without being counted.

pub(crate) mod files;
pub(crate) mod histogram;
pub(crate) mod tally;

mod irc;
mod jsonl;
mod reader;

use std::{fmt, path::PathBuf, sync::Arc};

use roomlog_protocol::{Author, EntryId, Kind, Slot};

pub(crate) use reader::read;

/// Where a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The file.
    pub(crate) path: Arc<PathBuf>,
    /// The line, from 1.
    pub(crate) line: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// An entry as a file tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) author: Author,
    pub(crate) id: EntryId,
    pub(crate) kind: Kind,
    pub(crate) body: String,
    pub(crate) sent_at: Option<u64>,
    pub(crate) meta: Option<String>,
    /// The slot of the log it comes from that it is about.
    pub(crate) reference: Option<Slot>,
    /// Its slot in the log it comes from.
    pub(crate) slot: Option<Slot>,
    /// Whether the same was said before within its minute (or second).
    pub(crate) said_again: bool,
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Line {
    /// An entry.
    Entry(Box<Told>),
    /// A join, a part or another notice that was not asked for.
    Skipped,
    /// No entry, for this reason.
    Unreadable(String),
}

/// A line and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) line: Line,
    /// Whether it was not UTF-8, and is kept with replacement characters.
    pub(crate) mended: bool,
    /// How many bytes of all files were read up to here.
    pub(crate) bytes: u64,
}

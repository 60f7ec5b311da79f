//! Reading the history of another chat.
//!
//! ```text
//!  paths ──► files ──► recognise ──► reader (a thread) ──► Item: an entry to append, or what became of a line
//!                                     │ lines:    irc · irssi · weechat · jsonl      bounded channel
//!                                     └ messages: slack · discord · telegram
//! ```
//!
//! Enters: files. Leaves: items in the order of the files. Invariants: a file is read only as the one format that
//! it certainly has, or that was named; every line that is not blank, and every message, comes out as one item
//! (a message also as one for each reaction); nothing is dropped without being counted.

pub(crate) mod files;
pub(crate) mod histogram;
pub(crate) mod preview;
pub(crate) mod slots;
pub(crate) mod tally;
pub(crate) mod telling;

mod clock;
mod day;
mod discord;
mod draft;
mod eggdrop;
mod irc;
mod irssi;
mod jsonl;
mod lines;
mod messages;
mod open;
mod people;
mod reader;
mod recognise;
mod shape;
mod slack;
mod telegram;
mod weechat;

use std::{fmt, path::PathBuf, sync::Arc};

use encoding_rs::Encoding;
use jiff::tz::TimeZone;
use roomlog_protocol::{Author, EntryId, Kind};

pub(crate) use reader::read;

/// How the files are read, as far as they do not say it themselves.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// Whether joins and other notices are entries too.
    pub(crate) joins: bool,
    /// The zone of times that name none.
    pub(crate) zone: TimeZone,
    /// The encoding of what is not UTF-8.
    pub(crate) encoding: Option<&'static Encoding>,
}

/// Where a line stands, or where a message begins.
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

/// How the history names one of its entries, so that others can be about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Key {
    /// Which of the logs in the files: numbers begin again with the next one.
    pub(crate) log: u32,
    /// The number of the entry in that log.
    pub(crate) number: u64,
}

/// What an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) key: Key,
    /// Whether the entry means nothing without it; a reply still does.
    pub(crate) needed: bool,
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
    /// The entry of the same history that it is about.
    pub(crate) reference: Option<Reference>,
    /// How others of the history name it.
    pub(crate) key: Option<Key>,
    /// When its text was last changed there, where the history says so.
    pub(crate) edited_at: Option<u64>,
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
    /// The last line has no end, so it may be a part of a line.
    Unfinished,
    /// No entry, for this reason.
    Unreadable(String),
    /// Not a line: something to know about the entries that follow.
    Note(String),
}

/// A format whose files are lines.
trait Lines {
    /// Reads the next line of a file.
    fn line(&mut self, line: &str) -> Line;

    /// Whether a line without an end cannot be a part of one.
    fn is_whole(&self, _line: &str) -> bool {
        false
    }
}

/// A line and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) line: Line,
    /// Whether replacement characters stand for bytes that are no text in the encoding.
    pub(crate) mended: bool,
    /// How many bytes of all files were read up to here.
    pub(crate) bytes: u64,
}

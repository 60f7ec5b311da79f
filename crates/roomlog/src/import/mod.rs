//! Reads the history of another chat.
//!
//! ```text
//!  paths ──► files ──► detect ──► reader (a thread) ──► Item: an entry, or what became of a line
//!                                  │ lines:    irc · irssi · weechat · jsonl      bounded channel
//!                                  └ messages: slack · discord · telegram
//! ```
//!
//! Input: files. Output: items in the order of the files. A file is read only in the one format
//! that it certainly has or that was named. Every line that is not blank and every message gives an
//! item (a message also one per reaction); nothing is dropped without being counted.

pub(crate) mod files;

mod chat;
mod clock;
mod detect;
mod discord;
mod document;
mod format;
mod irc;
mod irssi;
mod item;
mod jsonl;
mod lines;
mod log;
mod open;
mod people;
mod reader;
mod slack;
mod telegram;
mod weechat;

pub(crate) use format::Format;
pub(crate) use item::{Imported, Item, Key, Line, Place, Reading, Reference};
pub(crate) use reader::read;

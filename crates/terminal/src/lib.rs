//! The terminal client of Roomlog: what `roomlog chat` shows.
//!
//! ```text
//!  keys, pastes ─► keys ─► app ─► draw ─► screen
//!                           │ ▲            (the terminal, given back on every way out)
//!                       asks│ │news
//!                           ▼ │
//!                          link ◄─► roomlog-client
//!
//!  app: rooms (heads, unread) · window (one run of slots) · view (which rows) · composer · unsent texts
//!  line, shown, text: an entry as rows, as it stands after edits, safe for a terminal
//! ```
//!
//! Invariant: it uses the public protocol and nothing else, holds a bounded part of a room, and never
//! waits for the server while a key waits for it.

mod acts;
mod app;
mod chat;
mod command;
mod composer;
mod draw;
mod help;
mod keys;
mod limits;
mod line;
mod link;
mod looks;
mod marks;
mod rooms;
mod screen;
mod shown;
pub mod text;
mod unsent;
mod view;
mod window;

pub use chat::{ChatError, run};

//! The terminal client of Roomlog, behind `roomlog chat`.
//!
//! ```text
//!  keys, pastes ─► keys ─► app ─► draw ─► screen (the terminal, restored on every exit)
//!                           │ ▲
//!                   requests│ │news
//!                           ▼ │
//!                          link ◄─► roomlog-client
//!
//!  app: rooms (heads, unread) · window (one run of slots) · view (which rows) · composer · unsent messages
//!  line, shown, text: an entry as rows, with its edits and reactions, safe for a terminal
//! ```
//!
//! Invariant: it uses only the public protocol, keeps a bounded part of a room in memory, and never
//! blocks a key on the server.

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
mod marks;
mod rooms;
mod screen;
mod shown;
mod style;
pub mod text;
mod unsent;
mod view;
mod window;

pub use chat::{ChatError, run};

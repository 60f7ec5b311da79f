//! The Rust client of Roomlog: it speaks the public protocol, and nothing else, over one WebSocket; whoever
//! has many appends for one room, and nothing to read, may send them as batches over HTTP.
//!
//! ```text
//!  Client, Follow, Watch, Pages   handles: what a program calls
//!        │ bounded channels
//!  driver                         one task: socket ⇄ session, reconnects with jittered backoff
//!        │ frames, losses, the clock
//!  session                        no I/O: outbox (appends), asks (reads, followings, watches), liveness
//!        │
//!  outbox · reads · timeline · watches   no I/O: order and exactly once; no gap goes unseen
//!
//!  Batches                        up to 1,000 appends a request, one on its way
//!        │
//!  http                           one connection
//! ```
//!
//! Invariant: appends to a room enter its log in the order they were made, each once, with the id they
//! were given first; a following hands on every entry once, in slot order, or says [`Followed::Reset`];
//! every question has its own answer, and none from another log than it was asked of. Every queue has a
//! bound.

mod address;
mod asks;
mod backoff;
mod batches;
mod client;
mod driver;
mod error;
mod feed;
mod following;
mod http;
mod liveness;
mod options;
mod pages;
mod reads;
mod session;
mod socket;
mod watches;

pub mod outbox;
pub mod timeline;

pub use address::{Address, AddressError};
pub use batches::Batches;
pub use client::{Client, Follow, Pending, Watch, draft};
pub use driver::State;
pub use error::{AppendError, ClientError};
pub use following::Followed;
pub use options::Options;
pub use outbox::{Committed, Outcome};
pub use pages::Pages;
pub use roomlog_protocol as protocol;
pub use timeline::{Reset, Start};

/// The page's example is one that compiles.
#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

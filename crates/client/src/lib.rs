//! The Rust client of Roomlog: appends to rooms, follows them and reads them over one WebSocket,
//! and reconnects by itself. [`Batches`] appends over HTTP, for imports.
//!
//! ```no_run
//! use roomlog_client::{
//!     Client, Followed, Options, Start, draft,
//!     protocol::{Author, RoomName},
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options::new("http://127.0.0.1:7400".parse()?, Author::new("ada")?);
//! let client = Client::connect(options).await?;
//! let room = RoomName::new("general")?;
//!
//! let committed = client.append(draft(room.clone(), "hello")).await?.await?;
//! println!("appended at slot {}", committed.appended.slot);
//!
//! let mut follow = client.follow(room, Start::Newest(10)).await?;
//! loop {
//!     if let Followed::Entries(entries) = follow.next().await? {
//!         entries.iter().for_each(|entry| println!("{} {}", entry.slot, entry.body()));
//!     }
//! }
//! # }
//! ```
//!
//! ```text
//!  Client, Follow, Watch, Pages   handles that a program calls
//!        │ bounded channels
//!  driver                         one task: socket ⇄ session, reconnects with jittered backoff
//!        │ frames, disconnects, the clock
//!  session                        no I/O: outbox (appends), requests (the others), liveness
//! ```
//!
//! Invariant: appends to a room enter its log in call order, each once; a follow delivers every
//! entry once, in slot order, or reports [`Followed::Reset`]; a request that names slots is never
//! answered from another log. Every queue is bounded.

mod address;
mod backoff;
mod batches;
mod client;
mod driver;
mod error;
mod feed;
mod http;
mod options;
mod pages;
mod reads;
mod requests;
mod session;
mod shared;
mod socket;
mod token;
mod transport;
mod trust;
mod watches;

pub mod outbox;
pub mod timeline;

pub use address::{Address, AddressError};
pub use batches::Batches;
pub use client::{Client, Follow, Pending, Watch, draft};
pub use error::{AppendError, ClientError};
pub use http::{GetError, get};
pub use options::Options;
pub use outbox::{Committed, Outcome};
pub use pages::Pages;
pub use roomlog_protocol as protocol;
pub use shared::State;
pub use timeline::{Followed, Reset, Start};
pub use token::TokenSource;
pub use trust::{TlsProblem, Trust, TrustError};

/// Compiles the example in the README.
#[doc = include_str!("../README.md")]
#[cfg(doctest)]
struct Readme;

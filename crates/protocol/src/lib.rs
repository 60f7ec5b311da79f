//! The Roomlog protocol, version 1, as types: what `docs/PROTOCOL.md` defines, and nothing else.
//!
//! ```text
//!  bytes of a client's frame ──► client::parse ──► ClientFrame (ClientAppend, ClientUpdate, …)
//!                                     │ refused
//!                                     └──────────► Refusal {code, message, what could be read}
//!  ServerFrame (ServerAck, ServerReply, …) ──► write_json ──► bytes to a client, and back
//! ```
//!
//! Invariant: a value of a name type ([`RoomName`], [`Author`], [`EntryId`], [`Kind`]) is valid;
//! nobody checks it again. This crate has no clock, socket or disk.

pub mod client;
mod commitment;
mod content;
pub mod digest;
pub mod entry;
pub mod error;
pub mod json;
pub mod limits;
pub mod manifest;
pub mod names;
pub mod object;
mod plain;
mod removal;
pub mod rooms;
pub mod server;
mod visible;

pub use client::{ClientAppend, ClientFrame, ClientUpdate, Join, Login, Span};
pub use commitment::{Commitment, Salt};
pub use content::{Body, Content};
pub use digest::Digest;
pub use entry::{Entry, Latest, Slot};
pub use error::{CloseCode, ErrorCode, Refusal};
pub use json::write_json;
pub use limits::Limits;
pub use manifest::{BackupLine, HeadsDigest, MANIFEST_FILE, MANIFEST_FORMAT, Manifest, PART};
pub use names::{Author, EntryId, Kind, NameError};
pub use removal::{ERASE_SLOTS, Removal};
pub use rooms::{Namespace, RoomName, RoomRange};
pub use server::{
    Appended, BatchLine, ErrorFrame, Heads, Hello, Placed, Reply, ServerAck, ServerFrame,
    ServerReply,
};
pub use visible::is_visible;

/// The WebSocket subprotocol that both sides name.
pub const SUBPROTOCOL: &str = "roomlog.v1";
/// The version that `hello.protocol` carries.
pub const PROTOCOL_VERSION: u32 = 1;

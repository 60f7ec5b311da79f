//! TLS of the public listener, by rustls: no task and no channel per connection.
//!
//! ```text
//!  files: certificate, key ──► Tls ──► a TlsSession per connection (in memory, no I/O)
//!                                         ▲ ciphertext
//!                             TCP ◄──► TlsStream ◄──► plaintext: HTTP, then WebSocket frames
//! ```
//!
//! Enters: two PEM files; the bytes of a socket. Leaves: what the client sent, or why that is not TLS.
//! Invariants: nothing is served in the clear; what a session may hold is bounded by [`TLS_BYTES`];
//! a reload changes new handshakes only.

mod files;
mod session;
mod stream;

pub use self::files::{Stamps, Tls, TlsError};
pub(crate) use self::{
    session::{TLS_BYTES, TlsSession},
    stream::TlsStream,
};

//! Who may do what: tokens in the form of JSON Web Tokens, by the rules of RFC 8725.
//!
//! ```text
//!  key files, JWK sets ──► Keys ─┐
//!  token, time ──────────────────┴► Verifier ──► (Author, Access)
//!                                                   │ Revocations: is it revoked?
//!                                                   └ may(room, right), readable(), may_speak_for(…)
//! ```
//!
//! Enters: the text of tokens, keys and revocations, and the time. Leaves: an author and what it may do,
//! or why not. Invariants: a key fixes its algorithm, never a token; nothing of a token counts before its
//! signature is checked. This crate has no clock, socket or file.

pub mod access;
pub mod keys;
pub mod revoked;
pub mod token;

pub use access::{Access, Operation, Right, RoomRights, TokenId};
pub use keys::{KeyError, Keys, SigningKey};
pub use revoked::{Revocation, Revocations};
pub use token::{Claims, Rules, TokenError, Verifier};

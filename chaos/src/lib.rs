//! Clusters under faults: real NATS servers and real nodes on loopback, writers that append while
//! processes are killed, stopped and cut off, and the checker over all frames.
//!
//! ```text
//!  writers ──WebSocket──► nodes ──proxies──► NATS servers ──proxies──► each other
//!     └── every frame ──► recorder ──► checker ◄── every node's log, at the end
//! ```
//!
//! Enters: a [`Plan`]. Leaves: an [`Outcome`]. Invariant: writers do what PROTOCOL.md requires of a
//! client and no more; a run passes if every append was acked and no guarantee was violated.
//!
//! Besides, one server that is killed ([`crash`]), its files with a flipped bit ([`flips`]), and one under
//! hostile clients ([`hostile`]).
#![allow(clippy::print_stderr, reason = "a command-line tool")]

pub mod crash;
mod disk;
mod fault;
mod fleet;
pub mod flips;
pub mod hostile;
mod node;
mod plan;
mod proxy;
mod reading;
mod run;
mod writer;

pub use plan::{Fault, Plan};
pub use proxy::Proxy;
pub use run::{Outcome, run};

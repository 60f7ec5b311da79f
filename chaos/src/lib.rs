//! Clusters under faults: real NATS servers and real nodes on loopback, clients that write while things are
//! killed, stopped and cut, and the checker over all that went over the wires.
//!
//! ```text
//!  writers ──WebSocket──► nodes ──proxies──► NATS servers ──proxies──► each other
//!     └── every frame ──► recorder ──► checker ◄── every node's log, at the end
//! ```
//!
//! Enters: a [`Plan`]. Leaves: an [`Outcome`]. Invariant: writers keep to PROTOCOL.md's "What a client
//! does" and nothing else; a run is good when every append was acked and no promise is broken.
#![allow(clippy::print_stderr, reason = "a tool that ends with its terminal")]

mod disk;
mod fault;
mod fleet;
mod node;
mod proxy;
mod reading;
mod recorder;
mod run;
mod writer;

pub use fault::Fault;
pub use proxy::Proxy;
pub use run::{Outcome, Plan, run};

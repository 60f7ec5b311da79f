//! The gateway: WebSocket and HTTP in front of a node, as `docs/PROTOCOL.md` says.
//!
//! ```text
//!  listener ──► http ──► upgrade ──► connection (a task per socket)
//!                 └─► reads, appends one by one and in batches, events, health, the page
//! ```
//!
//! Invariant: frames are parsed and limited here, at the door, and nowhere behind it. Knows no SQL and
//! no NATS: it is given a node.

mod clock;
mod config;
mod connection;
mod gateway;
mod guard;
mod head_clock;
mod http;
mod metrics;
mod outcome;
mod patient;
mod timed_journal;
mod upgrade;
mod wire;

pub use config::Config;
pub use gateway::run;
pub use metrics::Metrics;

//! The gateway: WebSocket and HTTP in front of a node, as `docs/PROTOCOL.md` says.
//!
//! ```text
//!  public ──► listener ──► http ──► upgrade ──► connection (a task per socket)
//!                            └─► reads, appends one by one and in batches, events, health, the page
//!  door ────► listener ──► http ──► metrics, backups, health
//! ```
//!
//! Invariant: frames and requests are parsed and limited here, and nowhere else. Knows no SQL and no
//! NATS: it is given a node.

mod admission;
mod audit;
mod auth;
mod config;
mod connection;
mod erasing;
mod gateway;
mod guard;
mod http;
mod limited;
mod listener;
mod metric_registry;
mod metrics;
mod outcome;
mod page_cache;
mod pending;
mod principals;
mod proxies;
mod rates;
mod retention;
mod stream;
mod timeouts;
mod tls;
mod transport;
mod upgrade;
mod wire;

pub use auth::{KeySource, Tokens};
pub use config::Config;
pub use listener::{Door, Public, run};
pub use metrics::Metrics;
pub use proxies::Proxies;
pub use retention::{Retention, RetentionRule};
pub use tls::{Stamps, Tls, TlsError};
pub use transport::{Transport, TransportStream, Transports};

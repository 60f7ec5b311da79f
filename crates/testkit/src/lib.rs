//! What tests and benchmarks of several crates share. No crate that users get depends on it.
//!
//! - [`memory`]: a journal and an archive in memory, the shortest reading of their contracts;
//! - [`suites`]: the tests that every journal and every archive passes;
//! - [`fixtures`]: rooms, proposals, commits and windows in few words;
//! - [`nats`]: NATS servers on loopback.

pub mod fixtures;
pub mod memory;
pub mod nats;
pub mod suites;

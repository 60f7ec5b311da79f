//! Engines in memory: the contracts in the fewest words, for tests and the simulation.

mod archive;
mod journal;

pub use archive::MemoryArchive;
pub use journal::MemoryJournal;

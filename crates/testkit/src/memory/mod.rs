//! Engines that hold everything in memory: what the contracts mean, in the fewest words; for tests
//! and for the simulation.

mod archive;
mod journal;

pub use archive::MemoryArchive;
pub use journal::MemoryJournal;

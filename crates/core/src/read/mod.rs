//! From the log to its readers: recent commits in memory, older ones from the archive. Invariant: a
//! reader never sees a slot before it is durable, and never a gap.

pub(crate) mod delivery;
pub mod follower;
pub mod heads;
pub(crate) mod held;
pub mod interests;
pub mod reader;
pub(crate) mod rooms;
pub mod tail;

//! The checker: what clients sent and were sent, as it went over the wire, held against the promises of
//! `docs/PROTOCOL.md`. It shares no code with the server and knows nothing but that page.
//!
//! ```text
//!  frames sent and received, by time ──┐
//!  at the end, every node's whole log ─┴─► what breaks a promise, a sentence each
//! ```
//!
//! Enters: [`History`]. Leaves: a [`Report`]. What is held against it:
//!
//! | promise | here |
//! |---|---|
//! | no hole | a node's log is slots 0, 1, 2, … to its `latest` |
//! | one order | all nodes' logs are equal, entry by entry and in their digests, which are computed here |
//! | exactly once | an author's id stands once in a room; what stands there was sent, as it was sent |
//! | acked is durable | what was `appended` stands at its slot with its time |
//! | every view is a prefix | each entry that anyone was ever sent is the one at its slot |
//! | no gap goes unseen | what a following sends is one slot after the other |
//! | cause before effect | an append that was first sent after anyone was sent slot s stands behind s |
//! | order of a connection | what an author sent first stands before what it sent then |
//! | not answered from behind | a reply to `seen` or `after` s has `latest` ≥ s |

mod digest;
mod frame;
mod logs;
mod report;
mod walk;

pub use frame::{Direction, Frame};
pub use report::{Report, check};

/// What was seen of a run.
#[derive(Debug, Default)]
pub struct History {
    /// What went over the wires, in the order of its time, as one clock saw it.
    pub frames: Vec<Frame>,
    /// For each node, the `reply` frames that hold all of its rooms, from slot 0 on.
    pub logs: Vec<NodeLog>,
}

/// The replies of a node that make up its whole log.
#[derive(Debug, Clone, Default)]
pub struct NodeLog {
    /// What it is called in the report.
    pub node: String,
    /// `reply` frames, each room's in slot order.
    pub replies: Vec<String>,
}

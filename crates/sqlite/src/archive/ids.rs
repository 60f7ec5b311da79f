//! The ids: which entry has the id of an append.
//!
//! ```text
//!  a fold's ids ──sorted by hash──► a segment: 2^bits buckets, and a filter over all of them
//!  find ──► the filter of each segment: almost always "not here" ──► its bucket ──► the entry
//!  small segments ──merged, a few thousand ids per fold──► a large one
//! ```
//!
//! Enters: (hash of room, author and id; key of the entry). Leaves: the keys of a hash, which the
//! caller compares with the entries. Invariants: a segment never changes; the archive's state lists
//! those that count; a changed or missing bucket is an error.

mod bucket;
mod filter;
mod merge;
mod segment;
mod segments;

pub(super) use self::{
    bucket::IdAt,
    merge::Upkeep,
    segment::{Segment, SegmentBuilder},
    segments::{Ids, entries_of, hash, open, suspects},
};

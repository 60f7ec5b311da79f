//! The contracts of the engines as tests, which every engine runs. A suite takes a factory of an
//! engine, and panics at the first violation.

pub mod archive;
pub mod journal;

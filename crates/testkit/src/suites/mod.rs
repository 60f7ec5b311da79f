//! What every engine must do, as tests that every engine runs. A suite panics at the first thing
//! that is not so; it is called with a way to make an engine, and to open it again.

pub mod archive;
pub mod journal;

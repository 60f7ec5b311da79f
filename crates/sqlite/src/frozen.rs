//! The mark that lets no start go on with a directory, and says why.
//!
//! Enters: a reason, from a process that holds the directory. Leaves: a refusal at each start, with it.
//! Invariant: the mark is on stable storage before whoever made it goes on.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use crate::directory::OpenError;

const FROZEN: &str = "frozen";

/// Refuses a directory that is marked.
pub(crate) fn check(path: &Path) -> Result<(), OpenError> {
    match fs::read_to_string(path.join(FROZEN)) {
        Ok(why) => Err(OpenError::Frozen { path: path.into(), why: why.trim().into() }),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(OpenError::Io { path: path.into(), error }),
    }
}

/// Marks a directory.
pub(crate) fn freeze(path: &Path, why: &str) -> io::Result<()> {
    let mut file = File::create(path.join(FROZEN))?;
    writeln!(file, "{why}")?;
    file.sync_all()?;
    File::open(path)?.sync_all()
}

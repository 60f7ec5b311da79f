//! Marks in a directory: the one that lets no start go on with it, and why; and where a move of it goes.
//!
//! Enters: a reason or a place, from a process that holds the directory. Leaves: a refusal at each start, or
//! the place that was named first. Invariant: a mark is on stable storage before whoever made it goes on.

use std::{fs, io, path::Path};

use crate::{directory::OpenError, node_file};

pub(crate) const FROZEN: &str = "frozen";

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
    node_file::replace(path, FROZEN, &format!("{why}\n"))
}

/// What a move in a directory is called, or where it goes to: the first to say so is kept.
///
/// # Errors
/// When it cannot be read or written.
pub fn claim(directory: &Path, file: &str, wanted: &str) -> io::Result<String> {
    match fs::read_to_string(directory.join(file)) {
        Ok(there) => return Ok(there.trim().to_owned()),
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        Err(_) => {}
    }
    fs::create_dir_all(directory)?;
    node_file::replace(directory, file, &format!("{wanted}\n"))?;
    Ok(wanted.to_owned())
}

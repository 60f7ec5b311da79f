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

/// What a move in a directory is called, or where it goes to: the first to say so is kept.
///
/// # Errors
/// When it cannot be read or written.
pub fn claim(directory: &Path, file: &str, wanted: &str) -> io::Result<String> {
    let path = directory.join(file);
    match fs::read_to_string(&path) {
        Ok(there) => return Ok(there.trim().to_owned()),
        Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
        Err(_) => {}
    }
    fs::create_dir_all(directory)?;
    let fresh = directory.join(format!("{file}.new"));
    let mut written = File::create(&fresh)?;
    writeln!(written, "{wanted}")?;
    written.sync_all()?;
    fs::rename(&fresh, &path)?;
    File::open(directory)?.sync_all()?;
    Ok(wanted.to_owned())
}

//! `roomlog verify --data DIR`: the directory of a stopped server, without a server.

use std::{path::Path, process::ExitCode};

use roomlog_protocol::RoomName;

use crate::failure::Failure;

/// Checks the rooms in a directory, or this one alone; writes nothing.
///
/// # Errors
/// Why it cannot be checked.
pub(crate) fn verify_directory(dir: &Path, _room: Option<&RoomName>) -> Result<ExitCode, Failure> {
    Err(Failure::said(format!(
        "cannot check {}: this version verifies running servers only; leave out --data",
        dir.display()
    )))
}

//! An archive that goes on in another log: step 2 of a restore.
//!
//! Enters: the file of a backup, the name of the new log. Leaves: the same file, of that log, on stable
//! storage. Invariant: it holds what counts and nothing else. A backup that was copied between two
//! transactions of a fold has entries behind the ends of rooms; in its own log they would be written
//! again, the same, but in a new log others come in their place.

use std::path::Path;

use roomlog_core::archive::ArchiveError;
use rusqlite::Connection;

use super::{entries, failed, rooms};
use crate::{
    pragma::{self, Sync},
    sql,
};

/// Makes the archive that of another log.
pub(crate) fn rename(file: &Path, log: &str) -> Result<(), ArchiveError> {
    let mut archive = pragma::open_writer(file, Sync::Full).map_err(|error| failed(&error))?;
    // It passes over errors; the copy below does not.
    archive.pragma_update(None, "wal_autocheckpoint", 0).map_err(|error| failed(&error))?;
    if super::read_log(&archive)?.as_deref() != Some(log) {
        begin(&mut archive, log)?;
    }
    pragma::checkpoint_truncate(&archive).map_err(|error| failed(&error))
}

fn begin(archive: &mut Connection, log: &str) -> Result<(), ArchiveError> {
    let transaction = archive.transaction().map_err(|error| failed(&error))?;
    rooms::each(&transaction, |name, room| {
        entries::cut(&transaction, name, room.number, room.head.end)
    })?;
    transaction.execute(sql::SET_LOG, [log]).map_err(|error| failed(&error))?;
    transaction.commit().map_err(|error| failed(&error))
}

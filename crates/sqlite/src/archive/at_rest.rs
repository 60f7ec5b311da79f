//! The archive's file while nobody serves it: what it holds, and its new log in a restore.

use std::{fs, path::Path};

use roomlog_core::{archive::ArchiveError, journal::Position};
use roomlog_protocol::{HeadsDigest, MANIFEST_FORMAT, Manifest, RoomName, RoomRange};
use rusqlite::Connection;

use super::{
    durable::Checkpoints,
    entries::Runs,
    rooms,
    sql::{self, failed},
    state::{State, of_format, read_log},
};
use crate::{
    error::check_format,
    pragma::{self, Durability},
};

const HEADS: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArchiveFile {
    pub(crate) log: String,
    /// The position of partition 0.
    pub(crate) applied: Position,
}

/// Reads what an archive holds, and changes nothing; `None` if there is no file or no log in it.
pub(crate) fn inspect(path: &Path) -> Result<Option<ArchiveFile>, ArchiveError> {
    if !path.exists() {
        return Ok(None);
    }
    let file = pragma::open_stopped(path, &sql::SCHEMA).map_err(failed)?;
    let Some((log, format)) = pragma::log_of(&file).map_err(failed)? else { return Ok(None) };
    check_format(format, sql::FORMAT).map_err(of_format)?;
    let applied = State::read(&file)?.applied(0).position;
    Ok(Some(ArchiveFile { log, applied }))
}

/// The manifest of an archive, without `sha256`; `taken_at` is in ms since the epoch.
pub(crate) fn manifest(path: &Path, taken_at: u64) -> Result<Manifest, ArchiveError> {
    let found = inspect(path)?;
    let found = found.ok_or_else(|| ArchiveError::Failed("archive.db: it holds no log".into()))?;
    let file = pragma::open_stopped(path, &sql::SCHEMA).map_err(failed)?;
    let (mut digest, mut count, mut entries) = (HeadsDigest::default(), 0, 0);
    let mut after: Option<RoomName> = None;
    loop {
        let heads = rooms::of(&file, &RoomRange::every().after(after.as_ref()), HEADS)?;
        let Some((last, _)) = heads.last() else { break };
        after = Some(last.clone());
        for (room, head) in &heads {
            digest.room(room, head.end, &head.digest);
            count += 1;
            entries += head.end;
        }
    }
    let bytes =
        fs::metadata(path).map_err(|why| ArchiveError::Failed(format!("archive.db: {why}")))?;
    Ok(Manifest {
        format: MANIFEST_FORMAT,
        log: found.log,
        position: found.applied.0,
        rooms: count,
        entries,
        digest: digest.finish(),
        taken_at,
        archive_bytes: bytes.len(),
        sha256: None,
    })
}

/// Makes the archive of a backup that of a new log, on stable storage, without entries beyond the
/// heads of rooms. A backup that was copied between two transactions of a fold has such entries:
/// its own log would write the same again, but a new log writes others in their place.
pub(crate) fn rename(file: &Path, log: &str) -> Result<(), ArchiveError> {
    let mut archive = pragma::open_writer(file, &sql::SCHEMA, Durability::Full).map_err(failed)?;
    let checkpoints = Checkpoints::install(&mut archive, file)?;
    if read_log(&archive)?.as_deref() != Some(log) {
        begin(&mut archive, log)?;
    }
    checkpoints.empty_wal(&archive).map(drop)
}

fn begin(archive: &mut Connection, log: &str) -> Result<(), ArchiveError> {
    let transaction = archive.transaction().map_err(failed)?;
    rooms::each(&transaction, |name, room, _| {
        let runs = Runs { connection: &transaction, room: &name, number: room.number };
        runs.cut(room.head.end)
    })?;
    transaction.execute(sql::SET_LOG, [log]).map_err(failed)?;
    transaction.commit().map_err(failed)
}

//! What an archive's file holds, in numbers and one digest: the manifest of a backup.
//!
//! Enters: a file that nobody writes to. Leaves: its manifest, without `sha256`. Invariant: nothing is
//! changed.

use std::{fs, path::Path};

use roomlog_core::archive::ArchiveError;
use roomlog_protocol::{HeadsDigest, MANIFEST_FORMAT, Manifest, RoomName};

use super::{failed, rooms};
use crate::peek;

/// How many heads are read at once.
const HEADS: usize = 1_000;

/// The manifest of an archive's file, taken at this time (ms since the epoch).
pub(crate) fn manifest(path: &Path, taken_at: u64) -> Result<Manifest, ArchiveError> {
    let facts = peek::archive(path)?;
    let facts = facts.ok_or_else(|| ArchiveError::Failed("archive.db: it holds no log".into()))?;
    let file = peek::open(path).map_err(|error| failed(&error))?;
    let (mut digest, mut count, mut entries) = (HeadsDigest::default(), 0, 0);
    let mut after: Option<RoomName> = None;
    loop {
        let heads = rooms::after(&file, after.as_ref(), HEADS)?;
        let Some((last, _)) = heads.last() else { break };
        after = Some(last.clone());
        for (room, head) in &heads {
            digest.room(room, head.end, &head.digest);
            count += 1;
            entries += head.end;
        }
    }
    let bytes =
        fs::metadata(path).map_err(|why| ArchiveError::Failed(format!("archive.db: {why}")));
    Ok(Manifest {
        format: MANIFEST_FORMAT,
        log: facts.log,
        position: facts.applied.0,
        rooms: count,
        entries,
        digest: digest.finish(),
        taken_at,
        archive_bytes: bytes?.len(),
        sha256: None,
    })
}

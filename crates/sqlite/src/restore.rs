//! A backup becomes a directory that can be served: the log of a restore.
//!
//! ```text
//!  archive (log L) + manifest (L, position A)
//!    1  journal.db: a new log N, empty, behind A; it names L and A     written aside, fsynced, renamed
//!    2  archive.db: its log becomes N                                  committed with FULL, checkpointed
//!    3  node: gone, so that this is a node of its own
//!    4  manifest.json becomes restored.json
//! ```
//!
//! Enters: a backup that was compared with its manifest. Leaves: a directory that starts as any other.
//! Invariants: each step may be the last before a crash, and is passed over when it is done already; N is
//! chosen in step 1, for good; nothing is served before step 4.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::Path,
};

use roomlog_core::{block, journal::JournalError};
use roomlog_protocol::{Digest, MANIFEST_FILE, Manifest};
use rusqlite::params;
use sha2::{Digest as _, Sha256};

use crate::{
    archive,
    directory::{ARCHIVE, JOURNAL, OpenError},
    journal, node_file, peek,
    peek::JournalFacts,
    pragma::{self, Sync},
};

/// Where a manifest stays when its backup was restored.
pub(crate) const RESTORED: &str = "restored.json";

/// A journal that is not whole yet.
pub(crate) const NEW_JOURNAL: &str = "journal.new";

/// How much of a file is hashed at once.
const READ_BYTES: usize = 256 << 10;

type Step = fn(&Path, &Manifest) -> Result<(), OpenError>;

/// The steps of a restore, each of which may be done already.
const STEPS: [Step; 4] = [begin_journal, rename_archive, forget_node, put_manifest_away];

/// Restores a backup, or finishes that.
pub(crate) fn restore(path: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    if peek::journal(&path.join(JOURNAL))?.is_none() {
        compare(path, manifest)?;
    }
    STEPS.iter().try_for_each(|step| step(path, manifest))
}

/// Takes a backup that stands beside its own journal: the same log goes on.
pub(crate) fn go_on(
    path: &Path,
    manifest: &Manifest,
    journal: &JournalFacts,
) -> Result<(), OpenError> {
    compare(path, manifest)?;
    has_no_hole(path, journal)?;
    put_manifest_away(path, manifest)
}

/// Compares an archive's file with its manifest: every byte, and what they say.
pub(crate) fn compare(path: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    let differs = |why: String| OpenError::Manifest { path: path.into(), why };
    let file = path.join(ARCHIVE);
    let now = archive::heads::manifest(&file, manifest.taken_at)?;
    let parts = [
        ("log", now.log == manifest.log, format!("{} and {}", manifest.log, now.log)),
        (
            "position",
            now.position == manifest.position,
            format!("{} and {}", manifest.position, now.position),
        ),
        (
            "bytes",
            now.archive_bytes == manifest.archive_bytes,
            format!("{} and {}", manifest.archive_bytes, now.archive_bytes),
        ),
        ("rooms", now.rooms == manifest.rooms, format!("{} and {}", manifest.rooms, now.rooms)),
        (
            "entries",
            now.entries == manifest.entries,
            format!("{} and {}", manifest.entries, now.entries),
        ),
        (
            "digest over all heads",
            now.digest == manifest.digest,
            format!("{} and {}", manifest.digest, now.digest),
        ),
    ];
    if let Some((what, _, values)) = parts.iter().find(|(_, same, _)| !same) {
        return Err(differs(format!("{what} of manifest.json and archive.db differ: {values}")));
    }
    let told = manifest.sha256.ok_or_else(|| differs("it has no sha256".into()))?;
    let read = sha256(&file).map_err(|error| OpenError::Io { path: path.into(), error })?;
    if told != read {
        return Err(differs(format!(
            "SHA-256 of archive.db is {read}, and not {told}: the file was changed or is damaged"
        )));
    }
    Ok(())
}

fn sha256(path: &Path) -> io::Result<Digest> {
    let (mut file, mut sha) = (File::open(path)?, Sha256::new());
    let mut bytes = vec![0; READ_BYTES];
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(Digest(sha.finalize().into())),
            read => sha.update(&bytes[..read]),
        }
    }
}

/// Whether a journal has every block from its first to its head, and stands with the `node` file of the
/// process that wrote it: a copy made earlier does not.
fn has_no_hole(path: &Path, facts: &JournalFacts) -> Result<(), OpenError> {
    let refused = |why: String| OpenError::NotProven { path: path.into(), why };
    let failed =
        |error: rusqlite::Error| JournalError(format!("journal.db: cannot be read: {error}"));
    let file = peek::open(&path.join(JOURNAL)).map_err(failed)?;
    let (first, head) = (facts.first, facts.head);
    let count = "SELECT count(*) FROM blocks WHERE position >= ?1";
    let there: i64 =
        file.query_row(count, [first.0.cast_signed()], |row| row.get(0)).map_err(failed)?;
    if there.cast_unsigned() != head.0 + 1 - first.0 {
        return Err(refused(format!(
            "journal.db has {there} blocks between its first position {first} and its last {head}"
        )));
    }
    let node = node_file::read(path).map_err(|error| OpenError::Io { path: path.into(), error })?;
    let Some((node, incarnation)) = node else {
        return Err(refused(
            "no `node` file stands with journal.db, so it may be a copy that was made before its log \
             ended"
                .into(),
        ));
    };
    if there == 0 {
        return Ok(());
    }
    let newest = "SELECT block FROM blocks ORDER BY position DESC LIMIT 1";
    let newest: Vec<u8> = file.query_row(newest, [], |row| row.get(0)).map_err(failed)?;
    let newest = block::decode(&newest);
    let newest = newest.map_err(|why| refused(format!("position {head} of journal.db: {why}")))?;
    if newest.name.node == node && newest.name.incarnation <= incarnation {
        return Ok(());
    }
    Err(refused("the `node` file is not that of the process that wrote journal.db last".into()))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Step 1. An unfinished file of this step was never served.
fn begin_journal(path: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: path.into(), error };
    if peek::journal(&path.join(JOURNAL))?.is_some() {
        return Ok(());
    }
    let new = path.join(NEW_JOURNAL);
    sweep(path, NEW_JOURNAL).map_err(io)?;
    // Empty, of a start that a crash cut off before it had a log.
    sweep(path, JOURNAL).map_err(io)?;
    journal::begin_behind(&new, &manifest.log, manifest.position)
        .map_err(|error| journal::failed("cannot be made", &error))?;
    let rename = || {
        File::open(&new)?.sync_all()?;
        fs::rename(&new, path.join(JOURNAL))?;
        sync_directory(path)
    };
    rename().map_err(io)
}

/// Removes a database file and what stands beside it.
pub(crate) fn sweep(path: &Path, file: &str) -> io::Result<()> {
    for end in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(path.join(format!("{file}{end}"))) {
            Err(why) if why.kind() != io::ErrorKind::NotFound => return Err(why),
            _ => {}
        }
    }
    Ok(())
}

/// Step 2.
fn rename_archive(path: &Path, _: &Manifest) -> Result<(), OpenError> {
    let facts = peek::journal(&path.join(JOURNAL))?;
    let facts = facts.ok_or_else(|| JournalError("journal.db: it holds no log".into()))?;
    let file = path.join(ARCHIVE);
    let rename = || {
        let archive = pragma::open_writer(&file, Sync::Full)?;
        archive.execute("UPDATE log SET id = ?1 WHERE id <> ?1", params![facts.log])?;
        pragma::checkpoint_truncate(&archive)
    };
    rename().map_err(|error: rusqlite::Error| archive::failed(&error))?;
    let sync = || {
        File::open(&file)?.sync_all()?;
        sync_directory(path)
    };
    sync().map_err(|error| OpenError::Io { path: path.into(), error })
}

/// Step 3.
fn forget_node(path: &Path, _: &Manifest) -> Result<(), OpenError> {
    node_file::forget(path).map_err(|error| OpenError::Io { path: path.into(), error })
}

/// Step 4.
fn put_manifest_away(path: &Path, _: &Manifest) -> Result<(), OpenError> {
    let rename = || {
        fs::rename(path.join(MANIFEST_FILE), path.join(RESTORED))?;
        sync_directory(path)
    };
    rename().map_err(|error| OpenError::Io { path: path.into(), error })
}

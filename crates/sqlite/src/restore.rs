//! A backup becomes a directory that can be served: the log of a restore.
//!
//! ```text
//!  archive (log L) + manifest (L, position A)
//!    1  journal.db: a new log N, empty, behind A; it names L and A     written aside, fsynced, renamed
//!    2  archive.db: its log becomes N, without what does not count     committed with FULL, checkpointed
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

use roomlog_core::{
    block,
    journal::{JournalError, Position},
    rules::Rules,
};
use roomlog_protocol::{Digest, MANIFEST_FILE, Manifest};
use sha2::{Digest as _, Sha256};

use crate::{
    archive,
    directory::{ARCHIVE, JOURNAL, OpenError},
    journal, node_file, peek,
    peek::JournalFacts,
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
    has_no_hole(path, manifest, journal)?;
    put_manifest_away(path, manifest)
}

/// Takes a backup of another node of the same log as this node's archive: the journal has what came after.
/// A crash in between finds the same again.
pub(crate) fn adopt(path: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    compare(path, manifest)?;
    forget_node(path, manifest)?;
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
pub(crate) fn has_no_hole(
    path: &Path,
    manifest: &Manifest,
    facts: &JournalFacts,
) -> Result<(), OpenError> {
    let (first, head) = (facts.first, facts.head);
    let applied = Position(manifest.position);
    let refused = |why| OpenError::NotProven { path: path.into(), applied, first, head, why };
    let failed = |error: rusqlite::Error| journal::failed("cannot be read", &error);
    let file = peek::open(&path.join(JOURNAL)).map_err(failed)?;
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
    let newest = block::decode(&newest, Rules::NEWEST);
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
    // Empty, of a start that a crash cut off before it had a log.
    sweep(path, JOURNAL).map_err(io)?;
    put_journal(path, |new| journal::begin_behind(new, &manifest.log, manifest.position))
}

/// Makes an empty journal of the same log behind a position of it.
pub(crate) fn begin_same_journal(
    path: &Path,
    log: &str,
    position: Position,
) -> Result<(), OpenError> {
    put_journal(path, |new| journal::begin_same(new, log, position.0))
}

/// Puts a journal in its place when it is whole, and on stable storage.
fn put_journal(
    path: &Path,
    make: impl FnOnce(&Path) -> rusqlite::Result<()>,
) -> Result<(), OpenError> {
    let io = |error| OpenError::Io { path: path.into(), error };
    let new = path.join(NEW_JOURNAL);
    sweep(path, NEW_JOURNAL).map_err(io)?;
    make(&new).map_err(|error| journal::failed("cannot be made", &error))?;
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
    archive::renamed::rename(&file, &facts.log)?;
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use roomlog_core::{
        archive::{Archive, Keep},
        journal::Journal,
    };
    use roomlog_testkit::fixtures::{Speaker, room, window};
    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;
    use crate::{Directory, Opened, SqliteArchive};

    const LOG: &str = "01M81WSNW9CE6W6228NGE1B62E";

    type Files = BTreeMap<String, Vec<u8>>;

    fn files(path: &Path) -> Files {
        let entries = fs::read_dir(path).expect("a directory").map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, fs::read(entry.path()).expect("a file"))
        });
        entries.filter(|(name, _)| name != "lock").collect()
    }

    fn with_files(files: &Files) -> TempDir {
        let path = tempfile::tempdir().expect("a directory");
        for (name, bytes) in files {
            fs::write(path.path().join(name), bytes).expect("a file");
        }
        path
    }

    /// A backup with two rooms, at position 9.
    fn backup() -> (TempDir, Manifest) {
        let path = tempfile::tempdir().expect("a directory");
        let file = path.path().join(ARCHIVE);
        let archive = SqliteArchive::open(&file, LOG).expect("an archive");
        let (mut a, mut b) = (Speaker::new("a"), Speaker::new("b"));
        let commits = [a.says(8, &["one", "two"]), b.says(9, &["else"])];
        archive.fold(&window(9, &commits)).expect("a fold");
        drop(archive);
        let mut manifest = archive::heads::manifest(&file, 77).expect("a manifest");
        manifest.sha256 = Some(sha256(&file).expect("a digest"));
        fs::write(path.path().join(MANIFEST_FILE), manifest.to_json()).expect("a file");
        (path, manifest)
    }

    /// Opens a directory and looks at everything that a restore promises; its new log.
    fn restored(path: &Path, manifest: &Manifest) -> String {
        let directory = Directory::open(path).expect("a directory");
        assert_eq!(directory.opened, Opened::Restored(manifest.clone()));
        let log = directory.journal.facts().log.clone();
        assert_ne!(log, LOG);
        assert_eq!(directory.archive.log(), log);
        assert_eq!(directory.journal.head(0), Ok(Position(9)));
        assert_eq!(directory.journal.first(0), Ok(Position(10)));
        assert_eq!(directory.archive.applied(0).expect("applied").position, Position(9));
        let page = directory.archive.page(&room("a"), 0, 2, 100, Keep::Oldest).expect("a page");
        assert_eq!(page.iter().map(|it| &*it.entry.body).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(directory.identity.incarnation, 1, "a node of its own");
        drop(directory);
        assert!(path.join(RESTORED).exists() && !path.join(MANIFEST_FILE).exists());
        let again = Directory::open(path).expect("a directory");
        assert_eq!((&again.opened, &again.journal.facts().log), (&Opened::Whole, &log));
        log
    }

    #[test]
    fn a_restore_that_was_killed_between_any_two_steps_comes_to_the_same() {
        let (backup, manifest) = backup();
        // A copy of a whole directory brings the original's node along.
        fs::write(backup.path().join("node"), node_file::text(LOG.parse().expect("a node"), 7))
            .expect("a file");
        for done in 0..=STEPS.len() {
            let path = with_files(&files(backup.path()));
            for step in &STEPS[..done] {
                step(path.path(), &manifest).expect("a step");
            }
            let begun = peek::journal(&path.path().join(JOURNAL)).expect("the facts");
            if done == STEPS.len() {
                // Nothing is left to be done.
                let directory = Directory::open(path.path()).expect("a directory");
                assert_eq!(directory.opened, Opened::Whole);
                continue;
            }
            let log = restored(path.path(), &manifest);
            assert!(begun.is_none_or(|begun| begun.log == log), "one name, chosen in step 1");
        }
    }

    #[test]
    fn what_a_step_left_unfinished_is_made_anew() {
        let (backup, manifest) = backup();
        for (file, left) in [(NEW_JOURNAL, "half a file"), (JOURNAL, "")] {
            let path = with_files(&files(backup.path()));
            fs::write(path.path().join(file), left).expect("a file");
            restored(path.path(), &manifest);
            assert!(!path.path().join(NEW_JOURNAL).exists());
        }
        // Step 2, committed and not yet copied into the file.
        let path = with_files(&files(backup.path()));
        begin_journal(path.path(), &manifest).expect("step 1");
        let file = Connection::open(path.path().join(ARCHIVE)).expect("the file");
        let log = peek::journal(&path.path().join(JOURNAL)).expect("facts").expect("a log").log;
        file.execute("UPDATE log SET id = ?1", [&log]).expect("a change");
        let killed = with_files(&files(path.path()));
        assert!(peek::has_wal(&killed.path().join(ARCHIVE)));
        assert_eq!(restored(killed.path(), &manifest), log);
    }

    #[test]
    fn a_backup_that_is_not_what_its_manifest_says_is_refused_and_stays_as_it_is() {
        let (backup, manifest) = backup();
        let text = |manifest: &Manifest| manifest.to_json().into_bytes();
        let with = |name: &str, bytes: Vec<u8>| {
            let mut files = files(backup.path());
            files.insert(name.into(), bytes);
            files
        };
        let changed = |change: fn(&mut Manifest)| {
            let mut manifest = manifest.clone();
            change(&mut manifest);
            with(MANIFEST_FILE, text(&manifest))
        };
        let mut flipped = files(backup.path())[ARCHIVE].clone();
        let body = flipped.windows(4).position(|window| window == b"else").expect("the body");
        flipped[body] ^= 1;
        let mut alone = files(backup.path());
        alone.remove(ARCHIVE);
        let zero = Digest([0; 32]);
        let wrong = [
            (changed(|it| it.position = 8), "says position 8, and archive.db is at position 9"),
            (changed(|it| it.log = "other".into()), "of log other, and archive.db of log 01M8"),
            (
                changed(|it| it.entries = 4),
                "entries of manifest.json and archive.db differ: 4 and 3",
            ),
            (changed(|it| it.rooms = 1), "rooms of manifest.json and archive.db differ: 1 and 2"),
            (changed(|it| it.archive_bytes -= 1), "bytes of manifest.json and archive.db differ"),
            (changed(|it| it.digest = Digest([0; 32])), "digest over all heads"),
            (changed(|it| it.sha256 = None), "it has no sha256"),
            (with(ARCHIVE, flipped), "the file was changed or is damaged"),
            (with("archive.db-wal", b"left of another".to_vec()), "move archive.db-wal"),
            (with(MANIFEST_FILE, text(&manifest)[..40].to_vec()), "manifest.json"),
            (alone, "no archive.db beside it"),
        ];
        assert_ne!(manifest.digest, zero);
        for (before, part) in wrong {
            let path = with_files(&before);
            let Err(error) = Directory::open(path.path()) else { panic!("{part}: it was opened") };
            let said = error.to_string();
            assert!(said.contains(part), "{part:?} is not in: {said}");
            assert!(files(path.path()) == before, "{part}: the directory was changed");
        }
        restored(backup.path(), &manifest);
    }
}

//! A restore in place: a backup becomes a directory that can be served, with a new log.
//!
//! ```text
//!  archive (log L) + manifest (L, position A)
//!    1  journal-00000001: a new log N, empty, after A; it names L and A  written aside, fsynced, renamed
//!    2  archive.db: its log becomes N, rows that do not count go   committed (FULL), checkpointed
//!    3  node: removed, so that this is a new node
//!    4  manifest.json becomes restored.json
//! ```
//!
//! Enters: a backup that matches its manifest. Leaves: a directory that starts like any other.
//! Invariants: a crash after any step is safe, and a completed step is skipped; N is chosen in step
//! 1; nothing is served before step 4.

use std::{
    fs,
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
use ulid::Ulid;

use crate::{
    archive,
    error::OpenError,
    files::{self, ARCHIVE, NEW_JOURNAL, RESTORED, has_wal, segment_name},
    journal::{self, JOURNAL_BYTES, JournalFile},
    private::{self, if_exists},
    small_files,
};

const READ_BYTES: usize = 256 << 10;

type Step = fn(&Path, &Manifest) -> Result<(), OpenError>;

const STEPS: [Step; 4] = [begin_journal, rename_archive, remove_node, put_manifest_away];

/// Restores a backup that [`compare`] has accepted, or finishes an interrupted restore.
pub(crate) fn restore(path: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    STEPS.iter().try_for_each(|step| step(path, manifest))
}

/// Takes a backup of another node of the same log as the archive; can be repeated after a crash.
pub(crate) fn adopt(path: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    check_no_wal(path)?;
    compare(path, manifest)?;
    remove_node(path, manifest)?;
    put_manifest_away(path, manifest)
}

/// Refuses a WAL beside the archive of a backup.
pub(crate) fn check_no_wal(path: &Path) -> Result<(), OpenError> {
    if !has_wal(&path.join(ARCHIVE)) {
        return Ok(());
    }
    Err(OpenError::manifest(
        path,
        "archive.db-wal is there, which is of another archive.db: a backup has none; move \
         archive.db-wal and archive.db-shm away",
    ))
}

/// Compares the archive with its manifest, byte by byte.
pub(crate) fn compare(path: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    let file = path.join(ARCHIVE);
    let found = archive::manifest(&file, manifest.taken_at)?;
    let values = |it: &Manifest| {
        [
            ("log", it.log.clone()),
            ("position", it.position.to_string()),
            ("bytes", it.archive_bytes.to_string()),
            ("rooms", it.rooms.to_string()),
            ("entries", it.entries.to_string()),
            ("digest over all heads", it.digest.to_string()),
        ]
    };
    let mut pairs = values(manifest).into_iter().zip(values(&found));
    if let Some(((what, listed), (_, found))) = pairs.find(|(listed, found)| listed != found) {
        return Err(OpenError::manifest(
            path,
            format!("{what} of manifest.json and archive.db differ: {listed} and {found}"),
        ));
    }
    let Some(listed) = manifest.sha256 else {
        return Err(OpenError::manifest(path, "it has no sha256"));
    };
    let found = sha256(&file).map_err(OpenError::io(path))?;
    if listed != found {
        return Err(OpenError::manifest(
            path,
            format!(
                "SHA-256 of archive.db is {found}, and not {listed}: the file was changed or is \
                 damaged"
            ),
        ));
    }
    Ok(())
}

fn sha256(path: &Path) -> io::Result<Digest> {
    let (mut file, mut sha) = (private::open(path)?, Sha256::new());
    let mut bytes = vec![0; READ_BYTES];
    loop {
        match file.read(&mut bytes)? {
            0 => return Ok(Digest(sha.finalize().into())),
            read => sha.update(&bytes[..read]),
        }
    }
}

/// Refuses a journal without every block from its first to its head, or without the `node` file of
/// the process that wrote it, which a copy that was made earlier does not match.
pub(crate) fn check_no_gap(
    path: &Path,
    manifest: &Manifest,
    journal: &JournalFile,
) -> Result<(), OpenError> {
    let &JournalFile { first, head, .. } = journal;
    let applied = Position(manifest.position);
    let refused = |why| OpenError::NotProven { path: path.into(), applied, first, head, why };
    let newest = journal::newest(path)?;
    let Some((node, incarnation)) = small_files::read_node(path).map_err(OpenError::io(path))?
    else {
        return Err(refused(
            "there is no `node` file beside the journal: it may be a copy from before its log ended"
                .into(),
        ));
    };
    let Some(newest) = newest else { return Ok(()) };
    let newest = block::decode(&newest.block, Rules::NEWEST);
    let newest = newest.map_err(|why| refused(format!("position {head} of the journal: {why}")))?;
    if newest.name.node == node && newest.name.incarnation <= incarnation {
        return Ok(());
    }
    Err(refused("the `node` file is not that of the process that wrote the journal last".into()))
}

/// Step 1.
fn begin_journal(path: &Path, manifest: &Manifest) -> Result<(), OpenError> {
    if journal::inspect(path)?.is_some() {
        return Ok(());
    }
    put_journal(path, &Ulid::generate().to_string(), manifest.position, Some(&manifest.log))
}

/// Makes the journal of a log that was elsewhere up to a position, as the log `other` if that is
/// given: aside, and renamed once it is complete and on stable storage.
pub(crate) fn put_journal(
    path: &Path,
    log: &str,
    position: u64,
    other: Option<&str>,
) -> Result<(), OpenError> {
    let new = path.join(NEW_JOURNAL);
    if_exists(fs::remove_file(&new))
        .and_then(|_| journal::create(&new, log, (position, 0), other, JOURNAL_BYTES))
        .and_then(|()| fs::rename(&new, path.join(segment_name(1))))
        .and_then(|()| files::sync(path))
        .map_err(OpenError::io(path))
}

/// Step 2.
fn rename_archive(path: &Path, _: &Manifest) -> Result<(), OpenError> {
    let journal = journal::inspect(path)?;
    let journal = journal.ok_or_else(|| JournalError("the journal: it holds no log".into()))?;
    let file = path.join(ARCHIVE);
    archive::rename(&file, &journal.log)?;
    files::sync(&file).and_then(|()| files::sync(path)).map_err(OpenError::io(path))
}

/// Step 3.
fn remove_node(path: &Path, _: &Manifest) -> Result<(), OpenError> {
    small_files::remove_node(path).map_err(OpenError::io(path))
}

/// Step 4.
pub(crate) fn put_manifest_away(path: &Path, _: &Manifest) -> Result<(), OpenError> {
    fs::rename(path.join(MANIFEST_FILE), path.join(RESTORED))
        .and_then(|()| files::sync(path))
        .map_err(OpenError::io(path))
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
    use crate::{Contents, Directory, SqliteArchive};

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
        let mut manifest = archive::manifest(&file, 77).expect("a manifest");
        manifest.sha256 = Some(sha256(&file).expect("a digest"));
        fs::write(path.path().join(MANIFEST_FILE), manifest.to_json()).expect("a file");
        (path, manifest)
    }

    /// Opens a directory and checks everything that a restore promises; returns its new log.
    fn restored(path: &Path, manifest: &Manifest) -> String {
        let directory = Directory::open(path).expect("a directory");
        let (Contents::Backup(found) | Contents::PartlyRestored(found)) = &directory.found else {
            panic!("no backup: {:?}", directory.found);
        };
        assert_eq!(found, manifest);
        let log = directory.journal.facts().log.clone();
        assert_ne!(log, LOG);
        assert_eq!(directory.journal.head(0), Ok(Position(9)));
        assert_eq!(directory.journal.first(0), Ok(Position(10)));
        assert_eq!(directory.archive.applied(0).expect("applied").position, Position(9));
        let page = directory.archive.page(&room("a"), 0, 2, 100, Keep::Oldest).expect("a page");
        assert_eq!(page.iter().map(|it| it.entry.body()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(directory.identity.incarnation, 1, "a node of its own");
        drop(directory);
        let archive = archive::inspect(&path.join(ARCHIVE)).expect("an archive");
        assert_eq!(archive.expect("a log").log, log);
        assert!(path.join(RESTORED).exists() && !path.join(MANIFEST_FILE).exists());
        let again = Directory::open(path).expect("a directory");
        assert_eq!((&again.found, &again.journal.facts().log), (&Contents::Log, &log));
        log
    }

    #[test]
    fn a_restore_killed_between_any_two_steps_gives_the_same_result() {
        let (backup, manifest) = backup();
        // A copy of a complete directory contains the original's node file.
        fs::write(
            backup.path().join("node"),
            small_files::node_text(LOG.parse().expect("a node"), 7),
        )
        .expect("a file");
        for done in 0..=STEPS.len() {
            let path = with_files(&files(backup.path()));
            for step in &STEPS[..done] {
                step(path.path(), &manifest).expect("a step");
            }
            let begun = journal::inspect(path.path()).expect("a journal");
            if done == STEPS.len() {
                let directory = Directory::open(path.path()).expect("a directory");
                assert_eq!(directory.found, Contents::Log);
                continue;
            }
            let log = restored(path.path(), &manifest);
            assert!(begun.is_none_or(|begun| begun.log == log), "one name, chosen in step 1");
        }
    }

    #[test]
    fn an_unfinished_step_is_repeated() {
        let (backup, manifest) = backup();
        for (file, left) in [(NEW_JOURNAL, "half a file"), ("journal-00000001", "")] {
            let path = with_files(&files(backup.path()));
            fs::write(path.path().join(file), left).expect("a file");
            restored(path.path(), &manifest);
            assert!(!path.path().join(NEW_JOURNAL).exists());
        }
        // Step 2, committed and not yet copied into the file.
        let path = with_files(&files(backup.path()));
        begin_journal(path.path(), &manifest).expect("step 1");
        let file = Connection::open(path.path().join(ARCHIVE)).expect("the file");
        let log = journal::inspect(path.path()).expect("a journal").expect("a log").log;
        file.execute("UPDATE log SET id = ?1", [&log]).expect("a change");
        let killed = with_files(&files(path.path()));
        assert!(files::has_wal(&killed.path().join(ARCHIVE)));
        assert_eq!(restored(killed.path(), &manifest), log);
    }

    #[test]
    fn a_backup_that_does_not_match_its_manifest_is_refused_unchanged() {
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

//! The scan of a WAL: what a power cut can leave is opened, what only damage can leave is refused. Those of
//! the archive, and of a journal of format 3.
//!
//! A copy of the files while a database is open is a directory as `kill -9` leaves it.

mod old;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use old::OldJournal;
use roomlog_core::{
    archive::ArchiveError,
    journal::{Journal, JournalError},
};
use roomlog_sqlite::{SegmentJournal, SqliteArchive};
use rusqlite::Connection;
use tempfile::TempDir;

const HEADER: usize = 32;
const FRAME: usize = 24 + 4_096;
const SECTOR: usize = 512;

/// The files of a killed server: a database, and its WAL.
#[derive(Clone)]
struct Image {
    name: &'static str,
    database: Vec<u8>,
    wal: Vec<u8>,
}

impl Image {
    fn of(directory: &Path, name: &'static str) -> Self {
        let read = |end: &str| fs::read(directory.join(format!("{name}{end}"))).expect("a file");
        Self { name, database: read(""), wal: read("-wal") }
    }

    /// Writes the files into a directory of their own.
    fn lay(&self) -> (TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(self.name);
        fs::write(&path, &self.database).expect("written");
        fs::write(directory.path().join(format!("{}-wal", self.name)), &self.wal).expect("written");
        (directory, path)
    }

    /// The bytes of a frame by the WAL's header: the archive's pages are larger.
    fn frame(&self) -> usize {
        let page: [u8; 4] = self.wal[8..12].try_into().expect("four bytes");
        24 + u32::from_be_bytes(page) as usize
    }

    fn frames(&self) -> usize {
        (self.wal.len() - HEADER) / self.frame()
    }

    /// Where each transaction ends, as the number of frames up to there.
    fn commits(&self) -> Vec<usize> {
        let commits = |frame: &usize| {
            let at = HEADER + frame * self.frame();
            self.wal[at + 4..at + 8] != [0; 4] && self.wal[at + 8..at + 16] == self.wal[16..24]
        };
        (0..self.frames()).filter(commits).map(|frame| frame + 1).collect()
    }

    fn flip(&self, byte: usize, bit: u8) -> Self {
        let mut flipped = self.clone();
        flipped.wal[byte] ^= 1 << bit;
        flipped
    }

    fn cut(&self, length: usize) -> Self {
        let mut cut = self.clone();
        cut.wal.truncate(length);
        cut
    }

    /// As if a sector had not reached the disk.
    fn without_sector(&self, sector: usize) -> Self {
        let mut without = self.clone();
        let end = ((sector + 1) * SECTOR).min(without.wal.len());
        without.wal[sector * SECTOR..end].fill(0);
        without
    }

    /// The sectors from one frame to another that hold more than zeros.
    fn sectors(&self, frames: std::ops::Range<usize>) -> Vec<usize> {
        let sector = |frame: usize| (HEADER + frame * self.frame()).div_ceil(SECTOR);
        let holds = |n: &usize| self.wal[n * SECTOR..][..SECTOR].iter().any(|byte| *byte != 0);
        (sector(frames.start)..sector(frames.end) - 1).filter(holds).collect()
    }

    /// The head of the opened journal, or the error; then the files are unchanged.
    fn head(&self) -> Result<u64, String> {
        let (directory, _) = self.lay();
        match SegmentJournal::open(directory.path()) {
            Ok(journal) => Ok(journal.head(0).expect("a head").0),
            Err(JournalError(message)) => {
                let there = Self::of(directory.path(), self.name);
                assert!(there.database == self.database, "the database was changed: {message}");
                assert!(there.wal == self.wal, "the WAL was changed: {message}");
                Err(message)
            }
        }
    }

    fn refused(&self, why: &str) -> String {
        match self.head() {
            Err(message) => message,
            Ok(head) => panic!("{why}: opened, and ends at {head}"),
        }
    }
}

/// Small blocks, and some that take several pages.
fn block(n: u64) -> Bytes {
    let length = if n.is_multiple_of(4) { 9_000 } else { 200 };
    (0..length).map(|byte| (byte * n % 251) as u8).collect()
}

fn insert(journal: &OldJournal, n: u64) {
    journal.insert(n, 1_700_000_000_000 + n, &block(n));
}

/// A killed journal with this many blocks, all of them in the WAL.
fn killed(blocks: u64) -> Image {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = OldJournal::create(&directory.path().join("journal.db"), None);
    for n in 1..=blocks {
        insert(&journal, n);
    }
    Image::of(directory.path(), "journal.db")
}

#[test]
fn a_wal_that_a_killed_process_left_is_opened_in_full() {
    let image = killed(10);
    assert_eq!(image.commits().len(), 10);
    assert_eq!(image.head(), Ok(10));
}

#[test]
fn a_flipped_bit_of_any_part_of_any_frame_is_refused_the_last_one_included() {
    let image = killed(9);
    // Of each frame: page, size of the database, salts, both checksums, and places of the page.
    let places = [0, 3, 4, 7, 8, 12, 15, 16, 19, 20, 23, 24, 31, 500, 2_000, 4_119];
    for frame in 0..image.frames() {
        for place in places {
            let byte = HEADER + frame * FRAME + place;
            let bit = ((frame + place) % 8) as u8;
            let message = image.flip(byte, bit).refused(&format!("frame {frame}, byte {place}"));
            let at = HEADER + frame * FRAME;
            assert!(message.contains(&format!("flipped at byte {at};")), "{message}");
            assert!(message.contains("journal.db-wal is damaged"), "{message}");
            assert!(message.contains("restore a backup"), "{message}");
        }
    }
}

#[test]
fn a_flipped_bit_of_the_header_is_refused() {
    for blocks in [1, 9] {
        let image = killed(blocks);
        for byte in 0..HEADER {
            for bit in 0..8 {
                let message = image.flip(byte, bit).refused(&format!("byte {byte}, bit {bit}"));
                assert!(message.contains("its header is not what was written"), "{message}");
            }
        }
    }
}

#[test]
fn a_missing_sector_before_later_commits_is_refused_with_what_follows() {
    let image = killed(9);
    let commits = image.commits();
    let [.., before_last, _] = commits[..] else { panic!("{commits:?}") };
    // Wherever a complete transaction follows the damaged one, and another one follows that: only
    // then is an intact commit followed by an intact frame for certain.
    let second_last = commits[commits.len() - 3];
    for sector in image.sectors(0..second_last) {
        let message = image.without_sector(sector).refused(&format!("sector {sector}"));
        assert!(message.contains("before later commits is incomplete"), "{message}");
        assert!(message.contains(&format!("up to byte {}", image.wal.len())), "{message}");
    }
    // In the page of a commit that only the last transaction follows.
    let end_of_page = (HEADER + before_last * FRAME) / SECTOR - 1;
    let message = image.without_sector(end_of_page).refused("the last but one");
    let intact = HEADER + commits[commits.len() - 3] * FRAME;
    assert!(message.contains(&format!("intact up to byte {intact}")), "{message}");
}

#[test]
fn a_last_transaction_of_which_any_part_did_not_reach_the_disk_is_a_torn_tail() {
    let image = killed(8);
    let commits = image.commits();
    let [.., before_last, last] = commits[..] else { panic!("{commits:?}") };
    assert!(last - before_last >= 3, "the last transaction has several frames");
    let whole = HEADER + before_last * FRAME;
    // Cut off, as when a process is killed while it writes.
    for length in (whole..image.wal.len()).step_by(SECTOR / 4) {
        assert_eq!(image.cut(length).head(), Ok(7), "cut at {length}");
    }
    // Without any one sector, whatever follows: as a power cut leaves it.
    for sector in image.sectors(before_last..last) {
        assert_eq!(image.without_sector(sector).head(), Ok(7), "without sector {sector}");
    }
    // Without any subset of them.
    for subset in 1..200_usize {
        let mut torn = image.clone();
        for sector in image.sectors(before_last..last) {
            if (sector * 7_919 + subset * 104_729) % 7 < 1 + subset % 5 {
                torn = torn.without_sector(sector);
            }
        }
        if torn.wal != image.wal {
            assert_eq!(torn.head(), Ok(7), "subset {subset}");
        }
    }
}

#[test]
fn frames_of_an_older_round_and_of_what_was_rolled_back_are_no_damage() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db");
    let journal = OldJournal::create(&path, None);
    for n in 1..=40 {
        insert(&journal, n);
    }
    let older = Image::of(directory.path(), "journal.db");
    // A new round begins at the beginning of the file, over the older one.
    let other = Connection::open(&path).expect("the file");
    let copied = "PRAGMA wal_checkpoint(RESTART)";
    other.query_row(copied, [], |_| Ok(())).expect("copied");
    insert(&journal, 41);
    let image = Image::of(directory.path(), "journal.db");
    assert_eq!(image.wal.len(), older.wal.len(), "the older round is still there");
    assert_eq!(image.head(), Ok(41));

    // A transaction that spilled into the WAL and was rolled back, and one over its beginning.
    other
        .execute_batch(
            "PRAGMA cache_size = 3; BEGIN;
             INSERT INTO blocks VALUES (1000, 0, 0, randomblob(900000));
             INSERT INTO blocks VALUES (1001, 0, 0, randomblob(900000));
             ROLLBACK;",
        )
        .expect("rolled back");
    insert(&journal, 42);
    let image = Image::of(directory.path(), "journal.db");
    assert!(image.frames() > image.commits().last().expect("commits") + 100, "it has spilled");
    assert_eq!(image.head(), Ok(42));
    // The first remaining frame gets another wrong bit: it was bad before.
    let rest = HEADER + image.commits().last().expect("commits") * FRAME;
    assert_eq!(image.flip(rest + 100, 0).head(), Ok(42));
}

#[test]
fn a_wal_without_its_database_is_refused() {
    let mut image = killed(3);
    image.database.clear();
    assert!(image.refused("empty").contains("the database beside it is missing or empty"));
    let (directory, path) = image.lay();
    fs::remove_file(&path).expect("removed");
    let Err(JournalError(message)) = SegmentJournal::open(directory.path()) else {
        panic!("it was opened")
    };
    assert!(message.contains("the database beside it is missing or empty"), "{message}");
    assert!(!path.exists() && directory.path().join("journal.db-wal").exists());
}

#[test]
fn several_commits_of_an_archive_that_were_not_copied_may_be_torn_or_changed() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("archive.db");
    let archive = SqliteArchive::open(&path, "log").expect("an archive");
    for commit in 0..6 {
        let other = Connection::open(&path).expect("the file");
        let sql = format!("INSERT INTO runs VALUES ({commit}, randomblob(20000))");
        other.execute_batch(&sql).expect("a commit");
    }
    let image = Image::of(directory.path(), "archive.db");
    drop(archive);
    let open = |image: &Image| {
        let (_directory, path) = image.lay();
        drop(SqliteArchive::open(&path, "log")?);
        let file = Connection::open(&path).expect("the file");
        let log = file.query_row("SELECT id FROM log", [], |row| row.get::<_, String>(0));
        Ok::<_, ArchiveError>(log.expect("a log"))
    };
    let middle = HEADER + image.frames() / 2 * image.frame() + 24 + 8_180;
    assert!(image.without_sector(middle / SECTOR).wal != image.wal, "a sector of zeros");
    assert_eq!(open(&image.without_sector(middle / SECTOR)), Ok("log".into()));
    // The journal has what it held.
    assert_eq!(open(&image.flip(middle, 3)), Ok("log".into()));
}

#[test]
fn a_page_that_is_zeros_again_does_not_look_copied() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("archive.db");
    let archive = SqliteArchive::open(&path, "log").expect("an archive");
    let other = Connection::open(&path).expect("the file");
    let run = |sql: &str| other.execute_batch(sql).expect("a commit");
    run("PRAGMA secure_delete = ON; PRAGMA wal_autocheckpoint = 0");
    // Each transaction changes something for good, as a fold does.
    let fill = |n: u64| {
        run(&format!(
            "BEGIN; INSERT INTO runs VALUES ({n}, randomblob(20000));
             INSERT INTO id_filters VALUES ({n}, randomblob(60000)); COMMIT"
        ));
    };
    fill(1);
    run("DELETE FROM id_filters");
    other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("copied");
    fill(2);
    let filled = Image::of(directory.path(), "archive.db").frames();
    fill(3);
    run("DELETE FROM id_filters");
    let image = Image::of(directory.path(), "archive.db");
    drop((archive, other));
    let sectors = image.sectors(filled..filled + 1);
    let (_directory, path) = image.without_sector(sectors[sectors.len() / 2]).lay();
    drop(SqliteArchive::open(&path, "log").expect("a torn tail"));
}

/// An archive with a WAL of which nothing was copied.
fn six_commits() -> (TempDir, SqliteArchive, Connection) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("archive.db");
    let archive = SqliteArchive::open(&path, "log").expect("an archive");
    let other = Connection::open(&path).expect("the file");
    other.execute_batch("PRAGMA wal_autocheckpoint = 0").expect("set");
    for commit in 0..6 {
        let sql = format!("INSERT INTO runs VALUES ({commit}, randomblob(20000))");
        other.execute_batch(&sql).expect("a commit");
    }
    (directory, archive, other)
}

#[test]
fn a_torn_middle_of_an_archive_that_was_copied_into_its_file_is_refused() {
    let (directory, archive, other) = six_commits();
    let mut image = Image::of(directory.path(), "archive.db");
    other.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).expect("copied");
    let database = Image::of(directory.path(), "archive.db").database;
    drop((archive, other));
    let sectors = image.sectors(0..image.frames() / 2);
    let torn = image.without_sector(*sectors.last().expect("a sector"));
    let open = |image: &Image| {
        let (_directory, path) = image.lay();
        SqliteArchive::open(&path, "log").map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(open(&torn), Ok(()));
    image.wal = torn.wal;
    image.database = database;
    let message = open(&image).expect_err("a mixture");
    assert!(message.contains("a frame that was copied is not what was written"), "{message}");
    assert!(
        message.contains("moving archive.db, archive.db-wal and archive.db-shm away"),
        "{message}"
    );
}

#[test]
fn a_flipped_bit_of_an_archive_that_was_copied_into_its_file_is_refused_the_last_frame_included() {
    let (directory, archive, other) = six_commits();
    other.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).expect("copied");
    let image = Image::of(directory.path(), "archive.db");
    drop((archive, other));
    for frame in [image.frames() / 2, image.frames() - 2, image.frames() - 1] {
        let middle = HEADER + frame * image.frame() + 24 + 4_000;
        let (_directory, path) = image.flip(middle, 3).lay();
        let Err(error) = SqliteArchive::open(&path, "log") else {
            panic!("frame {frame} of {}", image.frames())
        };
        assert!(error.to_string().contains("archive.db-wal is damaged"), "{error}");
    }
}

//! Redacted texts in the files, although SQLite has moved rows between pages.

use std::{fs, path::Path, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt;
use roomlog_core::{
    archive::{Archive, Keep},
    backup::Backup,
    commit::Commit,
    journal::{Journal, Position, Proposed},
};
use roomlog_sqlite::{Derived, SegmentJournal, SqliteArchive};
use roomlog_testkit::{
    fixtures::{Speaker, proposal, redaction, room, window},
    suites::journal::wipe_upto,
};

const ROOMS: usize = 400;
const ROUNDS: usize = 14;

/// Fifteen characters that stand nowhere else.
fn secret(room: usize, round: usize) -> String {
    format!("secret-{room:04}-{round:03}")
}

/// The secrets that these bytes hold, in order, each as often as it is there.
fn secrets(bytes: &[u8]) -> Vec<String> {
    let found = bytes.windows(15).filter(|window| window.starts_with(b"secret-"));
    let mut found: Vec<_> =
        found.map(|secret| String::from_utf8_lossy(secret).into_owned()).collect();
    found.sort_unstable();
    found
}

/// The secrets in all files of a directory.
fn in_files(directory: &Path) -> Vec<String> {
    let files = fs::read_dir(directory).expect("a directory");
    let files = files.map(|file| file.expect("a file").path()).filter(|path| path.is_file());
    secrets(&files.flat_map(|path| fs::read(path).expect("its bytes")).collect::<Vec<_>>())
}

/// Rooms whose runs grow, each in its own page at last, so that pages are split again and again.
struct Rooms {
    speakers: Vec<Speaker>,
    position: u64,
}

impl Rooms {
    fn new() -> Self {
        let speakers = (0..ROOMS).map(|n| Speaker::new(&format!("room-{n:04}"))).collect();
        Self { speakers, position: 0 }
    }

    /// Folds one entry of each room.
    fn fold(&mut self, archive: &SqliteArchive, round: usize) {
        self.position += 1;
        let commits: Vec<Arc<Commit>> = (0..ROOMS)
            .map(|n| {
                let body =
                    format!("{} {}", secret(n, round), "x".repeat((n * 7 + round * 13) % 120));
                let (room, id) = (format!("room-{n:04}"), format!("id-{round}"));
                let said = proposal(&room, "ada", &id, &body);
                self.speakers[n].commits(self.position, [said].into_iter())
            })
            .collect();
        archive.fold(&window(self.position, &commits)).expect("a fold");
    }

    /// Redacts the entries of a round.
    fn redact(&mut self, archive: &SqliteArchive, round: usize) {
        self.position += 1;
        let commits: Vec<Arc<Commit>> = (0..ROOMS)
            .map(|n| {
                let (room, id) = (format!("room-{n:04}"), format!("redacts-{round}"));
                let redaction = redaction(&room, "ada", &id, round as u64);
                self.speakers[n].commits(self.position, [redaction].into_iter())
            })
            .collect();
        archive.fold(&window(self.position, &commits)).expect("a fold");
    }
}

/// The secrets of all rooms in these rounds, once each.
fn of_rounds(rounds: impl Iterator<Item = usize> + Clone) -> Vec<String> {
    (0..ROOMS).flat_map(|n| rounds.clone().map(move |round| secret(n, round))).collect()
}

#[test]
fn each_text_is_in_the_archive_once_and_no_redacted_one_wherever_its_row_was_before() {
    let directory = tempfile::tempdir().expect("a directory");
    let open = || Derived::open(directory.path(), "log").expect("an archive");
    let (mut rooms, opened) = (Rooms::new(), open());
    let archive = &opened.archive;
    for round in 0..ROUNDS {
        rooms.fold(archive, round);
    }
    assert_eq!(archive.wipe(), Ok(true));
    assert_eq!(in_files(directory.path()), of_rounds(0..ROUNDS));
    rooms.redact(archive, 2);
    assert_eq!(archive.wipe(), Ok(true));
    let kept = |upto| of_rounds((0..upto).filter(|round| *round != 2));
    assert_eq!(in_files(directory.path()), kept(ROUNDS));

    // Folds go on, in pages that are in memory as they were before. A backup has those.
    rooms.fold(archive, ROUNDS);
    let mut bytes = Vec::new();
    let mut copy = opened.backup().copy(&mut |_| true).expect("a copy");
    copy.archive.read_to_end(&mut bytes).expect("its bytes");
    let upto = ROUNDS + 1;
    assert_eq!(secrets(&bytes), kept(upto));

    // An end and a start, each of which copies the WAL.
    drop(opened);
    assert_eq!(in_files(directory.path()), kept(upto));
    let archive = open().archive;
    let page = archive.page(&room("room-0000"), 0, upto as u64, usize::MAX, Keep::Oldest);
    assert_eq!(page.expect("a page").len(), upto);
}

/// A block with the secrets of a position, in one page with others of its kind.
fn block(position: u64) -> Bytes {
    let position = usize::try_from(position).expect("a number");
    let length = 100 + position * 377 % 800;
    Bytes::from(format!("{} {}", secret(position, 0), "x".repeat(length)))
}

fn propose(journal: &SegmentJournal, positions: std::ops::Range<u64>) {
    for position in positions {
        let proposed = journal.propose(0, block(position)).now_or_never();
        assert!(matches!(proposed, Some(Proposed::Durable(Position(at))) if at == position));
    }
}

#[test]
fn each_block_is_in_the_journal_once_and_none_that_was_wiped() {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = SegmentJournal::open(directory.path()).expect("a journal");
    let of = |positions: std::ops::Range<u64>| -> Vec<String> {
        positions.map(|at| secret(usize::try_from(at).expect("a number"), 0)).collect()
    };
    let (mut next, mut upto) = (1, 0);
    for round in 0..60 {
        // Steps of many lengths, so that the oldest page is left with few rows or many.
        upto += 1 + round * 7 % 25;
        let until = next.max(upto + 1) + round * 5 % 20;
        propose(&journal, next..until);
        let is_done = (0..100).any(|_| journal.wipe(0, &wipe_upto(upto)).expect("a wipe"));
        assert!(is_done, "it was called often enough");
        assert_eq!(in_files(directory.path()), of(upto + 1..until), "wiped up to {upto}");
        // Commits that change pages, which are in the file and in the WAL then.
        next = until + 3;
        propose(&journal, until..next);
        let mut kept = in_files(directory.path());
        kept.dedup();
        assert_eq!(kept, of(upto + 1..next), "after a wipe up to {upto}");
    }
}

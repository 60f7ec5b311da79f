//! A fold that is interrupted anywhere: answers do not change, and repeating it completes it.
//!
//! A trigger in the file refuses one row: the current transaction is rolled back and those before
//! it stay, which is what a crash at that moment leaves.

mod file;

use std::{collections::BTreeMap, sync::Arc};

use file::File;
use roomlog_core::{
    applied::Applied,
    archive::{Archive, ArchiveError, IdKey, Keep, Window},
    commit::Commit,
    head::{Head, Known},
    proposal::Stored,
};
use roomlog_protocol::{RoomName, RoomRange};
use roomlog_sqlite::SqliteArchive;
use roomlog_testkit::fixtures::{Speaker, room, window};

/// More than two transactions of rows.
const ENTRIES: usize = 9_000;

/// The complete content of an archive.
#[derive(Debug, PartialEq)]
struct Content {
    applied: Applied,
    rooms: Vec<(RoomName, Head)>,
    pages: BTreeMap<RoomName, Vec<Stored>>,
    ids: Vec<Option<Known>>,
}

fn content(archive: &SqliteArchive) -> Content {
    let rooms = archive.rooms(&RoomRange::every(), 100).expect("rooms");
    let (mut pages, mut keys) = (BTreeMap::new(), Vec::new());
    for (room, head) in &rooms {
        assert_eq!(archive.head(room), Ok(Some(*head)));
        let page = archive.page(room, 0, head.end, usize::MAX, Keep::Oldest).expect("a page");
        keys.extend(page.iter().map(|Stored { entry, .. }| IdKey {
            room: room.clone(),
            author: entry.author.clone(),
            id: entry.id.clone(),
        }));
        pages.insert(room.clone(), page);
    }
    let ids = archive.find(&keys).expect("ids");
    assert!(ids.iter().all(Option::is_some), "every entry is found by its id");
    Content { applied: archive.applied(0).expect("applied"), rooms, pages, ids }
}

/// What was folded before, and the commits of the interrupted window: in a room that exists, one
/// that grows by much, and a new one.
fn commits() -> (Vec<Arc<Commit>>, Vec<Arc<Commit>>) {
    let mut speakers = ["old", "large", "new"].map(Speaker::new);
    let mut append = |speaker: usize, position: u64, count: usize| {
        // The ids are not in the order of the slots, so that the two passes differ.
        let name = |n: usize| format!("{}-{position}-{n}", (n * 7_919) % 10_007);
        let bodies: Vec<String> = (0..count).map(name).collect();
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        speakers[speaker].says(position, &bodies)
    };
    let before = vec![append(0, 1, 20), append(1, 2, 30)];
    let cut = vec![
        append(1, 3, ENTRIES / 2),
        append(0, 4, 10),
        append(2, 4, 40),
        append(1, 5, ENTRIES / 2),
    ];
    (before, cut)
}

/// Where a fold is interrupted: the row that is refused.
fn cuts() -> Vec<String> {
    let first = "(NEW.key & ((1 << 40) - 1))";
    let bucket = "(NEW.key & ((1 << 32) - 1))";
    let mut cuts = vec!["INSERT ON rooms WHEN NEW.end = 0".to_owned()];
    cuts.push("UPDATE ON runs".into());
    for slot in [0, 64, 128, 4_096, 4_160, 8_192, ENTRIES] {
        cuts.push(format!("INSERT ON runs WHEN {first} >= {slot}"));
    }
    for at in [0, 1, 15, 30, 31, 63] {
        cuts.push(format!("INSERT ON id_buckets WHEN {bucket} = {at}"));
    }
    let last = ["INSERT ON id_filters", "INSERT ON rooms WHEN NEW.end > 0", CUT_LAST];
    cuts.extend(last.map(str::to_owned));
    cuts
}

/// The row that makes the window count.
const CUT_LAST: &str = "INSERT ON state WHEN NEW.state LIKE '%\"position\":5,%'";

fn fold(archive: &SqliteArchive, position: u64, commits: &[Arc<Commit>]) {
    archive.fold(&window(position, commits)).expect("a fold");
}

/// The content of an archive whose folds were not interrupted.
fn whole(before: &[Arc<Commit>], after: &[Arc<Commit>]) -> Content {
    let file = File::new();
    let archive = file.open();
    fold(&archive, 2, before);
    fold(&archive, 5, after);
    content(&archive)
}

/// A file with an interrupted fold, as the next process finds it.
fn cut_off(cut: &str, before: &[Arc<Commit>], window: &Window) -> (File, Content) {
    let file = File::new();
    let archive = file.open();
    fold(&archive, 2, before);
    let content_before = content(&archive);
    file.execute(&format!("CREATE TRIGGER cut BEFORE {cut} BEGIN SELECT RAISE(ABORT, 'cut'); END"));
    let folded = archive.fold(window);
    assert!(matches!(folded, Err(ArchiveError::Failed(_))), "{cut}: {folded:?}");
    drop(archive);
    file.execute("DROP TRIGGER cut");
    (file, content_before)
}

#[test]
fn an_interrupted_fold_changes_no_answer_and_is_complete_when_repeated() {
    let (before, after) = commits();
    let whole = whole(&before, &after);
    for cut in cuts() {
        let (file, content_before) = cut_off(&cut, &before, &window(5, &after));
        let archive = file.open();
        assert_eq!(content(&archive), content_before, "{cut}: before it is done again");
        assert_eq!(archive.head(&room("new")), Ok(None), "{cut}: no entry of it counts yet");
        fold(&archive, 5, &after);
        assert_eq!(content(&archive), whole, "{cut}: done again");
    }
}

#[test]
fn an_interrupted_fold_may_be_repeated_in_other_windows() {
    let (before, after) = commits();
    let whole = whole(&before, &after);
    let cuts = ["INSERT ON id_buckets WHEN (NEW.key & ((1 << 32) - 1)) = 30", CUT_LAST];
    for cut in cuts {
        let (file, _) = cut_off(cut, &before, &window(5, &after));
        let archive = file.open();
        fold(&archive, 3, &after[..1]);
        fold(&archive, 4, &after[1..3]);
        // Interrupted once more, later than before.
        let again = format!("CREATE TRIGGER cut BEFORE {CUT_LAST}");
        file.execute(&format!("{again} BEGIN SELECT RAISE(ABORT, 'cut'); END"));
        archive.fold(&window(5, &after[3..])).expect_err("cut off");
        file.execute("DROP TRIGGER cut");
        fold(&archive, 5, &after[3..]);
        assert_eq!(content(&archive), whole, "{cut}");
    }
}

#[test]
fn leftovers_of_an_interrupted_fold_must_match_the_journal() {
    let (before, after) = commits();
    let (file, content_before) = cut_off(CUT_LAST, &before, &window(5, &after));
    // The journal has another order: an existing row must not be skipped.
    let mut other = Speaker::new("large");
    let bodies: Vec<String> = (0..30).map(|n| format!("{}-2-{n}", (n * 7_919) % 10_007)).collect();
    other.says(2, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let other = other.says(3, &["another entry at slot 30".replace(' ', "-").as_str()]);
    let archive = file.open();
    let folded = archive.fold(&window(3, &[other]));
    assert!(matches!(folded, Err(ArchiveError::Damaged { slot: 30, .. })), "{folded:?}");
    assert_eq!(content(&archive), content_before);
}

#[test]
fn copies_made_during_a_fold_are_completed_by_repeating_it() {
    let (before, after) = commits();
    let file = File::new();
    let archive = file.open();
    fold(&archive, 2, &before);
    let copies: Vec<File> = std::thread::scope(|scope| {
        let folding = scope.spawn(|| fold(&archive, 5, &after));
        let mut copies = Vec::new();
        loop {
            let is_last = folding.is_finished();
            let copy = File::new();
            // One read transaction: what a crash at this moment would leave.
            let into = copy.path();
            file.execute(&format!("VACUUM INTO '{}'", into.display()));
            copies.push(copy);
            if is_last {
                return copies;
            }
        }
    });
    let whole = content(&archive);
    // At most ten of them, spread over the fold.
    for copy in copies.iter().step_by(copies.len().div_ceil(10)).chain(copies.last()) {
        let copied = copy.open();
        let position = copied.applied(0).expect("applied").position.0;
        assert!(position == 2 || position == 5, "all of the window counts, or none");
        if position == 2 {
            fold(&copied, 5, &after);
        }
        assert_eq!(content(&copied), whole);
    }
}

//! What must not depend on the archive's layout: pages, ids, and that segments stay few.

mod file;

use std::{collections::BTreeSet, sync::Arc};

use file::File;
use roomlog_core::{
    archive::{Archive, ArchiveError, IdKey, Keep},
    commit::Commit,
    proposal::Stored,
};
use roomlog_protocol::Content;
use roomlog_sqlite::SqliteArchive;
use roomlog_testkit::fixtures::{SALT, Speaker, room, window};
use rusqlite::Connection;

impl File {
    /// The integers that a query gives.
    fn integers(&self, sql: &str) -> Vec<i64> {
        let file = Connection::open(self.path()).expect("the file");
        let mut statement = file.prepare(sql).expect("a query");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("integers")
    }

    /// How many entries each run holds, in the order of the rows: its second byte.
    fn run_lengths(&self) -> Vec<u8> {
        let file = Connection::open(self.path()).expect("the file");
        let mut statement = file.prepare("SELECT run FROM runs ORDER BY key").expect("a query");
        let rows = statement.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("rows");
        rows.map(|run| run.expect("a run")[1]).collect()
    }

    /// The segments that have rows.
    fn segments_with_rows(&self) -> BTreeSet<i64> {
        let rows =
            "SELECT DISTINCT key >> 32 FROM id_buckets UNION SELECT key >> 32 FROM id_filters";
        self.integers(rows).into_iter().collect()
    }

    /// The segments that count.
    fn segments_that_count(&self) -> BTreeSet<i64> {
        let named =
            "SELECT json_extract(value, '$.number') FROM state, json_each(state, '$.segments')";
        self.integers(named).into_iter().collect()
    }
}

fn keys(commit: &Commit) -> impl Iterator<Item = IdKey> {
    commit.entries.iter().map(|Stored { entry, .. }| IdKey {
        room: commit.room.clone(),
        author: entry.author.clone(),
        id: entry.id.clone(),
    })
}

fn slots(archive: &SqliteArchive, keys: &[IdKey]) -> Vec<Option<u64>> {
    let found = archive.find(keys).expect("an answer");
    found.into_iter().map(|known| known.map(|known| known.slot)).collect()
}

/// Says `count` things in a room, each with its own id.
fn append(speaker: &mut Speaker, position: u64, count: usize) -> Arc<Commit> {
    let bodies: Vec<String> = (0..count).map(|n| format!("{position}-{n}")).collect();
    speaker.says(position, &bodies.iter().map(String::as_str).collect::<Vec<_>>())
}

#[test]
fn a_page_is_the_same_from_wherever_runs_begin_and_end() {
    let file = File::new();
    let archive = file.open();
    let mut speaker = Speaker::new("a");
    let mut log = Vec::new();
    // Folds that end within a run, at its end, one after it, and far beyond it.
    for (position, count) in (1..).zip([1, 62, 1, 1, 63, 64, 65, 200, 3]) {
        let commit = append(&mut speaker, position, count);
        log.extend(commit.entries.clone());
        archive.fold(&window(position, &[commit])).expect("a fold");
    }
    assert_eq!(file.run_lengths(), [64, 64, 64, 64, 64, 64, 64, 12]);
    for first in 0..log.len() {
        for count in [1, 2, 50, 64, 65, 130, 500] {
            let end = (first + count).min(log.len());
            for keep in [Keep::Oldest, Keep::Newest] {
                let page = archive.page(&room("a"), first as u64, end as u64, usize::MAX, keep);
                assert_eq!(page.as_deref(), Ok(&log[first..end]), "{first}..{end}, {keep:?}");
            }
        }
    }
    let bytes = |stored: &[Stored]| stored.iter().map(Stored::text_bytes).sum::<usize>();
    let page = |bytes, keep| archive.page(&room("a"), 10, 300, bytes, keep).expect("a page");
    assert_eq!(page(bytes(&log[10..150]), Keep::Oldest), log[10..150]);
    assert_eq!(page(bytes(&log[10..150]) - 1, Keep::Oldest), log[10..149]);
    assert_eq!(page(bytes(&log[120..300]), Keep::Newest), log[120..300]);
    assert_eq!(page(bytes(&log[120..300]) - 1, Keep::Newest), log[121..300]);
}

#[test]
fn a_run_takes_entries_until_it_has_16_kib() {
    let file = File::new();
    let archive = file.open();
    let mut speaker = Speaker::new("a");
    // 64 bytes of an id, as much of a body: few enough for 64 of them. Then one that fills a run.
    let (small, large) = ("x".repeat(60), "y".repeat(16 << 10));
    let mut append = |position: u64, body: &str| {
        let mut commit = speaker.says(position, &[&format!("i{position}")]);
        let changed = Arc::get_mut(&mut commit).expect("the only handle");
        let before = changed.entries[0].entry.slot;
        changed.entries[0].entry.content =
            Content::Said { body: body.into(), meta: None, salt: SALT };
        // The chain as apply would have made it with this body.
        let digest = file_digest(&archive, before).then(&changed.entries[0].entry);
        changed.entries[0].digest = digest;
        speaker.head.digest = digest;
        archive.fold(&window(position, &[commit])).expect("a fold");
    };
    append(1, &small);
    append(2, &large);
    append(3, &small);
    append(4, &large);
    append(5, &large);
    assert_eq!(file.run_lengths(), [2, 2, 1], "full behind the entry that fills it");
    assert_eq!(archive.page(&room("a"), 0, 5, usize::MAX, Keep::Oldest).expect("all").len(), 5);
}

/// The digest before a slot in the archive.
fn file_digest(archive: &SqliteArchive, slot: u64) -> roomlog_protocol::Digest {
    let name = room("a");
    let head = archive.head(&name).expect("a head");
    assert_eq!(head.map_or(0, |head| head.end), slot);
    head.map_or(roomlog_protocol::Digest::start(&name), |head| head.digest)
}

#[test]
fn ids_are_found_through_every_merge_and_merged_segments_are_deleted() {
    let file = File::new();
    let mut archive = file.open();
    let mut speakers = ["a", "b", "c"].map(Speaker::new);
    let (mut all, mut slots_of_all) = (Vec::new(), Vec::new());
    let (mut position, mut most) = (0, 0);
    for round in 0..400_usize {
        position += 1;
        // Mostly one or two entries, now and then some hundreds.
        let count = if round % 40 == 7 { 300 } else { 1 + round % 2 };
        let commit = append(&mut speakers[round % 3], position, count);
        all.extend(keys(&commit));
        slots_of_all.extend(commit.entries.iter().map(|stored| Some(stored.entry.slot)));
        archive.fold(&window(position, &[commit])).expect("a fold");
        most = most.max(file.segments_that_count().len());
        if round % 50 == 3 {
            assert_eq!(slots(&archive, &all), slots_of_all, "after fold {round}");
        }
        if round % 90 == 11 {
            drop(archive);
            archive = file.open();
        }
    }
    assert_eq!(slots(&archive, &all), slots_of_all);
    assert!(most <= 20, "{most} segments at a time");
    assert_eq!(file.segments_with_rows(), file.segments_that_count(), "nothing else is left");
    let others: Vec<IdKey> =
        all.iter().map(|key| IdKey { room: room("d"), ..key.clone() }).collect();
    assert_eq!(slots(&archive, &others), vec![None; others.len()]);
}

#[test]
fn segments_stay_few_although_no_process_lives_long_enough_for_the_largest_merge() {
    let file = File::new();
    let mut speaker = Speaker::new("a");
    let (mut all, mut most, mut position) = (Vec::new(), 0, 0);
    let mut fold = |archive: &SqliteArchive, count: usize| {
        position += 1;
        let commit = append(&mut speaker, position, count);
        all.extend(keys(&commit));
        archive.fold(&window(position, &[commit])).expect("a fold");
        file.segments_that_count().len()
    };
    let archive = file.open();
    for _ in 0..3 {
        fold(&archive, 6_000);
    }
    drop(archive);
    // The fourth segment begins a merge of 18,000 ids, which takes five folds of one.
    for _ in 0..20 {
        let archive = file.open();
        most = (0..3).map(|_| fold(&archive, 1)).fold(most, usize::max);
    }
    assert!(most <= 12, "{most} segments at a time");
    let archive = file.open();
    for _ in 0..10 {
        fold(&archive, 1);
    }
    drop(archive);
    assert!(slots(&file.open(), &all).iter().all(Option::is_some));
    assert_eq!(file.segments_with_rows(), file.segments_that_count(), "nothing else is left");
}

#[test]
fn a_window_counts_although_there_is_no_room_for_a_merge() {
    let file = File::new();
    let archive = file.open();
    let mut speaker = Speaker::new("a");
    let mut fold = |position: u64| {
        let commit = append(&mut speaker, position, 200);
        archive.fold(&window(position, &[commit]))
    };
    for position in 1..4 {
        fold(position).expect("a fold");
    }
    // A table without room for another row gives SQLITE_FULL, as a full disk does.
    file.execute(
        "CREATE TABLE full (id INTEGER PRIMARY KEY AUTOINCREMENT);
         INSERT INTO full VALUES (9223372036854775807);
         CREATE TRIGGER cut BEFORE INSERT ON id_buckets WHEN NEW.key >> 32 = 5
         BEGIN INSERT INTO full VALUES (NULL); END",
    );
    assert_eq!(fold(4), Ok(None));
    assert_eq!(archive.applied(0).expect("applied").position.0, 4);
    assert_eq!(file.segments_that_count().len(), 4);
    file.execute("DROP TRIGGER cut; DROP TABLE full");
    assert_eq!(fold(5), Ok(None));
    assert_eq!(file.segments_that_count().len(), 2, "merged when there is room");
}

#[test]
fn a_fold_that_repeatedly_finds_no_room_takes_no_more_space() {
    let file = File::new();
    let archive = file.open();
    let mut speaker = Speaker::new("a");
    archive.fold(&window(1, &[append(&mut speaker, 1, 10)])).expect("a fold");
    // No room for the last row of the next fold.
    file.execute(
        "CREATE TABLE full (id INTEGER PRIMARY KEY AUTOINCREMENT);
         INSERT INTO full VALUES (9223372036854775807);
         CREATE TRIGGER cut BEFORE INSERT ON state WHEN NEW.state LIKE '%\"position\":2,%'
         BEGIN INSERT INTO full VALUES (NULL); END",
    );
    let commit = append(&mut speaker, 2, 5_000);
    let pages = |_| {
        let folded = archive.fold(&window(2, std::slice::from_ref(&commit)));
        assert!(matches!(folded, Err(ArchiveError::NoRoom(_))), "{folded:?}");
        file.integers("PRAGMA page_count")[0]
    };
    let pages: Vec<i64> = (0..20).map(pages).collect();
    assert!(pages[19] <= pages[2], "it grows: {pages:?}");
    file.execute("DROP TRIGGER cut; DROP TABLE full");
    archive.fold(&window(2, &[commit])).expect("a fold");
    archive.fold(&window(3, &[append(&mut speaker, 3, 1)])).expect("a fold");
    assert_eq!(file.segments_with_rows(), file.segments_that_count(), "nothing else is left");
}

#[test]
fn leftovers_of_an_interrupted_merge_are_deleted() {
    // The fourth segment of a size begins a merge, right after the fold that added it.
    for cut in [
        "INSERT ON id_buckets WHEN NEW.key >> 32 = 5",
        "INSERT ON id_filters WHEN NEW.key >> 32 = 5",
        "DELETE ON id_buckets",
    ] {
        let file = File::new();
        let archive = file.open();
        let mut speaker = Speaker::new("a");
        let mut all = Vec::new();
        let mut fold = |archive: &SqliteArchive, position: u64| {
            let commit = append(&mut speaker, position, 200);
            all.extend(keys(&commit));
            archive.fold(&window(position, &[commit]))
        };
        for position in 1..4 {
            fold(&archive, position).expect("a fold");
        }
        let trigger = format!("CREATE TRIGGER cut BEFORE {cut}");
        file.execute(&format!("{trigger} BEGIN SELECT RAISE(ABORT, 'cut'); END"));
        let cut_off = fold(&archive, 4);
        assert!(matches!(cut_off, Err(ArchiveError::Failed(_))), "{cut}: {cut_off:?}");
        drop(archive);
        file.execute("DROP TRIGGER cut");

        let archive = file.open();
        assert_eq!(
            archive.applied(0).expect("applied").position.0,
            4,
            "{cut}: the fold itself is in"
        );
        for position in 5..9 {
            fold(&archive, position).expect("a fold");
        }
        assert!(slots(&archive, &all).iter().all(Option::is_some), "{cut}");
        assert_eq!(file.segments_with_rows(), file.segments_that_count(), "{cut}");
    }
}

#[test]
fn what_was_changed_in_any_table_is_damage_and_never_an_answer() {
    let changes = [
        ("UPDATE state SET state = replace(state, '\"rooms\":2', '\"rooms\":3')", "state"),
        ("UPDATE rooms SET end = end - 1 WHERE name = 'a'", "room a"),
        ("DELETE FROM rooms WHERE name = 'b'", "1 rooms and knows of 2"),
        ("DELETE FROM id_filters", "filter of ids"),
        ("UPDATE id_filters SET bits = zeroblob(length(bits))", "filter of ids"),
        ("DELETE FROM id_buckets WHERE key & 0xffffffff = 0", "bucket 0"),
        ("UPDATE id_buckets SET ids = zeroblob(length(ids))", "checksum"),
        ("DELETE FROM runs", "missing"),
        ("UPDATE runs SET key = key + 1", "missing"),
        (
            "UPDATE runs SET run = CAST(substr(run, 1, length(run) - 2) || x'4141' AS BLOB)",
            "digest",
        ),
    ];
    for (change, message) in changes {
        let file = File::new();
        let archive = file.open();
        let commits =
            [append(&mut Speaker::new("a"), 1, 100), append(&mut Speaker::new("b"), 1, 3)];
        let all: Vec<IdKey> = commits.iter().flat_map(|commit| keys(commit)).collect();
        archive.fold(&window(1, &commits)).expect("a fold");
        drop(archive);
        file.execute(change);
        let read = || -> Result<(), ArchiveError> {
            let archive = SqliteArchive::open(&file.path(), "log")?;
            for key in &all {
                let found = archive.find(std::slice::from_ref(key))?;
                assert!(found[0].is_some(), "{change}: an id is gone");
            }
            archive.page(&room("a"), 0, 100, usize::MAX, Keep::Oldest).map(drop)
        };
        let problem = read().expect_err(change).to_string();
        assert!(problem.contains(message), "{change}: {problem}");
    }
}

#[test]
fn a_run_that_was_read_and_changes_later_is_damage_from_that_entry_on() {
    let file = File::new();
    let archive = file.open();
    archive.fold(&window(1, &[append(&mut Speaker::new("a"), 1, 100)])).expect("a fold");
    let read = |slots: std::ops::Range<u64>| {
        archive.page(&room("a"), slots.start, slots.end, usize::MAX, Keep::Oldest)
    };
    let whole = read(0..100).expect("a page");
    assert_eq!(read(0..100), Ok(whole.clone()), "a second time");
    // The body of slot 40.
    file.execute(
        "UPDATE runs SET run = CAST(replace(run, CAST('1-40' AS BLOB), CAST('1-4x' AS BLOB)) AS BLOB)
         WHERE key & 0xffffffffff = 0",
    );
    assert_eq!(read(0..40).expect("a page"), whole[..40]);
    assert_eq!(read(41..100).expect("a page"), whole[41..]);
    for slots in [0..41, 40..100] {
        let problem = read(slots).expect_err("damage").to_string();
        assert!(problem.contains("slot 40") && problem.contains("digest"), "{problem}");
    }
}

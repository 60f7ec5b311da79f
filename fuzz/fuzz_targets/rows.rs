//! An archive in which one row was changed: what is served is what was written, or an error.
#![no_main]

use std::{fs, path::Path, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use roomlog_core::{
    archive::{Archive, Keep},
    proposal::Stored,
};
use roomlog_protocol::RoomRange;
use roomlog_sqlite::SqliteArchive;
use roomlog_testkit::fixtures::{Speaker, redaction, room, window};
use rusqlite::{Connection, params};

const ENTRIES: u64 = 7;

/// The file of an archive, what its room has, its run and its buckets of ids.
struct Base {
    file: Vec<u8>,
    page: Vec<Stored>,
    run: Vec<u8>,
    ids: Vec<u8>,
}

fuzz_target!(|input: (u8, Vec<(u16, u8)>, Option<Vec<u8>>)| {
    static BASE: OnceLock<Base> = OnceLock::new();
    let base = BASE.get_or_init(base);
    let (table, changes, whole) = input;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("archive.db");
    fs::write(&file, &base.file).expect("written");
    let database = Connection::open(&file).expect("a database");
    let (sql, row) = match table % 3 {
        0 => ("UPDATE runs SET run = ?1", &base.run),
        1 => ("UPDATE id_buckets SET ids = ?1", &base.ids),
        _ => ("UPDATE state SET state = ?1, crc = ?2", &base.run),
    };
    let mut row = whole.unwrap_or_else(|| row.clone());
    for (at, byte) in changes {
        if let Some(changed) = row.get_mut(usize::from(at)) {
            *changed = byte;
        }
    }
    if table % 3 == 2 {
        let text = String::from_utf8_lossy(&row).into_owned();
        database.execute(sql, params![text, crc32fast::hash(text.as_bytes())]).expect("changed");
    } else {
        database.execute(sql, params![row]).expect("changed");
    }
    drop(database);
    read(&file, base);
});

fn base() -> Base {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("archive.db");
    let archive = SqliteArchive::open(&file, "log").expect("an archive");
    let mut a = Speaker::new("a");
    let commits = [
        a.says(1, &["one", "m", "s", "r", "a-longer-text-that-is-said-at-the-end"]),
        a.commits(2, [redaction("a", "ada", "gone", 1)].into_iter()),
        a.says(3, &["last"]),
    ];
    archive.fold(&window(3, &commits)).expect("a fold");
    archive.make_durable(0).expect("durable");
    let page = archive.page(&room("a"), 0, ENTRIES, 10_000, Keep::Oldest).expect("a page");
    drop(archive);
    let database = Connection::open(&file).expect("a database");
    let blob = |sql| database.query_row(sql, [], |row| row.get(0)).expect("a row");
    let (run, ids) = (blob("SELECT run FROM runs"), blob("SELECT ids FROM id_buckets"));
    database.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").expect("a checkpoint");
    drop(database);
    Base { file: fs::read(&file).expect("a file"), page, run, ids }
}

fn read(file: &Path, base: &Base) {
    let Ok(archive) = SqliteArchive::open(file, "log") else { return };
    let _ = (archive.applied(0), archive.rooms(&RoomRange::every(), 10), archive.room_count());
    for (first, end) in [(0, ENTRIES), (2, 3), (ENTRIES - 1, ENTRIES)] {
        if let Ok(page) = archive.page(&room("a"), first, end, 10_000, Keep::Newest) {
            assert_eq!(page, base.page[first as usize..end as usize]);
        }
    }
    let mut more = Speaker::new("b");
    let _ = archive.fold(&window(4, &[more.says(4, &["elsewhere"])]));
    let _ = archive.wipe();
}

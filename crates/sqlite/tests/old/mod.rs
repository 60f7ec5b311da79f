//! A journal of format 3, `journal.db`, as earlier versions wrote it.
#![allow(dead_code, reason = "each test file uses its own part of this")]

use std::path::Path;

use rusqlite::{Connection, params};

pub(crate) const LOG: &str = "01M81WSNW9CE6W6228NGE1B62E";

const TABLES: &str = "
    CREATE TABLE log (id TEXT NOT NULL, format INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;
    CREATE TABLE reached (position INTEGER NOT NULL, sum INTEGER NOT NULL) STRICT;
    CREATE TABLE blocks (
        position INTEGER PRIMARY KEY,
        time     INTEGER NOT NULL,
        sum      INTEGER NOT NULL,
        block    BLOB NOT NULL
    ) STRICT;
    CREATE TABLE trimmed (
        one      INTEGER PRIMARY KEY CHECK (one = 1),
        position INTEGER NOT NULL,
        time     INTEGER NOT NULL,
        sum      INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE continues (
        one      INTEGER PRIMARY KEY CHECK (one = 1),
        log      TEXT NOT NULL,
        position INTEGER NOT NULL
    ) STRICT;";

fn sum(kind: &str, numbers: &[u64], bytes: &[u8]) -> u32 {
    let numbers = numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>();
    crc32fast::hash(&[kind.as_bytes(), &numbers, bytes].concat())
}

/// As long as it is open, its blocks are in its WAL, as after a kill.
pub(crate) struct OldJournal(Connection);

impl OldJournal {
    /// Creates it; `trimmed` is its last trimmed position, and the time of that block.
    pub(crate) fn create(path: &Path, trimmed: Option<(u64, u64)>) -> Self {
        let file = Connection::open(path).expect("the file");
        let wal =
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;";
        file.execute_batch(wal).expect("a WAL");
        file.execute_batch(&format!("BEGIN; {TABLES} COMMIT")).expect("the tables");
        let row = params![LOG, 3, sum("log", &[3], LOG.as_bytes())];
        file.execute("INSERT INTO log VALUES (?1, ?2, ?3)", row).expect("a row");
        let position = trimmed.map_or(0, |(position, _)| position);
        let row = params![position.cast_signed(), sum("reached", &[position], &[])];
        file.execute("INSERT INTO reached VALUES (?1, ?2)", row).expect("a row");
        if let Some((position, time)) = trimmed {
            let sum = sum("trimmed", &[position, time], &[]);
            let row = params![position.cast_signed(), time.cast_signed(), sum];
            file.execute("INSERT INTO trimmed VALUES (1, ?1, ?2, ?3)", row).expect("a row");
        }
        file.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("copied");
        Self(file)
    }

    pub(crate) fn insert(&self, position: u64, time: u64, block: &[u8]) {
        let sum = sum("block", &[position, time], block);
        let row = params![position.cast_signed(), time.cast_signed(), sum, block];
        self.0.execute("INSERT INTO blocks VALUES (?1, ?2, ?3, ?4)", row).expect("a row");
    }

    pub(crate) fn execute(&self, sql: &str) {
        self.0.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

//! The archive's tables and statements, in one place.

/// The format of `archive.db`.
pub(crate) const FORMAT: i64 = 3;

/// What is in `rooms` and `id_…` and not in `state` does not count: `state` names what does. A room
/// that a fold has begun and not finished has end 0. Keys: [`super::archive::key`] for `runs`, and
/// [`super::archive::ids::part_key`] for the parts of a segment.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE log (id TEXT NOT NULL, format INTEGER NOT NULL) STRICT;
    CREATE TABLE state (
        one   INTEGER PRIMARY KEY CHECK (one = 1),
        state TEXT NOT NULL,
        crc   INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE rooms (
        name         TEXT NOT NULL PRIMARY KEY,
        number       INTEGER NOT NULL,
        end          INTEGER NOT NULL,
        committed_at INTEGER NOT NULL,
        digest       BLOB NOT NULL,
        sum          INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE runs (key INTEGER PRIMARY KEY, run BLOB NOT NULL) STRICT;
    CREATE TABLE id_buckets (key INTEGER PRIMARY KEY, ids BLOB NOT NULL) STRICT;
    CREATE TABLE id_filters (key INTEGER PRIMARY KEY, bits BLOB NOT NULL) STRICT;
    CREATE TABLE durable (partition INTEGER PRIMARY KEY, position INTEGER NOT NULL) STRICT;";

pub(crate) const IS_MADE: &str =
    "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'log')";
pub(crate) const LOG: &str = "SELECT id, format FROM log";
pub(crate) const SET_LOG: &str = "UPDATE log SET id = ?1";
pub(crate) const MAKE_LOG: &str = "INSERT INTO log VALUES (?1, ?2)";
pub(crate) const STATE: &str = "SELECT state, crc FROM state WHERE one = 1";
pub(crate) const SET_STATE: &str = "INSERT OR REPLACE INTO state VALUES (1, ?1, ?2)";

pub(crate) const ROOM: &str =
    "SELECT name, number, end, committed_at, digest, sum FROM rooms WHERE name = ?1";
pub(crate) const ROOMS: &str =
    "SELECT name, number, end, committed_at, digest, sum FROM rooms ORDER BY name";
pub(crate) const ROOMS_AFTER: &str =
    "SELECT name, number, end, committed_at, digest, sum FROM rooms
    WHERE name > ?1 AND end > 0 ORDER BY name LIMIT ?2";
pub(crate) const SET_ROOM: &str = "INSERT OR REPLACE INTO rooms VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

pub(crate) const MAKE_RUN: &str = "INSERT INTO runs VALUES (?1, ?2) ON CONFLICT DO NOTHING";
pub(crate) const SET_RUN: &str = "UPDATE runs SET run = ?2 WHERE key = ?1";
pub(crate) const DROP_RUNS: &str = "DELETE FROM runs WHERE key >= ?1 AND key < ?2";
/// The run that holds a key, when one does; else the one before it.
pub(crate) const RUN_AT: &str =
    "SELECT key, run FROM runs WHERE key <= ?1 ORDER BY key DESC LIMIT 1";
pub(crate) const RUNS_FROM: &str = "SELECT key, run FROM runs
    WHERE key >= (SELECT key FROM runs WHERE key <= ?1 ORDER BY key DESC LIMIT 1) AND key < ?2
    ORDER BY key";
pub(crate) const RUNS_BEFORE: &str = "SELECT key, run FROM runs
    WHERE key >= (SELECT key FROM runs WHERE key <= ?1 ORDER BY key DESC LIMIT 1) AND key < ?2
    ORDER BY key DESC";

pub(crate) const BUCKET: &str = "SELECT ids FROM id_buckets WHERE key = ?1";
pub(crate) const MAKE_BUCKET: &str = "INSERT INTO id_buckets VALUES (?1, ?2)";
pub(crate) const FILTER: &str =
    "SELECT key, bits FROM id_filters WHERE key >= ?1 AND key < ?2 ORDER BY key";
pub(crate) const MAKE_FILTER: &str = "INSERT INTO id_filters VALUES (?1, ?2)";
/// The first key at or after one, to go from segment to segment.
pub(crate) const PART_FROM: [&str; 2] = [
    "SELECT key FROM id_buckets WHERE key >= ?1 ORDER BY key LIMIT 1",
    "SELECT key FROM id_filters WHERE key >= ?1 ORDER BY key LIMIT 1",
];
pub(crate) const DROP_PARTS: [&str; 2] = [
    "DELETE FROM id_buckets WHERE key >= ?1 AND key < ?2",
    "DELETE FROM id_filters WHERE key >= ?1 AND key < ?2",
];

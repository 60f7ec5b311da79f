//! The archive's tables and statements, in one place.

/// The format of `archive.db`.
pub(crate) const FORMAT: i64 = 1;

/// A room has a number, so that the key of an entry is one integer: see [`super::archive::key`].
/// `rooms.end` and what is beside it move only with `applied`; a room that a fold has begun and not
/// finished has end 0.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS log (id TEXT NOT NULL, format INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS rooms (
        number       INTEGER PRIMARY KEY,
        name         TEXT NOT NULL UNIQUE,
        end          INTEGER NOT NULL DEFAULT 0,
        committed_at INTEGER NOT NULL DEFAULT 0,
        digest       BLOB NOT NULL DEFAULT x''
    ) STRICT;
    CREATE TABLE IF NOT EXISTS entries (
        key          INTEGER PRIMARY KEY,
        author       TEXT NOT NULL,
        id           TEXT NOT NULL,
        body         TEXT NOT NULL,
        committed_at INTEGER NOT NULL,
        sent_at      INTEGER,
        kind         TEXT,
        ref          INTEGER,
        meta         TEXT,
        digest       BLOB NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS ids (
        room   INTEGER NOT NULL,
        author TEXT NOT NULL,
        id     TEXT NOT NULL,
        slot   INTEGER NOT NULL,
        PRIMARY KEY (room, author, id)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS applied (
        partition INTEGER PRIMARY KEY,
        position  INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS proposers (
        partition   INTEGER NOT NULL,
        node        BLOB NOT NULL,
        incarnation INTEGER NOT NULL,
        next        INTEGER NOT NULL,
        PRIMARY KEY (partition, node)
    ) STRICT, WITHOUT ROWID;";

pub(crate) const LOG: &str = "SELECT id, format FROM log";
pub(crate) const MAKE_LOG: &str = "INSERT INTO log VALUES (?1, ?2)";

pub(crate) const APPLIED: &str = "SELECT position FROM applied WHERE partition = ?1";
pub(crate) const PROPOSERS: &str =
    "SELECT node, incarnation, next FROM proposers WHERE partition = ?1";
pub(crate) const SET_APPLIED: &str =
    "INSERT INTO applied VALUES (?1, ?2) ON CONFLICT DO UPDATE SET position = excluded.position";
pub(crate) const SET_PROPOSER: &str = "INSERT INTO proposers VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET incarnation = excluded.incarnation, next = excluded.next";

pub(crate) const ROOM_NUMBER: &str = "SELECT number FROM rooms WHERE name = ?1";
pub(crate) const MAKE_ROOM: &str = "INSERT INTO rooms (name) VALUES (?1)";
pub(crate) const SET_HEAD: &str =
    "UPDATE rooms SET end = ?2, committed_at = ?3, digest = ?4 WHERE number = ?1";
pub(crate) const HEAD: &str =
    "SELECT name, end, committed_at, digest FROM rooms WHERE name = ?1 AND end > 0";
pub(crate) const ROOMS_AFTER: &str = "SELECT name, end, committed_at, digest FROM rooms
    WHERE name > ?1 AND end > 0 ORDER BY name LIMIT ?2";

pub(crate) const ID: &str = "SELECT slot FROM ids WHERE room = ?1 AND author = ?2 AND id = ?3";
pub(crate) const MAKE_ID: &str = "INSERT INTO ids VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING";

pub(crate) const MAKE_ENTRY: &str = "INSERT INTO entries
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING";
pub(crate) const ENTRY: &str =
    "SELECT key, author, id, body, committed_at, sent_at, kind, ref, meta,
    digest FROM entries WHERE key = ?1";
pub(crate) const PAGE_OLDEST: &str =
    "SELECT key, author, id, body, committed_at, sent_at, kind, ref,
    meta, digest FROM entries WHERE key >= ?1 AND key < ?2 ORDER BY key";
pub(crate) const PAGE_NEWEST: &str =
    "SELECT key, author, id, body, committed_at, sent_at, kind, ref,
    meta, digest FROM entries WHERE key >= ?1 AND key < ?2 ORDER BY key DESC";

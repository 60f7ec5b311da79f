//! How ids may lie: as text, or as a hash that leads to the entry.
//!
//! Enters: room, author and id, with the key of their entry. Leaves: keys of entries that may have
//! them. Invariant: an id is at one slot; one that is given twice is an error.

use roomlog_core::archive::IdKey;
use roomlog_protocol::{Author, EntryId, RoomName};
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest as _, Sha256};

use super::{
    Outcome,
    entries::{key, slot_of},
    layout::number_of_room,
};

/// An id that is put in.
pub(super) struct IdRow<'a> {
    pub(super) hash: i64,
    pub(super) number: i64,
    pub(super) author: &'a Author,
    pub(super) id: &'a EntryId,
    /// The key of the entry.
    pub(super) key: i64,
}

/// A way to lay ids out. Rows come sorted by hash, room, author and id.
pub(super) trait Ids {
    const SCHEMA: &str;

    /// The hash by which rows are sorted first; 0 when none is needed.
    fn hash(room: &RoomName, author: &Author, id: &EntryId) -> i64;

    /// Puts an id in, after `is_same` has said of every other entry in its place that it has another.
    fn put(
        connection: &Connection,
        row: &IdRow<'_>,
        is_same: impl Fn(i64) -> Outcome<bool>,
    ) -> Outcome<()>;

    /// The keys of the entries that may have an id.
    fn keys_of(connection: &Connection, asked: &IdKey) -> Outcome<Vec<i64>>;
}

fn twice(row: &IdRow<'_>) -> Outcome<()> {
    Err(format!("the id of slot {} is there already", slot_of(row.key)).into())
}

/// Room, author and id as they are, in one index.
pub(super) struct Text;

impl Ids for Text {
    const SCHEMA: &str = "CREATE TABLE ids (
        room   INTEGER NOT NULL,
        author TEXT NOT NULL,
        id     TEXT NOT NULL,
        slot   INTEGER NOT NULL,
        PRIMARY KEY (room, author, id)
    ) STRICT, WITHOUT ROWID;";

    fn hash(_: &RoomName, _: &Author, _: &EntryId) -> i64 {
        0
    }

    fn put(
        connection: &Connection,
        row: &IdRow<'_>,
        _: impl Fn(i64) -> Outcome<bool>,
    ) -> Outcome<()> {
        let mut make = connection
            .prepare_cached("INSERT INTO ids VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING")?;
        let slot = slot_of(row.key).cast_signed();
        let made = make.execute(params![row.number, row.author.as_str(), row.id.as_str(), slot])?;
        if made == 1 { Ok(()) } else { twice(row) }
    }

    fn keys_of(connection: &Connection, asked: &IdKey) -> Outcome<Vec<i64>> {
        let Some(number) = number_of_room(connection, &asked.room)? else { return Ok(Vec::new()) };
        let mut find = connection
            .prepare_cached("SELECT slot FROM ids WHERE room = ?1 AND author = ?2 AND id = ?3")?;
        let names = params![number, asked.author.as_str(), asked.id.as_str()];
        let slot: Option<i64> = find.query_row(names, |row| row.get(0)).optional()?;
        Ok(slot.map(|slot| key(number, slot.cast_unsigned())).into_iter().collect())
    }
}

/// 64 bits of a hash over room, author and id; what it leads to is compared.
pub(super) struct Hashed;

impl Ids for Hashed {
    const SCHEMA: &str = "CREATE TABLE ids (
        hash INTEGER NOT NULL,
        key  INTEGER NOT NULL,
        PRIMARY KEY (hash, key)
    ) STRICT, WITHOUT ROWID;";

    fn hash(room: &RoomName, author: &Author, id: &EntryId) -> i64 {
        let mut sha = Sha256::new();
        for name in [room.as_str(), author.as_str(), id.as_str()] {
            // Names have at most 128 bytes.
            sha.update([name.len() as u8]);
            sha.update(name.as_bytes());
        }
        let mut hash = [0; 8];
        hash.copy_from_slice(&sha.finalize()[..8]);
        i64::from_be_bytes(hash)
    }

    fn put(
        connection: &Connection,
        row: &IdRow<'_>,
        is_same: impl Fn(i64) -> Outcome<bool>,
    ) -> Outcome<()> {
        for there in keys(connection, row.hash)? {
            if is_same(there)? {
                return twice(row);
            }
        }
        let mut make = connection.prepare_cached("INSERT INTO ids VALUES (?1, ?2)")?;
        make.execute([row.hash, row.key])?;
        Ok(())
    }

    fn keys_of(connection: &Connection, asked: &IdKey) -> Outcome<Vec<i64>> {
        keys(connection, Self::hash(&asked.room, &asked.author, &asked.id))
    }
}

fn keys(connection: &Connection, hash: i64) -> Outcome<Vec<i64>> {
    let mut find = connection.prepare_cached("SELECT key FROM ids WHERE hash = ?1")?;
    let keys = find.query_map([hash], |row| row.get(0))?;
    Ok(keys.collect::<rusqlite::Result<_>>()?)
}

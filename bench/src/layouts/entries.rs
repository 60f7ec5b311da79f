//! How entries may lie: a row each, or a row for up to 64 of a room that follow each other.
//!
//! Enters: the entries of a room, in order. Leaves: one of them, or a page of which every digest
//! follows from the one before it, as in the product. Invariant: key = number of the room · 2^40 +
//! slot, so that a room lies in one piece. Entries have no kind, ref, meta or `sent_at` here.

use std::ops::Range;

use roomlog_core::proposal::Stored;
use roomlog_protocol::{Author, Digest, Entry, EntryId, Kind, RoomName, Slot};
use rusqlite::{Connection, Row, params};

use super::{Outcome, run};

const SLOT_BITS: u32 = 40;

/// The key of an entry.
pub(super) fn key(number: i64, slot: Slot) -> i64 {
    number << SLOT_BITS | slot.cast_signed()
}

/// The slot in a key.
pub(super) fn slot_of(key: i64) -> Slot {
    key.cast_unsigned() & ((1 << SLOT_BITS) - 1)
}

/// The number of the room in a key.
pub(super) fn number_of(key: i64) -> i64 {
    key >> SLOT_BITS
}

/// A room, as the entries' tables know it.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) name: &'a RoomName,
    pub(super) number: i64,
}

/// A way to lay entries out.
pub(super) trait Entries {
    const SCHEMA: &str;

    /// Makes a room longer by entries that follow its last one.
    fn extend(connection: &Connection, room: Of<'_>, entries: &[&Stored]) -> Outcome<()>;

    /// One entry, its digest not checked.
    fn entry(connection: &Connection, room: Of<'_>, slot: Slot) -> Outcome<Stored>;

    /// The digest before a span, and the span's entries.
    fn span(
        connection: &Connection,
        room: Of<'_>,
        span: Range<Slot>,
    ) -> Outcome<(Digest, Vec<Stored>)>;
}

/// A page: all of a span, its digests checked.
pub(super) fn page<E: Entries>(
    connection: &Connection,
    room: Of<'_>,
    span: Range<Slot>,
) -> Outcome<Vec<Stored>> {
    let slots = span.clone();
    let (mut digest, page) = E::span(connection, room, span)?;
    if !slots.eq(page.iter().map(|stored| stored.entry.slot)) {
        return Err("an entry is missing".into());
    }
    for stored in &page {
        digest = digest.then(&stored.entry);
        if digest != stored.digest {
            return Err("an entry does not have the digest it was given".into());
        }
    }
    Ok(page)
}

/// A row for each entry.
pub(super) struct Rows;

impl Entries for Rows {
    const SCHEMA: &str = "CREATE TABLE entries (
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
    ) STRICT;";

    fn extend(connection: &Connection, room: Of<'_>, entries: &[&Stored]) -> Outcome<()> {
        let mut make = connection.prepare_cached(
            "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, NULL, NULL, NULL, NULL, ?6)
             ON CONFLICT DO NOTHING",
        )?;
        for Stored { entry, digest } in entries {
            let key = key(room.number, entry.slot);
            let (author, id, time) =
                (entry.author.as_str(), entry.id.as_str(), entry.committed_at.cast_signed());
            if make.execute(params![key, author, id, entry.body.as_str(), time, digest.0])? == 0 {
                return Err(format!("slot {} is there already", entry.slot).into());
            }
        }
        Ok(())
    }

    fn entry(connection: &Connection, room: Of<'_>, slot: Slot) -> Outcome<Stored> {
        let mut statement = connection.prepare_cached(
            "SELECT key, author, id, body, committed_at, digest FROM entries WHERE key = ?1",
        )?;
        let mut rows = statement.query([key(room.number, slot)])?;
        stored(rows.next()?.ok_or("an entry is missing")?)
    }

    fn span(
        connection: &Connection,
        room: Of<'_>,
        span: Range<Slot>,
    ) -> Outcome<(Digest, Vec<Stored>)> {
        let before = match span.start.checked_sub(1) {
            None => Digest::start(room.name),
            Some(before) => Self::entry(connection, room, before)?.digest,
        };
        let mut statement = connection.prepare_cached(
            "SELECT key, author, id, body, committed_at, digest FROM entries
             WHERE key >= ?1 AND key < ?2 ORDER BY key",
        )?;
        let mut rows =
            statement.query([key(room.number, span.start), key(room.number, span.end)])?;
        let mut entries = Vec::new();
        while let Some(row) = rows.next()? {
            entries.push(stored(row)?);
        }
        Ok((before, entries))
    }
}

fn stored(row: &Row<'_>) -> Outcome<Stored> {
    let entry = Entry {
        slot: slot_of(row.get(0)?),
        author: Author::new(row.get_ref(1)?.as_str()?)?,
        id: EntryId::new(row.get_ref(2)?.as_str()?)?,
        body: row.get_ref(3)?.as_str()?.into(),
        committed_at: row.get::<_, i64>(4)?.cast_unsigned(),
        sent_at: None,
        kind: Kind::default(),
        reference: None,
        meta: None,
    };
    Ok(Stored { entry, digest: Digest(row.get(5)?) })
}

/// A row for up to 64 entries of a room that follow each other.
pub(super) struct Runs;

impl Runs {
    /// The run that holds a slot, when one does; else the one before it: its first slot, its bytes.
    fn at(connection: &Connection, room: Of<'_>, slot: Slot) -> Outcome<Option<(Slot, Vec<u8>)>> {
        let mut statement = connection.prepare_cached(
            "SELECT key, run FROM runs WHERE key <= ?1 ORDER BY key DESC LIMIT 1",
        )?;
        let mut rows = statement.query([key(room.number, slot)])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let key = row.get(0)?;
        let is_of_room = number_of(key) == room.number;
        Ok(if is_of_room { Some((slot_of(key), row.get(1)?)) } else { None })
    }
}

impl Entries for Runs {
    const SCHEMA: &str = "CREATE TABLE runs (key INTEGER PRIMARY KEY, run BLOB NOT NULL) STRICT;";

    fn extend(connection: &Connection, room: Of<'_>, mut entries: &[&Stored]) -> Outcome<()> {
        let Some(next) = entries.first() else { return Ok(()) };
        let mut before = Digest::start(room.name);
        if let Some((first, bytes)) = Self::at(connection, room, next.entry.slot)? {
            let mut writer = run::Writer::after(first, bytes)?;
            if writer.end() != next.entry.slot {
                return Err(format!("slot {} is not the room's next", next.entry.slot).into());
            }
            before = writer.digest();
            if writer.is_open() {
                entries = writer.fill(entries);
                before = writer.digest();
                let mut set =
                    connection.prepare_cached("UPDATE runs SET run = ?2 WHERE key = ?1")?;
                set.execute(params![key(room.number, first), writer.bytes()])?;
            }
        }
        let mut make = connection.prepare_cached("INSERT INTO runs VALUES (?1, ?2)")?;
        while let Some(next) = entries.first() {
            let first = next.entry.slot;
            let mut writer = run::Writer::new(first, before);
            entries = writer.fill(entries);
            before = writer.digest();
            make.execute(params![key(room.number, first), writer.bytes()])?;
        }
        Ok(())
    }

    fn entry(connection: &Connection, room: Of<'_>, slot: Slot) -> Outcome<Stored> {
        let (first, bytes) = Self::at(connection, room, slot)?.ok_or("an entry is missing")?;
        let mut entries = Vec::new();
        run::read(&bytes, first, &(slot..slot + 1), &mut entries)?;
        entries.pop().ok_or_else(|| "an entry is missing".into())
    }

    fn span(
        connection: &Connection,
        room: Of<'_>,
        span: Range<Slot>,
    ) -> Outcome<(Digest, Vec<Stored>)> {
        let mut statement = connection.prepare_cached(
            "SELECT key, run FROM runs
             WHERE key >= (SELECT key FROM runs WHERE key <= ?1 ORDER BY key DESC LIMIT 1)
             AND key < ?2 ORDER BY key",
        )?;
        let mut rows =
            statement.query([key(room.number, span.start), key(room.number, span.end)])?;
        let (mut before, mut entries) = (None, Vec::new());
        while let Some(row) = rows.next()? {
            let bytes = row.get_ref(1)?.as_blob()?;
            let link = run::read(bytes, slot_of(row.get(0)?), &span, &mut entries)?;
            before.get_or_insert(link);
        }
        Ok((before.ok_or("an entry is missing")?, entries))
    }
}

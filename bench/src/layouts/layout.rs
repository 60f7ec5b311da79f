//! A layout: a way for entries and a way for ids, in one file or in two; and the product's archive.
//!
//! Enters: windows. Leaves: pages, and what is known of ids. Invariant: whatever is not the layout is
//! done by all of them: rooms have numbers and heads, pages are checked by their digests, ids are
//! compared with the entry they lead to, a window's heads are written last.

use std::{collections::BTreeMap, marker::PhantomData, ops::Range, path::Path};

use roomlog_core::{
    archive::{Archive, IdKey, Keep, Window},
    head::{Head, Known},
    proposal::{ContentHash, Stored},
};
use roomlog_protocol::{RoomName, Slot};
use roomlog_sqlite::SqliteArchive;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Outcome,
    entries::{self, Entries, Of, key, number_of, slot_of},
    file::{File, ROWS_A_TRANSACTION, WRITER_CACHE_KIB},
    ids::{IdRow, Ids},
};

/// More than a page of 50 of these entries has.
const PAGE_BYTES: usize = 1 << 20;

const ROOMS: &str = "CREATE TABLE rooms (
    number       INTEGER PRIMARY KEY,
    name         TEXT NOT NULL UNIQUE,
    end          INTEGER NOT NULL DEFAULT 0,
    committed_at INTEGER NOT NULL DEFAULT 0,
    digest       BLOB NOT NULL DEFAULT x''
) STRICT;";

/// What is measured.
pub(super) trait Contender {
    /// Takes a window in.
    fn fold(&mut self, window: &Window) -> Outcome<()>;

    /// The entries of a span, which are there.
    fn page(&self, room: &RoomName, span: Range<Slot>) -> Outcome<Vec<Stored>>;

    /// What is known of ids.
    fn find(&self, keys: &[IdKey]) -> Outcome<Vec<Option<Known>>>;
}

/// Entries laid out as `E`, ids as `I`.
pub(super) struct Layout<E, I> {
    main: File,
    /// The ids' own file, when they have one.
    apart: Option<File>,
    ways: PhantomData<(E, I)>,
}

/// The entries of a room in a window, and where its log ends then.
struct Part<'a> {
    room: Of<'a>,
    entries: Vec<&'a Stored>,
    head: Head,
}

impl<E: Entries, I: Ids> Layout<E, I> {
    /// Both in one file.
    pub(super) fn together(dir: &Path) -> Outcome<Self> {
        let schema = [ROOMS, E::SCHEMA, I::SCHEMA].concat();
        let main = File::new(&dir.join("archive.db"), WRITER_CACHE_KIB, &schema)?;
        Ok(Self { main, apart: None, ways: PhantomData })
    }

    /// Each in a file of its own. The two share the memory that the one file has for pages.
    pub(super) fn apart(dir: &Path) -> Outcome<Self> {
        let cache = WRITER_CACHE_KIB / 2;
        let main = File::new(&dir.join("archive.db"), cache, &[ROOMS, E::SCHEMA].concat())?;
        let apart = Some(File::new(&dir.join("ids.db"), cache, I::SCHEMA)?);
        Ok(Self { main, apart, ways: PhantomData })
    }

    fn ids(&self) -> &File {
        self.apart.as_ref().unwrap_or(&self.main)
    }

    /// The window, room by room, in the order of the keys; new rooms get a number.
    fn parts<'a>(&self, window: &'a Window) -> Outcome<Vec<Part<'a>>> {
        let mut of_room: BTreeMap<&RoomName, (Vec<&Stored>, Head)> = BTreeMap::new();
        for commit in &window.commits {
            let empty = || (Vec::new(), commit.head());
            let (entries, head) = of_room.entry(&commit.room).or_insert_with(empty);
            entries.extend(&commit.entries);
            *head = commit.head();
        }
        let transaction = self.main.writer.unchecked_transaction()?;
        let mut parts = Vec::with_capacity(of_room.len());
        for (name, (entries, head)) in of_room {
            let number = match number_of_room(&transaction, name)? {
                Some(number) => number,
                None => {
                    let mut make =
                        transaction.prepare_cached("INSERT INTO rooms (name) VALUES (?1)")?;
                    make.insert([name.as_str()])?
                }
            };
            parts.push(Part { room: Of { name, number }, entries, head });
        }
        transaction.commit()?;
        parts.sort_unstable_by_key(|part| part.room.number);
        Ok(parts)
    }

    fn put_ids(&self, parts: &[Part<'_>]) -> Outcome<()> {
        let mut rows = Vec::new();
        for Part { room, entries, .. } in parts {
            for stored in entries {
                let (author, id) = (&stored.entry.author, &stored.entry.id);
                let hash = I::hash(room.name, author, id);
                let key = key(room.number, stored.entry.slot);
                rows.push((room, IdRow { hash, number: room.number, author, id, key }));
            }
        }
        rows.sort_unstable_by(|(_, a), (_, b)| {
            let order = |row: &IdRow<'_>| (row.hash, row.number);
            order(a).cmp(&order(b)).then_with(|| (a.author, a.id).cmp(&(b.author, b.id)))
        });
        let pieces = rows.iter().map(|row| (1, row));
        self.ids().put(pieces, |connection, (room, row)| {
            I::put(connection, row, |there| {
                if number_of(there) != room.number {
                    return Ok(false);
                }
                let other = E::entry(&self.main.writer, **room, slot_of(there))?.entry;
                Ok((&other.author, &other.id) == (row.author, row.id))
            })
        })
    }

    fn known(&self, asked: &IdKey) -> Outcome<Option<Known>> {
        let keys = I::keys_of(&self.ids().reader, asked)?;
        if keys.is_empty() {
            return Ok(None);
        }
        let main = &self.main.reader;
        let Some(number) = number_of_room(main, &asked.room)? else { return Ok(None) };
        let room = Of { name: &asked.room, number };
        for key in keys.into_iter().filter(|key| number_of(*key) == number) {
            let entry = E::entry(main, room, slot_of(key))?.entry;
            if (&entry.author, &entry.id) == (&asked.author, &asked.id) {
                let (slot, committed_at) = (entry.slot, entry.committed_at);
                return Ok(Some(Known { slot, committed_at, content: ContentHash::of(&entry) }));
            }
        }
        Ok(None)
    }
}

impl<E: Entries, I: Ids> Contender for Layout<E, I> {
    fn fold(&mut self, window: &Window) -> Outcome<()> {
        let parts = self.parts(window)?;
        let pieces = parts.iter().flat_map(|part| {
            let chunks = part.entries.chunks(ROWS_A_TRANSACTION);
            chunks.map(|entries| (entries.len(), (part.room, entries)))
        });
        self.main
            .put(pieces, |connection, (room, entries)| E::extend(connection, room, entries))?;
        self.put_ids(&parts)?;
        let heads = parts.iter().map(|part| (1, part));
        self.main.put(heads, |connection, part| {
            let mut set = connection.prepare_cached(
                "UPDATE rooms SET end = ?2, committed_at = ?3, digest = ?4 WHERE number = ?1",
            )?;
            let Head { end, committed_at, digest } = part.head;
            let (end, committed_at) = (end.cast_signed(), committed_at.cast_signed());
            set.execute(params![part.room.number, end, committed_at, digest.0])?;
            Ok(())
        })
    }

    fn page(&self, room: &RoomName, span: Range<Slot>) -> Outcome<Vec<Stored>> {
        let transaction = self.main.reader.unchecked_transaction()?;
        let number = number_of_room(&transaction, room)?.ok_or("a room is missing")?;
        entries::page::<E>(&transaction, Of { name: room, number }, span)
    }

    fn find(&self, keys: &[IdKey]) -> Outcome<Vec<Option<Known>>> {
        let _main = self.main.reader.unchecked_transaction()?;
        let apart = self.apart.as_ref().map(|file| file.reader.unchecked_transaction());
        let _apart = apart.transpose()?;
        keys.iter().map(|asked| self.known(asked)).collect()
    }
}

/// The number of a room.
pub(super) fn number_of_room(connection: &Connection, room: &RoomName) -> Outcome<Option<i64>> {
    let mut find = connection.prepare_cached("SELECT number FROM rooms WHERE name = ?1")?;
    Ok(find.query_row([room.as_str()], |row| row.get(0)).optional()?)
}

impl Contender for SqliteArchive {
    fn fold(&mut self, window: &Window) -> Outcome<()> {
        Ok(Archive::fold(self, window)?)
    }

    fn page(&self, room: &RoomName, span: Range<Slot>) -> Outcome<Vec<Stored>> {
        Ok(Archive::page(self, room, span.start, span.end, PAGE_BYTES, Keep::Oldest)?)
    }

    fn find(&self, keys: &[IdKey]) -> Outcome<Vec<Option<Known>>> {
        Ok(Archive::find(self, keys)?)
    }
}

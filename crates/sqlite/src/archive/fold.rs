//! A fold: a window of applied entries becomes rows.
//!
//! Enters: a window. Leaves: nothing; the archive has it. Invariants: rows are sorted, so that pages of
//! the file are touched once; heads, proposers and `applied` are in the last transaction; a row that
//! is there already must be equal, which is how a fold that a crash cut off is done again.

use std::collections::BTreeMap;

use roomlog_core::{
    archive::{ArchiveError, Window},
    proposal::Stored,
    room::Head,
};
use roomlog_protocol::RoomName;
use rusqlite::{Connection, Transaction, params};

use super::{
    failed, key,
    read::{damaged, entry, missing, room_number, slot_of_id},
};
use crate::sql;

/// How many rows one transaction writes.
const ROWS_PER_TRANSACTION: usize = 4_096;

struct Row<'a> {
    number: i64,
    room: &'a RoomName,
    stored: &'a Stored,
}

/// Takes a window in.
pub(super) fn fold(connection: &mut Connection, window: &Window) -> Result<(), ArchiveError> {
    let numbers = number_rooms(connection, window).map_err(|error| failed(&error))?;
    let rows = window.commits.iter().flat_map(|commit| {
        let number = numbers.get(&commit.room).copied().unwrap_or_default();
        commit.entries.iter().map(move |stored| Row { number, room: &commit.room, stored })
    });
    let mut rows: Vec<Row<'_>> = rows.collect();
    rows.sort_unstable_by_key(|row| key(row.number, row.stored.entry.slot));
    in_transactions(connection, &rows, put_entry)?;
    rows.sort_unstable_by(|a, b| id_order(a).cmp(&id_order(b)));
    in_transactions(connection, &rows, put_id)?;
    finish(connection, window, &numbers).map_err(|error| failed(&error))
}

fn id_order<'a>(row: &Row<'a>) -> (i64, &'a str, &'a str) {
    (row.number, &row.stored.entry.author, &row.stored.entry.id)
}

/// The numbers of the window's rooms; new rooms get one, with an empty log until the fold is done.
fn number_rooms<'a>(
    connection: &mut Connection,
    window: &'a Window,
) -> rusqlite::Result<BTreeMap<&'a RoomName, i64>> {
    let transaction = connection.transaction()?;
    let mut numbers = BTreeMap::new();
    for commit in &window.commits {
        if numbers.contains_key(&commit.room) {
            continue;
        }
        let number = match room_number(&transaction, &commit.room)? {
            Some(number) => number,
            None => {
                transaction.prepare_cached(sql::MAKE_ROOM)?.execute([commit.room.as_str()])?;
                transaction.last_insert_rowid()
            }
        };
        numbers.insert(&commit.room, number);
    }
    transaction.commit()?;
    Ok(numbers)
}

fn in_transactions(
    connection: &mut Connection,
    rows: &[Row<'_>],
    put: fn(&Transaction<'_>, &Row<'_>) -> Result<(), ArchiveError>,
) -> Result<(), ArchiveError> {
    for chunk in rows.chunks(ROWS_PER_TRANSACTION) {
        let transaction = connection.transaction().map_err(|error| failed(&error))?;
        for row in chunk {
            put(&transaction, row)?;
        }
        transaction.commit().map_err(|error| failed(&error))?;
    }
    Ok(())
}

fn put_entry(transaction: &Transaction<'_>, row: &Row<'_>) -> Result<(), ArchiveError> {
    let entry_of = &row.stored.entry;
    let kind = (!entry_of.kind.is_text()).then_some(entry_of.kind.as_str());
    let put = || {
        transaction.prepare_cached(sql::MAKE_ENTRY)?.execute(params![
            key(row.number, entry_of.slot),
            entry_of.author.as_str(),
            entry_of.id.as_str(),
            entry_of.body,
            entry_of.committed_at.cast_signed(),
            entry_of.sent_at.map(u64::cast_signed),
            kind,
            entry_of.reference.map(u64::cast_signed),
            entry_of.meta,
            row.stored.digest.0,
        ])
    };
    if put().map_err(|error| failed(&error))? == 1 {
        return Ok(());
    }
    let there = entry(transaction, row.room, row.number, entry_of.slot)?;
    if there.ok_or_else(|| missing(row.room, entry_of.slot))? == *row.stored {
        return Ok(());
    }
    Err(damaged(row.room, entry_of.slot, "the archive and the journal have different entries"))
}

fn put_id(transaction: &Transaction<'_>, row: &Row<'_>) -> Result<(), ArchiveError> {
    let entry = &row.stored.entry;
    let (author, id) = (entry.author.as_str(), entry.id.as_str());
    let put = || {
        let mut statement = transaction.prepare_cached(sql::MAKE_ID)?;
        statement.execute(params![row.number, author, id, entry.slot.cast_signed()])
    };
    if put().map_err(|error| failed(&error))? == 1 {
        return Ok(());
    }
    let there = slot_of_id(transaction, row.number, &entry.author, &entry.id);
    match there.map_err(|error| failed(&error))? {
        Some(slot) if slot == entry.slot => Ok(()),
        other => Err(damaged(
            row.room,
            entry.slot,
            &format!("its id is at slot {other:?} of the archive already"),
        )),
    }
}

/// The last transaction: heads, proposers and `applied` move together.
fn finish(
    connection: &mut Connection,
    window: &Window,
    numbers: &BTreeMap<&RoomName, i64>,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let heads: BTreeMap<_, Head> =
        window.commits.iter().map(|commit| (&commit.room, commit.head())).collect();
    for (room, head) in heads {
        let number = numbers.get(room).copied().unwrap_or_default();
        let (end, committed_at) = (head.end.cast_signed(), head.committed_at.cast_signed());
        let mut statement = transaction.prepare_cached(sql::SET_HEAD)?;
        statement.execute(params![number, end, committed_at, head.digest.0])?;
    }
    for (node, proposer) in &window.applied.proposers.0 {
        let (incarnation, next) = (proposer.incarnation.cast_signed(), proposer.next.cast_signed());
        let mut statement = transaction.prepare_cached(sql::SET_PROPOSER)?;
        statement.execute(params![window.partition, node.0, incarnation, next])?;
    }
    let position = window.applied.position.0.cast_signed();
    transaction.execute(sql::SET_APPLIED, params![window.partition, position])?;
    transaction.commit()
}

//! What every layout is given: the same entries, made from a seed.
//!
//! Enters: a seed, how ids look, how entries are spread over rooms. Leaves: windows as the fold gets
//! them, and the name of any append again. Invariant: the name of the nth append follows from the
//! seed and n alone, so that none has to be kept to be looked up.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use roomlog_core::{
    applied::Applied,
    apply::room::{self, Room, Verdict},
    archive::{Hurry, IdKey, Window},
    commit::Commit,
    head::Head,
    journal::Position,
    proposal::{Proposal, Stored},
    rules::Rules,
};
use roomlog_protocol::{Author, EntryId, RoomName};
use roomlog_testkit::fixtures::proposal;
use ulid::Ulid;

use super::Outcome;
use crate::spread::Rooms;

/// Entries of a block: what a server under load has.
const BLOCK: usize = 64;
/// Authors; each speaks in every room.
const AUTHORS: u64 = 64;
/// Entries a millisecond, by their own times.
const ENTRIES_A_MS: u64 = 50;
/// The time of the first entry, ms since the epoch.
const BEGIN_MS: u64 = 1_763_796_120_000;
/// Bytes of a body.
pub(super) const BODY: usize = 200;

/// How ids look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum IdForm {
    /// ULIDs: the time first, then chance.
    Ulid,
    /// Chance only, in the form of UUIDs of version 4.
    Random,
}

impl IdForm {
    /// For the line above the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ulid => "ulid",
            Self::Random => "random",
        }
    }
}

/// Makes entries.
pub(super) struct Input {
    seed: u64,
    form: IdForm,
    spread: Rooms,
    rooms: Vec<Room>,
    /// How many entries were made.
    entries: u64,
    position: u64,
}

impl Input {
    /// The beginning of the log of a seed.
    pub(super) fn new(seed: u64, form: IdForm, spread: Rooms) -> Outcome<Self> {
        let room = |number| {
            let name = RoomName::new(&format!("room-{number}"))?;
            Ok(Room { head: Head::empty(&name), name })
        };
        let rooms = (0..spread.len()).map(room).collect::<Outcome<_>>()?;
        Ok(Self { seed, form, spread, rooms, entries: 0, position: 0 })
    }

    /// How many entries were made.
    pub(super) fn entries(&self) -> u64 {
        self.entries
    }

    /// A room, as often as it gets entries.
    pub(super) fn room(&self, chance: &mut Xoshiro256PlusPlus) -> &Room {
        &self.rooms[self.spread.draw(chance)]
    }

    /// The name of the nth append, and the number of its room.
    pub(super) fn name(&self, n: u64) -> Outcome<(usize, IdKey)> {
        let mut chance = Xoshiro256PlusPlus::seed_from_u64(self.seed.rotate_left(32) ^ n);
        let at = self.spread.draw(&mut chance);
        let author = Author::new(&format!("author-{}", chance.random_range(0..AUTHORS)))?;
        let bits: u128 = chance.random();
        let id = match self.form {
            IdForm::Ulid => Ulid::from_parts(ms(n), bits).to_string(),
            IdForm::Random => uuid(bits),
        };
        Ok((at, IdKey { room: self.rooms[at].name.clone(), author, id: EntryId::new(&id)? }))
    }

    /// The next window.
    pub(super) fn window(&mut self, entries: usize) -> Outcome<Window> {
        let (mut commits, mut left) = (Vec::new(), entries);
        while left > 0 {
            let block = left.min(BLOCK);
            commits.extend(self.block(block)?);
            left -= block;
        }
        let applied = Applied { position: Position(self.position), ..Applied::default() };
        Ok(Window { partition: 0, commits, applied, hurry: Hurry::now() })
    }

    /// The commits of the next block.
    fn block(&mut self, entries: usize) -> Outcome<Vec<Arc<Commit>>> {
        let mut of_room: BTreeMap<usize, Vec<Stored>> = BTreeMap::new();
        for _ in 0..entries {
            let n = self.entries;
            let (at, proposal) = self.proposal(n)?;
            match room::apply(&mut self.rooms[at], Rules::FIRST, &proposal, ms(n), None) {
                Verdict::Committed(stored) => of_room.entry(at).or_default().push(stored),
                other => return Err(format!("entry {n} was not committed: {other:?}").into()),
            }
            self.entries += 1;
        }
        self.position += 1;
        let position = Position(self.position);
        let commit = |(at, entries): (usize, Vec<Stored>)| {
            let room = self.rooms[at].name.clone();
            Arc::new(Commit { room, position, entries, frames: OnceLock::new() })
        };
        Ok(of_room.into_iter().map(commit).collect())
    }

    fn proposal(&self, n: u64) -> Outcome<(usize, Proposal)> {
        let (at, IdKey { room, author, id }) = self.name(n)?;
        let body = format!("{n:020} {}", "x".repeat(BODY - 21));
        Ok((at, proposal(&room, &author, &id, &body)))
    }
}

/// The time of the nth entry.
fn ms(n: u64) -> u64 {
    BEGIN_MS + n / ENTRIES_A_MS
}

/// These bits in the form of a UUID of version 4.
fn uuid(bits: u128) -> String {
    let hex = format!("{bits:032x}");
    let [a, b, c, d, e] = [&hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..]];
    format!("{a}-{b}-4{c}-a{d}-{e}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spread::Spread;

    fn input(form: IdForm) -> Input {
        Input::new(7, form, Rooms::new(Spread::Zipf, 5)).expect("an input")
    }

    #[test]
    fn the_name_of_an_append_is_found_again() {
        for form in [IdForm::Ulid, IdForm::Random] {
            let mut input = input(form);
            let window = input.window(100).expect("a window");
            let stored = |n: u64| {
                let (_, key) = input.name(n).expect("a name");
                let of_room = window.commits.iter().filter(|commit| commit.room == key.room);
                of_room
                    .flat_map(|commit| &commit.entries)
                    .find(|stored| stored.entry.id == key.id)
                    .cloned()
            };
            let body = stored(99).expect("the last entry").entry.body;
            assert!(body.starts_with("00000000000000000099 ") && body.len() == BODY, "{body}");
            assert_eq!(stored(100), None);
        }
    }

    #[test]
    fn ids_have_the_form_that_was_asked_for() {
        let id = |form| input(form).name(0).expect("a name").1.id.to_string();
        let parts: Vec<usize> = id(IdForm::Random).split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        let ulid: Ulid = id(IdForm::Ulid).parse().expect("a ULID");
        assert_eq!(ulid.timestamp_ms(), BEGIN_MS);
    }
}

//! The result of checking a room, and what `verify` prints: one line per room, and a summary.

use std::{fmt::Display, process::ExitCode};

use roomlog_core::head::Head;
use roomlog_protocol::{Digest, Latest, RoomName, Slot};

use crate::{
    commands::printer::Printer,
    failure::{DIFFERS, Failure},
    stderr::message,
};

/// The latest slot of a room and the digest there.
pub(super) type Checked = Result<(Latest, Digest), Wrong>;

/// Why a room is not right.
pub(super) enum Wrong {
    /// The first wrong slot, and what is wrong with it.
    At(Latest, String),
    /// It could not be checked.
    Failed(Failure),
}

impl Wrong {
    pub(super) fn at(slot: Slot, why: impl Into<String>) -> Self {
        Self::At(Latest::at(slot), why.into())
    }
}

impl<E: Into<Failure>> From<E> for Wrong {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// A room that is right.
pub(super) fn right(head: &Head) -> (Latest, Digest) {
    (Latest::before(head.end), head.digest)
}

pub(super) struct Report {
    printer: Printer,
    rooms: usize,
    wrong: usize,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { printer: Printer::new(false), rooms: 0, wrong: 0 }
    }

    /// A room that was checked; fails if it could not be.
    pub(super) fn checked(&mut self, room: &RoomName, checked: Checked) -> Result<(), Failure> {
        match checked {
            Ok((latest, digest)) => self.line(room, latest, format_args!("{digest}\tok")),
            Err(Wrong::At(slot, why)) => {
                self.wrong += 1;
                self.line(room, slot, format_args!("wrong: {why}"))
            }
            Err(Wrong::Failed(failure)) => Err(failure),
        }
    }

    pub(super) fn unreadable(&mut self, room: &RoomName, why: &str) -> Result<(), Failure> {
        self.wrong += 1;
        self.line(room, '-', format_args!("cannot be read: {why}"))
    }

    fn line(
        &mut self,
        room: &RoomName,
        slot: impl Display,
        result: impl Display,
    ) -> Result<(), Failure> {
        self.rooms += 1;
        // Its full name: rooms of two namespaces may have the same one within them.
        let room = room.as_str();
        self.printer.line(format_args!("{room}\t{slot}\t{result}"))?;
        self.printer.flush()
    }

    /// Prints the summary; fails if the one room that was asked for has no entry.
    pub(super) fn finish(self, only: Option<&RoomName>) -> Result<ExitCode, Failure> {
        if let (0, Some(room)) = (self.rooms, only) {
            return Err(Failure::other(format!("room {room} has no entries")));
        }
        message!("{} of {} rooms are right", self.rooms - self.wrong, self.rooms);
        Ok(if self.wrong > 0 { ExitCode::from(DIFFERS) } else { ExitCode::SUCCESS })
    }
}

//! What `verify` prints: one line per room, and a summary.

use std::{fmt::Display, process::ExitCode};

use roomlog_core::head::Head;
use roomlog_protocol::{Digest, RoomName, latest_of};

use crate::{
    commands::printer::Printer,
    failure::{DIFFERS, Failure},
    stderr::message,
};

pub(super) struct Report {
    printer: Printer,
    rooms: usize,
    wrong: usize,
}

impl Report {
    pub(super) fn new() -> Self {
        Self { printer: Printer::new(false), rooms: 0, wrong: 0 }
    }

    pub(super) fn right(
        &mut self,
        room: &RoomName,
        at: i64,
        digest: Digest,
    ) -> Result<(), Failure> {
        self.line(room, at, format_args!("{digest}\tok"))
    }

    pub(super) fn wrong(
        &mut self,
        room: &RoomName,
        slot: impl Display,
        why: &str,
    ) -> Result<(), Failure> {
        self.wrong += 1;
        self.line(room, slot, format_args!("wrong: {why}"))
    }

    pub(super) fn unreadable(&mut self, room: &RoomName, why: &str) -> Result<(), Failure> {
        self.wrong += 1;
        self.line(room, '-', format_args!("cannot be read: {why}"))
    }

    /// A room of a directory, with its first wrong slot if there is one.
    pub(super) fn checked(
        &mut self,
        room: &RoomName,
        head: &Head,
        wrong: Option<(u64, String)>,
    ) -> Result<(), Failure> {
        match wrong {
            None => self.right(room, latest_of(head.end), head.digest),
            Some((slot, why)) => self.wrong(room, slot, &why),
        }
    }

    fn line(
        &mut self,
        room: &RoomName,
        slot: impl Display,
        result: impl Display,
    ) -> Result<(), Failure> {
        self.rooms += 1;
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

//! The progress bar and the summary of a move.

use std::{collections::BTreeMap, time::Instant};

use indicatif::ProgressBar;
use roomlog_core::head::Head;
use roomlog_protocol::{Digest, RoomName};
use sha2::{Digest as _, Sha256};

use crate::{commands::printer::Printer, failure::Failure, progress};

pub(super) fn bar(rooms: &BTreeMap<RoomName, Head>) -> ProgressBar {
    let template = "{msg}  {bar:30} {pos} of {len} entries  {elapsed} (left: {eta})";
    progress::bar(entries(rooms), template).with_message("moving")
}

pub(super) fn print(
    log: &str,
    rooms: &BTreeMap<RoomName, Head>,
    begun: Instant,
) -> Result<(), Failure> {
    // One digest over the heads of all rooms, for people to compare.
    let heads: String = rooms
        .iter()
        .map(|(room, head)| format!("{} {} {}\n", room.as_str(), head.end, head.digest))
        .collect();
    let mut printer = Printer::of_work(false);
    printer.field("log", log)?;
    printer.field("rooms", rooms.len())?;
    printer.field("entries", entries(rooms))?;
    printer.field("digest", Digest(Sha256::digest(heads).into()))?;
    printer.field("seconds", format_args!("{:.1}", begun.elapsed().as_secs_f64()))?;
    printer.finish()
}

fn entries(rooms: &BTreeMap<RoomName, Head>) -> u64 {
    rooms.values().map(|head| head.end).sum()
}

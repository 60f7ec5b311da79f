//! From a cluster to a directory.
//!
//! ```text
//!  streams ──seal──► their end ──► applied into DIR/archive.db ──► every entry chained once more
//!                                                              └──► DIR/journal.db, empty, behind it
//! ```
//!
//! Enters: streams. Leaves: a directory that `serve` takes. Invariant: the streams are sealed before their
//! end is looked for, so nothing that was acked is left behind; nodes that still run answer `busy`.

use std::{path::Path, process::ExitCode, sync::Arc, time::Instant};

use roomlog_core::{
    archive::{Archive, Keep},
    journal::Journal,
};
use roomlog_jetstream::{JetStreamJournal, Options, Purpose, SealedJournal};
use roomlog_sqlite::{Derived, SqliteArchive, claim};
use ulid::Ulid;

use super::{bar, here};
use crate::{
    commands::{
        replayed::{Replayed, said},
        verify_directory::PAGE_ENTRIES,
    },
    failure::Failure,
    say,
};

pub(super) async fn run(mut options: Options, to: &Path) -> Result<ExitCode, Failure> {
    let begun = Instant::now();
    // Before anything else: the name of this move, kept where it goes to.
    Derived::may_be_used(to).map_err(said)?;
    let token = claim(to, "moving", &Ulid::generate().to_string()).map_err(said)?;
    options.purpose = Purpose::MoveAway { token: token.clone() };
    let journal = JetStreamJournal::open(&options).await.map_err(said)?;
    let log = journal.facts().log.clone();
    // What refuses the directory comes before the streams are sealed, which cannot be taken back.
    let directory = Derived::open(to, &log).map_err(said)?;
    let journal = Arc::new(SealedJournal::seal(journal, &token).await.map_err(said)?);
    let node = Replayed::new(directory.identity, directory.archive.clone(), journal).await?;
    let position = node.fold().await?;
    let rooms = node.rooms(None)?;
    node.finish().await?;
    let bar = bar(rooms.values().map(|head| head.end).sum());
    bar.set_message("comparing");
    for (room, head) in &rooms {
        let mut next = 0;
        while next < head.end {
            let end = (next + PAGE_ENTRIES).min(head.end);
            chained(&directory.archive, room, next, end)?;
            bar.inc(end - next);
            next = end;
        }
    }
    bar.finish_and_clear();
    // The archive is the truth from now on: all of it on stable storage, read back.
    let durable = directory.archive.make_durable(0).map_err(said)?;
    if durable < position {
        return Err(said(format!(
            "archive.db has position {durable} on stable storage, not {position}"
        )));
    }
    directory.become_one_node(&log, position).map_err(said)?;
    let _left_or_gone = std::fs::remove_file(to.join("moving"));
    drop(directory);
    here::tell(&log, &rooms, begun)?;
    say!("serve it: roomlog serve --data {}", to.display());
    Ok(ExitCode::SUCCESS)
}

/// Reads a page, which chains its digests.
fn chained(
    archive: &SqliteArchive,
    room: &roomlog_protocol::RoomName,
    first: u64,
    end: u64,
) -> Result<(), Failure> {
    archive.page(room, first, end, usize::MAX, Keep::Oldest).map(drop).map_err(said)
}

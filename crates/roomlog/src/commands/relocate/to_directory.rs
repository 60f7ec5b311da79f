//! From a cluster to a directory.
//!
//! ```text
//!  streams ──seal──► their end ──► applied into DIR/archive.db ──► every entry chained once more
//!                                                              └──► an empty DIR/journal.db
//! ```
//!
//! The streams are sealed before their end is determined, so no acked entry is left behind; nodes
//! that still run answer `busy`.

use std::{path::Path, sync::Arc, time::Instant};

use roomlog_core::{
    archive::{Archive, Keep},
    journal::Journal,
};
use roomlog_jetstream::{JetStreamJournal, Options, Purpose, SealedJournal};
use roomlog_sqlite::{Derived, claim};
use ulid::Ulid;

use super::summary;
use crate::{
    commands::replayed::{Replayed, pages},
    failure::Failure,
    stderr::message,
};

pub(super) async fn run(mut options: Options, to: &Path) -> Result<(), Failure> {
    let begun = Instant::now();
    Derived::check_usable(to).map_err(Failure::other)?;
    // The name of this move, kept in the destination so that only that directory can continue it.
    let token = claim(to, "moving", &Ulid::generate().to_string()).map_err(|why| {
        Failure::other(format!(
            "cannot write to {}: {why}; make a directory there that this user may write, or name \
             another with --to",
            to.display()
        ))
    })?;
    options.purpose = Purpose::MoveAway { token: token.clone() };
    let journal = JetStreamJournal::open(&options).await.map_err(Failure::other)?;
    let log = journal.facts().log.clone();
    // Before the streams are sealed, which cannot be undone.
    let directory = Derived::open(to, &log).map_err(Failure::other)?;
    let journal = Arc::new(SealedJournal::seal(journal, &token).await.map_err(Failure::other)?);
    let node = Replayed::new(directory.identity, directory.archive.clone(), journal).await?;
    let position = node.fold().await?;
    let rooms = node.rooms(None)?;
    node.finish().await?;
    let bar = summary::bar(&rooms);
    bar.set_message("comparing");
    for (room, head) in &rooms {
        for (first, end) in pages(head.end) {
            // Reading a page chains its digests.
            let page = directory.archive.page(room, first, end, usize::MAX, Keep::Oldest);
            page.map_err(Failure::other)?;
            bar.inc(end - first);
        }
    }
    bar.finish_and_clear();
    // From now on the archive is the only copy, so all of it must be on stable storage.
    let durable = directory.archive.make_durable(0).map_err(Failure::other)?;
    if durable < position {
        return Err(Failure::other(format!(
            "archive.db has position {durable} on stable storage, not {position}"
        )));
    }
    directory.become_one_node(&log, position).map_err(Failure::other)?;
    let _left_or_removed = std::fs::remove_file(to.join("moving"));
    drop(directory);
    summary::print(&log, &rooms, begun)?;
    message!("serve it: roomlog serve --data {}", to.display());
    Ok(())
}

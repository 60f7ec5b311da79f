//! From a directory to a cluster.
//!
//! ```text
//!  DIR, locked ──► the entries that the cluster lacks ──► blocks of history ──► marked streams
//!  a node in DIR/moving applies them ──► every head compared ──► DIR frozen, mark removed
//! ```
//!
//! The mark keeps nodes from starting. It is removed only when every room has the same head on both
//! sides.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Instant};

use indicatif::ProgressBar;
use roomlog_core::{
    head::Head,
    identity::{NodeId, partition_of},
    journal::Journal,
};
use roomlog_jetstream::{JetStreamJournal, Options, Purpose};
use roomlog_protocol::RoomName;
use roomlog_sqlite::{Derived, Directory, claim};
use tokio::time::timeout;
use ulid::Ulid;

use super::{
    blocks::{ANSWER_TIMEOUT, Blocks},
    summary,
};
use crate::{
    commands::replayed::{NOBODY, Replayed},
    failure::Failure,
    stderr::message,
};

/// The archive of the node that applies the moved blocks, within the directory that is moved.
const SCRATCH: &str = "moving";

pub(super) async fn run(data: &Path, mut options: Options) -> Result<(), Failure> {
    if !data.exists() {
        return Err(Failure::other(format!("there is no directory {}", data.display())));
    }
    if Directory::is_backup(data).map_err(Failure::other)? {
        let data = data.display();
        return Err(Failure::other(format!(
            "{data} is a backup: run `roomlog restore {data} DIR`, then move DIR"
        )));
    }
    let begun = Instant::now();
    let directory = Directory::open_to_move(data).map_err(Failure::other)?;
    let (archive, journal) = (directory.archive.clone(), directory.journal.clone());
    let source = Replayed::new(NOBODY, archive, journal).await?;
    let rooms = source.rooms(None)?;
    let log = directory.journal.facts().log.clone();
    claim_destination(data, &options)?;
    options.purpose = Purpose::MoveHere { log: log.clone() };
    let journal = Arc::new(JetStreamJournal::open(&options).await.map_err(Failure::other)?);
    let scratch = Derived::open(&data.join(SCRATCH), &log).map_err(Failure::other)?;
    let target = Replayed::new(scratch.identity, scratch.archive.clone(), journal.clone()).await?;

    let bar = summary::bar(&rooms);
    let node = NodeId(Ulid::generate().to_bytes());
    let partitions = journal.facts().partitions;
    let blocks = |partition| Blocks::new(journal.clone(), partition, node);
    let mut blocks: Vec<Blocks> = (0..partitions).map(blocks).collect();
    for (room, head) in &rooms {
        let blocks = &mut blocks[partition_of(room, partitions) as usize];
        move_room(&source, &target, blocks, room, head, &bar).await?;
    }
    for blocks in &mut blocks {
        blocks.finish().await?;
    }
    bar.set_message("comparing");
    // An answered block is sent again if it was stored before its predecessor.
    let reached = timeout(ANSWER_TIMEOUT, target.reached(&rooms)).await;
    reached.map_err(|_| {
        Failure::other("the cluster does not return the moved entries; run the move again")
    })??;
    target.fold().await?;
    compare(&rooms, &target.rooms(None)?)?;
    bar.finish_and_clear();
    target.finish().await?;
    source.finish().await?;
    // In this order: the log must never be served in two places.
    let shown = options.shown();
    directory
        .freeze(&format!("this log was moved to {shown}, and nodes of that cluster serve it"))
        .map_err(Failure::other)?;
    journal.moved_here().await.map_err(Failure::other)?;
    drop(scratch);
    // The file that names the destination stays; the archive can be rebuilt from the streams.
    for file in ["archive.db", "archive.db-wal", "archive.db-shm", "node", "lock"] {
        let _left_or_removed = fs::remove_file(data.join(SCRATCH).join(file));
    }
    summary::print(&log, &rooms, begun)?;
    message!("start the nodes: roomlog serve --data OTHER-DIR --journal {shown}");
    Ok(())
}

/// Prevents a log from being moved to two clusters: only the first one can continue.
fn claim_destination(data: &Path, options: &Options) -> Result<(), Failure> {
    let wanted = format!("{} {}", options.shown(), options.prefix);
    let claimed = claim(&data.join(SCRATCH), "to", &wanted).map_err(Failure::other)?;
    if claimed == wanted {
        return Ok(());
    }
    Err(Failure::other(format!(
        "a move of this log to {claimed} was begun: finish that move. If it did not finish, and \
         its streams are deleted, remove {} to begin another",
        data.join(SCRATCH).display()
    )))
}

async fn move_room(
    source: &Replayed,
    target: &Replayed,
    blocks: &mut Blocks,
    room: &RoomName,
    head: &Head,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let mut next = target.head(room)?.end;
    if next > head.end {
        return Err(Failure::other(format!(
            "room {room} has {next} entries in the cluster and {} in the directory: they are \
             different logs; the directory was not changed",
            head.end
        )));
    }
    bar.inc(next);
    while next < head.end {
        let page = source.page(room, next).await?;
        if page.is_empty() {
            return Err(Failure::other(format!("slot {next} of room {room} cannot be read")));
        }
        for stored in &page {
            blocks.push(room, stored).await?;
        }
        next += page.len() as u64;
        bar.inc(page.len() as u64);
    }
    Ok(())
}

/// Fails unless every room has the same head on both sides.
fn compare(
    ours: &BTreeMap<RoomName, Head>,
    theirs: &BTreeMap<RoomName, Head>,
) -> Result<(), Failure> {
    let shown = |head: Option<&Head>| match head {
        Some(head) => format!("{} entries, digest {}", head.end, head.digest),
        None => "missing".to_owned(),
    };
    for name in ours.keys().chain(theirs.keys()) {
        let (ours, theirs) = (ours.get(name), theirs.get(name));
        if ours != theirs {
            return Err(Failure::other(format!(
                "room {name} differs: {} in the directory, {} in the cluster. The cluster stays \
                 closed, and the directory was not changed",
                shown(ours),
                shown(theirs)
            )));
        }
    }
    Ok(())
}

//! From a directory to a cluster.
//!
//! ```text
//!  DIR, locked ──► every room from where the cluster has it ──► blocks of history ──► streams, marked
//!  a node in DIR/moving applies them ──► every head compared ──► the mark goes, DIR is frozen
//! ```
//!
//! Enters: a directory that nobody serves. Leaves: streams that may be served. Invariant: the mark on the
//! streams goes only when every room there has the head that it has here; while it is there no node starts.

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode, sync::Arc, time::Instant};

use indicatif::ProgressBar;
use roomlog_core::{
    head::Head,
    identity::{NodeId, partition_of},
    journal::Journal,
};
use roomlog_jetstream::{JetStreamJournal, Options, Purpose};
use roomlog_protocol::{Digest, RoomName};
use roomlog_sqlite::{Derived, Directory, claim};
use ulid::Ulid;

use super::{bar, blocks::Blocks};
use crate::{
    commands::{
        output::Output,
        replayed::{NOBODY, Replayed, said},
    },
    failure::Failure,
    say,
};

/// Where the node that applies what is moved keeps its archive, in the directory that is moved.
const SCRATCH: &str = "moving";

pub(super) async fn run(data: &Path, mut options: Options) -> Result<ExitCode, Failure> {
    if !data.exists() {
        return Err(Failure::said(format!("there is no directory {}", data.display())));
    }
    if Directory::is_backup(data).map_err(said)? {
        let data = data.display();
        return Err(Failure::said(format!(
            "{data} is a backup: run `roomlog restore {data} DIR`, then move DIR"
        )));
    }
    let begun = Instant::now();
    let directory = Directory::open_to_move(data).map_err(said)?;
    let (archive, journal) = (directory.archive.clone(), directory.journal.clone());
    let source = Replayed::new(NOBODY, archive, journal).await?;
    let rooms = source.rooms(None)?;
    let entries: u64 = rooms.values().map(|head| head.end).sum();
    let log = directory.journal.facts().log.clone();
    only_there(data, &options)?;
    options.purpose = Purpose::MoveHere { log: log.clone() };
    let journal = Arc::new(JetStreamJournal::open(&options).await.map_err(said)?);
    let scratch = Derived::open(&data.join(SCRATCH), &log).map_err(said)?;
    let target = Replayed::new(scratch.identity, scratch.archive.clone(), journal.clone()).await?;

    let bar = bar(entries);
    let node = NodeId(Ulid::generate().to_bytes());
    let partitions = journal.facts().partitions;
    let way = |partition| Blocks::new(journal.clone(), partition, node);
    let mut ways: Vec<Blocks> = (0..partitions).map(way).collect();
    for (room, head) in &rooms {
        let blocks = &mut ways[partition_of(room, partitions) as usize];
        room_by_room(&source, &target, blocks, room, head, &bar).await?;
    }
    for mut blocks in ways {
        blocks.finish().await?;
    }
    bar.set_message("comparing");
    target.fold().await?;
    compare(&rooms, &target.rooms(None)?)?;
    bar.finish_and_clear();
    target.finish().await?;
    source.finish().await?;
    // First nobody may serve it here any more; then it may be served there.
    let there = options.shown();
    directory
        .freeze(&format!("this log was moved to {there}, and nodes of that cluster serve it"))
        .map_err(said)?;
    journal.moved_here().await.map_err(said)?;
    drop(scratch);
    // Where the log went stays; the archive can be made again from the streams.
    for file in ["archive.db", "archive.db-wal", "archive.db-shm", "node", "lock"] {
        let _left_or_gone = fs::remove_file(data.join(SCRATCH).join(file));
    }
    tell(&log, &rooms, begun)?;
    say!("start the nodes: roomlog serve --data OTHER-DIR --journal {there}");
    Ok(ExitCode::SUCCESS)
}

/// Keeps a log from being moved to two places: the first that was named is kept.
fn only_there(data: &Path, options: &Options) -> Result<(), Failure> {
    let wanted = format!("{} {}", options.shown(), options.prefix);
    let there = claim(&data.join(SCRATCH), "to", &wanted).map_err(said)?;
    if there == wanted {
        return Ok(());
    }
    Err(Failure::said(format!(
        "a move of this log to {there} was begun: run that to its end. Where it was not, and the streams there are \
         deleted, remove {} to begin another",
        data.join(SCRATCH).display()
    )))
}

/// Moves what the cluster does not have of a room.
async fn room_by_room(
    source: &Replayed,
    target: &Replayed,
    blocks: &mut Blocks,
    room: &RoomName,
    head: &Head,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let there = target.head(room)?;
    if there.end > head.end {
        return Err(Failure::said(format!(
            "room {room} has {} entries in the cluster and {} here: they are not the same log; nothing was \
             changed here",
            there.end, head.end
        )));
    }
    bar.inc(there.end);
    let mut next = there.end;
    while next < head.end {
        let page = source.page(room, next).await?;
        if page.is_empty() {
            return Err(Failure::said(format!("slot {next} of room {room} cannot be read")));
        }
        for stored in &page {
            blocks.push(room, stored).await?;
        }
        next += page.len() as u64;
        bar.inc(page.len() as u64);
    }
    Ok(())
}

/// Whether every room is the same on both sides.
fn compare(
    here: &BTreeMap<RoomName, Head>,
    there: &BTreeMap<RoomName, Head>,
) -> Result<(), Failure> {
    for name in here.keys().chain(there.keys()) {
        let (ours, theirs) = (here.get(name), there.get(name));
        if ours != theirs {
            let shown = |head: Option<&Head>| match head {
                Some(head) => format!("{} entries, digest {}", head.end, head.digest),
                None => "not there".to_owned(),
            };
            return Err(Failure::said(format!(
                "room {name} differs: here {}; in the cluster {}. The cluster is not opened, and this directory is \
                 as it was",
                shown(ours),
                shown(theirs)
            )));
        }
    }
    Ok(())
}

/// Says what was moved.
pub(super) fn tell(
    log: &str,
    rooms: &BTreeMap<RoomName, Head>,
    begun: Instant,
) -> Result<(), Failure> {
    let entries: u64 = rooms.values().map(|head| head.end).sum();
    let mut output = Output::of_work(false);
    output.line(format_args!("log              {log}"))?;
    output.line(format_args!("rooms            {}", rooms.len()))?;
    output.line(format_args!("entries          {entries}"))?;
    output.line(format_args!("digest           {}", over_heads(rooms)))?;
    output.line(format_args!("seconds          {:.1}", begun.elapsed().as_secs_f64()))?;
    output.finish()
}

/// One digest over the heads of all rooms, for people to compare.
fn over_heads(rooms: &BTreeMap<RoomName, Head>) -> Digest {
    let all: String =
        rooms.iter().map(|(room, head)| format!("{room} {} {}\n", head.end, head.digest)).collect();
    Digest(roomlog_protocol::digest::hash(&all))
}

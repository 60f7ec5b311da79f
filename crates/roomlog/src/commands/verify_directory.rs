//! `roomlog verify --data DIR`: the directory of a stopped server, without a server.
//!
//! ```text
//!  DIR ──copy──► archive: every page from slot 0, chained ─────────┐
//!        └─────► journal: every block applied anew, from the first ─┴─► the same digests?
//! ```
//!
//! Enters: a directory. Leaves: for each room the digest at its latest slot, or the first slot that is
//! wrong. Invariants: nothing is written to the directory: what a killed server left in a WAL is
//! brought into a copy; the journal's digests are computed here, with no use of the archive.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use roomlog_core::{
    Identity, Node, NodeError, NodeSettings,
    archive::{Archive, ArchiveError, Keep},
    block::NodeId,
    proposal::Stored,
    reader::PageLimits,
    room::Head,
};
use roomlog_protocol::{Digest, RoomName, Slot, Span, latest_of};
use roomlog_sqlite::{Directory, SqliteArchive, SqliteJournal, directory::FILES};

use super::output::Output;
use crate::failure::{DIFFERS, Failure};

/// How many entries are looked at at once.
const PAGE_ENTRIES: u64 = 4_096;

/// How many rooms are listed at once.
const ROOMS: usize = 1_000;

/// The identity with which the journal is read: nothing is proposed with it.
const NOBODY: Identity = Identity { node: NodeId([0; 16]), incarnation: 0 };

/// Checks the rooms in a directory, or this one alone; writes nothing to it.
///
/// # Errors
/// Why it cannot be checked.
pub(crate) async fn verify_directory(
    dir: &Path,
    room: Option<&RoomName>,
) -> Result<ExitCode, Failure> {
    let _kept_from_servers = Directory::lock_stopped(dir).map_err(said)?;
    let copy = tempfile::tempdir().map_err(|why| Failure::file(std::env::temp_dir(), why))?;
    copy_files(dir, copy.path())?;
    let journal = Arc::new(SqliteJournal::open(&copy.path().join("journal.db")).map_err(said)?);
    let archive = open_archive(copy.path(), &journal)?;
    eprintln!("roomlog: applying the journal anew");
    let replayed = Replayed::new(&copy.path().join("replayed.db"), journal).await?;
    let rooms = replayed.rooms(room)?;
    let stray: Vec<_> =
        rooms_of(&archive, room)?.into_keys().filter(|room| !rooms.contains_key(room)).collect();
    let mut output = Output::new(false);
    let mut wrong = stray.len();
    for room in &stray {
        output
            .line(format_args!("{room}\t0\twrong: the archive has it and the journal does not"))?;
    }
    for (room, head) in &rooms {
        let latest = latest_of(head.end);
        match check(&archive, &replayed, room, head).await? {
            None => output.line(format_args!("{room}\t{latest}\t{}\tok", head.digest))?,
            Some((slot, why)) => {
                wrong += 1;
                output.line(format_args!("{room}\t{slot}\twrong: {why}"))?;
            }
        }
        output.flush()?;
    }
    // It was only read from: how it ends says nothing more.
    let _ended = replayed.end().await;
    let all = rooms.len() + stray.len();
    if all == 0
        && let Some(room) = room
    {
        return Err(Failure::said(format!("nothing was ever written to {room}")));
    }
    eprintln!("roomlog: {} of {all} rooms are right", all - wrong);
    Ok(if wrong > 0 { ExitCode::from(DIFFERS) } else { ExitCode::SUCCESS })
}

fn said(why: impl ToString) -> Failure {
    Failure::said(why.to_string())
}

fn copy_files(from: &Path, to: &Path) -> Result<(), Failure> {
    for file in FILES {
        let path: PathBuf = from.join(file);
        match fs::copy(&path, to.join(file)) {
            Ok(_) => {}
            Err(why) if why.kind() == io::ErrorKind::NotFound => {}
            Err(why) => return Err(Failure::file(path, why)),
        }
    }
    if to.join("journal.db").exists() {
        return Ok(());
    }
    Err(Failure::said(format!("{} has no journal.db: it is no data directory", from.display())))
}

fn open_archive(copy: &Path, journal: &SqliteJournal) -> Result<SqliteArchive, Failure> {
    use roomlog_core::journal::Journal;
    let archive = SqliteArchive::open(&copy.join("archive.db"), journal.log()).map_err(said)?;
    let applied = archive.applied(0).map_err(said)?.position;
    let head = journal.head(0).map_err(said)?;
    if archive.log() != journal.log() {
        let (ours, other) = (journal.log(), archive.log());
        return Err(Failure::said(format!(
            "journal.db is of log {ours} and archive.db of {other}"
        )));
    }
    if applied > head {
        return Err(Failure::said(format!(
            "archive.db is at position {applied} and journal.db ends at {head}"
        )));
    }
    Ok(archive)
}

/// The whole journal, applied anew.
struct Replayed {
    node: Node,
    task: tokio::task::JoinHandle<Result<(), NodeError>>,
    folder: std::thread::JoinHandle<()>,
}

impl Replayed {
    /// Applies the whole journal, with an empty archive of its own at `path`.
    async fn new(path: &Path, journal: Arc<SqliteJournal>) -> Result<Self, Failure> {
        use roomlog_core::journal::Journal;
        let archive = Arc::new(SqliteArchive::open(path, journal.log()).map_err(said)?);
        let opened = Node::open(NOBODY, journal, archive, NodeSettings::default());
        let (node, running) = opened.map_err(said)?;
        let folder = std::thread::spawn(move || running.folder.run());
        let task = tokio::spawn(running.task.run());
        let replayed = Self { node, task, folder };
        if replayed.node.caught_up().await { Ok(replayed) } else { Err(replayed.end().await) }
    }

    /// Ends it; why it failed, when it did.
    async fn end(self) -> Failure {
        self.node.inbox.close();
        let ended = self.task.await;
        let _ended_or_panicked = self.folder.join();
        match ended {
            Ok(Err(why)) => said(why),
            Err(why) => said(why),
            Ok(Ok(())) => Failure::said("the journal was not applied to its end"),
        }
    }

    fn rooms(&self, only: Option<&RoomName>) -> Result<BTreeMap<RoomName, Head>, Failure> {
        let mut rooms = BTreeMap::new();
        loop {
            let after = only.is_none().then(|| rooms.keys().next_back()).flatten();
            let names: Vec<RoomName> = match only {
                Some(room) => vec![room.clone()],
                None => {
                    let heads = self.node.room_heads(after, ROOMS).map_err(said)?;
                    heads.into_iter().map(|(room, _)| room).collect()
                }
            };
            let more = !names.is_empty();
            for room in names {
                let head = self.node.rooms.open(&room).map_err(said)?.head();
                rooms.insert(room, head);
            }
            if only.is_some() || !more {
                rooms.retain(|_, head| head.end > 0);
                return Ok(rooms);
            }
        }
    }

    /// Up to a page of entries from slot `first` on.
    async fn page(&self, room: &RoomName, first: Slot) -> Result<Vec<Stored>, Failure> {
        let limits = PageLimits { entries: PAGE_ENTRIES, bytes: usize::MAX };
        let span = Span::After(latest_of(first));
        let page = self.node.reader.read(room, span, None, limits).await.map_err(said)?;
        Ok(page.entries)
    }
}

fn rooms_of(
    archive: &SqliteArchive,
    only: Option<&RoomName>,
) -> Result<BTreeMap<RoomName, Head>, Failure> {
    if let Some(room) = only {
        let head = archive.head(room).map_err(said)?;
        return Ok(head.map(|head| (room.clone(), head)).into_iter().collect());
    }
    let mut rooms = BTreeMap::new();
    loop {
        let after = rooms.keys().next_back().cloned();
        let more = archive.rooms(after.as_ref(), ROOMS).map_err(said)?;
        if more.is_empty() {
            return Ok(rooms);
        }
        rooms.extend(more);
    }
}

/// Compares what the archive holds of a room with what the journal gave; the first slot that is wrong.
async fn check(
    archive: &SqliteArchive,
    replayed: &Replayed,
    room: &RoomName,
    whole: &Head,
) -> Result<Option<(Slot, String)>, Failure> {
    let Some(head) = archive.head(room).map_err(said)? else { return Ok(None) };
    let mut next = 0;
    let mut last = Digest::start(room);
    while next < head.end {
        let end = (next + PAGE_ENTRIES).min(head.end);
        let ours = match page(archive, room, next, end)? {
            Ok(page) => page,
            Err(wrong) => return Ok(Some(wrong)),
        };
        if end > whole.end {
            let why = "the archive has it and the journal does not".into();
            return Ok(Some((whole.end, why)));
        }
        let theirs = replayed.page(room, next).await?;
        for (ours, theirs) in ours.iter().zip(&theirs) {
            if ours != theirs {
                let why = format!(
                    "the archive's digest is {}, the journal's {}",
                    ours.digest, theirs.digest
                );
                return Ok(Some((ours.entry.slot, why)));
            }
            last = ours.digest;
        }
        next = end;
    }
    let head_is_wrong = last != head.digest;
    Ok(head_is_wrong.then(|| (head.end - 1, "the room's head has another digest".into())))
}

/// A page, or the slot of it that is damaged.
fn page(
    archive: &SqliteArchive,
    room: &RoomName,
    first: Slot,
    end: Slot,
) -> Result<Result<Vec<Stored>, (Slot, String)>, Failure> {
    match archive.page(room, first, end, usize::MAX, Keep::Oldest) {
        Ok(page) => Ok(Ok(page)),
        Err(ArchiveError::Damaged { slot, problem, .. }) => Ok(Err((slot, problem))),
        Err(other) => Err(said(other)),
    }
}

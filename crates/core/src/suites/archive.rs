//! The suite of the archive's contract.

use std::sync::{Arc, OnceLock};

use roomlog_protocol::{Author, ClientAppend, EntryId, Kind, RoomName};

use crate::{
    agreement::Chain,
    archive::{Applied, Archive, ArchiveError, Hurry, IdKey, Keep, Window},
    block::NodeId,
    journal::{Position, Stamp},
    proposal::{Proposal, Stored},
    proposers::{Proposer, Proposers},
    room::{self, Head, Room, Verdict},
    rules::Rules,
    tail::Commit,
};

/// Makes an archive, and opens the same one again after the last handle is gone.
pub trait Bench {
    /// Opens the archive.
    fn open(&self) -> Arc<dyn Archive>;
    /// Whether an archive that is opened again holds what the last one did.
    fn is_durable(&self) -> bool;
}

/// Runs the whole suite, each part on an archive of its own.
pub fn run(bench: impl Fn() -> Box<dyn Bench>) {
    an_empty_archive_holds_nothing(bench().open().as_ref());
    a_page_is_what_was_folded(bench().open().as_ref());
    a_page_is_clipped_from_either_end(bench().open().as_ref());
    ids_are_found_for_ever(bench().open().as_ref());
    rooms_are_listed_in_byte_order(bench().open().as_ref());
    a_window_folded_again_is_passed_over(bench().open().as_ref());
    a_row_that_differs_stops_the_fold(bench().open().as_ref());
    an_id_at_two_slots_stops_the_fold(bench().open().as_ref());
    what_was_folded_is_there_when_it_is_opened_again(bench().as_ref());
    what_is_durable_is_what_was_folded(bench().open().as_ref());
}

/// The name of a room.
///
/// # Panics
/// When it has not the form of one.
#[must_use]
pub fn room(name: &str) -> RoomName {
    RoomName::new(name).expect("a room")
}

/// A proposal of an author, with an id, that says something.
///
/// # Panics
/// When a name has not the form of one.
#[must_use]
pub fn proposal(room: &str, author: &str, id: &str, body: &str) -> Proposal {
    let append = ClientAppend {
        room: self::room(room),
        body: body.into(),
        id: None,
        seq: None,
        after: None,
        expect: None,
        kind: Kind::default(),
        reference: None,
        meta: None,
        sent_at: None,
        author: None,
        req: None,
    };
    let author = Author::new(author).expect("an author");
    Proposal::new(append, author, EntryId::new(id).expect("an id"))
}

/// A room that speaks: makes commits as apply would.
pub struct Speaker(pub Room);

impl Speaker {
    /// An empty room.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let name = room(name);
        Self(Room { head: Head::empty(&name), name })
    }

    /// The commit of a block in which `ada` says these, with the bodies as ids.
    ///
    /// # Panics
    /// When the room does not take one.
    pub fn says(&mut self, position: u64, bodies: &[&str]) -> Arc<Commit> {
        let mut entries = Vec::new();
        for body in bodies {
            let mut proposal = proposal(&self.0.name, "ada", body, body);
            proposal.meta =
                body.starts_with('m').then(|| ("{}".into(), roomlog_protocol::digest::hash("{}")));
            proposal.sent_at = body.starts_with('s').then_some(77);
            proposal.reference = body.starts_with('r').then_some(0);
            match room::apply(&mut self.0, Rules::FIRST, &proposal, 1_000 + position, None) {
                Verdict::Committed(stored) => entries.push(stored),
                other => panic!("{body}: {other:?}"),
            }
        }
        Arc::new(Commit {
            room: self.0.name.clone(),
            position: Position(position),
            entries,
            frames: OnceLock::new(),
        })
    }
}

/// The window of these commits, applied up to a position.
#[must_use]
pub fn window(position: u64, commits: &[Arc<Commit>]) -> Window {
    let mut proposers = Proposers::default();
    proposers.0.insert(NodeId([7; 16]), Proposer { incarnation: 3, next: position });
    let applied = Applied {
        position: Position(position),
        stamp: Some(Stamp(position ^ 0xabcd)),
        chain: Some(Chain([7; 32])),
        proposers,
        rules: Rules::FIRST.number(),
    };
    Window { partition: 0, commits: commits.to_vec(), applied, hurry: Hurry::now() }
}

fn bodies(page: &[Stored]) -> Vec<&str> {
    page.iter().map(|stored| &*stored.entry.body).collect()
}

fn an_empty_archive_holds_nothing(archive: &dyn Archive) {
    assert_eq!(archive.applied(0), Ok(Applied::default()));
    assert_eq!(archive.head(&room("a")), Ok(None));
    assert_eq!(archive.rooms(None, 10), Ok(vec![]));
    assert_eq!(archive.page(&room("a"), 0, 0, 100, Keep::Oldest), Ok(vec![]));
}

fn a_page_is_what_was_folded(archive: &dyn Archive) {
    let (mut a, mut b) = (Speaker::new("a"), Speaker::new("b"));
    let commits = [a.says(1, &["one", "m"]), b.says(1, &["else"]), a.says(2, &["s", "r", "last"])];
    archive.fold(&window(2, &commits)).expect("a fold");
    let all: Vec<Stored> =
        [&commits[0], &commits[2]].iter().flat_map(|commit| commit.entries.clone()).collect();
    assert_eq!(archive.page(&room("a"), 0, 5, 1_000, Keep::Oldest), Ok(all.clone()));
    assert_eq!(archive.page(&room("a"), 1, 3, 1_000, Keep::Oldest), Ok(all[1..3].to_vec()));
    assert_eq!(archive.head(&room("a")), Ok(Some(a.0.head)));
    assert_eq!(archive.head(&room("b")), Ok(Some(b.0.head)));
    assert_eq!(archive.applied(0), Ok(window(2, &[]).applied));
    assert!(archive.page(&room("a"), 0, 6, 1_000, Keep::Oldest).is_err(), "slot 5 is missing");
}

fn a_page_is_clipped_from_either_end(archive: &dyn Archive) {
    let mut a = Speaker::new("a");
    archive.fold(&window(1, &[a.says(1, &["0000", "1111", "2222"])])).expect("a fold");
    let page = |bytes, keep| archive.page(&room("a"), 0, 3, bytes, keep).expect("a page");
    assert_eq!(bodies(&page(8, Keep::Oldest)), ["0000", "1111"]);
    assert_eq!(bodies(&page(8, Keep::Newest)), ["1111", "2222"]);
    assert_eq!(bodies(&page(7, Keep::Oldest)), ["0000"]);
    assert_eq!(bodies(&page(0, Keep::Newest)), ["2222"], "at least one");
}

fn ids_are_found_for_ever(archive: &dyn Archive) {
    let mut a = Speaker::new("a");
    archive.fold(&window(1, &[a.says(1, &["one", "two"])])).expect("a fold");
    let key = |room: &str, author: &str, id: &str| {
        let Proposal { room, author, id, .. } = proposal(room, author, id, "");
        IdKey { room, author, id }
    };
    let keys = [key("a", "ada", "two"), key("a", "bob", "two"), key("b", "ada", "two")];
    let found = archive.find(&keys).expect("an answer");
    assert_eq!((found[1], found[2]), (None, None));
    let known = found[0].expect("the entry");
    assert_eq!((known.slot, known.committed_at), (1, 1_001));
    assert_eq!(known.content, proposal("a", "ada", "two", "two").content());
}

fn rooms_are_listed_in_byte_order(archive: &dyn Archive) {
    let commits: Vec<_> =
        ["b", "a.1", "a", "Z"].iter().map(|name| Speaker::new(name).says(1, &["x"])).collect();
    archive.fold(&window(1, &commits)).expect("a fold");
    let names = |after: Option<&str>, limit| {
        let rooms = archive.rooms(after.map(room).as_ref(), limit).expect("rooms");
        rooms.into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 10), ["Z", "a", "a.1", "b"]);
    assert_eq!(names(None, 2), ["Z", "a"]);
    assert_eq!(names(Some("a"), 10), ["a.1", "b"]);
}

fn a_window_folded_again_is_passed_over(archive: &dyn Archive) {
    let mut a = Speaker::new("a");
    let (first, second) = (a.says(1, &["one"]), a.says(2, &["two"]));
    archive.fold(&window(1, std::slice::from_ref(&first))).expect("a fold");
    // As after a crash between the rows of a window and its `applied`.
    archive.fold(&window(2, &[first, second])).expect("the same rows again");
    assert_eq!(archive.head(&room("a")).expect("a head").map(|head| head.end), Some(2));
}

fn a_row_that_differs_stops_the_fold(archive: &dyn Archive) {
    archive.fold(&window(1, &[Speaker::new("a").says(1, &["one"])])).expect("a fold");
    let other = archive.fold(&window(2, &[Speaker::new("a").says(1, &["other"])]));
    assert!(matches!(other, Err(ArchiveError::Damaged { slot: 0, .. })), "{other:?}");
    assert_eq!(archive.applied(0).expect("applied").position, Position(1));
}

fn an_id_at_two_slots_stops_the_fold(archive: &dyn Archive) {
    let mut a = Speaker::new("a");
    archive.fold(&window(1, &[a.says(1, &["one"])])).expect("a fold");
    // Apply would have called this a repeat: that it did not is a bug, and stops.
    let twice = archive.fold(&window(2, &[a.says(2, &["one"])]));
    assert!(matches!(twice, Err(ArchiveError::Damaged { slot: 1, .. })), "{twice:?}");
}

fn what_was_folded_is_there_when_it_is_opened_again(bench: &dyn Bench) {
    if !bench.is_durable() {
        return;
    }
    let mut a = Speaker::new("a");
    let commit = a.says(1, &["one", "two"]);
    let archive = bench.open();
    archive.fold(&window(1, std::slice::from_ref(&commit))).expect("a fold");
    drop(archive);
    let archive = bench.open();
    assert_eq!(archive.applied(0), Ok(window(1, &[]).applied));
    assert_eq!(archive.page(&room("a"), 0, 2, 100, Keep::Oldest), Ok(commit.entries.clone()));
}

fn what_is_durable_is_what_was_folded(archive: &dyn Archive) {
    assert_eq!(archive.make_durable(0), Ok(Position(0)));
    let mut a = Speaker::new("a");
    for (position, body) in [(1, "one"), (2, "two"), (5, "five")] {
        archive.fold(&window(position, &[a.says(position, &[body])])).expect("a fold");
        // Asked twice: nothing is left to be done the second time.
        assert_eq!(archive.make_durable(0), Ok(Position(position)));
        assert_eq!(archive.make_durable(0), Ok(Position(position)));
    }
    // A fold after it goes on as before.
    archive.fold(&window(6, &[a.says(6, &["six"])])).expect("a fold");
    assert_eq!(archive.applied(0).expect("applied").position, Position(6));
}

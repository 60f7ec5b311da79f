//! Rooms, proposals, commits and windows in few words.

use std::sync::{Arc, OnceLock};

use roomlog_core::{
    applied::{Applied, Chain, Proposer, Proposers},
    apply::room::{self, Room, Verdict},
    archive::{Hurry, Window},
    commit::Commit,
    head::Head,
    identity::NodeId,
    journal::{Position, Stamp},
    proposal::Proposal,
    rules::Rules,
};
use roomlog_protocol::{Author, ClientAppend, EntryId, Kind, RoomName};

/// Rules that are never released: no two entries of a room have the same time.
pub const TRIAL: Rules =
    Rules::unreleased(u16::MAX, |last, journal| last.map_or(journal, |last| journal.max(last + 1)));

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

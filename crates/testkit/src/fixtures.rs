//! Short constructors of rooms, proposals, commits and windows.

use std::sync::Arc;

use roomlog_core::{
    applied::{Applied, Chain, JournalClock, Proposer, Proposers, Unwiped},
    archive::{Urgency, Window},
    commit::Commit,
    head::Head,
    identity::NodeId,
    journal::{Position, Stamp},
    proposal::{Proposal, Stored},
    rules::Rules,
};
use roomlog_protocol::{Author, ClientAppend, Content, Entry, EntryId, Kind, RoomName, Salt};

/// Rules that are never released: entries of a room have distinct times.
pub const TRIAL: Rules =
    Rules::unreleased(u16::MAX, |last, journal| last.map_or(journal, |last| journal.max(last + 1)));

/// The salt of all entries.
pub const SALT: Salt = Salt(*b"roomlog-slt0");

/// The name of a room.
///
/// # Panics
/// If it is invalid.
#[must_use]
pub fn room(name: &str) -> RoomName {
    RoomName::new(name).expect("a room")
}

/// A proposal.
///
/// # Panics
/// If a name is invalid.
#[must_use]
pub fn proposal(room: &str, author: &str, id: &str, body: &str) -> Proposal {
    let append = ClientAppend::new(self::room(room), body);
    let author = Author::new(author).expect("an author");
    Proposal::new(append, author, EntryId::new(id).expect("an id"), SALT)
}

/// The redaction of a slot.
#[must_use]
pub fn redaction(room: &str, author: &str, id: &str, slot: u64) -> Proposal {
    let (kind, reference) = (Kind::new(Kind::REDACT).unwrap_or_default(), Some(slot));
    Proposal { kind, reference, ..proposal(room, author, id, "") }
}

/// The erasure of what an author, or everybody, wrote in the slots up to one.
///
/// # Panics
/// If the kind is invalid.
#[must_use]
pub fn erasure(room: &str, author: &str, id: &str, (last, of): (u64, Option<&str>)) -> Proposal {
    let (kind, reference) = (Kind::new(Kind::ERASE).expect("a kind"), Some(last));
    Proposal { kind, reference, ..proposal(room, author, id, of.unwrap_or_default()) }
}

/// The proposal with another meta.
#[must_use]
pub fn with_meta(proposal: Proposal, meta: &str) -> Proposal {
    let salt = proposal.content.salt().unwrap_or(SALT);
    saying(proposal, Some(meta), salt)
}

/// The proposal with another salt of 12 characters.
///
/// # Panics
/// If it has another length.
#[must_use]
pub fn with_salt(proposal: Proposal, salt: &str) -> Proposal {
    let meta = proposal.content.meta().map(str::to_owned);
    saying(proposal, meta.as_deref(), Salt(salt.as_bytes().try_into().expect("12 characters")))
}

fn saying(proposal: Proposal, meta: Option<&str>, salt: Salt) -> Proposal {
    let (body, meta) = (proposal.content.body().into(), meta.map(Into::into));
    let content = Content::Said { body, meta, salt };
    Proposal { commitment: content.commitment(), content, ..proposal }
}

/// A room that produces commits as apply would.
pub struct Speaker {
    room: RoomName,
    /// Where its log ends.
    pub head: Head,
}

impl Speaker {
    /// An empty room.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let room = room(name);
        Self { head: Head::empty(&room), room }
    }

    /// The commit of a block in which `ada` appends these bodies, which are the ids too.
    pub fn says(&mut self, position: u64, bodies: &[&str]) -> Arc<Commit> {
        let room = self.room.clone();
        self.commits(position, bodies.iter().map(|body| said(&room, body)))
    }

    /// The commit of a block of these proposals.
    pub fn commits(
        &mut self,
        position: u64,
        proposals: impl Iterator<Item = Proposal>,
    ) -> Arc<Commit> {
        let entries = proposals.map(|proposal| self.entry(1_000 + position, proposal)).collect();
        let (room, position) = (self.room.clone(), Position(position));
        Arc::new(Commit::new(room, position, entries))
    }

    fn entry(&mut self, committed_at: u64, proposal: Proposal) -> Stored {
        let Proposal { author, id, content, kind, reference, sent_at, .. } = proposal;
        let slot = self.head.end;
        let entry = Entry { slot, author, id, content, committed_at, sent_at, kind, reference };
        let digest = self.head.digest.then(&entry);
        self.head = Head { end: entry.slot + 1, committed_at, digest };
        Stored { entry, digest }
    }
}

fn said(room: &str, body: &str) -> Proposal {
    let said = proposal(room, "ada", body, body);
    let said = if body.starts_with('m') { with_meta(said, "{}") } else { said };
    let sent_at = body.starts_with('s').then_some(77);
    Proposal { sent_at, reference: body.starts_with('r').then_some(0), ..said }
}

/// A window of these commits, applied up to a position.
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
        clock: JournalClock { newest: 1_000 + position, back: position },
        unwiped: Unwiped::default(),
    };
    Window { partition: 0, commits: commits.to_vec(), applied, urgency: Urgency::now() }
}

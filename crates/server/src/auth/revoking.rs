//! The log of revocations: a room of the server's own, so that every node applies them, backups have
//! them, and a move takes them along.
//!
//! ```text
//!  {"jti":"…"}                               one token
//!  {"author":"ada","issued_before":…}        those of an author
//!  {"log":"…"}                               tokens are in use in this log
//!  {"log":"…","issued_before":…}             the same, after a restore
//! ```
//!
//! Enters: entries of the room. Leaves: [`Tokens`] that know them. Invariant: what was revoked after a
//! backup is not valid again after its restore: a log that has another name than the one that its newest
//! `log` entry names has been restored, and all tokens issued before are revoked.

use std::{sync::Arc, time::Duration};

use roomlog_auth::{Access, Revocation};
use roomlog_core::{Node, proposal::Stored, queue::Draft, reader::PageLimits, tail::Tail};
use roomlog_protocol::{ClientAppend, EntryId, ErrorCode, Latest, Refusal, RoomName, Span};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::{error, warn};

use super::{Tokens, now_s};
use crate::{
    gateway::unreadable,
    outcome::{self, draft, new_id, now_ms, server_author},
    wire::{bad, unknown_outcome},
};

/// The room's name; see [`RoomName::system`].
const ROOM: &str = "revoked";

/// How long after a failure the room is read, or the log's name is appended, again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long a start waits until the log's name is appended; while the disk is full, say, it cannot be.
const NAMED_BY_START: Duration = Duration::from_secs(10);

const PAGE: PageLimits = PageLimits { entries: 1_000, bytes: 1 << 20 };

#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Record {
    Log {
        log: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        issued_before: Option<u64>,
    },
    Revoked(Revocation),
}

/// Reads the room of revocations.
pub(crate) struct RevocationLog {
    node: Arc<Node>,
    tokens: Arc<Tokens>,
    tail: Arc<Tail>,
    last: Latest,
    /// What its newest `log` entry names.
    log: Option<String>,
    /// After a restore: tokens that were issued before this are revoked, in seconds since the Unix epoch.
    restored_at: Option<u64>,
}

impl RevocationLog {
    /// Reads what the log holds now and, if it was restored, revokes what was issued before. Then names
    /// the log, so that a backup taken as soon as the server answers holds the name. Fails if the log
    /// cannot be read.
    pub(crate) async fn open(node: Arc<Node>, tokens: Arc<Tokens>) -> Result<Self, Refusal> {
        let room = RoomName::system(ROOM).map_err(|why| bad(why.to_string()))?;
        let tail = node.tail(&room).map_err(|problem| unreadable(&problem))?;
        let (last, log, restored_at) = (Latest::EMPTY, None, None);
        let mut this = Self { node, tokens, tail, last, log, restored_at };
        this.read().await?;
        if this.log.as_ref().is_some_and(|log| log != this.node.log()) {
            warn!("this log was restored: tokens that were issued before now are revoked");
            // What is issued within this second too.
            let issued_before = now_s() + 1;
            this.tokens.revoke(Revocation::All { issued_before }, issued_before);
            this.restored_at = Some(issued_before);
        }
        if tokio::time::timeout(NAMED_BY_START, this.name_log()).await.is_err() {
            warn!(
                "the log's name cannot be appended yet: a restore of a backup may undo revocations"
            );
        }
        Ok(this)
    }

    /// Follows the room for as long as it is polled, and names the log if that has failed until now.
    pub(crate) async fn follow(mut self) -> std::convert::Infallible {
        self.name_log().await;
        loop {
            self.tail.reached(self.last.end() + 1).await;
            if let Err(refusal) = self.read().await {
                error!(why = refusal.message, "the revocations cannot be read; trying again");
                tokio::time::sleep(RETRY_AFTER).await;
            }
        }
    }

    async fn read(&mut self) -> Result<(), Refusal> {
        while self.last.end() < self.tail.head().end {
            let span = Span::After(self.last);
            let page = self.node.read(self.tail.room(), span, None, PAGE).await;
            let page = page.map_err(|why| unknown_outcome(why.to_string()))?;
            for stored in &page.entries {
                self.take(stored);
            }
        }
        Ok(())
    }

    fn take(&mut self, Stored { entry, .. }: &Stored) {
        self.last = Latest::at(entry.slot);
        let at = entry.committed_at / 1_000;
        match serde_json::from_str(entry.body()) {
            Ok(Record::Log { log, issued_before }) => {
                self.log = Some(log);
                if let Some(issued_before) = issued_before {
                    self.tokens.revoke(Revocation::All { issued_before }, at);
                }
            }
            Ok(Record::Revoked(revocation)) => self.tokens.revoke(revocation, at),
            Err(why) => warn!(slot = entry.slot, %why, "a revocation is not of a known form"),
        }
    }

    /// Appends the log's name, and what a restore revokes, if the newest name in the room is another. All
    /// nodes do so; the entry's id makes it one.
    async fn name_log(&mut self) {
        let log = self.node.log().to_owned();
        if self.log.as_ref() == Some(&log) {
            return;
        }
        let record = Record::Log { log: log.clone(), issued_before: self.restored_at };
        while let Err(refusal) = append(&self.node, &record, Some(&log)).await {
            // Another node was first: its entry has another time.
            if refusal.code == ErrorCode::IdReused {
                break;
            }
            tokio::time::sleep(RETRY_AFTER).await;
        }
        self.log = Some(log);
    }
}

/// Revokes tokens, on every node. Fails if there are too many revocations already, or as an append.
pub(crate) async fn revoke(
    node: &Node,
    tokens: &Tokens,
    revocation: Revocation,
) -> Result<(), Refusal> {
    if tokens.revoked.read().is_full() {
        let message = "there are too many revocations; revoke all of an author, or replace the key";
        return Err(Refusal::new(ErrorCode::TooLarge, message));
    }
    append(node, &Record::Revoked(revocation), None).await
}

async fn append(node: &Node, record: &Record, id: Option<&str>) -> Result<(), Refusal> {
    let name = |why: roomlog_protocol::NameError| bad(why.to_string());
    let room = RoomName::system(ROOM).map_err(name)?;
    let append = ClientAppend::new(room, json!(record).to_string());
    let id = id.map_or_else(|| Ok(new_id()), EntryId::new).map_err(name)?;
    let draft = Draft::charge(&append, node.append_budget())
        .map(|charge| draft(&Access::nothing(), append, (server_author(), id), now_ms(), charge));
    outcome::append(node, draft).await
}

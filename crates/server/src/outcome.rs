//! What all appends share, from a WebSocket, a POST or a batch: what the server adds to one, and the
//! table from its outcome to the wire.
//!
//! Enters: an outcome. Leaves: a code, whose HTTP status [`ErrorCode::http_status`] gives, and a sentence
//! that says what the author can do. Invariant: an outcome has one code and one sentence, however the
//! append came.

use std::time::{Duration, SystemTime};

use roomlog_auth::Access;
use roomlog_core::{Node, budget::Charge, outcome::AppendOutcome, queue::Draft};
use roomlog_protocol::{Author, ClientAppend, EntryId, ErrorCode, Refusal, Salt};

use crate::{auth::rights::may_remove, gateway::STOPPING};

/// The error that an outcome is answered with. The caller adds the room, id and `req` of the append.
/// `None` if the append was committed.
pub(crate) fn refusal_of(outcome: &AppendOutcome) -> Option<Refusal> {
    let refusal = match outcome {
        AppendOutcome::Committed { .. } => return None,
        AppendOutcome::Invalid(refusal) => refusal.as_ref().clone(),
        AppendOutcome::IdReused { slot } => {
            let message = format!("slot {slot} has this id and says something else; make a new id");
            Refusal { slot: Some(*slot), ..Refusal::new(ErrorCode::IdReused, message) }
        }
        AppendOutcome::ExpectFailed { latest } => {
            let message = format!("the latest slot is {latest}; read, and decide again");
            Refusal { latest: Some(*latest), ..Refusal::new(ErrorCode::ExpectFailed, message) }
        }
        AppendOutcome::OutOfOrder { expected: Some(expected) } => {
            let message = format!("append {expected} of this connection and room comes first");
            Refusal { seq: Some(*expected), ..Refusal::new(ErrorCode::OutOfOrder, message) }
        }
        AppendOutcome::OutOfOrder { expected: None } => {
            Refusal::new(ErrorCode::OutOfOrder, "an append before this one was refused")
        }
        AppendOutcome::BadRef => {
            Refusal::new(ErrorCode::BadRef, "`ref` names a slot that the log has not reached")
        }
        AppendOutcome::SeqReused => {
            Refusal::new(ErrorCode::BadMessage, "this `seq` was used with another id")
        }
        AppendOutcome::SeqMixed => Refusal::new(
            ErrorCode::BadMessage,
            "a connection uses `seq` for a room always or never",
        ),
        AppendOutcome::Ahead => Refusal::new(
            ErrorCode::Ahead,
            "the log has not reached `after`; update, then send it again",
        ),
        AppendOutcome::Busy => Refusal::new(
            ErrorCode::Busy,
            "the server has as much to write as it can hold; send it again a little later",
        ),
        AppendOutcome::StorageFull => Refusal::new(
            ErrorCode::StorageFull,
            "the server's disk is full; nothing was stored, send it again later",
        ),
        AppendOutcome::Unavailable => Refusal::new(ErrorCode::Unavailable, STOPPING),
        AppendOutcome::Unknown => Refusal::new(
            ErrorCode::UnknownOutcome,
            "it is not known whether this was committed; send it again with the same id",
        ),
    };
    Some(refusal)
}

/// An id for an append that came without one.
pub(crate) fn new_id() -> EntryId {
    let ulid = ulid::Ulid::generate().to_string();
    EntryId::new(&ulid).unwrap_or_else(|error| unreachable!("a ULID is an id: {error}"))
}

/// A salt for the commitment of an entry, from the generator that is seeded by the system.
fn new_salt() -> Salt {
    Salt(rand::random())
}

/// The author of what the server appends itself.
pub(crate) fn server_author() -> Author {
    Author::new("roomlog").unwrap_or_else(|error| unreachable!("it is an author: {error}"))
}

/// Appends a draft, or does not if it could not be charged. Fails with what its author is told.
pub(crate) async fn append(
    node: &Node,
    draft: Result<Draft, AppendOutcome>,
) -> Result<(), Refusal> {
    let outcome = match draft {
        Ok(draft) => node.append(draft).await,
        Err(outcome) => outcome,
    };
    refusal_of(&outcome).map_or(Ok(()), Err)
}

/// An append that was received at this time, in ms since the epoch, and charged.
pub(crate) fn draft(
    access: &Access,
    append: ClientAppend,
    (author, id): (Author, EntryId),
    received: u64,
    charge: Charge,
) -> Draft {
    let may_remove = may_remove(access, &append.kind, &append.room);
    let draft = Draft::new(append, (author, id, new_salt()), received, charge);
    if may_remove { draft.with_right_to_remove() } else { draft }
}

/// When an append was received, in ms since the epoch: it orders appends and never dates them.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

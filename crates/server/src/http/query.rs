//! The target of a request: the room in its path, the query, and the log that has to reach its slots.
//!
//! Enters: a path and a query. Leaves: a valid room name; the query as the object of a frame, so
//! that one parser has the rules; whether the log has reached a slot; or a refusal, in JSON like
//! every other. Invariant: of a query, only names that a read has are kept, and they are no longer
//! needed when a request begins to wait: pairs are not charged.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequestParts, Path, Query},
    http::{Response, request::Parts},
    response::IntoResponse,
};
use roomlog_core::tail::Tail;
use roomlog_protocol::{ErrorCode, Latest, Refusal, RoomName, Slot, limits::MAX_INTEGER};
use serde_json::json;
use tokio::time::timeout;

use crate::{
    auth::rights::Caller,
    gateway::{Gateway, STOPPING, stopped},
    wire::{bad, refuse},
};

/// The room of a path, in the namespace of the caller, which the handler takes before it.
pub(super) struct Room(pub(super) RoomName);

/// Why a path has no valid room.
pub(super) struct BadRoom(pub(super) Refusal);

impl IntoResponse for BadRoom {
    fn into_response(self) -> Response<Body> {
        refuse(self.0)
    }
}

impl FromRequestParts<Arc<Gateway>> for Room {
    type Rejection = BadRoom;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Gateway>) -> Result<Self, BadRoom> {
        let bad = |why: String| BadRoom(Refusal::new(ErrorCode::BadName, why));
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(room) = path.map_err(|why| bad(format!("the room of the path: {why}")))?;
        let (bytes, most) = (room.len(), state.config.limits.room_bytes);
        if bytes > most {
            return Err(bad(format!("room has {bytes} bytes, more than {most}")));
        }
        let room = RoomName::new(&room).map_err(|why| bad(why.to_string()))?;
        let Some(caller) = parts.extensions.get::<Caller>() else {
            unreachable!("a handler takes its caller before a room")
        };
        Ok(Self(caller.access.room(&room)))
    }
}

/// What a query may ask; other names are ignored.
const NAMES: [&str; 9] =
    ["after", "author", "count", "digest", "from", "limit", "log", "seen", "upto"];

/// The most pairs of a query: a head of 16 KiB could hold 8,000 of one byte, 80 bytes each.
const MOST_PAIRS: usize = 16;

/// The pairs of the query that have a name of [`NAMES`].
pub(super) struct Params(pub(super) Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Response<Body>;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response<Body>> {
        let pairs = parts.uri.query().map_or(0, |query| query.split('&').count());
        if pairs > MOST_PAIRS {
            let message = format!("the query has {pairs} parameters, but may have {MOST_PAIRS}");
            return Err(refuse(bad(message)));
        }
        let read = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let Query(mut query) = read.map_err(|why| refuse(bad(format!("the query: {why}"))))?;
        query.retain(|(name, _)| NAMES.contains(&name.as_str()));
        Ok(Self(query))
    }
}

/// The query as the object of an `update` frame.
pub(super) fn object_of_query(room: &RoomName, query: &[(String, String)]) -> String {
    let mut members = vec![format!(r#""room":"{room}""#)];
    for (name, value) in query {
        let value = if is_integer(value) { value.clone() } else { json!(value).to_string() };
        members.push(format!("{}:{value}", json!(name)));
    }
    format!("{{{}}}", members.join(","))
}

/// Whether a value is an integer token of JSON, which begins with neither `+` nor a needless 0: the name
/// of a log, or a digest, may be digits that are none.
fn is_integer(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_token = digits == "0" || !digits.starts_with(['+', '0']);
    is_token && value.parse::<i64>().is_ok()
}

/// A value as a slot, from 0 to 2^53 − 1; `None` if it is anything else.
pub(super) fn slot_of(value: &str) -> Option<Slot> {
    let slot = value.parse::<i64>().ok().filter(|slot| *slot <= MAX_INTEGER && is_integer(value));
    Slot::try_from(slot?).ok()
}

/// The value of a name of the query, which may be given once.
pub(super) fn single<'a>(
    query: &'a [(String, String)],
    name: &str,
) -> Result<Option<&'a str>, Refusal> {
    let mut values = query.iter().filter(|(named, _)| named == name);
    let first = values.next().map(|(_, value)| &**value);
    if values.next().is_some() {
        return Err(bad(format!("`{name}` is given twice")));
    }
    Ok(first)
}

/// Checks the log of the query's positions, if it names one: another log has other entries at the
/// same slots.
pub(super) fn check_log(
    gateway: &Gateway,
    room: &RoomName,
    query: &[(String, String)],
) -> Result<(), Refusal> {
    let (log, held) = (gateway.node.log(), single(query, "log")?.filter(|log| !log.is_empty()));
    if held.is_none_or(|held| held == log) {
        return Ok(());
    }
    let end = gateway.head(room)?.end;
    let message = format!(
        "your position is of another log: this one is {log} (a restore, another directory or \
         another server); drop the entries that you hold and read again"
    );
    let latest = Some(Latest::before(end));
    Err(Refusal { latest, ..Refusal::new(ErrorCode::Diverged, message) })
}

/// Waits up to `ahead_ms` until the log ends at `end` or later. `ahead` if it does not;
/// `unavailable` at once if the server stops.
pub(super) async fn reach(gateway: &Gateway, tail: &Arc<Tail>, end: Slot) -> Result<(), Refusal> {
    tokio::select! {
        reached = timeout(gateway.config.limits.ahead_for, tail.reached(end)) => {
            reached.map_err(|_| {
                let refusal = Refusal::new(ErrorCode::Ahead, "the log has not reached that slot");
                Refusal { latest: Some(Latest::before(tail.head().end)), ..refusal }
            })
        }
        () = stopped(gateway.stopping.clone()) => {
            Err(Refusal::new(ErrorCode::Unavailable, STOPPING))
        }
    }
}

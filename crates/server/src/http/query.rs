//! What the target of a request names: the room of its path, and the members of its query.
//!
//! Enters: a path and a query. Leaves: a room that has the form of a name; the query as the object that a
//! frame would be, so that one reader knows the rules; or a refusal, in JSON like every other.

use axum::{
    body::Body,
    extract::{FromRequestParts, Path},
    http::{Response, request::Parts},
    response::IntoResponse,
};
use roomlog_protocol::{ErrorCode, Refusal, RoomName, latest_of};
use serde_json::json;

use super::refuse;
use crate::gateway::Gateway;

/// The room of a path.
pub(super) struct Room(pub(super) RoomName);

/// Why a request is refused before it is looked at.
pub(super) struct Refused(pub(super) Refusal);

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        refuse(self.0)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Room {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refused> {
        let bad = |why: String| Refused(Refusal::new(ErrorCode::BadName, why));
        let path = Path::<String>::from_request_parts(parts, state).await;
        let Path(room) = path.map_err(|why| bad(format!("the room of the path: {why}")))?;
        RoomName::new(&room).map(Self).map_err(|why| bad(why.to_string()))
    }
}

/// The query as the object that an `update` frame would be.
pub(super) fn object_of_query(room: &RoomName, query: &[(String, String)]) -> String {
    let mut members = vec![format!(r#""room":"{room}""#)];
    for (name, value) in query.iter().filter(|(name, _)| name != "room") {
        let is_integer = value.parse::<i64>().is_ok() && !value.starts_with('+');
        let value = if is_integer { value.clone() } else { json!(value).to_string() };
        members.push(format!("{}:{value}", json!(name)));
    }
    format!("{{{}}}", members.join(","))
}

/// The value of a name of the query, which may stand there once.
pub(super) fn one<'a>(
    query: &'a [(String, String)],
    name: &str,
) -> Result<Option<&'a str>, Refusal> {
    let mut values = query.iter().filter(|(named, _)| named == name);
    let first = values.next().map(|(_, value)| &**value);
    if values.next().is_some() {
        let message = format!("`{name}` stands twice");
        return Err(Refusal::new(ErrorCode::BadMessage, message));
    }
    Ok(first)
}

/// Checks the log that the query's positions are of, when it names one: in another log the same slots are
/// other entries.
pub(super) fn check_log(
    gateway: &Gateway,
    room: &RoomName,
    query: &[(String, String)],
) -> Result<(), Refusal> {
    let (log, held) = (gateway.node.log(), one(query, "log")?.filter(|log| !log.is_empty()));
    if held.is_none_or(|held| held == log) {
        return Ok(());
    }
    let end = gateway.node.end(room);
    let latest = end.map_err(|problem| {
        gateway.note_unreadable(&problem);
        Refusal::new(ErrorCode::Unavailable, problem.to_string())
    });
    let message = format!(
        "your position is of another log: this one is {log} (a restore, another directory or another \
         server); drop the entries that you hold and read again"
    );
    let latest = Some(latest_of(latest?));
    Err(Refusal { latest, ..Refusal::new(ErrorCode::Diverged, message) })
}

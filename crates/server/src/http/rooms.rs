//! `GET /v1/rooms` and `GET /v1/rooms/{room}`: where the logs of rooms end.
//!
//! Enters: a name to go on after, or a room. Leaves: heads. Invariant: rooms are told in byte order, a
//! page at a time, and `next` is there exactly when there are more, so that whoever goes on after it
//! until it is absent has seen every room that existed all the while.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, Query, State},
    http::{Response, StatusCode},
};
use roomlog_protocol::{
    ErrorCode, Refusal, RoomName, latest_of,
    limits::{DEFAULT_ROOMS, ROOMS_PER_PAGE},
};
use serde::Serialize;

use super::{not_found, refuse, respond_json, room_of};
use crate::{gateway::Gateway, wire};

#[derive(Serialize)]
struct Rooms {
    rooms: Vec<RoomHead>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<RoomName>,
}

#[derive(Serialize)]
struct RoomHead {
    room: RoomName,
    latest: i64,
    committed_at: u64,
}

pub(super) async fn read_rooms(
    State(gateway): State<Arc<Gateway>>,
    Query(query): Query<Vec<(String, String)>>,
) -> Response<Body> {
    match list(&gateway, &query).await {
        Ok(rooms) => respond_json(StatusCode::OK, wire::json(&rooms)),
        Err(refusal) => refuse(refusal),
    }
}

async fn list(gateway: &Gateway, query: &[(String, String)]) -> Result<Rooms, Refusal> {
    let after = one(query, "after")?.map(room_of).transpose()?;
    let limit = limit(one(query, "limit")?)?;
    let node = gateway.node.clone();
    // One more than is told says whether there are more.
    let listed = tokio::task::spawn_blocking(move || node.room_heads(after.as_ref(), limit + 1));
    let unreadable = |problem: String| {
        tracing::error!(problem, "rooms cannot be listed");
        Refusal::new(ErrorCode::Unavailable, problem)
    };
    let heads = listed.await.map_err(|_| unreadable("a read was cut off".into()))?;
    let mut heads = heads.map_err(|problem| unreadable(problem.to_string()))?;
    let more = heads.len() > limit;
    heads.truncate(limit);
    let next = heads.last().filter(|_| more).map(|(room, _)| room.clone());
    let head = |(room, head): (RoomName, roomlog_core::room::Head)| RoomHead {
        room,
        latest: latest_of(head.end),
        committed_at: head.committed_at,
    };
    Ok(Rooms { rooms: heads.into_iter().map(head).collect(), next })
}

/// The value of a name of the query, which may stand there once.
fn one<'a>(query: &'a [(String, String)], name: &str) -> Result<Option<&'a str>, Refusal> {
    let mut values = query.iter().filter(|(named, _)| named == name);
    let first = values.next().map(|(_, value)| &**value);
    if values.next().is_some() {
        let message = format!("`{name}` stands twice");
        return Err(Refusal::new(ErrorCode::BadMessage, message));
    }
    Ok(first)
}

/// How many rooms to tell: what is asked for, at most [`ROOMS_PER_PAGE`].
fn limit(asked: Option<&str>) -> Result<usize, Refusal> {
    let Some(asked) = asked else { return Ok(DEFAULT_ROOMS) };
    let digits = !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than a number holds ask for more than a page.
    let wanted = asked.parse().unwrap_or(usize::MAX).min(ROOMS_PER_PAGE);
    if digits && wanted > 0 {
        return Ok(wanted);
    }
    Err(Refusal::new(ErrorCode::BadMessage, "`limit` must be an integer from 1"))
}

pub(super) async fn read_head(
    State(gateway): State<Arc<Gateway>>,
    Path(room): Path<String>,
) -> Response<Body> {
    let room = match room_of(&room) {
        Ok(room) => room,
        Err(refusal) => return refuse(refusal),
    };
    let head = match gateway.node.rooms.open(&room) {
        Ok(tail) => tail.head(),
        Err(problem) => return refuse(Refusal::new(ErrorCode::Unavailable, problem.to_string())),
    };
    if head.end == 0 {
        let message = format!("nothing was ever written to {room}");
        return refuse(Refusal { room: Some(room), ..not_found(&message) });
    }
    let (latest, digest, log) = (latest_of(head.end), head.digest, gateway.node.log());
    // Neither a room's name nor a log's has a character that JSON escapes.
    let body =
        format!(r#"{{"room":"{room}","latest":{latest},"digest":"{digest}","log":"{log}"}}"#);
    respond_json(StatusCode::OK, body.into())
}

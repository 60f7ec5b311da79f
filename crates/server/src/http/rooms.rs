//! `GET /v1/rooms` and `GET /v1/rooms/{room}`: where the logs of rooms end.
//!
//! Enters: the name to continue after, or a room. Leaves: heads. Invariant: rooms are listed in
//! byte order, a page at a time, and `next` is present exactly if there are more: who continues
//! until it is absent has seen every room that existed throughout.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{Response, StatusCode},
};
use bytes::Bytes;
use roomlog_core::head::Head;
use roomlog_protocol::{
    ErrorCode, Latest, Refusal, RoomName,
    limits::{DEFAULT_ROOMS, ROOMS_PER_PAGE},
};
use serde::Serialize;

use super::query::{Params, Room, single};
use crate::{
    auth::rights::Caller,
    gateway::{Gateway, PageGrant, charged_answer, holds_too_much, unreadable},
    wire::{self, bad, not_found, refuse, respond_json},
};

#[derive(Serialize)]
struct Rooms {
    rooms: Vec<RoomHead>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<RoomName>,
}

#[derive(Serialize)]
struct RoomHead {
    room: RoomName,
    latest: Latest,
    committed_at: u64,
}

pub(super) async fn read_rooms(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Params(query): Params,
) -> Response<Body> {
    let (after, limit) = match page_of(&query) {
        Ok((after, limit)) => (after.map(|room| caller.access.room(&room)), limit),
        Err(refusal) => return refuse(refusal),
    };
    drop(query);
    match list(&gateway, &caller, after, limit).await {
        Ok(rooms) => respond_json(StatusCode::OK, rooms),
        Err(refusal) => refuse(refusal),
    }
}

/// The room to continue after, and how many to list.
fn page_of(query: &[(String, String)]) -> Result<(Option<RoomName>, usize), Refusal> {
    let name_of =
        |name| RoomName::new(name).map_err(|why| Refusal::new(ErrorCode::BadName, why.to_string()));
    let after = single(query, "after")?.map(name_of).transpose()?;
    Ok((after, limit(single(query, "limit")?)?))
}

async fn list(
    gateway: &Gateway,
    caller: &Caller,
    after: Option<RoomName>,
    limit: usize,
) -> Result<Bytes, Refusal> {
    let Caller { access, client, .. } = caller;
    let PageGrant { limits, charge, .. } = PageGrant::new(&client.memory, limit, 0);
    let limit = limit.min(usize::try_from(limits.entries).unwrap_or(limit));
    // One more than requested shows whether there are more.
    let heads = gateway.readable_rooms(&client.principal.reads, access, after, limit + 1).await;
    let mut heads = heads.map_err(|problem| unreadable(&problem))?;
    let more = heads.len() > limit;
    heads.truncate(limit);
    let next = heads.last().filter(|_| more).map(|(room, _)| room.clone());
    let head = |(room, head): (RoomName, Head)| RoomHead {
        room,
        latest: Latest::before(head.end),
        committed_at: head.committed_at,
    };
    let rooms = Rooms { rooms: heads.into_iter().map(head).collect(), next };
    charged_answer(wire::exact(wire::json(&rooms)), charge).ok_or_else(holds_too_much)
}

/// How many rooms to list: what is requested, at most [`ROOMS_PER_PAGE`].
fn limit(asked: Option<&str>) -> Result<usize, Refusal> {
    let Some(asked) = asked else { return Ok(DEFAULT_ROOMS) };
    let digits = !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit());
    // A number too large for the type is more than a page.
    let wanted = asked.parse().unwrap_or(usize::MAX).min(ROOMS_PER_PAGE);
    if digits && wanted > 0 {
        return Ok(wanted);
    }
    Err(bad("`limit` must be an integer from 1"))
}

pub(super) async fn read_head(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Room(room): Room,
) -> Response<Body> {
    let head = match caller.check_read(&room).and_then(|()| gateway.head(&room)) {
        Ok(head) => head,
        Err(refusal) => return refuse(Refusal { room: Some(room), ..refusal }),
    };
    if head.end == 0 {
        let message = format!("nothing was ever written to {room}");
        return refuse(Refusal { room: Some(room), ..not_found(&message) });
    }
    let (latest, digest, log) = (Latest::before(head.end), head.digest, gateway.node.log());
    // Neither a room's name nor a log's has a character that JSON escapes.
    let body =
        format!(r#"{{"room":"{room}","latest":{latest},"digest":"{digest}","log":"{log}"}}"#);
    respond_json(StatusCode::OK, body)
}

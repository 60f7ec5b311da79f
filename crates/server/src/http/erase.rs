//! Erasing texts over HTTP.
//!
//! ```text
//!  DELETE /v1/rooms/{room}?author=ada&from=0                in public, with the right `admin`
//!  POST /v1/erase {"rooms":"team-*","author":…,"after":…}   at the operators' door
//! ```
//!
//! Enters: rooms, and whose texts. Leaves: how many were erased, and where to continue. Invariant: one
//! request looks at [`SLOTS`] slots and [`ROOMS`] rooms at most: a large room, or many of them, take several
//! requests.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    http::{Response, StatusCode},
};
use roomlog_protocol::{
    Author, ERASE_SLOTS, ErrorCode, NameError, Refusal, RoomName, RoomRange, Slot,
};
use serde::{Deserialize, Serialize};

use super::{
    body,
    query::{Params, Room, single, slot_of},
};
use crate::{
    auth::rights::{Caller, check_erase},
    erasing::{Erasing, Work},
    gateway::{Gateway, SocketPermit, unreadable},
    outcome::server_author,
    wire::{self, bad, refuse, respond_json, unknown_outcome},
};

/// How many slots one request looks at.
const SLOTS: u64 = 65_536;

/// How many rooms one request lists.
const ROOMS: usize = 1_000;

/// The most bytes of a request at the operators' door.
const MOST_BYTES: usize = 4 << 10;

#[derive(Serialize)]
struct Erased<N> {
    /// If it was of one room.
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<RoomName>,
    erased: u64,
    next: Option<N>,
}

/// `DELETE /v1/rooms/{room}`.
pub(super) async fn delete(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Room(room): Room,
    Params(query): Params,
) -> Response<Body> {
    // Goes on when the client hangs up, as an append does.
    let drain_guard = gateway.drain_guard.clone();
    let erased = tokio::spawn(async move {
        let _held_until_answered = drain_guard;
        erase_room(&gateway, &caller, &room, &query).await.map_err(|refusal| {
            gateway.config.metrics.refused(refusal.code);
            Refusal { room: Some(room), ..refusal }
        })
    });
    match erased.await {
        Ok(Ok(erased)) => respond_json(StatusCode::OK, wire::json(&erased)),
        Ok(Err(refusal)) => refuse(refusal),
        Err(_) => refuse(unknown_outcome("the erasure was interrupted")),
    }
}

async fn erase_room(
    gateway: &Gateway,
    caller: &Caller,
    room: &RoomName,
    query: &[(String, String)],
) -> Result<Erased<Slot>, Refusal> {
    caller.check_read(room)?;
    caller.check_append(room)?;
    check_erase(&caller.access, room).inspect_err(|_| caller.client.note_denied("admin"))?;
    let Some(by) = caller.author.clone() else { unreachable!("an open server was refused") };
    let of = single(query, "author")?.map(Author::stored).transpose();
    let of = of.map_err(bad_name)?;
    // An erasure reaches back: from elsewhere it would erase more than was asked for.
    let from = single(query, "from")?.map_or(Some(0), slot_of);
    let from = from.filter(|from| from % ERASE_SLOTS == 0);
    let from = from.ok_or_else(|| bad("`from` must be 0, or the `next` of an answer"))?;
    let end = gateway.head(room)?.end;
    let erasing = Erasing { node: &gateway.node, of, by, client: Some(&caller.client) };
    let mut work = Work::of(SLOTS);
    let next = erasing.erase(room, from, end, &mut work).await?;
    Ok(Erased { room: Some(room.clone()), erased: work.erased, next })
}

fn bad_name(why: NameError) -> Refusal {
    Refusal::new(ErrorCode::BadName, why.to_string())
}

/// What an operator asks for; rooms by their full names.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    rooms: String,
    author: Option<String>,
    after: Option<Cursor>,
}

/// Where to continue: in a room, at a slot.
#[derive(Deserialize, Serialize)]
struct Cursor {
    room: String,
    slot: Slot,
}

/// `POST /v1/erase`, at the operators' door.
pub(super) async fn post(
    State(gateway): State<Arc<Gateway>>,
    Extension(permit): Extension<Arc<SocketPermit>>,
    request: Request,
) -> Response<Body> {
    let mut body = request.into_body();
    let asked = match body::read(&gateway, &mut body, MOST_BYTES, &permit.client).await {
        Ok(read) => serde_json::from_slice(&read.bytes),
        Err(refusal) => return refuse(refusal),
    };
    let Ok(asked) = asked else {
        let message = "send {\"rooms\":\"NAME\" or \"PREFIX*\",\"author\":…,\"after\":…}; `author` may \
                       be left out, and `after` is the `next` of an answer";
        return refuse(bad(message));
    };
    match erase_rooms(&gateway, &permit, asked).await {
        Ok(erased) => respond_json(StatusCode::OK, wire::json(&erased)),
        Err(refusal) => refuse(refusal),
    }
}

async fn erase_rooms(
    gateway: &Gateway,
    permit: &SocketPermit,
    asked: Asked,
) -> Result<Erased<Cursor>, Refusal> {
    let mut range = RoomRange::of_pattern(&asked.rooms).map_err(bad_name)?;
    let of = asked.author.as_deref().map(Author::stored).transpose().map_err(bad_name)?;
    let erasing = Erasing { node: &gateway.node, of, by: server_author(), client: None };
    let mut after = None;
    if let Some(Cursor { room, slot }) = asked.after {
        range.from = room.clone().max(range.from);
        after = Some((room, slot));
        if range.is_empty() {
            return Err(bad("`after` is not the `next` of an answer about these rooms"));
        }
    }
    let rooms = gateway.room_heads(&permit.client.principal.reads, vec![range], ROOMS).await;
    let rooms = rooms.map_err(|problem| unreadable(&problem))?;
    let cursor = |room: &RoomName, slot| Some(Cursor { room: room.as_str().into(), slot });
    let mut work = Work::of(SLOTS);
    for (room, head) in &rooms {
        // The slot is one of that room.
        let from = after.take_if(|(of, _)| of == room.as_str()).map_or(0, |(_, slot)| slot);
        let next = erasing.erase(room, from, head.end, &mut work).await?;
        if let Some(slot) = next {
            return Ok(Erased { room: None, erased: work.erased, next: cursor(room, slot) });
        }
    }
    let last = rooms.last().filter(|_| rooms.len() == ROOMS);
    let next = last.and_then(|(room, head)| cursor(room, head.end));
    Ok(Erased { room: None, erased: work.erased, next })
}

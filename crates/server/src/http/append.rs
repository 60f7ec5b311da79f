//! `POST …/entries`: one append, a queue of its own; or a batch of them ([`batch`](super::batch)).
//!
//! Enters: the members of an `append` frame, without `seq`. Leaves: the entry, with 201, or 200 when it
//! was there already; or an error. Invariant: the outcome is awaited even when the client hangs up, so
//! that what was taken is finished before the server stops.

use std::{sync::Arc, time::Instant};

use axum::{
    body::{Body, HttpBody},
    extract::State,
    http::{HeaderMap, Request, Response, StatusCode, header},
};
use roomlog_core::{outcome::AppendOutcome, queue::Draft};
use roomlog_protocol::{
    ClientAppend, EntryId, ErrorCode, Refusal, RoomName, Slot, Span, client::parse_append, end_of,
    json::Object,
};

use super::{
    ahead, batch, body,
    content::{Kind, check_beginning, kind_of},
    query::{Refused, Room},
    reach, refuse, respond_json, stopped_or,
};
use crate::{
    clock::now_ms,
    gateway::Gateway,
    outcome::{new_id, refusal_of},
    wire,
};

pub(super) async fn append(
    State(gateway): State<Arc<Gateway>>,
    room: Result<Room, Refused>,
    request: Request<Body>,
) -> Response<Body> {
    // On a task of its own: a client that hangs up does not take back what was taken.
    let alive = gateway.alive.clone();
    let appended = tokio::spawn(async move {
        let _held_until_answered = alive;
        let (parts, mut body) = request.into_parts();
        let answer = match room {
            Ok(Room(room)) => take(&gateway, room, &parts.headers, &mut body).await,
            Err(Refused(refusal)) => Err(refusal),
        };
        // Who waits for a word before it sends the body has it in the answer.
        if !body.is_end_stream() && !parts.headers.contains_key(header::EXPECT) {
            body::discard(body).await;
        }
        answer.unwrap_or_else(|refusal| {
            gateway.config.metrics.refused(refusal.code);
            refuse(refusal)
        })
    });
    appended.await.unwrap_or_else(|_| refuse(Refusal::new(ErrorCode::UnknownOutcome, "cut off")))
}

async fn take(
    gateway: &Arc<Gateway>,
    room: RoomName,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Response<Body>, Refusal> {
    match kind_of(headers) {
        Ok(Kind::One) => take_one(gateway, room, headers, body).await,
        Ok(Kind::Lines) => batch::take(gateway, room, headers, body).await,
        Err(unread) => Ok(unread.answer()),
    }
}

async fn take_one(
    gateway: &Gateway,
    room: RoomName,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Response<Body>, Refusal> {
    let most = usize::try_from(gateway.config.limits.frame_bytes).unwrap_or(usize::MAX);
    let body = body::read(gateway, body, most, None).await?;
    let read = Instant::now();
    if let Err(unread) = check_beginning(&body.bytes) {
        return Ok(unread.answer());
    }
    let mut append = members(gateway, &room, &body.bytes)?;
    append.id = id_of(&append, headers)?;
    let id = append.id.clone().unwrap_or_else(new_id);
    let echo =
        |refusal: Refusal| Refusal { room: Some(room.clone()), id: Some(id.clone()), ..refusal };
    needs_author(&append)?;
    let outcome = settle(gateway, &room, append, id.clone()).await.map_err(echo)?;
    let AppendOutcome::Committed { slot, repeat, .. } = outcome else {
        let unknown = || Refusal::new(ErrorCode::UnknownOutcome, "cut off");
        return Err(echo(refusal_of(&outcome).unwrap_or_else(unknown)));
    };
    let status = if repeat { StatusCode::OK } else { StatusCode::CREATED };
    let answer = entry(gateway, &room, slot, status).await.map_err(echo)?;
    gateway.config.metrics.appended(repeat, read.elapsed());
    Ok(answer)
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::BadMessage, message)
}

/// Reads the members of an append to this room.
pub(super) fn members(
    gateway: &Gateway,
    room: &RoomName,
    text: &[u8],
) -> Result<ClientAppend, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| bad("this is not UTF-8"))?;
    let object = Object::parse(text).map_err(|problem| bad(problem.to_string()))?;
    let append = parse_append(&object, room, &gateway.config.limits).map_err(|refusal| *refusal)?;
    if append.room != *room {
        return Err(bad("`room` is not the room of the path"));
    }
    if append.seq.is_some() {
        return Err(bad(
            "`seq` numbers the appends of a WebSocket; each POST is a queue of its own",
        ));
    }
    Ok(append)
}

/// The id that the object or the header gives; both may, the same one.
fn id_of(append: &ClientAppend, headers: &HeaderMap) -> Result<Option<EntryId>, Refusal> {
    let mut id = append.id.clone();
    for key in headers.get_all("idempotency-key") {
        let key = key.to_str().ok().and_then(|key| EntryId::new(key).ok()).ok_or_else(|| {
            Refusal::new(ErrorCode::BadName, "Idempotency-Key must have the form of an id")
        })?;
        if id.as_ref().is_some_and(|id| *id != key) {
            return Err(bad("`id` and Idempotency-Key are two different ids"));
        }
        id = Some(key);
    }
    Ok(id)
}

pub(super) fn needs_author(append: &ClientAppend) -> Result<(), Refusal> {
    if append.author.is_some() {
        return Ok(());
    }
    let message = "`author` is missing: an open server needs to be told who speaks";
    Err(Refusal { id: append.id.clone(), ..Refusal::new(ErrorCode::LoginRequired, message) })
}

/// Waits for what an append waits for: that the log reaches its `after` and its `ref`.
pub(super) async fn wait(
    gateway: &Gateway,
    room: &RoomName,
    append: &ClientAppend,
) -> Result<(), Refusal> {
    let (after, reference) = (end_of(append.after.unwrap_or(-1)), append.reference);
    if after == 0 && reference.is_none() {
        return Ok(());
    }
    let tail = gateway.node.tail(room);
    let tail = tail.map_err(|error| Refusal::new(ErrorCode::Unavailable, error.to_string()))?;
    if !reach(gateway, &tail, after).await {
        return Err(stopped_or(gateway, ahead(&tail)));
    }
    if !reach(gateway, &tail, reference.map_or(0, |slot| slot + 1)).await {
        let message = "`ref` names a slot that the log has not reached";
        return Err(stopped_or(gateway, Refusal::new(ErrorCode::BadRef, message)));
    }
    Ok(())
}

/// Waits for what the append waits for, appends it, and waits for its outcome.
async fn settle(
    gateway: &Gateway,
    room: &RoomName,
    append: ClientAppend,
    id: EntryId,
) -> Result<AppendOutcome, Refusal> {
    let received = now_ms();
    wait(gateway, room, &append).await?;
    let Some(author) = append.author.clone() else { return Ok(AppendOutcome::Unavailable) };
    let draft = Draft::new(append, author, id, received);
    let outcome = tokio::time::timeout(gateway.append_for(), gateway.node.append(draft)).await;
    Ok(outcome.unwrap_or(AppendOutcome::Unknown))
}

async fn entry(
    gateway: &Gateway,
    room: &RoomName,
    slot: Slot,
    status: StatusCode,
) -> Result<Response<Body>, Refusal> {
    let span = Span::UpTo { count: 1, upto: Some(slot) };
    let page = gateway.node.read(room, span, None, gateway.page_limits()).await;
    let page = page.map_err(|error| Refusal::new(ErrorCode::UnknownOutcome, error.to_string()))?;
    let entry = page.entries.last().map(|stored| wire::json(&stored.entry));
    let entry = entry.unwrap_or_else(|| b"null".into());
    Ok(respond_json(status, [br#"{"entry":"#, &*entry, b"}"].concat()))
}

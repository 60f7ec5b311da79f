//! `POST …/entries`: one append, a queue of its own.
//!
//! Enters: the members of an `append` frame, without `seq`. Leaves: the entry, with 201, or 200 when it
//! was there already; or an error. Invariant: the outcome is awaited even when the client hangs up, so
//! that what was taken is finished before the server stops.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, Request, Response, StatusCode, header},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use roomlog_core::{
    inbox::Turned,
    mailbox::{Mailbox, Outcome},
    merge::merge_time,
    proposal::Proposal,
    sequencer::{Submit, Ticket},
};
use roomlog_protocol::{
    ClientAppend, EntryId, ErrorCode, Refusal, RoomName, Slot, Span, client::parse_append, end_of,
    json::Object,
};
use serde_json::json;

use super::{ahead, reach, refuse, respond_json, room_of, stopped_or};
use crate::{
    clock::now_ms,
    connection::{Settled, new_id},
    gateway::Gateway,
    wire,
};

pub(super) async fn append(
    State(gateway): State<Arc<Gateway>>,
    Path(room): Path<String>,
    request: Request<Body>,
) -> Response<Body> {
    // On a task of its own: a client that hangs up does not take back what was taken.
    let alive = gateway.alive.clone();
    let appended = tokio::spawn(async move {
        let _held_until_answered = alive;
        match take(&gateway, &room, request).await {
            Ok(response) => response,
            Err(refusal) => refuse(refusal),
        }
    });
    appended.await.unwrap_or_else(|_| refuse(Refusal::new(ErrorCode::UnknownOutcome, "cut off")))
}

async fn take(
    gateway: &Gateway,
    room: &str,
    request: Request<Body>,
) -> Result<Response<Body>, Refusal> {
    let room = room_of(room)?;
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        let message = "send the append as application/json";
        let error = json!({ "error": { "code": ErrorCode::BadMessage, "message": message } });
        return Ok(respond_json(StatusCode::UNSUPPORTED_MEDIA_TYPE, wire::json(&error)));
    }
    let body = read_body(gateway, body).await?;
    let append = parse(gateway, &room, &parts.headers, &body)?;
    let id = append.id.clone().unwrap_or_else(new_id);
    let echo =
        |refusal: Refusal| Refusal { room: Some(room.clone()), id: Some(id.clone()), ..refusal };
    let settled = settle(gateway, &room, append, id.clone()).await.map_err(echo)?;
    match settled {
        Settled::Appended { slot, repeat, .. } => {
            let status = if repeat { StatusCode::OK } else { StatusCode::CREATED };
            entry(gateway, &room, slot, status).await.map_err(echo)
        }
        Settled::Error { code, message, slot, latest } => {
            Err(echo(Refusal { slot, latest, ..Refusal::new(code, message) }))
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let essence = kind.split(';').next().unwrap_or("").trim();
    essence.eq_ignore_ascii_case("application/json")
}

async fn read_body(gateway: &Gateway, body: Body) -> Result<String, Refusal> {
    let most = gateway.config.limits.frame_bytes;
    let limited = Limited::new(body, usize::try_from(most).unwrap_or(usize::MAX));
    let bytes = limited.collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let message = format!("the body has more than {most} bytes");
            Refusal::new(ErrorCode::TooLarge, message)
        } else {
            Refusal::new(ErrorCode::BadMessage, "the body did not arrive whole")
        }
    })?;
    String::from_utf8(bytes.to_bytes().into())
        .map_err(|_| Refusal::new(ErrorCode::BadMessage, "the body is not UTF-8"))
}

fn parse(
    gateway: &Gateway,
    room: &RoomName,
    headers: &HeaderMap,
    body: &str,
) -> Result<ClientAppend, Refusal> {
    let bad = |message: &str| Refusal::new(ErrorCode::BadMessage, message);
    let object = Object::parse(body).map_err(|problem| bad(&problem.to_string()))?;
    let mut append =
        parse_append(&object, room, &gateway.config.limits).map_err(|refusal| *refusal)?;
    if append.room != *room {
        return Err(bad("`room` is not the room of the path"));
    }
    if append.seq.is_some() {
        return Err(bad(
            "`seq` numbers the appends of a WebSocket; each POST is a queue of its own",
        ));
    }
    for key in headers.get_all("idempotency-key") {
        let key = key.to_str().ok().and_then(|key| EntryId::new(key).ok()).ok_or_else(|| {
            Refusal::new(ErrorCode::BadName, "Idempotency-Key must have the form of an id")
        })?;
        if append.id.as_ref().is_some_and(|id| *id != key) {
            return Err(bad("`id` and Idempotency-Key are two different ids"));
        }
        append.id = Some(key);
    }
    if append.author.is_none() {
        let message = "`author` is missing: an open server needs to be told who speaks";
        return Err(Refusal::new(ErrorCode::LoginRequired, message));
    }
    Ok(append)
}

/// Waits for what the append waits for, submits it, and waits for its outcome.
async fn settle(
    gateway: &Gateway,
    room: &RoomName,
    append: ClientAppend,
    id: EntryId,
) -> Result<Settled, Refusal> {
    let node = &gateway.node;
    let received = now_ms();
    let (after, reference) = (end_of(append.after.unwrap_or(-1)), append.reference);
    if after > 0 || reference.is_some() {
        let tail = node.rooms.open(room);
        let tail = tail.map_err(|error| Refusal::new(ErrorCode::Unavailable, error.to_string()))?;
        if !reach(gateway, &tail, after).await {
            return Err(stopped_or(gateway, ahead(&tail)));
        }
        if !reach(gateway, &tail, reference.map_or(0, |slot| slot + 1)).await {
            let message = "`ref` names a slot that the log has not reached";
            return Err(stopped_or(gateway, Refusal::new(ErrorCode::BadRef, message)));
        }
    }
    let Some(author) = append.author.clone() else { return Ok(Settled::unavailable()) };
    let mailbox = Arc::new(Mailbox::default());
    let ticket =
        Ticket { mailbox: mailbox.clone(), token: 0, queue: gateway.next_queue(), seq: None };
    let time = merge_time(append.sent_at, received);
    let proposal = Proposal::new(append, author, id.clone());
    if let Err(turned) = node.inbox.submit(Submit { proposal, time, ticket }) {
        if turned == Turned::Busy {
            node.stats.busy();
        }
        return Ok(Settled::turned(turned));
    }
    let outcome = tokio::time::timeout(gateway.append_for(), first_outcome(&mailbox)).await;
    Ok(outcome.map_or_else(|_| Settled::unknown(), |outcome| Settled::of(outcome, id)))
}

async fn first_outcome(mailbox: &Mailbox) -> Outcome {
    loop {
        mailbox.wait().await;
        if let Some((_, outcome)) = mailbox.take().outcomes.pop() {
            return outcome;
        }
    }
}

async fn entry(
    gateway: &Gateway,
    room: &RoomName,
    slot: Slot,
    status: StatusCode,
) -> Result<Response<Body>, Refusal> {
    let span = Span::UpTo { count: 1, upto: Some(slot) };
    let page = gateway.node.reader.read(room, span, None, gateway.page_limits()).await;
    let page = page.map_err(|error| Refusal::new(ErrorCode::UnknownOutcome, error.to_string()))?;
    let entry = page.entries.last().map(|stored| wire::json(&stored.entry));
    let entry = entry.unwrap_or_else(|| b"null".into());
    Ok(respond_json(status, [br#"{"entry":"#, &*entry, b"}"].concat()))
}

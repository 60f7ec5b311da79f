//! `POST …/entries` of one append, with a queue of its own.
//!
//! Enters: the members of an `append` frame, without `seq`. Leaves: the entry, with 201, or with
//! 200 if it was already stored; or an error. A batch reads its lines by the same rules
//! ([`read_append`]).

use axum::{
    body::Body,
    http::{HeaderMap, Response, StatusCode},
};
use bytes::Bytes;
use roomlog_core::outcome::AppendOutcome;
use roomlog_protocol::{
    Author, ClientAppend, EntryId, ErrorCode, Latest, Refusal, RoomName, Span,
    client::parse_append, object::Object,
};
use tokio::time::{Instant, timeout_at};

use super::{
    body::{self, check_beginning},
    query::reach,
};
use crate::{
    auth::rights::Caller,
    gateway::{Gateway, charged_answer},
    outcome::{draft, new_id, now_ms, refusal_of},
    wire::{self, bad, respond_json, unknown_outcome},
};

/// Why there is no entry in the answer to an append that was stored.
pub(super) const ANSWER_NOT_HELD: &str =
    "the server holds too much for this client to answer with the entry; send it again later";

pub(super) async fn append_one(
    gateway: &Gateway,
    caller: &Caller,
    room: RoomName,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<Response<Body>, Refusal> {
    let client = &caller.client;
    let body = body::read(gateway, body, gateway.config.limits.frame_bytes, client).await?;
    let read = Instant::now();
    if let Err(error) = check_beginning(&body.bytes) {
        return Ok(error.answer());
    }
    let mut append = read_append(gateway, &room, &body.bytes)?;
    append.id = id_of(&append, headers)?;
    let author = author_of(caller, &append)?;
    let id = append.id.clone().unwrap_or_else(new_id);
    let echo =
        |refusal: Refusal| Refusal { room: Some(room.clone()), id: Some(id.clone()), ..refusal };
    let received = now_ms();
    // Before anything is read from the disk.
    client.admit_append().map_err(echo)?;
    caller.check_redaction(&append).map_err(echo)?;
    wait_for_log(gateway, &room, &append).await.map_err(echo)?;
    client.admit_first_in(gateway, &caller.access, &room).map_err(echo)?;
    let deadline = Instant::now() + gateway.config.limits.append_for;
    let charged = timeout_at(deadline, client.charge_append(&append)).await;
    let outcome = match charged.unwrap_or(Err(AppendOutcome::Busy)) {
        Ok(charge) => {
            let draft = draft(&caller.access, append, (author, id.clone()), received, charge);
            timeout_at(deadline, gateway.node.append(draft)).await
        }
        Err(outcome) => Ok(outcome),
    };
    let outcome = outcome.unwrap_or(AppendOutcome::Unknown);
    let AppendOutcome::Committed { slot, repeat, .. } = outcome else {
        let unknown = || unknown_outcome("the append was interrupted");
        return Err(echo(refusal_of(&outcome).unwrap_or_else(unknown)));
    };
    let span = Span::UpTo { count: 1, upto: Some(slot) };
    let page = gateway.node.read(&room, span, None, gateway.page_limits()).await;
    let page = page.map_err(|error| echo(unknown_outcome(error.to_string())))?;
    let entry = page.entries.last().map(|stored| wire::json(&stored.entry));
    let entry = entry.unwrap_or_else(|| b"null".into());
    gateway.config.metrics.appended(repeat, read.elapsed());
    let status = if repeat { StatusCode::OK } else { StatusCode::CREATED };
    let answer = Bytes::from([br#"{"entry":"#, &*entry, b"}"].concat());
    let answer = charged_answer(answer, body.into_charge());
    let answer = answer.ok_or_else(|| echo(unknown_outcome(ANSWER_NOT_HELD)))?;
    Ok(respond_json(status, answer))
}

pub(super) fn read_append(
    gateway: &Gateway,
    room: &RoomName,
    text: &[u8],
) -> Result<ClientAppend, Refusal> {
    let text = std::str::from_utf8(text).map_err(|_| bad("the append is not UTF-8"))?;
    let object = Object::parse(text).map_err(|problem| bad(problem.to_string()))?;
    let mut append =
        parse_append(&object, room, &gateway.config.limits).map_err(|refusal| *refusal)?;
    if append.room.local() != room.local() {
        return Err(bad("`room` is not the room of the path"));
    }
    append.room = room.clone();
    if append.seq.is_some() {
        let message = "`seq` numbers the appends of a WebSocket; each POST is a queue of its own";
        return Err(bad(message));
    }
    Ok(append)
}

/// The id in the object or the header; if both have one, they must be equal.
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

/// The author of an append.
pub(super) fn author_of(caller: &Caller, append: &ClientAppend) -> Result<Author, Refusal> {
    let author = caller.author_of(append.author.as_ref());
    author.map_err(|refusal| Refusal { id: append.id.clone(), ..refusal })
}

/// Waits until the log reaches the append's `after` and `ref`.
pub(super) async fn wait_for_log(
    gateway: &Gateway,
    room: &RoomName,
    append: &ClientAppend,
) -> Result<(), Refusal> {
    let (after, reference) = (append.after.map_or(0, Latest::end), append.reference);
    if after == 0 && reference.is_none() {
        return Ok(());
    }
    let tail = gateway.tail(room)?;
    reach(gateway, &tail, after).await?;
    let reached = reach(gateway, &tail, reference.map_or(0, |slot| slot + 1)).await;
    reached.map_err(|refusal| match refusal.code {
        ErrorCode::Ahead => {
            Refusal::new(ErrorCode::BadRef, "`ref` names a slot that the log has not reached")
        }
        _ => refusal,
    })
}

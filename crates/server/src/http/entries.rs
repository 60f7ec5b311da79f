//! `…/entries` of a room: GET reads a page, POST takes one append or a batch.
//!
//! Enters: a query like an `update` frame, or a body of appends. Leaves: a page, entries, or an
//! error. Invariant: the outcome of a POST is awaited even when the client hangs up, so that what
//! was taken is finished before the server stops.

use std::{sync::Arc, time::Instant};

use axum::{
    body::{Body, HttpBody},
    extract::State,
    http::{Request, Response, StatusCode, header},
};
use bytes::Bytes;
use roomlog_core::reader::ReadError;
use roomlog_protocol::{
    ClientUpdate, ErrorCode, Refusal, RoomName, Span, client::parse_update, object::Object,
};

use super::{
    append::append_one,
    batch::append_batch,
    body::{self, ContentKind, content_kind},
    query::{BadRoom, Params, Room, check_log, object_of_query, reach},
};
use crate::{
    admission::pause_after,
    auth::rights::Caller,
    connection::{keep_of, needed_end},
    gateway::{Gateway, PageGrant, charged_answer, holds_too_much, unreadable},
    principals::Client,
    wire::{self, bad, refuse, respond_json, unknown_outcome},
};

pub(super) async fn append(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    room: Result<Room, BadRoom>,
    request: Request<Body>,
) -> Response<Body> {
    let drain_guard = gateway.drain_guard.clone();
    let appended = tokio::spawn(async move {
        let _held_until_answered = drain_guard;
        let (parts, mut body) = request.into_parts();
        let headers = &parts.headers;
        let room = room.map_err(|BadRoom(refusal)| refusal).and_then(|Room(room)| {
            caller.check_append(&room)?;
            Ok(room)
        });
        let answer = match (room, content_kind(headers)) {
            (Err(refusal), _) => Err(refusal),
            (Ok(_), Err(error)) => Ok(error.answer()),
            (Ok(room), Ok(ContentKind::One)) => {
                append_one(&gateway, &caller, room, headers, &mut body).await
            }
            (Ok(room), Ok(ContentKind::Lines)) => {
                append_batch(&gateway, &caller, room, headers, &mut body).await
            }
        };
        if let Some(pause) = answer.as_ref().err().and_then(pause_after) {
            tokio::time::sleep(pause).await;
        }
        // A client that sent `Expect` waits for the answer before it sends a body.
        if !body.is_end_stream() && !headers.contains_key(header::EXPECT) {
            body::discard(body, &caller.client).await;
        }
        answer.unwrap_or_else(|refusal| {
            gateway.config.metrics.refused(refusal.code);
            refuse(refusal)
        })
    });
    appended.await.unwrap_or_else(|_| refuse(unknown_outcome("the append was interrupted")))
}

pub(super) async fn read_entries(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Room(room): Room,
    Params(query): Params,
) -> Response<Body> {
    let update = caller.check_read(&room).and_then(|()| update_of(&gateway, &room, &query));
    let update = match update {
        Ok(update) => update,
        Err(refusal) => return refuse(refusal),
    };
    drop(query);
    match read_text(&gateway, &caller.client, &update).await {
        Ok(text) => respond_json(StatusCode::OK, text),
        Err(refusal) => refuse(Refusal { room: Some(room), ..refusal }),
    }
}

/// What a query asks of a room.
fn update_of(
    gateway: &Gateway,
    room: &RoomName,
    query: &[(String, String)],
) -> Result<ClientUpdate, Refusal> {
    let object = object_of_query(room, query);
    let object = Object::parse(&object).map_err(|problem| bad(problem.to_string()))?;
    let update = parse_update(&object, &gateway.config.limits).map_err(|refusal| *refusal)?;
    let is_here = check_log(gateway, room, query);
    is_here.map_err(|refusal| Refusal { room: Some(room.clone()), ..refusal })?;
    Ok(ClientUpdate { room: room.clone(), ..update })
}

/// A page as text, charged to `client`; the newest of a room from the cache while its log has not
/// grown.
async fn read_text(
    gateway: &Gateway,
    client: &Client,
    update: &ClientUpdate,
) -> Result<Bytes, Refusal> {
    let (account, turns) = (&client.memory, &client.principal.reads);
    let begun = Instant::now();
    let needed = needed_end(update);
    if needed > 0 {
        let tail = gateway.tail(&update.room)?;
        reach(gateway, &tail, needed).await?;
    }
    let count = match update.span {
        Span::UpTo { count, upto: None } => Some(count),
        _ => None,
    };
    if let Some(count) = count {
        let end = gateway.head(&update.room)?.end;
        if let Some(text) = gateway.page_cache.get(&update.room, count, end) {
            gateway.config.metrics.page(begun.elapsed());
            return charged_answer(text, account.open()).ok_or_else(holds_too_much);
        }
    }
    let most = gateway.config.limits.page_entries;
    let most = count.map_or(most, |count| usize::try_from(count).unwrap_or(most));
    let PageGrant { limits, charge, is_whole } = gateway.grant_page(account, most);
    let page = gateway.page(turns, &update.room, update.span, update.digest, limits).await;
    let page = page.map_err(|error| match error {
        ReadError::Diverged { latest } => {
            let message = "your digest differs from the log's";
            Refusal { latest: Some(latest), ..Refusal::new(ErrorCode::Diverged, message) }
        }
        ReadError::Archive(problem) => unreadable(&problem),
    })?;
    let encoded = wire::page(&update.room, &page, keep_of(update.span), &gateway.config.limits);
    let text = encoded.body(gateway.node.log());
    // A room that was never written is not cached, so that such names evict nothing.
    if let Some(count) = count.filter(|_| is_whole && page.head.end > 0) {
        gateway.page_cache.put(&update.room, count, page.head.end, text.clone());
    }
    drop(page);
    charged_answer(text, charge).ok_or_else(holds_too_much)
}

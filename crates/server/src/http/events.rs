//! `GET …/events`: a room as Server-Sent Events.
//!
//! ```text
//!  id: 6            where it begins: Last-Event-ID, else `after`, else the latest slot
//!
//!  id: 7            then every slot above it, for ever
//!  data: {"slot":7,…}
//!
//!  : still here     every `event_comment_ms`
//! ```
//!
//! Enters: a room and a slot. Leaves: a body without an end. Invariants: it is a follower as the
//! WebSocket's are: each slot above the first is sent once, in order; one batch is in memory, and the
//! next is made when the socket has taken it, so a reader that stops reading holds up nobody. It ends
//! when the server stops or its entries cannot be read; a browser comes back by itself, with the last
//! `id` it has seen.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, Response, StatusCode},
};
use futures_util::{FutureExt, stream};
use roomlog_core::{
    follower::{Follower, Next},
    mailbox::Mailbox,
    reader::PageLimits,
    tail::{Hearing, Tail},
};
use roomlog_protocol::{ErrorCode, Refusal, RoomName, end_of, json::Object, latest_of};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::{ahead, object_of_query, reach, refuse, respond, room_of, stopped_or};
use crate::{
    connection::BATCH_BYTES,
    gateway::{Gateway, stopped},
    wire,
};

const COMMENT: &[u8] = b": still here\n\n";

const UNREADABLE: &[u8] = b": the next entries cannot be read; come back later\n\n";

pub(super) async fn events(
    State(gateway): State<Arc<Gateway>>,
    Path(room): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response<Body> {
    let room = match room_of(&room) {
        Ok(room) => room,
        Err(refusal) => return refuse(refusal),
    };
    let feed = match Feed::begin(gateway.clone(), &room, query, &headers).await {
        Ok(feed) => feed,
        Err(refusal) => return refuse(Refusal { room: Some(room), ..refusal }),
    };
    let chunks = stream::unfold(feed, |mut feed| async move {
        let chunk = feed.next().await?;
        Some((Ok::<_, Infallible>(chunk), feed))
    });
    let mut response = respond(StatusCode::OK, "text/event-stream", Body::from_stream(chunks));
    let headers = response.headers_mut();
    if let Ok(log) = HeaderValue::from_str(gateway.node.log()) {
        headers.insert("roomlog-log", log);
    }
    // nginx would hold events back until it has a buffer full.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// A following over HTTP.
struct Feed {
    gateway: Arc<Gateway>,
    room: RoomName,
    follower: Follower,
    mailbox: Arc<Mailbox>,
    hearing: Hearing,
    comments: Interval,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
    first: Option<Bytes>,
    ended: bool,
}

impl Feed {
    async fn begin(
        gateway: Arc<Gateway>,
        room: &RoomName,
        query: Vec<(String, String)>,
        headers: &HeaderMap,
    ) -> Result<Self, Refusal> {
        let after = begins_after(room, query, headers)?;
        let tail = gateway.node.rooms.open(room);
        let tail = tail.map_err(|why| Refusal::new(ErrorCode::Unavailable, why.to_string()))?;
        if let Some(after) = after
            && !reach(&gateway, &tail, end_of(after)).await
        {
            return Err(stopped_or(&gateway, ahead(&tail)));
        }
        let every = gateway.config.event_comment;
        let mut comments = interval_at(Instant::now() + every, every);
        comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self::after(gateway, tail, after, comments))
    }

    fn after(
        gateway: Arc<Gateway>,
        tail: Arc<Tail>,
        after: Option<i64>,
        comments: Interval,
    ) -> Self {
        let mailbox = Arc::new(Mailbox::default());
        let hearing = tail.hear(&mailbox, 0);
        // Looked at when it is heard of already, so nothing falls between.
        let after = after.unwrap_or_else(|| latest_of(tail.head().end));
        Self {
            room: tail.room().clone(),
            stopping: Box::pin(stopped(gateway.stopping.clone())),
            follower: gateway.node.followers.follow(tail, end_of(after)),
            gateway,
            mailbox,
            hearing,
            comments,
            first: Some(format!("id: {after}\n\n").into()),
            ended: false,
        }
    }

    /// What the socket is given next; `None` when it ends.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            if self.ended || self.stopping.as_mut().now_or_never().is_some() {
                return None;
            }
            // Asked before entries are looked for: a room that never rests is commented on too.
            if self.comments.tick().now_or_never().is_some() {
                return Some(Bytes::from_static(COMMENT));
            }
            self.hearing.take();
            match self.follower.next(BATCH_BYTES) {
                Next::Tail { pieces, .. } => {
                    return Some(wire::events(pieces.iter().flat_map(|piece| piece.entries())));
                }
                Next::Archived => return Some(self.catch_up().await),
                Next::Nothing => {}
            }
            tokio::select! {
                () = self.mailbox.wait() => {
                    let _moved = self.mailbox.take();
                }
                _ = self.comments.tick() => return Some(Bytes::from_static(COMMENT)),
                () = &mut self.stopping => return None,
            }
        }
    }

    async fn catch_up(&mut self) -> Bytes {
        let limits = PageLimits { bytes: BATCH_BYTES, ..self.gateway.page_limits() };
        let read = self.gateway.page(&self.room, self.follower.span(), None, limits);
        match read.await {
            Ok(page) => {
                self.follower.took(&page.entries);
                wire::events(page.entries.iter())
            }
            Err(problem) => {
                tracing::error!(%problem, "a follower cannot be served");
                self.ended = true;
                Bytes::from_static(UNREADABLE)
            }
        }
    }
}

/// The slot to begin after; `None`: the latest. `Last-Event-ID`, which a browser sends when it comes
/// back to the same address, stands over the query.
fn begins_after(
    room: &RoomName,
    mut query: Vec<(String, String)>,
    headers: &HeaderMap,
) -> Result<Option<i64>, Refusal> {
    query.retain(|(name, _)| name == "after");
    let seen = headers.get("last-event-id").filter(|seen| !seen.is_empty());
    if let Some(seen) = seen {
        let seen = String::from_utf8_lossy(seen.as_bytes()).into_owned();
        query = vec![("after".into(), seen)];
    }
    let members = object_of_query(room, query);
    let object = Object::parse(&members);
    let after = match object.as_ref().map(|object| object.integer("after", -1)) {
        Ok(Ok(after)) => return Ok(after),
        Ok(Err(problem)) => problem.0,
        Err(problem) => problem.to_string(),
    };
    let header = if seen.is_some() { " (it is the Last-Event-ID)" } else { "" };
    Err(Refusal::new(ErrorCode::BadMessage, format!("{after}{header}")))
}

//! `GET …/events`: a room as Server-Sent Events.
//!
//! ```text
//!  id: 6            where it begins: Last-Event-ID, else `after`, else the latest slot
//!
//!  event: log       only for who reads events as an EventSource does: which log this is, and the place
//!  id: 6            once more, for parsers that pass over a block without data
//!  data: {"log":"…"}
//!
//!  id: 7            then every slot above it, for ever
//!  data: {"slot":7,…}
//!
//!  : still here     every `event_comment_ms`
//! ```
//!
//! Enters: a room and a slot. Leaves: a body without an end. Invariants: it is a follower as the
//! WebSocket's are: each slot above the first is sent once, in order; at most two batches are in
//! memory, charged until the socket has taken them, and the next is made then, so a slow reader
//! delays nobody. It ends when the server stops or its entries cannot be read; a browser comes back
//! by itself, with the last `id` it has seen.

use std::{convert::Infallible, future::Future, pin::Pin, sync::Arc};

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header},
};
use futures_util::{FutureExt, stream};
use roomlog_core::{mailbox::Mailbox, tail::Tail};
use roomlog_protocol::{
    ErrorCode, Latest, Refusal, RoomName,
    object::{Member, Object},
};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use super::query::{Params, Room, check_log, object_of_query, reach};
use crate::{
    auth::{caller::login_ends, rights::Caller},
    connection::{
        follows::{Follows, Format},
        turn::{Done, Question, Turn},
    },
    gateway::{Gateway, stopped},
    wire::{self, refuse, respond},
};

const COMMENT: &[u8] = b": still here\n\n";

pub(super) async fn events(
    State(gateway): State<Arc<Gateway>>,
    caller: Caller,
    Room(room): Room,
    Params(query): Params,
    method: Method,
    headers: HeaderMap,
) -> Response<Body> {
    let body = if let Err(refusal) = caller.check_read(&room) {
        Err(refusal)
    } else if method == Method::HEAD {
        // Only checked: nothing waits for the log, and nothing is followed.
        check_log(&gateway, &room, &query)
            .and_then(|()| begins_after(&room, query, &headers))
            .map(|_| Body::from_stream(stream::empty::<Result<Bytes, Infallible>>()))
    } else {
        Feed::begin((gateway.clone(), caller), &room, query, &headers).await.map(Feed::into_body)
    };
    let body = match body {
        Ok(body) => body,
        Err(refusal) => return refuse(Refusal { room: Some(room), ..refusal }),
    };
    let mut response = respond(StatusCode::OK, "text/event-stream", body);
    let headers = response.headers_mut();
    if let Ok(log) = HeaderValue::from_str(gateway.node.log()) {
        headers.insert("roomlog-log", log);
    }
    for (name, value) in THROUGH_PROXIES {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What keeps proxies from holding events back until a buffer, or a compressor's, is full: nginx heeds the
/// first, HAProxy and Caddy from 2.7 on heed `no-transform`, and Caddy before 2.7 the last.
const THROUGH_PROXIES: [(HeaderName, &str); 3] = [
    (HeaderName::from_static("x-accel-buffering"), "no"),
    (header::CACHE_CONTROL, "no-store, no-transform"),
    (header::CONTENT_ENCODING, "identity"),
];

/// Whether a client reads events as an EventSource does, which names their type in `Accept`, and so passes
/// over events of a type that it does not know. Others are given nothing but the place and entries.
fn is_event_source(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|line| line.to_str().ok());
    let mut kinds = accepts.flat_map(|line| line.split(',')).filter_map(|it| it.split(';').next());
    kinds.any(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream"))
}

fn last_event_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get("last-event-id").filter(|seen| !seen.is_empty())
}

/// The blocks that an answer begins with.
fn beginning(after: Latest, log: &str, is_event_source: bool) -> Bytes {
    let mut blocks = format!("id: {after}\n\n");
    if is_event_source {
        blocks += &format!("event: log\nid: {after}\ndata: {{\"log\":\"{log}\"}}\n\n");
    }
    blocks.into()
}

/// One room, followed over HTTP.
struct Feed {
    turn: Turn,
    mailbox: Arc<Mailbox>,
    follows: Follows,
    comments: Interval,
    stopping: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Ends when the token does.
    login: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Feed {
    async fn begin(
        (gateway, caller): (Arc<Gateway>, Caller),
        room: &RoomName,
        query: Vec<(String, String)>,
        headers: &HeaderMap,
    ) -> Result<Self, Refusal> {
        check_log(&gateway, room, &query)?;
        let after = begins_after(room, query, headers)?;
        let tail = gateway.tail(room)?;
        if let Some(after) = after {
            reach(&gateway, &tail, after.end()).await?;
        }
        let every = gateway.config.event_comment;
        let mut comments = interval_at(Instant::now() + every, every);
        comments.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mailbox = Arc::<Mailbox>::default();
        let mut feed = Self {
            login: Box::pin(login_ends(gateway.clone(), caller.clone())),
            follows: Follows::new(Format::Events),
            stopping: Box::pin(stopped(gateway.stopping.clone())),
            turn: Turn::new(gateway, (caller.client, caller.access), mailbox.clone()),
            mailbox,
            comments,
        };
        feed.follow(tail, after, is_event_source(headers));
        Ok(feed)
    }

    fn follow(&mut self, tail: Arc<Tail>, after: Option<Latest>, is_event_source: bool) {
        let key = self.turn.rooms.add(tail);
        self.turn.rooms.subscribe(key);
        // Looked at after notice was asked for, so nothing is missed.
        let after = after.unwrap_or_else(|| self.turn.rooms.latest(key));
        self.turn.out.push(beginning(after, self.turn.gateway.node.log(), is_event_source));
        self.follows.begin(&mut self.turn, key, Question(0), after.end());
    }

    fn into_body(self) -> Body {
        Body::from_stream(stream::unfold(self, |mut feed| async move {
            let chunk = feed.next().await?;
            Some((Ok::<_, Infallible>(chunk), feed))
        }))
    }

    /// What the socket is given next; `None` when it ends.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.turn.out.pop() {
                let charge = self.turn.held.split(bytes.len());
                return Some(wire::charged(bytes, charge));
            }
            self.turn.now = std::time::Instant::now();
            self.turn.held.note_retry(self.turn.now);
            self.turn.settle();
            let ends = [&mut self.stopping, &mut self.login];
            let has_ended = ends.into_iter().any(|end| end.as_mut().now_or_never().is_some());
            if self.follows.is_empty() || has_ended {
                return None;
            }
            // Checked before entries are looked for: a room that never rests is commented on too.
            if self.comments.tick().now_or_never().is_some() {
                return Some(Bytes::from_static(COMMENT));
            }
            self.follows.fill(&mut self.turn, true);
            if let Some(job) = self.turn.jobs.pop_front() {
                let done = job.start(&self.turn).await;
                if let Done::CatchUp(question, key, page, charge) = done {
                    self.follows.page(&mut self.turn, question, key, page, charge);
                }
                continue;
            }
            if !self.turn.out.is_empty() {
                continue;
            }
            let retry = self.turn.held.retry();
            tokio::select! {
                () = sleep_until(retry.unwrap_or(self.turn.now).into()), if retry.is_some() => {}
                () = self.mailbox.wait() => {
                    for key in self.mailbox.take().moved {
                        self.turn.rooms.moved(key, true, false);
                        self.follows.moved(key);
                    }
                }
                _ = self.comments.tick() => return Some(Bytes::from_static(COMMENT)),
                () = &mut self.stopping => return None,
                () = &mut self.login => return None,
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
) -> Result<Option<Latest>, Refusal> {
    query.retain(|(name, _)| name == "after");
    let seen = last_event_id(headers);
    if let Some(seen) = seen {
        let seen = String::from_utf8_lossy(seen.as_bytes()).into_owned();
        query = vec![("after".into(), seen)];
    }
    let members = object_of_query(room, &query);
    let object = Object::parse(&members);
    let after = match object.as_ref().map(|object| object.latest(Member::After)) {
        Ok(Ok(after)) => return Ok(after),
        Ok(Err(problem)) => problem.0,
        Err(problem) => problem.to_string(),
    };
    let header = if seen.is_some() { " (it is the Last-Event-ID)" } else { "" };
    Err(Refusal::new(ErrorCode::BadMessage, format!("{after}{header}")))
}

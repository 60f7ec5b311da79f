//! Many appends to one room, as batches over HTTP.
//!
//! ```text
//!  appends ──► lines ──► POST, one in flight ──► a line each ──► outcomes
//!                ▲                                    │ disconnect · busy · storage_full · …
//!                └── from the first without outcome ──┘ wait, reconnect
//! ```
//!
//! Enters: appends in order, each with its id. Leaves: one outcome for each, in that order.
//! Invariant: a request starts with the first line without an outcome, after the previous one is
//! answered or lost: lines enter the log in order, each once, even if a server finishes a request
//! whose connection was lost. All requests of a connection go to one log.

use std::{ops::Range, time::Duration};

use ::http::{
    Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
    request::Builder,
};
use bytes::Bytes;
use roomlog_protocol::{
    Appended, BatchLine, ClientAppend, ErrorCode, ErrorFrame, Hello, RoomName,
    limits::BATCH_APPENDS,
};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    AppendError, ClientError, Committed, Options, Outcome, State,
    backoff::{Backoff, wait_of},
    http::{Http, LONGEST_ANSWER},
    shared::publish,
    socket::{ConnectError, Opened, Socket},
    transport::OpenError,
};

const NDJSON: &str = "application/x-ndjson";
/// The most bytes of a request with more than one line.
const BODY_BYTES: usize = 4 << 20;

/// Appends to one room over HTTP, up to 1,000 per request: faster than a [`Client`](crate::Client)
/// for an import. It retries transient refusals and disconnects for [`Options::retry_timeout`].
pub struct Batches {
    options: Options,
    room: RoomName,
    hello: Hello,
    /// `None` while disconnected.
    http: Option<Http>,
    state: watch::Sender<State>,
    backoff: Backoff,
    /// Since when no line got an outcome.
    stuck_since: Option<Instant>,
    /// The most lines per request; lowered after one was too large for the server.
    most: usize,
}

impl Batches {
    /// Connects and reads the name of the server's log. It tries once.
    ///
    /// # Errors
    /// As [`Client::connect`](crate::Client::connect).
    pub async fn connect(options: Options, room: RoomName) -> Result<Self, ClientError> {
        let opened = open(&options, &room).await;
        let (http, hello) = opened.map_err(|error| error.without_retry(&options))?;
        Ok(Self {
            options,
            room,
            hello,
            http: Some(http),
            state: watch::Sender::new(State::Connected),
            backoff: Backoff::default(),
            stuck_since: None,
            most: BATCH_APPENDS,
        })
    }

    /// The name of the server's log at the latest connection.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.hello.log
    }

    /// Whether there is a connection, now and whenever that changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Appends these: one outcome for each, in order. Each must be for the room, with an id and an
    /// author and without `seq`. `waited` of an outcome is that of its request.
    ///
    /// A final refusal fails its append. Any other error fails all the rest:
    /// [`AppendError::NewLog`] if the server has another log, or, once [`Options::retry_timeout`] is
    /// over, the last refusal or [`ClientError::Lost`]. If the future is dropped, resend the appends
    /// with the same ids: they are in the log once.
    pub async fn append(&mut self, appends: &[ClientAppend]) -> Vec<Outcome> {
        let lines = Lines::of(appends);
        let mut outcomes = Vec::with_capacity(lines.len());
        let mut begun = Instant::now();
        while outcomes.len() < lines.len() {
            let before = outcomes.len();
            let sent = lines.from(before, self.most);
            let next = match self.post(lines.bytes(&sent)).await {
                Ok(answer) => self.take(&answer, &appends[sent.clone()], begun, &mut outcomes),
                Err(why) => Then::Reconnect(why),
            };
            if outcomes.len() > before {
                begun = Instant::now();
                self.stuck_since = None;
                self.backoff.reset();
            }
            let ready = match next {
                Then::Continue => Ok(()),
                Then::Wait(error) => self.wait(error).await,
                Then::Reconnect(why) => self.reconnect(why, sent.len()).await,
                Then::Fail(error) => Err(error),
            };
            if let Err(error) = ready {
                outcomes.resize(lines.len(), Err(error));
            }
        }
        outcomes
    }

    async fn post(&mut self, body: Bytes) -> Result<Answer, String> {
        let Some(http) = &mut self.http else { return Err("there is no connection".into()) };
        let path = format!("/v1/rooms/{}/entries", self.room);
        // A batch may take as long as an append, plus the round trip.
        let answering = self.hello.limits.append_for + self.options.ping_after;
        let request = Request::post(&path).header(CONTENT_TYPE, NDJSON);
        let request = authorised(&self.options, request).await?;
        let answer = timeout(answering, http.send(request, body, LONGEST_ANSWER)).await;
        let (status, body) = answer.map_err(|_| "the server does not answer".to_owned())??;
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let read: Result<Vec<BatchLine>, _> = lines.map(serde_json::from_slice).collect();
        match read {
            Ok(lines) => Ok(Answer { refused: !status.is_success(), lines }),
            Err(_) if !status.is_success() => Err(format!("it answered {status}")),
            Err(why) => Err(format!("its answer is malformed: {why}")),
        }
    }

    /// Takes the outcomes of the sent lines, up to the first that has to be resent.
    fn take(
        &mut self,
        answer: &Answer,
        sent: &[ClientAppend],
        begun: Instant,
        outcomes: &mut Vec<Outcome>,
    ) -> Then {
        if answer.refused {
            let error = answer.lines.first().and_then(|line| line.error.clone());
            let Some(error) = error else {
                return Then::Reconnect("it refused without a reason".into());
            };
            return self.refused(error, sent.len(), outcomes);
        }
        let waited = begun.elapsed();
        for (line, append) in answer.lines.iter().zip(sent) {
            match (&line.entry, &line.error) {
                (Some(entry), _) if append.id.as_ref() != Some(&entry.id) => {
                    return Then::Reconnect(format!("it answered for another id, {}", entry.id));
                }
                (Some(entry), _) => {
                    let appended = Appended {
                        room: self.room.clone(),
                        id: entry.id.clone(),
                        slot: entry.slot,
                        committed_at: entry.committed_at,
                        repeat: line.repeat,
                        seq: None,
                        req: None,
                    };
                    outcomes.push(Ok(Committed { appended, waited }));
                }
                (None, Some(error)) if error.code.is_final() => {
                    outcomes.push(Err(AppendError::Refused(error.clone())));
                }
                (None, Some(error)) => return retry(error.clone()),
                (None, None) => return Then::Reconnect("its answer is malformed".into()),
            }
        }
        match answer.lines.len() {
            all if all == sent.len() => Then::Continue,
            some => Then::Reconnect(format!("it answered {some} lines for {}", sent.len())),
        }
    }

    /// The whole request was refused.
    fn refused(&mut self, error: Box<ErrorFrame>, sent: usize, to: &mut Vec<Outcome>) -> Then {
        match error.code {
            ErrorCode::TooLarge if sent > 1 => {
                self.most = sent / 2;
                Then::Continue
            }
            ErrorCode::TooLarge => {
                to.push(Err(AppendError::Refused(error)));
                Then::Continue
            }
            // It is not about any one append.
            code if code.is_final() => Then::Fail(ClientError::Refused(error).into()),
            _ => retry(error),
        }
    }

    async fn wait(&mut self, error: Box<ErrorFrame>) -> Result<(), AppendError> {
        let wait = wait_of(&error, rand::random());
        if self.gives_up_before(wait) {
            return Err(AppendError::Refused(error));
        }
        sleep(wait).await;
        Ok(())
    }

    async fn reconnect(&mut self, mut why: String, sent: usize) -> Result<(), AppendError> {
        self.http = None;
        if self.stuck_since.is_some() {
            // Lost twice: the request may be too large for something on the way.
            self.most = (sent / 2).max(1);
        }
        loop {
            publish(&self.state, State::Reconnecting(why.clone()));
            let wait = self.backoff.next(rand::random());
            if self.gives_up_before(wait) {
                let (address, waited) = (self.options.address.to_string(), self.stuck_for());
                return Err(ClientError::Lost { address, why, waited }.into());
            }
            sleep(wait).await;
            match open(&self.options, &self.room).await {
                Ok((http, hello)) => {
                    let is_same = hello.log == self.hello.log;
                    (self.http, self.hello) = (Some(http), hello);
                    publish(&self.state, State::Connected);
                    return if is_same { Ok(()) } else { Err(AppendError::NewLog) };
                }
                Err(ConnectError::Transient(problem)) => why = problem,
                Err(ConnectError::Final(error)) => return Err(error.into()),
            }
        }
    }

    fn stuck_for(&mut self) -> Duration {
        self.stuck_since.get_or_insert_with(Instant::now).elapsed()
    }

    fn gives_up_before(&mut self, wait: Duration) -> bool {
        let stuck = self.stuck_for();
        self.options.retry_timeout.is_some_and(|retry_timeout| stuck + wait > retry_timeout)
    }
}

/// The lines of an answer; if the whole request was refused, one line with the error.
struct Answer {
    refused: bool,
    lines: Vec<BatchLine>,
}

/// What to do before the next request.
enum Then {
    Continue,
    Wait(Box<ErrorFrame>),
    Reconnect(String),
    Fail(AppendError),
}

/// A line that was not accepted, or has an unknown outcome.
fn retry(error: Box<ErrorFrame>) -> Then {
    match error.code {
        ErrorCode::LoginRequired | ErrorCode::Unauthorized => {
            Then::Fail(AppendError::Refused(error))
        }
        _ => Then::Wait(error),
    }
}

/// Opens a connection and checks that it leads to the log of the server's `hello`.
async fn open(options: &Options, room: &RoomName) -> Result<(Http, Hello), ConnectError> {
    // Only the WebSocket shows the protocol version and how to log in.
    let Opened { socket, hello, .. } = Socket::open(options).await?;
    drop(socket);
    let opening = async {
        let opened = Http::open(options.address.uri(), &options.trust).await;
        let mut http = opened.map_err(|error| match error {
            OpenError::Unreachable(why) => why,
            OpenError::Tls(problem) => problem.to_string(),
        })?;
        let path = format!("/v1/rooms/{room}/entries?count=0");
        let head = authorised(options, Request::get(path)).await?;
        let (status, head) = http.send(head, Bytes::new(), LONGEST_ANSWER).await?;
        if status == StatusCode::NOT_FOUND {
            // The token may append, but not read.
            return Ok(http);
        }
        let head: serde_json::Value =
            serde_json::from_slice(&head).map_err(|why| why.to_string())?;
        if head["log"] != *hello.log {
            return Err("the address leads to another server than a moment ago".to_owned());
        }
        Ok(http)
    };
    let opened = timeout(options.connect_timeout, opening).await;
    let opened = opened.unwrap_or_else(|_| Err("the server does not answer".into()));
    opened.map(|http| (http, hello)).map_err(ConnectError::Transient)
}

/// The request with a token, if the client has one.
async fn authorised(options: &Options, request: Builder) -> Result<Builder, String> {
    let Some(source) = &options.token else { return Ok(request) };
    let token = source.get().await?;
    Ok(request.header(AUTHORIZATION, format!("Bearer {}", token.text)))
}

/// Appends as NDJSON.
struct Lines {
    bytes: Bytes,
    ends: Vec<usize>,
}

impl Lines {
    fn of(appends: &[ClientAppend]) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(appends.len()));
        for append in appends {
            if let Err(why) = serde_json::to_writer(&mut bytes, append) {
                unreachable!("an append of names and numbers is always JSON: {why}");
            }
            bytes.push(b'\n');
            ends.push(bytes.len());
        }
        Self { bytes: bytes.into(), ends }
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    /// The lines of the request that starts with this one: at least one.
    fn from(&self, first: usize, most: usize) -> Range<usize> {
        let start = self.start(first);
        let fits = self.ends[first..].iter().take(most);
        let count = fits.take_while(|end| **end - start <= BODY_BYTES).count();
        first..first + count.max(1)
    }

    fn bytes(&self, lines: &Range<usize>) -> Bytes {
        self.bytes.slice(self.start(lines.start)..self.start(lines.end))
    }

    fn start(&self, line: usize) -> usize {
        line.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft;

    #[test]
    fn a_request_has_at_least_one_line_and_otherwise_no_more_than_fit() {
        let room: roomlog_protocol::RoomName = "r".parse().expect("a room");
        let bare = Lines::of(&[draft(room.clone(), "")]).start(1);
        let of = |bytes: &[usize]| {
            let append = |bytes: &usize| draft(room.clone(), "b".repeat(bytes - bare));
            Lines::of(&bytes.iter().map(append).collect::<Vec<_>>())
        };
        let lines = of(&[100, BODY_BYTES - 100, 100, 100]);
        assert_eq!(lines.from(0, 1_000), 0..2);
        assert_eq!(lines.bytes(&(0..2)).len(), BODY_BYTES);
        assert_eq!((lines.from(1, 1_000), lines.from(2, 1_000)), (1..3, 2..4));
        assert_eq!(lines.from(2, 1), 2..3);
        assert_eq!(of(&[100, BODY_BYTES - 99]).from(0, 1_000), 0..1);
        assert_eq!(of(&[BODY_BYTES + 1, 100]).from(0, 1_000), 0..1);
        assert!(lines.bytes(&(2..3)).ends_with(b"}\n"));
    }
}

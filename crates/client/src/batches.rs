//! Many appends to one room as batches over HTTP.
//!
//! ```text
//!  appends ──► lines ──► POST, one on its way ──► a line each ──► outcomes
//!                ▲                                    │ a loss · busy · storage_full · …
//!                └── from the first without outcome ──┘ wait, connect again
//! ```
//!
//! Enters: appends in their order, each with its id. Leaves: one outcome for each, in that order.
//! Invariants: a request begins with the first line that has no outcome, and goes when the one before it is
//! answered or lost; so the lines stand in the log in their order, each once, even where a server
//! finishes what it was sent over a connection that was lost. All requests of a connection go to one log:
//! the server that it leads to is asked for it at the beginning.

mod lines;

use std::time::Duration;

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
    backoff::{Backoff, stretched},
    http::Http,
    outbox::DEFAULT_RETRY,
    socket::{ConnectError, Socket},
};
use lines::Lines;

const NDJSON: &str = "application/x-ndjson";

/// Sends appends to one room over HTTP, up to 1,000 in a request: faster than a
/// [`Client`](crate::Client) for an import, and with nothing to follow. What the server does not take now is
/// sent again until it does, for as long as [`Options::patience`].
pub struct Batches {
    options: Options,
    room: RoomName,
    hello: Hello,
    /// None while there is no connection.
    http: Option<Http>,
    state: watch::Sender<State>,
    backoff: Backoff,
    /// Since when no line got an outcome.
    stuck_since: Option<Instant>,
    /// How many lines a request has at most; fewer after one that was too large for this server.
    most: usize,
}

impl Batches {
    /// Connects, once, and learns which log the server has.
    ///
    /// # Errors
    /// As [`Client::connect`](crate::Client::connect).
    pub async fn connect(options: Options, room: RoomName) -> Result<Self, ClientError> {
        let (http, hello) = open(&options, &room).await.map_err(|error| match error {
            ConnectError::Final(error) => error,
            ConnectError::Transient(why) => {
                ClientError::Unreachable { address: options.address.to_string(), why }
            }
        })?;
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

    /// The name of the server's log, at the latest connection.
    #[must_use]
    pub fn log(&self) -> &str {
        &self.hello.log
    }

    /// Whether there is a connection, now and when that changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Appends these, which are for the room, have an id and an author each and no `seq`: one outcome for
    /// each, in their order. Its `waited` is that of all of them that were sent together.
    ///
    /// All that follow a failure other than a final refusal fail with it: when the server has another
    /// log than before with [`AppendError::NewLog`], when the patience is at its end with the last refusal or
    /// [`ClientError::Lost`]. Dropped before its end, what was sent may be taken or not; sent again with
    /// the same ids it is there once.
    pub async fn append(&mut self, appends: &[ClientAppend]) -> Vec<Outcome> {
        let lines = Lines::of(appends);
        let mut outcomes = Vec::with_capacity(lines.len());
        let mut begun = Instant::now();
        while outcomes.len() < lines.len() {
            let before = outcomes.len();
            let sent = lines.from(before, self.most);
            let next = match self.post(lines.bytes(&sent)).await {
                Ok(answer) => self.take(&answer, &appends[sent.clone()], begun, &mut outcomes),
                Err(why) => Next::Reconnect(why),
            };
            if outcomes.len() > before {
                begun = Instant::now();
                self.stuck_since = None;
                self.backoff.reset();
            }
            let gone_on = match next {
                Next::GoOn => Ok(()),
                Next::Wait(error) => self.wait(error).await,
                Next::Reconnect(why) => self.reconnect(why, sent.len()).await,
                Next::End(error) => Err(error),
            };
            if let Err(error) = gone_on {
                outcomes.resize(lines.len(), Err(error));
            }
        }
        outcomes
    }

    /// Posts lines and reads the answer.
    async fn post(&mut self, body: Bytes) -> Result<Answer, String> {
        let Some(http) = &mut self.http else { return Err("there is no connection".into()) };
        let path = format!("/v1/rooms/{}/entries", self.room);
        // A batch may take as long as an append may, and its way there and back comes on top.
        let answering = Duration::from_millis(self.hello.limits.append_ms) + self.options.quiet;
        let answer = timeout(answering, http.post(&path, NDJSON, body)).await;
        let (status, body) = answer.map_err(|_| "the server does not answer".to_owned())??;
        let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let read: Result<Vec<BatchLine>, _> = lines.map(serde_json::from_slice).collect();
        match read {
            Ok(lines) => Ok(Answer { whole: !status.is_success(), lines }),
            Err(_) if !status.is_success() => Err(format!("it answered {status}")),
            Err(why) => Err(format!("it answered what is no outcome: {why}")),
        }
    }

    /// Takes the outcomes of the lines that were sent, up to the first that has to be sent again.
    fn take(
        &mut self,
        answer: &Answer,
        sent: &[ClientAppend],
        begun: Instant,
        outcomes: &mut Vec<Outcome>,
    ) -> Next {
        if answer.whole {
            let error = answer.lines.first().and_then(|line| line.error.clone());
            let Some(error) = error else {
                return Next::Reconnect("it refused without why".into());
            };
            return self.refused(error, sent.len(), outcomes);
        }
        let waited = begun.elapsed();
        for (line, append) in answer.lines.iter().zip(sent) {
            match (&line.entry, &line.error) {
                (Some(entry), _) if append.id.as_ref() != Some(&entry.id) => {
                    return Next::Reconnect(format!("it answered for another id, {}", entry.id));
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
                (None, Some(error)) => return again(error.clone()),
                (None, None) => return Next::Reconnect("it answered what is no outcome".into()),
            }
        }
        match answer.lines.len() {
            all if all == sent.len() => Next::GoOn,
            some => Next::Reconnect(format!("it answered {some} lines for {}", sent.len())),
        }
    }

    /// The request as a whole was refused.
    fn refused(&mut self, error: Box<ErrorFrame>, sent: usize, to: &mut Vec<Outcome>) -> Next {
        match error.code {
            ErrorCode::TooLarge if sent > 1 => {
                self.most = sent / 2;
                Next::GoOn
            }
            ErrorCode::TooLarge => {
                to.push(Err(AppendError::Refused(error)));
                Next::GoOn
            }
            // It is not about an append, so there is none to blame.
            code if code.is_final() => Next::End(ClientError::Refused(error).into()),
            _ => again(error),
        }
    }

    async fn wait(&mut self, error: Box<ErrorFrame>) -> Result<(), AppendError> {
        let asked = error.retry_after_ms.map_or(DEFAULT_RETRY, Duration::from_millis);
        let wait = stretched(asked, rand::random());
        if self.is_patience_over(wait) {
            return Err(AppendError::Refused(error));
        }
        sleep(wait).await;
        Ok(())
    }

    async fn reconnect(&mut self, mut why: String, sent: usize) -> Result<(), AppendError> {
        self.http = None;
        if self.stuck_since.is_some() {
            // It was lost before: it may be too much at once for what lies between here and there.
            self.most = (sent / 2).max(1);
        }
        loop {
            self.tell(State::Reconnecting(why.clone()));
            let wait = self.backoff.next(rand::random());
            if self.is_patience_over(wait) {
                let (address, waited) = (self.options.address.to_string(), self.stuck_for());
                return Err(ClientError::Lost { address, why, waited }.into());
            }
            sleep(wait).await;
            match open(&self.options, &self.room).await {
                Ok((http, hello)) => {
                    let is_same = hello.log == self.hello.log;
                    (self.http, self.hello) = (Some(http), hello);
                    self.tell(State::Connected);
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

    fn is_patience_over(&mut self, wait: Duration) -> bool {
        let stuck = self.stuck_for();
        self.options.patience.is_some_and(|patience| stuck + wait > patience)
    }

    fn tell(&self, state: State) {
        self.state.send_if_modified(|known| {
            let news = *known != state;
            *known = state;
            news
        });
    }
}

/// The lines of an answer; `whole`: of all lines there is one error.
struct Answer {
    whole: bool,
    lines: Vec<BatchLine>,
}

/// What has to be done before the next request.
enum Next {
    GoOn,
    Wait(Box<ErrorFrame>),
    Reconnect(String),
    End(AppendError),
}

/// A line that was not taken, or is not known to be, and has to come again.
fn again(error: Box<ErrorFrame>) -> Next {
    match error.code {
        ErrorCode::LoginRequired | ErrorCode::Unauthorized => {
            Next::End(AppendError::Refused(error))
        }
        _ => Next::Wait(error),
    }
}

/// Opens a connection and learns the log of the server that it leads to.
async fn open(options: &Options, room: &RoomName) -> Result<(Http, Hello), ConnectError> {
    // Only a WebSocket says which protocol this is, and how to log in.
    let (socket, hello) = Socket::open(options).await?;
    drop(socket);
    let opening = async {
        let mut http = Http::open(&options.address).await?;
        let (_, head) = http.get(&format!("/v1/rooms/{room}/entries?count=0")).await?;
        let head: serde_json::Value =
            serde_json::from_slice(&head).map_err(|why| why.to_string())?;
        if head["log"] != *hello.log {
            return Err("it is not the server that it was a moment ago".to_owned());
        }
        Ok(http)
    };
    let opened = timeout(options.connecting, opening).await;
    let opened = opened.unwrap_or_else(|_| Err("the server does not answer".into()));
    opened.map(|http| (http, hello)).map_err(ConnectError::Transient)
}

//! The task of a client: it moves frames between the session and the socket, and connects anew.
//!
//! Enters: requests of the handles, through bounded channels. Leaves: answers and deliveries, through
//! bounded channels. Invariant: what cannot be handed on stops the reading, never the memory: while a
//! follower does not take its entries the socket is not read; while the outbox is full no append is
//! accepted.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use roomlog_protocol::{ClientAppend, ClientUpdate, EntryId, Heads, Hello, RoomName};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, sleep_until},
};

use crate::{
    ClientError,
    asks::{Delivery, Item},
    backoff::{Backoff, LONGEST},
    feed::{Feed, Handed},
    following::Followed,
    options::Options,
    outbox::{Outcome, Verdict},
    reads::ReadTag,
    session::Session,
    socket::{ConnectError, Incoming, Socket},
    timeline::Start,
};

/// An append and who waits for its outcome.
pub(crate) struct AppendRequest {
    pub(crate) id: EntryId,
    pub(crate) append: ClientAppend,
    /// The log whose slots it may name.
    pub(crate) log: String,
    pub(crate) caller: oneshot::Sender<Outcome>,
}

/// What a handle asks besides appends. A log is the one whose slots are named; `None`: any will do.
pub(crate) enum Request {
    Read(ClientUpdate, Option<String>, ReadTag),
    Follow(RoomName, Start, String, Feed<Followed>),
    Watch(Feed<Heads>),
}

/// Whether there is a connection. Without one, appends and questions wait; a client that gave up stays
/// [`State::Reconnecting`], and every call on it says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// The server is connected, and knows who we are.
    Connected,
    /// There is no connection, for this reason. The client is trying to make one, with pauses of up to 5 s.
    Reconnecting(String),
}

/// What a handle shares with the task.
pub(crate) struct Shared {
    pub(crate) hello: watch::Sender<Arc<Hello>>,
    pub(crate) state: watch::Sender<State>,
    /// Why the task ended, once it has.
    pub(crate) end: OnceLock<ClientError>,
    /// Told when a following or a watch is dropped.
    pub(crate) dropped: Notify,
}

impl Shared {
    /// Tells a state that is news; each try that fails like the one before is none.
    fn tell(&self, state: State) {
        self.state.send_if_modified(|known| {
            let news = *known != state;
            *known = state;
            news
        });
    }
}

pub(crate) struct Driver {
    options: Options,
    shared: Arc<Shared>,
    session: Session,
    appends: mpsc::Receiver<AppendRequest>,
    requests: mpsc::Receiver<Request>,
    /// Whether no more requests can come.
    closing: bool,
    followers: HashMap<u64, Feed<Followed>>,
    watchers: HashMap<u64, Feed<Heads>>,
    /// The number of the following or watch that was asked for last.
    last_number: u64,
    /// What a follower has to take before anything more is read.
    blocked: Option<Delivery>,
    /// Whether nothing was read when the clock was last looked at.
    deaf: bool,
    started: Instant,
    backoff: Backoff,
    /// Since when nothing was answered, over connections that were lost again.
    lost_since: Option<Instant>,
}

/// How serving one connection ended.
enum End {
    Done,
    Lost(String),
}

impl Driver {
    pub(crate) fn new(
        options: Options,
        shared: Arc<Shared>,
        hello: &Hello,
        appends: mpsc::Receiver<AppendRequest>,
        requests: mpsc::Receiver<Request>,
    ) -> Self {
        let session = Session::new(&options, hello, Duration::ZERO);
        Self {
            options,
            shared,
            session,
            appends,
            requests,
            closing: false,
            followers: HashMap::new(),
            watchers: HashMap::new(),
            last_number: 0,
            blocked: None,
            deaf: false,
            started: Instant::now(),
            backoff: Backoff::default(),
            lost_since: None,
        }
    }

    /// Serves until all handles are gone and everything is answered, or nothing more can be done.
    pub(crate) async fn run(mut self, mut socket: Socket) {
        loop {
            let connected = Instant::now();
            let why = match self.serve(&mut socket).await {
                End::Done => return self.say_goodbye(socket).await,
                End::Lost(why) => why,
            };
            drop(socket);
            self.judge(connected.elapsed());
            self.session.outbox.disconnected();
            socket = match self.reconnect(why).await {
                Ok(Some(socket)) => socket,
                Ok(None) => return,
                Err(error) => return self.fail(&error),
            };
        }
    }

    /// A connection that was of use, or long, is not counted among the tries that failed.
    fn judge(&mut self, lasted: Duration) {
        if self.session.was_answered() || lasted > LONGEST {
            self.backoff.reset();
        }
        if self.session.was_answered() || self.session.is_done() {
            self.lost_since = None;
        }
    }

    async fn serve(&mut self, socket: &mut Socket) -> End {
        loop {
            if self.is_done() {
                return End::Done;
            }
            if let Some(delivery) = self.blocked.take() {
                self.hand(delivery);
            }
            self.deliver();
            let now = self.started.elapsed();
            let wake = match self.look(now) {
                Ok(wake) => self.started + wake,
                Err(why) => return End::Lost(why),
            };
            let (session, started) = (&mut self.session, self.started);
            let (append, ask) = (session.outbox.has_space(), session.asks.has_space());
            let reading = self.blocked.is_none();
            let space = space(self.blocked.as_ref(), &self.followers, &self.watchers);
            tokio::select! {
                incoming = socket.next(|| session.next_frame(started.elapsed()), reading) => {
                    if let Some(why) = self.incoming(incoming) {
                        return End::Lost(why);
                    }
                }
                Some(request) = self.appends.recv(), if append => self.session.append(request),
                request = self.requests.recv(), if ask && !self.closing => self.asked(request),
                () = space, if !reading => {}
                () = self.shared.dropped.notified() => self.sweep(),
                () = sleep_until(wake) => {}
            }
        }
    }

    /// What comes next by the clock, or why the connection is of no use any more.
    fn look(&mut self, now: Duration) -> Result<Duration, String> {
        let was_deaf = std::mem::replace(&mut self.deaf, self.blocked.is_some());
        if self.deaf {
            return Ok(self.session.look_deaf(now));
        }
        if was_deaf {
            self.session.listened(now);
        }
        self.session.look(now)
    }

    /// Takes what came in. `Some`: the connection is of no use any more.
    fn incoming(&mut self, incoming: Incoming) -> Option<String> {
        let now = self.started.elapsed();
        match incoming {
            Incoming::Frame(frame) => match self.session.frame(*frame, now, rand::random()) {
                Verdict::GoOn => None,
                Verdict::Reconnect(why) => Some(why),
            },
            Incoming::Sign => {
                self.session.heard(now);
                None
            }
            Incoming::Lost(why) => Some(why),
        }
    }

    /// Takes a request; `None`: no more can come.
    fn asked(&mut self, request: Option<Request>) {
        let now = self.started.elapsed();
        self.last_number += 1;
        let number = self.last_number;
        match request {
            Some(Request::Read(update, log, caller)) => {
                self.session.asks.read(update, log, caller, now);
            }
            Some(Request::Follow(room, start, log, feed)) => {
                let place = (start, log.as_str());
                let replaced = self.session.asks.follow(number, room.clone(), place, now);
                self.followers.insert(number, feed);
                if let Some(feed) = replaced.and_then(|before| self.followers.remove(&before)) {
                    feed.end(ClientError::Replaced { room });
                }
            }
            Some(Request::Watch(feed)) => {
                self.watchers.insert(number, feed);
                self.session.asks.watch(number, now);
            }
            None => {
                self.closing = true;
                // A follower that does not read must not keep the rest from their answers.
                self.session.asks.forget_all();
                (self.followers, self.watchers, self.blocked) = Default::default();
            }
        }
    }

    /// Forgets the followings and watches that were dropped.
    fn sweep(&mut self) {
        let gone = self.followers.extract_if(|_, feed| feed.is_gone()).map(|(number, _)| number);
        let gone = gone
            .chain(self.watchers.extract_if(|_, feed| feed.is_gone()).map(|(number, _)| number));
        gone.for_each(|number| self.session.asks.forget(number));
    }

    /// Hands on what followers can take now; the first item that cannot be handed on waits.
    fn deliver(&mut self) {
        while self.blocked.is_none() {
            let Some(delivery) = self.session.next_delivery() else { return };
            self.hand(delivery);
        }
    }

    fn hand(&mut self, delivery: Delivery) {
        let Delivery { to, log, item } = delivery;
        let handed = match item {
            Item::Followed(item) => match self.followers.get(&to) {
                Some(feed) => feed.hand(log.clone(), item).map(Item::Followed),
                None => return,
            },
            Item::Heads(item) => match self.watchers.get(&to) {
                Some(feed) => feed.hand(log.clone(), item).map(Item::Heads),
                None => return,
            },
            Item::End(why) => return self.end_feed(to, why),
        };
        match handed {
            Handed::Taken => {}
            Handed::Full(item) => self.blocked = Some(Delivery { to, log, item }),
            Handed::Gone => self.sweep(),
        }
    }

    fn end_feed(&mut self, number: u64, why: ClientError) {
        if let Some(feed) = self.followers.remove(&number) {
            feed.end(why);
        } else if let Some(feed) = self.watchers.remove(&number) {
            feed.end(why);
        }
    }

    /// A new connection; `None`: nobody needs one any more.
    async fn reconnect(&mut self, mut why: String) -> Result<Option<Socket>, ClientError> {
        let since = *self.lost_since.get_or_insert_with(Instant::now);
        let options = self.options.clone();
        loop {
            self.shared.tell(State::Reconnecting(why.clone()));
            let wait = self.backoff.next(rand::random());
            if let Some(patience) = options.patience
                && since.elapsed() + wait > patience
            {
                let address = options.address.to_string();
                return Err(ClientError::Lost { address, why, waited: patience });
            }
            let Some(opened) = self.meanwhile(Socket::open_after(wait, &options)).await else {
                return Ok(None);
            };
            match opened {
                Ok((socket, hello)) => {
                    self.session.connected(&hello, self.started.elapsed());
                    self.shared.hello.send_replace(Arc::new(hello));
                    self.shared.tell(State::Connected);
                    return Ok(Some(socket));
                }
                Err(ConnectError::Transient(problem)) => why = problem,
                Err(ConnectError::Final(error)) => return Err(error),
            }
        }
    }

    /// Waits while there is no connection, and goes on taking what callers ask, up to its bounds. `None`:
    /// the client is closed, and nothing waits for an answer.
    async fn meanwhile<T>(&mut self, what: impl Future<Output = T>) -> Option<T> {
        let mut what = std::pin::pin!(what);
        loop {
            if self.is_done() {
                return None;
            }
            let (append, ask) = (self.session.outbox.has_space(), self.session.asks.has_space());
            tokio::select! {
                done = &mut what => return Some(done),
                Some(request) = self.appends.recv(), if append => self.session.append(request),
                request = self.requests.recv(), if ask && !self.closing => self.asked(request),
                () = self.shared.dropped.notified() => self.sweep(),
            }
        }
    }

    fn is_done(&self) -> bool {
        self.closing && self.appends.is_empty() && self.session.is_done()
    }

    async fn say_goodbye(self, socket: Socket) {
        // The other end may never answer; everything has its outcome already.
        let _ = tokio::time::timeout(Duration::from_secs(1), socket.close()).await;
    }

    /// Gives up. Whoever waits hears of it when this task and all that it holds is dropped.
    fn fail(mut self, error: &ClientError) {
        // First the reason, then the news: whoever hears of the end finds the reason.
        let _ = self.shared.end.set(error.clone());
        self.session.fail_all(error);
    }
}

/// Until the one who has to take this item can take it, or is gone.
async fn space(
    blocked: Option<&Delivery>,
    followers: &HashMap<u64, Feed<Followed>>,
    watchers: &HashMap<u64, Feed<Heads>>,
) {
    let Some(Delivery { to, .. }) = blocked else { return };
    if let Some(feed) = followers.get(to) {
        feed.space().await;
    } else if let Some(feed) = watchers.get(to) {
        feed.space().await;
    }
}

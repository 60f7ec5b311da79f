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
    sync::{mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};

use crate::{
    ClientError,
    asks::{Delivery, ReadTag},
    backoff::{Backoff, LONGEST},
    following::Followed,
    options::Options,
    outbox::{Outcome, Verdict},
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

/// What a follower gets, or why it gets no more.
pub(crate) type FollowSender = mpsc::Sender<Result<Followed, ClientError>>;

/// What a handle asks besides appends.
pub(crate) enum Request {
    Read(ClientUpdate, ReadTag),
    Follow(RoomName, Start, FollowSender),
    Watch(mpsc::Sender<Result<Heads, ClientError>>),
}

/// Whether there is a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There is.
    Connected,
    /// There is none, for this reason; the client is trying.
    Reconnecting(String),
}

/// What a handle shares with the task.
pub(crate) struct Shared {
    pub(crate) hello: watch::Sender<Arc<Hello>>,
    pub(crate) state: watch::Sender<State>,
    /// Why the task ended, once it has.
    pub(crate) end: OnceLock<ClientError>,
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
    followers: HashMap<RoomName, FollowSender>,
    watcher: Option<mpsc::Sender<Result<Heads, ClientError>>>,
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
            watcher: None,
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
                Ok(socket) => socket,
                Err(error) => return self.fail(error).await,
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
            self.deliver();
            let now = self.started.elapsed();
            let wake = match self.look(now) {
                Ok(wake) => self.started + wake,
                Err(why) => return End::Lost(why),
            };
            let (session, started) = (&mut self.session, self.started);
            let (append, ask) = (session.outbox.has_space(), session.asks.has_space());
            let reading = self.blocked.is_none();
            let sender = self.blocked.as_ref().and_then(|delivery| match delivery {
                Delivery::Room(room, _) => self.followers.get(room).map(Waiting::Room),
                Delivery::Heads(_) => self.watcher.as_ref().map(Waiting::Heads),
            });
            tokio::select! {
                incoming = socket.next(|| session.next_frame(started.elapsed()), reading) => {
                    if let Some(why) = self.incoming(incoming) {
                        return End::Lost(why);
                    }
                }
                Some(request) = self.appends.recv(), if append => self.session.append(request),
                request = self.requests.recv(), if ask && !self.closing => match request {
                    Some(request) => self.request(request, now),
                    None => self.closing = true,
                },
                () = Waiting::space(sender), if !reading => {}
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

    fn request(&mut self, request: Request, now: Duration) {
        match request {
            Request::Read(update, caller) => self.session.asks.read(update, caller, now),
            Request::Follow(room, start, sender) => {
                self.followers.insert(room.clone(), sender);
                self.session.asks.follow(room, start, now);
            }
            Request::Watch(sender) => {
                self.watcher = Some(sender);
                self.session.asks.watch(now);
            }
        }
    }

    /// Hands on what followers can take now; the first one that cannot be handed on waits.
    fn deliver(&mut self) {
        while let Some(delivery) = self.blocked.take().or_else(|| self.session.next_delivery()) {
            match delivery {
                Delivery::Room(room, item) => self.deliver_entries(room, item),
                Delivery::Heads(item) => self.deliver_heads(item),
            }
            if self.blocked.is_some() {
                return;
            }
        }
    }

    fn deliver_entries(&mut self, room: RoomName, item: Result<Followed, ClientError>) {
        let Some(sender) = self.followers.get(&room) else { return };
        let last = item.is_err();
        match sender.try_send(item) {
            Err(mpsc::error::TrySendError::Full(item)) => {
                self.blocked = Some(Delivery::Room(room, item));
            }
            Ok(()) if !last => {}
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {
                self.followers.remove(&room);
                self.session.asks.unfollow(room);
            }
        }
    }

    fn deliver_heads(&mut self, item: Result<Heads, ClientError>) {
        let Some(sender) = &self.watcher else { return };
        let last = item.is_err();
        match sender.try_send(item) {
            Err(mpsc::error::TrySendError::Full(item)) => {
                self.blocked = Some(Delivery::Heads(item));
            }
            Ok(()) if !last => {}
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {
                self.watcher = None;
                self.session.asks.unwatch();
            }
        }
    }

    async fn reconnect(&mut self, mut why: String) -> Result<Socket, ClientError> {
        let since = *self.lost_since.get_or_insert_with(Instant::now);
        loop {
            self.shared.tell(State::Reconnecting(why.clone()));
            let wait = self.backoff.next(rand::random());
            if let Some(patience) = self.options.patience
                && since.elapsed() + wait > patience
            {
                let address = self.options.address.to_string();
                return Err(ClientError::Lost { address, why, waited: patience });
            }
            sleep(wait).await;
            match Socket::open(&self.options).await {
                Ok((socket, hello)) => {
                    self.session.connected(&hello, self.started.elapsed());
                    self.shared.hello.send_replace(Arc::new(hello));
                    self.shared.tell(State::Connected);
                    return Ok(socket);
                }
                Err(ConnectError::Transient(problem)) => why = problem,
                Err(ConnectError::Final(error)) => return Err(error),
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

    async fn fail(mut self, error: ClientError) {
        // First the reason, then the news: whoever hears of the end finds the reason.
        let _ = self.shared.end.set(error.clone());
        self.session.fail_all(&error);
        self.appends.close();
        self.requests.close();
        for sender in self.followers.into_values() {
            let _ = sender.send(Err(error.clone())).await;
        }
        if let Some(sender) = self.watcher {
            let _ = sender.send(Err(error)).await;
        }
    }
}

/// One who has to take what it was sent before anything more is read.
enum Waiting<'a> {
    Room(&'a FollowSender),
    Heads(&'a mpsc::Sender<Result<Heads, ClientError>>),
}

impl Waiting<'_> {
    /// Until there is space, or nobody who would need it.
    async fn space(waiting: Option<Self>) {
        match waiting {
            Some(Self::Room(sender)) => drop(sender.reserve().await),
            Some(Self::Heads(sender)) => drop(sender.reserve().await),
            None => {}
        }
    }
}

//! The handle of a client: what a program calls.
//!
//! Enters: calls. Leaves: outcomes, pages, followings. Invariant: appends to a room enter its log in
//! the order of the calls, each once, whatever happens to the connection on the way.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use roomlog_protocol::{ClientAppend, ClientUpdate, EntryId, Heads, Hello, Reply, RoomName, Span};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    ClientError,
    backoff::Backoff,
    driver::{AppendRequest, Driver, Request, Shared, State},
    feed::{Items, feed},
    following::Followed,
    options::Options,
    outbox::Outcome,
    pages::Pages,
    socket::{ConnectError, Socket},
    timeline::Start,
};

/// How many requests wait between a handle and the task.
const REQUESTS: usize = 16;

/// A client of one server: one connection, which it makes again whenever it is lost.
///
/// All calls take `&self`, so one client in an [`Arc`] serves many tasks. Dropping it ends its task: its
/// followings end, and what has no answer yet ends with [`ClientError::Closed`].
pub struct Client {
    appends: mpsc::Sender<AppendRequest>,
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

/// An append on its way: a future of its [`Outcome`].
///
/// Dropping it does not take the append back.
#[must_use = "an append may be refused; its outcome says so"]
pub struct Pending {
    id: EntryId,
    outcome: oneshot::Receiver<Outcome>,
    shared: Arc<Shared>,
}

/// A following: one room's entries, in slot order, without a gap, for as long as it is kept. Dropping it
/// leaves the room.
///
/// It buffers four pages. Beyond that a following that is not read stops its client from reading the
/// socket, and then nothing that the client asked for is answered: keep reading it, from a task of its
/// own, or use a second client.
pub struct Follow {
    items: Items<Followed>,
}

/// The latest slot of every room, now and when it moves. Dropping it ends it.
///
/// As with [`Follow`], one that is not read holds up its client.
pub struct Watch {
    items: Items<Heads>,
}

impl Client {
    /// Connects and logs in. This is tried once; [`Client::connect_when_up`] waits for a server.
    ///
    /// # Errors
    /// - [`ClientError::Unreachable`]: no server answers at the address.
    /// - [`ClientError::Unusable`]: what answers is not a Roomlog server that this client can talk to.
    /// - [`ClientError::Refused`]: the server did not take the login.
    pub async fn connect(options: Options) -> Result<Self, ClientError> {
        let (socket, hello) = Socket::open(&options).await.map_err(|error| match error {
            ConnectError::Final(error) => error,
            ConnectError::Transient(why) => {
                ClientError::Unreachable { address: options.address.to_string(), why }
            }
        })?;
        let shared = Arc::new(Shared {
            hello: watch::Sender::new(Arc::new(hello.clone())),
            state: watch::Sender::new(State::Connected),
            end: OnceLock::new(),
            dropped: Notify::new(),
        });
        let (appends, append_requests) = mpsc::channel(REQUESTS);
        let (requests, other_requests) = mpsc::channel(REQUESTS);
        let driver = Driver::new(options, shared.clone(), &hello, append_requests, other_requests);
        let task = Some(tokio::spawn(driver.run(socket)));
        Ok(Self { appends, requests, shared, task })
    }

    /// As [`Client::connect`], but keeps trying while no server answers at the address, for as long as
    /// [`Options::patience`] (`None`: for ever), with the same pauses as between reconnects.
    ///
    /// # Errors
    /// As [`Client::connect`]; [`ClientError::Unreachable`] only when the patience is at its end.
    pub async fn connect_when_up(options: Options) -> Result<Self, ClientError> {
        let (started, mut backoff) = (Instant::now(), Backoff::default());
        loop {
            let error = match Self::connect(options.clone()).await {
                Err(error @ ClientError::Unreachable { .. }) => error,
                other => return other,
            };
            let wait = backoff.next(rand::random());
            if options.patience.is_some_and(|patience| started.elapsed() + wait > patience) {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    /// What the server said of itself at the latest connection: its version, its limits, and `log`, the
    /// name of the log that its slots are of.
    #[must_use]
    pub fn hello(&self) -> Arc<Hello> {
        self.shared.hello.borrow().clone()
    }

    /// Whether there is a connection, now and when that changes. It does not tell that the client gave
    /// up; every call and every [`Follow`] does.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Puts an append into the outbox, behind those before, also while there is no connection. While the
    /// outbox is full ([`Options::outbox`]) it waits for space. [`draft`] makes an append; `seq` and `req`
    /// are set by the client, and `id` when there is none.
    ///
    /// The slots in the append are taken as those of the log that [`Client::hello`] names now.
    ///
    /// # Errors
    /// Only when the client ended before it took the append: [`ClientError::Lost`] when the patience was at
    /// its end, [`ClientError::Unusable`] or [`ClientError::Refused`] when the server at the address is
    /// another one now. What becomes of the append is the [`Pending`]'s to tell.
    pub async fn append(&self, append: ClientAppend) -> Result<Pending, ClientError> {
        let hello = self.hello();
        self.append_of(&hello.log, append).await
    }

    /// As [`Client::append`], with slots of this log, for callers who learned them earlier: where the
    /// server has another log by now, `after` is dropped, and an append with `ref` or `expect` ends with
    /// [`AppendError::NewLog`](crate::AppendError::NewLog).
    ///
    /// # Errors
    /// As [`Client::append`].
    pub async fn append_of(&self, log: &str, append: ClientAppend) -> Result<Pending, ClientError> {
        let id = append.id.clone().unwrap_or_else(new_id);
        let (caller, outcome) = oneshot::channel();
        let request = AppendRequest { id: id.clone(), append, log: log.into(), caller };
        self.appends.send(request).await.map_err(|_| self.shared.ended())?;
        Ok(Pending { id, outcome, shared: self.shared.clone() })
    }

    /// Reads once: the general form of [`Client::page`]. The slots and the digest in the update are taken
    /// as those of the log that [`Client::hello`] names now.
    ///
    /// The [`Reply`] holds `entries` in slot order, at most a page of the server (500 entries or 1 MiB
    /// where the server has no other limits); `latest`, the room's latest slot, −1 when nothing was ever
    /// appended; and `digest`, which is that after slot `digest_at`.
    ///
    /// # Errors
    /// - [`ClientError::Refused`]: the server refused it for good (`ahead`: the log ends before a slot
    ///   that was named; `diverged`: the digest differs), or was busy for longer than the patience.
    /// - [`ClientError::NewLog`]: it names a slot, and the server has another log now.
    /// - Why the client ended: as [`Client::append`], or [`ClientError::Closed`].
    pub async fn update(&self, update: ClientUpdate) -> Result<Reply, ClientError> {
        let log = names_a_slot(&update).then(|| self.hello().log.clone());
        self.read(update, log).await
    }

    /// As [`Client::update`], but only from this log: for callers who learned their slots earlier.
    ///
    /// # Errors
    /// As [`Client::update`]; [`ClientError::NewLog`] whenever the server has another log by now.
    pub async fn update_of(&self, log: &str, update: ClientUpdate) -> Result<Reply, ClientError> {
        self.read(update, Some(log.to_owned())).await
    }

    async fn read(&self, update: ClientUpdate, log: Option<String>) -> Result<Reply, ClientError> {
        let (caller, answer) = oneshot::channel();
        self.request(Request::Read(update, log, caller)).await?;
        answer.await.unwrap_or_else(|_| Err(self.shared.ended()))
    }

    /// Reads the `count` slots that end at slot `upto` (`None`: the latest). Where that is more than a
    /// page, the newest of them.
    ///
    /// # Errors
    /// As [`Client::update`].
    pub async fn page(
        &self,
        room: RoomName,
        count: u64,
        upto: Option<u64>,
    ) -> Result<Reply, ClientError> {
        let span = Span::UpTo { count, upto };
        self.update(ClientUpdate { room, span, seen: None, digest: None, req: None }).await
    }

    /// Reads page by page what follows slot `after` (−1: from the first), to the end of the log.
    #[must_use]
    pub fn pages(&self, room: RoomName, after: i64) -> Pages<'_> {
        Pages::new(self, room, after)
    }

    /// Follows a room. The slot in `start` is taken as one of the log that [`Client::hello`] names now.
    ///
    /// A client follows a room once: a second following of the room takes the place of the first, which
    /// ends with [`ClientError::Replaced`].
    ///
    /// # Errors
    /// As [`Client::append`]. What becomes of the following is [`Follow::next`]'s to tell.
    pub async fn follow(&self, room: RoomName, start: Start) -> Result<Follow, ClientError> {
        let hello = self.hello();
        self.follow_of(&hello.log, room, start).await
    }

    /// As [`Client::follow`], from a slot of this log, for callers who kept it from an earlier run: where
    /// the server has another log, [`Followed::Reset`] comes first, and then the newest entries.
    ///
    /// # Errors
    /// As [`Client::follow`].
    pub async fn follow_of(
        &self,
        log: &str,
        room: RoomName,
        start: Start,
    ) -> Result<Follow, ClientError> {
        let (feed, items) = feed(&self.shared);
        self.request(Request::Follow(room, start, log.to_owned(), feed)).await?;
        Ok(Follow { items })
    }

    /// Watches the latest slots of all rooms. Several watches of one client do not disturb each other.
    ///
    /// # Errors
    /// As [`Client::append`]. What becomes of the watch is [`Watch::next`]'s to tell.
    pub async fn watch(&self) -> Result<Watch, ClientError> {
        let (feed, items) = feed(&self.shared);
        self.request(Request::Watch(feed)).await?;
        Ok(Watch { items })
    }

    /// All rooms and their latest slots, as they are now in one log.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub async fn rooms(&self) -> Result<BTreeMap<RoomName, i64>, ClientError> {
        let mut watch = self.watch().await?;
        let (mut rooms, mut log) = (BTreeMap::new(), watch.log().to_owned());
        loop {
            let heads = watch.next().await?;
            if watch.log() != log {
                rooms.clear();
                watch.log().clone_into(&mut log);
            }
            rooms.extend(heads.rooms);
            if heads.more != Some(true) {
                return Ok(rooms);
            }
        }
    }

    /// Ends the followings and watches, waits until every append has its outcome, then closes the
    /// connection.
    ///
    /// While the server is away this lasts as long as [`Options::patience`]. Who does not want to wait so
    /// long drops the future (`tokio::time::timeout`): what has no answer by then ends with
    /// [`ClientError::Closed`].
    pub async fn close(mut self) {
        // The task sees that no more can come when the last sender is gone.
        self.appends = mpsc::channel(1).0;
        self.requests = mpsc::channel(1).0;
        if let Some(task) = &mut self.task {
            // How it ended was told to everyone who waited.
            let _ = task.await;
        }
    }

    async fn request(&self, request: Request) -> Result<(), ClientError> {
        self.requests.send(request).await.map_err(|_| self.shared.ended())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Shared {
    pub(crate) fn ended(&self) -> ClientError {
        self.end.get().cloned().unwrap_or(ClientError::Closed)
    }
}

impl Pending {
    /// The id of the append: sent again with it, now or later, it is in the log once.
    #[must_use]
    pub fn id(&self) -> &EntryId {
        &self.id
    }
}

/// Resolves to the outcome. It may be polled by reference.
impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.outcome)
            .poll(cx)
            .map(|answer| answer.unwrap_or_else(|_| Err(self.shared.ended().into())))
    }
}

impl Follow {
    /// The next entries, or that the log is another one.
    ///
    /// # Errors
    /// Nothing comes after an error.
    /// - [`ClientError::Refused`]: the room cannot be followed; `ahead` when it ends before the slot in
    ///   [`Start::After`].
    /// - [`ClientError::Replaced`]: this client follows the room anew.
    /// - Why the client ended: as [`Client::append`], or [`ClientError::Closed`].
    pub async fn next(&mut self) -> Result<Followed, ClientError> {
        self.items.next().await
    }

    /// The log that what [`Follow::next`] gave last is of; before that, the server's.
    #[must_use]
    pub fn log(&self) -> &str {
        self.items.log()
    }
}

impl Watch {
    /// The next heads: first those of all rooms, in one item or several (`more` is true on all but the
    /// last), then those that moved, at most once a second. After a reconnect the whole list comes again.
    ///
    /// # Errors
    /// Nothing comes after an error.
    /// - [`ClientError::Refused`]: the server could not list its rooms for longer than the patience.
    /// - Why the client ended: as [`Client::append`], or [`ClientError::Closed`].
    pub async fn next(&mut self) -> Result<Heads, ClientError> {
        self.items.next().await
    }

    /// The log that what [`Watch::next`] gave last is of; before that, the server's.
    #[must_use]
    pub fn log(&self) -> &str {
        self.items.log()
    }
}

/// Whether a read means the slots of one log and of no other.
fn names_a_slot(update: &ClientUpdate) -> bool {
    let spans = match update.span {
        Span::After(slot) => slot >= 0,
        Span::UpTo { upto, .. } => upto.is_some(),
    };
    spans || update.seen.is_some() || update.digest.is_some()
}

/// An append of a text, with an id of its own and nothing else set.
#[must_use]
pub fn draft(room: RoomName, body: impl Into<String>) -> ClientAppend {
    ClientAppend {
        room,
        body: body.into(),
        id: Some(new_id()),
        seq: None,
        after: None,
        expect: None,
        kind: roomlog_protocol::Kind::default(),
        reference: None,
        meta: None,
        sent_at: None,
        author: None,
        req: None,
    }
}

/// An id that begins with its time, so that the server finds room for it quickly.
fn new_id() -> EntryId {
    match EntryId::new(&ulid::Ulid::generate().to_string()) {
        Ok(id) => id,
        Err(_) => unreachable!("a ULID is 26 letters and digits"),
    }
}

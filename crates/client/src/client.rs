//! The handles that a program calls.
//!
//! Enters: calls. Leaves: outcomes, pages, follows, watches. Invariant: appends to a room enter its
//! log in call order, each once, whatever happens to the connection.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use roomlog_protocol::{
    Author, Body, ClientAppend, ClientUpdate, EntryId, Heads, Hello, Latest, Reply, RoomName, Span,
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::{
    ClientError,
    backoff::Backoff,
    driver::{Driver, Request},
    feed::{Items, feed},
    options::Options,
    outbox::Outcome,
    pages::Pages,
    requests::Item,
    session::AppendRequest,
    shared::{Shared, State},
    socket::Socket,
    timeline::{Followed, Start},
};

/// How many requests are queued between a handle and the task.
const REQUESTS: usize = 16;

/// A client of one server, with one connection that it restores whenever it is lost.
///
/// All calls take `&self`, so one client in an [`Arc`] serves many tasks. Dropping it disconnects,
/// and everything pending fails with [`ClientError::Closed`].
pub struct Client {
    appends: mpsc::Sender<AppendRequest>,
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

/// A pending append: a future of its [`Outcome`]. It may be polled by reference.
///
/// Dropping it does not cancel the append.
#[must_use = "an append may be refused; its outcome says so"]
pub struct Pending {
    id: EntryId,
    outcome: oneshot::Receiver<Outcome>,
    shared: Arc<Shared>,
}

/// One room's entries, in slot order, without a gap. Dropping it leaves the room.
///
/// It buffers four pages. Beyond that, a follow that is not read stops its client from reading the
/// socket, and none of the client's calls are answered: keep reading it, in a task of its own, or
/// use a second client.
pub struct Follow {
    items: Items<Followed>,
}

/// The latest slot of every room, now and whenever it moves. Dropping it ends the watch.
///
/// Like a [`Follow`], one that is not read holds up its client.
pub struct Watch {
    items: Items<Heads>,
}

impl Client {
    /// Connects and logs in. It tries once; [`Client::connect_when_up`] waits for a server.
    ///
    /// # Errors
    /// - [`ClientError::Unreachable`]: no server answers at the address.
    /// - [`ClientError::Unusable`]: it is not a Roomlog server that this client can use.
    /// - [`ClientError::Tls`]: its certificate is not trusted, or it does not speak TLS.
    /// - [`ClientError::Refused`]: the server refused the login.
    pub async fn connect(options: Options) -> Result<Self, ClientError> {
        let opened = Socket::open(&options).await;
        let opened = opened.map_err(|error| error.without_retry(&options))?;
        let shared = Arc::new(Shared {
            hello: watch::Sender::new(Arc::new(opened.hello.clone())),
            author: opened.author.clone(),
            state: watch::Sender::new(State::Connected),
            end: OnceLock::new(),
            dropped: Notify::new(),
        });
        let (appends, append_requests) = mpsc::channel(REQUESTS);
        let (requests, other_requests) = mpsc::channel(REQUESTS);
        let handles = (append_requests, other_requests);
        let driver = Driver::new(options, shared.clone(), &opened, handles);
        let task = Some(tokio::spawn(driver.run(opened.socket)));
        Ok(Self { appends, requests, shared, task })
    }

    /// As [`Client::connect`], but retries while no server answers, for as long as
    /// [`Options::retry_timeout`] (`None`: for ever), with the backoff of reconnects.
    ///
    /// # Errors
    /// As [`Client::connect`]; [`ClientError::Unreachable`] only after [`Options::retry_timeout`].
    pub async fn connect_when_up(options: Options) -> Result<Self, ClientError> {
        let (started, mut backoff) = (Instant::now(), Backoff::default());
        loop {
            let error = match Self::connect(options.clone()).await {
                Err(error @ ClientError::Unreachable { .. }) => error,
                other => return other,
            };
            let wait = backoff.next(rand::random());
            if options
                .retry_timeout
                .is_some_and(|retry_timeout| started.elapsed() + wait > retry_timeout)
            {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    /// The server's `hello` at the latest connection: its version, limits, and the name of its log.
    #[must_use]
    pub fn hello(&self) -> Arc<Hello> {
        self.shared.hello.borrow().clone()
    }

    /// Whom the server welcomed: the author of the token, or [`Options::author`] on an open server.
    #[must_use]
    pub fn author(&self) -> &Author {
        &self.shared.author
    }

    /// Whether there is a connection, now and whenever that changes. It does not show that the
    /// client gave up; every call and every [`Follow`] does.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Queues an append in the outbox, connected or not; while the outbox is full
    /// ([`Options::outbox`]), it waits for space. [`draft`] builds an append. The client sets `seq`
    /// and `req`, and a missing `id`.
    ///
    /// Slots in the append belong to the log that [`Client::hello`] names now.
    ///
    /// # Errors
    /// Only if the client ended first; the append's own outcome comes from the [`Pending`].
    /// - [`ClientError::Lost`]: [`Options::retry_timeout`] is over.
    /// - [`ClientError::Unusable`] or [`ClientError::Refused`]: a reconnect found another server.
    pub async fn append(&self, append: ClientAppend) -> Result<Pending, ClientError> {
        let hello = self.hello();
        self.append_of(&hello.log, append).await
    }

    /// As [`Client::append`], with slots of this log, for slots that were stored earlier. If the
    /// server has another log now, `after` is dropped, and an append with `ref` or `expect` fails
    /// with [`AppendError::NewLog`](crate::AppendError::NewLog).
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

    /// Reads once: the general form of [`Client::page`]. Slots and the digest in the update belong
    /// to the log that [`Client::hello`] names now.
    ///
    /// The [`Reply`] has up to a page of `entries` in slot order (by default 500 entries or 1 MiB),
    /// the room's `latest` slot (−1: empty), and the `digest` after slot `digest_at`.
    ///
    /// # Errors
    /// - [`ClientError::Refused`]: refused for good (`ahead`: the log ends before a named slot;
    ///   `diverged`: the digest differs), or for longer than [`Options::retry_timeout`].
    /// - [`ClientError::NewLog`]: it names a slot, and the server has another log now.
    /// - If the client ended: as [`Client::append`], or [`ClientError::Closed`].
    pub async fn update(&self, update: ClientUpdate) -> Result<Reply, ClientError> {
        let log = names_a_slot(&update).then(|| self.hello().log.clone());
        self.read(update, log).await
    }

    /// As [`Client::update`], but only from this log, for slots that were stored earlier.
    ///
    /// # Errors
    /// As [`Client::update`]; [`ClientError::NewLog`] whenever the server has another log.
    pub async fn update_of(&self, log: &str, update: ClientUpdate) -> Result<Reply, ClientError> {
        self.read(update, Some(log.to_owned())).await
    }

    async fn read(&self, update: ClientUpdate, log: Option<String>) -> Result<Reply, ClientError> {
        let (caller, answer) = oneshot::channel();
        self.request(Request::Read(update, log, caller)).await?;
        answer.await.unwrap_or_else(|_| Err(self.shared.ended()))
    }

    /// Reads the `count` slots that end at slot `upto` (`None`: the latest), or the newest page of
    /// them.
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

    /// Reads all entries after slot `after` (−1: all), page by page.
    #[must_use]
    pub fn pages(&self, room: RoomName, after: Latest) -> Pages<'_> {
        Pages::new(self, room, after)
    }

    /// Follows a room. A slot in `start` belongs to the log that [`Client::hello`] names now.
    ///
    /// A second follow of a room ends the first with [`ClientError::Replaced`].
    ///
    /// # Errors
    /// As [`Client::append`]. The follow's own errors come from [`Follow::next`].
    pub async fn follow(&self, room: RoomName, start: Start) -> Result<Follow, ClientError> {
        let hello = self.hello();
        self.follow_of(&hello.log, room, start).await
    }

    /// As [`Client::follow`], from a slot of this log, for a slot that was stored earlier. If the
    /// server has another log, [`Followed::Reset`] comes first, then the newest entries.
    ///
    /// # Errors
    /// As [`Client::follow`].
    pub async fn follow_of(
        &self,
        log: &str,
        room: RoomName,
        start: Start,
    ) -> Result<Follow, ClientError> {
        let entries = |item| if let Item::Followed(item) = item { Some(item) } else { None };
        let (feed, items) = feed(&self.shared, entries);
        self.request(Request::Follow(room, start, log.to_owned(), feed)).await?;
        Ok(Follow { items })
    }

    /// Watches the latest slots of all rooms. A client may have several watches.
    ///
    /// # Errors
    /// As [`Client::append`]. The watch's own errors come from [`Watch::next`].
    pub async fn watch(&self) -> Result<Watch, ClientError> {
        let heads = |item| if let Item::Heads(item) = item { Some(item) } else { None };
        let (feed, items) = feed(&self.shared, heads);
        self.request(Request::Watch(feed)).await?;
        Ok(Watch { items })
    }

    /// All rooms and their latest slots, now, in one log.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub async fn rooms(&self) -> Result<BTreeMap<RoomName, Latest>, ClientError> {
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

    /// Ends all follows and watches, waits for the outcomes of all appends, then disconnects.
    ///
    /// Without a server this takes up to [`Options::retry_timeout`]. Dropping the future, as
    /// `tokio::time::timeout` does, fails what is pending with [`ClientError::Closed`].
    pub async fn close(mut self) {
        // Dropping the last senders shows the task that no more requests can come.
        self.appends = mpsc::channel(1).0;
        self.requests = mpsc::channel(1).0;
        if let Some(task) = &mut self.task {
            let _callers_have_its_errors = task.await;
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

impl Pending {
    /// The id of the append. Appended again with this id, now or later, it is in the log once.
    #[must_use]
    pub fn id(&self) -> &EntryId {
        &self.id
    }
}

impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.outcome)
            .poll(cx)
            .map(|answer| answer.unwrap_or_else(|_| Err(self.shared.ended().into())))
    }
}

impl Follow {
    /// The next entries, or a change of the log. Cancel-safe.
    ///
    /// # Errors
    /// An error ends the follow.
    /// - [`ClientError::Refused`]: the room cannot be followed; `ahead`: its log ends before the
    ///   slot of [`Start::After`].
    /// - [`ClientError::Replaced`]: this client followed the room again.
    /// - If the client ended: as [`Client::append`], or [`ClientError::Closed`].
    pub async fn next(&mut self) -> Result<Followed, ClientError> {
        self.items.next().await
    }

    /// The log of the last result of [`Follow::next`]; before the first, the server's log.
    #[must_use]
    pub fn log(&self) -> &str {
        self.items.log()
    }
}

impl Watch {
    /// The next heads: first all rooms, in one item or several (`more` is true on all but the
    /// last), then the rooms that moved, at most once per second. After a reconnect the complete
    /// list comes again. Cancel-safe.
    ///
    /// # Errors
    /// An error ends the watch.
    /// - [`ClientError::Refused`]: the server refused the list for longer than
    ///   [`Options::retry_timeout`].
    /// - If the client ended: as [`Client::append`], or [`ClientError::Closed`].
    pub async fn next(&mut self) -> Result<Heads, ClientError> {
        self.items.next().await
    }

    /// The log of the last result of [`Watch::next`]; before the first, the server's log.
    #[must_use]
    pub fn log(&self) -> &str {
        self.items.log()
    }
}

/// Whether a read depends on the slots of one log.
fn names_a_slot(update: &ClientUpdate) -> bool {
    let spans = match update.span {
        Span::After(latest) => latest > Latest::EMPTY,
        Span::UpTo { upto, .. } => upto.is_some(),
    };
    spans || update.seen.is_some() || update.digest.is_some()
}

/// An append of a text under a new id; everything else is unset.
#[must_use]
pub fn draft(room: RoomName, body: impl Into<Body>) -> ClientAppend {
    ClientAppend { id: Some(new_id()), ..ClientAppend::new(room, body) }
}

/// ULIDs start with the time, which keeps the server's index of ids local.
fn new_id() -> EntryId {
    match EntryId::new(&ulid::Ulid::generate().to_string()) {
        Ok(id) => id,
        Err(_) => unreachable!("a ULID is 26 letters and digits"),
    }
}

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
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    ClientError,
    driver::{AppendRequest, Driver, Request, Shared, State},
    following::Followed,
    options::Options,
    outbox::Outcome,
    pages::Pages,
    socket::{ConnectError, Socket},
    timeline::Start,
};

/// How many requests wait between a handle and the task.
const REQUESTS: usize = 16;

/// How many batches of entries wait for a follower; a batch is at most a page of the server.
const BATCHES: usize = 4;

/// A client of one server. Dropping it ends its task, its followings and what is not answered.
pub struct Client {
    appends: mpsc::Sender<AppendRequest>,
    requests: mpsc::Sender<Request>,
    shared: Arc<Shared>,
    task: Option<JoinHandle<()>>,
}

/// An append on its way.
#[must_use = "an append may be refused; its outcome says so"]
pub struct Pending {
    id: EntryId,
    outcome: oneshot::Receiver<Outcome>,
    shared: Arc<Shared>,
}

/// A following: one room's entries, in order, without a gap, for as long as it is kept.
///
/// One that is not read stops the client from reading its socket; the server keeps its place. Keep
/// reading it, or use a client of its own for it.
pub struct Follow {
    items: mpsc::Receiver<Result<Followed, ClientError>>,
    shared: Arc<Shared>,
}

/// The latest slots of all rooms, now and when they move.
pub struct Watch {
    items: mpsc::Receiver<Result<Heads, ClientError>>,
    shared: Arc<Shared>,
}

impl Client {
    /// Connects and logs in, once.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`], [`ClientError::Unusable`], or [`ClientError::Refused`] when the
    /// server does not take the login.
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
        });
        let (appends, append_requests) = mpsc::channel(REQUESTS);
        let (requests, other_requests) = mpsc::channel(REQUESTS);
        let driver = Driver::new(options, shared.clone(), &hello, append_requests, other_requests);
        let task = Some(tokio::spawn(driver.run(socket)));
        Ok(Self { appends, requests, shared, task })
    }

    /// What the server said of itself, at the latest connection.
    #[must_use]
    pub fn hello(&self) -> Arc<Hello> {
        self.shared.hello.borrow().clone()
    }

    /// Whether there is a connection, now and when that changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Puts an append into the outbox, behind those before; waits while the outbox is full. `seq` and
    /// `req` are set by the client, and `id`, when there is none. The slots that it names are those of
    /// the log that [`Client::hello`] tells now.
    ///
    /// # Errors
    /// Why the client ended.
    pub async fn append(&self, append: ClientAppend) -> Result<Pending, ClientError> {
        let hello = self.hello();
        self.append_of(&hello.log, append).await
    }

    /// As [`Client::append`], with slots of this log, for one who knows them for longer: where the server
    /// has another one by now, `after` is dropped, and an append with `ref` or `expect` ends as
    /// [`AppendError::NewLog`](crate::AppendError::NewLog).
    ///
    /// # Errors
    /// Why the client ended.
    pub async fn append_of(&self, log: &str, append: ClientAppend) -> Result<Pending, ClientError> {
        let id = append.id.clone().unwrap_or_else(new_id);
        let (caller, outcome) = oneshot::channel();
        let request = AppendRequest { id: id.clone(), append, log: log.into(), caller };
        self.appends.send(request).await.map_err(|_| self.shared.ended())?;
        Ok(Pending { id, outcome, shared: self.shared.clone() })
    }

    /// Reads once: an `update`.
    ///
    /// # Errors
    /// [`ClientError::Refused`], or why the client ended.
    pub async fn update(&self, update: ClientUpdate) -> Result<Reply, ClientError> {
        let (caller, answer) = oneshot::channel();
        self.request(Request::Read(update, caller)).await?;
        answer.await.unwrap_or_else(|_| Err(self.shared.ended()))
    }

    /// Reads the `count` slots that end at `upto` (`None`: the latest), clipped to one page.
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

    /// Follows a room. A second following of one room by one client replaces the first.
    ///
    /// # Errors
    /// Why the client ended.
    pub async fn follow(&self, room: RoomName, start: Start) -> Result<Follow, ClientError> {
        let (sender, items) = mpsc::channel(BATCHES);
        self.request(Request::Follow(room, start, sender)).await?;
        Ok(Follow { items, shared: self.shared.clone() })
    }

    /// Watches the heads of all rooms. A second watch of one client replaces the first.
    ///
    /// # Errors
    /// Why the client ended.
    pub async fn watch(&self) -> Result<Watch, ClientError> {
        let (sender, items) = mpsc::channel(BATCHES);
        self.request(Request::Watch(sender)).await?;
        Ok(Watch { items, shared: self.shared.clone() })
    }

    /// All rooms and their latest slots, now.
    ///
    /// # Errors
    /// As [`Client::update`].
    pub async fn rooms(&self) -> Result<BTreeMap<RoomName, i64>, ClientError> {
        let mut watch = self.watch().await?;
        let mut rooms = BTreeMap::new();
        loop {
            let heads = watch.next().await?;
            rooms.extend(heads.rooms);
            if heads.more != Some(true) {
                return Ok(rooms);
            }
        }
    }

    /// Waits until everything has its answer, then says goodbye to the server. Followings end.
    pub async fn close(self) {
        let Self { appends, requests, task, .. } = &mut { self };
        // The task sees that no more can come when the last sender is gone.
        *appends = mpsc::channel(1).0;
        *requests = mpsc::channel(1).0;
        if let Some(task) = task.take() {
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
    fn ended(&self) -> ClientError {
        self.end.get().cloned().unwrap_or(ClientError::Closed)
    }
}

impl Pending {
    /// The id that the append has, for ever.
    #[must_use]
    pub fn id(&self) -> &EntryId {
        &self.id
    }
}

/// Resolves to the outcome; may be polled by reference and dropped, the append goes on.
impl Future for Pending {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.outcome)
            .poll(cx)
            .map(|answer| answer.unwrap_or_else(|_| Err(self.shared.ended().into())))
    }
}

impl Follow {
    /// The next entries.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the room cannot be followed, or why the client ended. Nothing
    /// comes after an error.
    pub async fn next(&mut self) -> Result<Followed, ClientError> {
        self.items.recv().await.unwrap_or_else(|| Err(self.shared.ended()))
    }
}

impl Watch {
    /// The next heads: first those of all rooms, in one frame or several, then those that moved.
    /// After a reconnect all come again.
    ///
    /// # Errors
    /// As [`Follow::next`].
    pub async fn next(&mut self) -> Result<Heads, ClientError> {
        self.items.recv().await.unwrap_or_else(|| Err(self.shared.ended()))
    }
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

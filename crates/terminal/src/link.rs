//! Connects the screen to the client: requests one way, news the other.
//!
//! Invariant: the screen never waits for the client and always takes the news; a full channel of
//! news is backpressure on the client and the server. Appends keep their order.

use std::sync::Arc;

use roomlog_client::{
    Client, ClientError, Followed, Outcome, Start, State,
    protocol::{ClientAppend, ClientUpdate, EntryId, Heads, Reply, RoomName, Span},
};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};

use crate::limits::{MAX_UNSENT, PAGE};

const NEWS: usize = 16;

/// Counts the openings of rooms: news of an earlier one are dropped.
pub(crate) type Opening = u64;

/// A request of the screen. A `String` is the log to read, or that of the slots in an append.
pub(crate) enum Request {
    /// Follow this room from its newest page, and no other.
    Open(Opening, RoomName),
    /// Read once. The answer has the same number; a new request replaces one that was not sent.
    Page(u64, String, RoomName, Span),
    /// Read who wrote these entries of another room; one at a time.
    Peek(String, RoomName, Span),
    Append(String, ClientAppend),
}

/// News for the screen. A `String` is the log that they are of.
pub(crate) enum News {
    Followed(Opening, String, Followed),
    NotFollowed(Opening, ClientError),
    Page(u64, Result<Reply, ClientError>),
    Heads(String, Heads),
    Peeked(String, RoomName, Result<Reply, ClientError>),
    State(State),
    Answered(EntryId, Outcome),
    /// The client gave up.
    Ended(ClientError),
}

/// The latest read of one kind that was requested, with a tag of that kind.
type Newest<T> = Option<(T, String, RoomName, Span)>;

pub(crate) struct Link {
    open: watch::Sender<Option<(Opening, RoomName)>>,
    page: watch::Sender<Newest<u64>>,
    peek: watch::Sender<Newest<()>>,
    appends: mpsc::Sender<(String, ClientAppend)>,
    news: mpsc::Receiver<News>,
    tasks: JoinSet<()>,
}

impl Link {
    pub(crate) fn new(client: Client) -> Self {
        let client = Arc::new(client);
        let (sender, news) = mpsc::channel(NEWS);
        let open = watch::Sender::new(None);
        let page = watch::Sender::new(None);
        let peek = watch::Sender::new(None);
        let (appends, append_requests) = mpsc::channel(MAX_UNSENT);
        let mut tasks = JoinSet::new();
        tasks.spawn(states(client.state(), sender.clone()));
        tasks.spawn(heads(client.clone(), sender.clone()));
        tasks.spawn(follow(client.clone(), open.subscribe(), sender.clone()));
        let paged = |number, _, _, page| News::Page(number, page);
        tasks.spawn(read(client.clone(), page.subscribe(), sender.clone(), paged));
        let peeked = |(), log, room, page| News::Peeked(log, room, page);
        tasks.spawn(read(client.clone(), peek.subscribe(), sender.clone(), peeked));
        tasks.spawn(append(client, append_requests, sender));
        Self { open, page, peek, appends, news, tasks }
    }

    /// Sends a request. The screen has at most [`MAX_UNSENT`] unanswered appends.
    pub(crate) fn send(&self, request: Request) {
        match request {
            Request::Open(opening, room) => {
                self.open.send_replace(Some((opening, room)));
            }
            Request::Page(number, log, room, span) => {
                self.page.send_replace(Some((number, log, room, span)));
            }
            Request::Peek(log, room, span) => {
                self.peek.send_replace(Some(((), log, room, span)));
            }
            Request::Append(log, append) => {
                let taken = self.appends.try_send((log, append));
                debug_assert!(taken.is_ok(), "at most {MAX_UNSENT} appends are unanswered");
            }
        }
    }

    /// The next news. Propagates a panic of its tasks.
    pub(crate) async fn news(&mut self) -> Option<News> {
        loop {
            tokio::select! {
                news = self.news.recv() => return news,
                Some(ended) = self.tasks.join_next() => {
                    if let Some(panic) = ended.err().filter(JoinError::is_panic) {
                        std::panic::resume_unwind(panic.into_panic());
                    }
                }
            }
        }
    }

    pub(crate) fn try_news(&mut self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

async fn states(mut state: watch::Receiver<State>, news: mpsc::Sender<News>) {
    while state.changed().await.is_ok() {
        let now = state.borrow_and_update().clone();
        if news.send(News::State(now)).await.is_err() {
            return;
        }
    }
}

async fn heads(client: Arc<Client>, news: mpsc::Sender<News>) {
    let watching = async {
        let mut watch = client.watch().await?;
        loop {
            let heads = watch.next().await?;
            if news.send(News::Heads(watch.log().to_owned(), heads)).await.is_err() {
                return Ok(());
            }
        }
    };
    if let Err(error) = watching.await {
        let _ = news.send(News::Ended(error)).await;
    }
}

/// Follows one room after the other, each until another one is requested.
async fn follow(
    client: Arc<Client>,
    mut open: watch::Receiver<Option<(Opening, RoomName)>>,
    news: mpsc::Sender<News>,
) {
    while open.changed().await.is_ok() {
        let Some((opening, room)) = open.borrow_and_update().clone() else { continue };
        let following = async {
            let mut follow = client.follow(room, Start::Newest(PAGE)).await?;
            loop {
                let followed = follow.next().await?;
                let log = follow.log().to_owned();
                let _ = news.send(News::Followed(opening, log, followed)).await;
            }
        };
        let ended: Result<(), ClientError> = tokio::select! {
            ended = following => ended,
            Ok(()) = open.changed() => { open.mark_changed(); continue }
        };
        if let Err(error) = ended {
            let _ = news.send(News::NotFollowed(opening, error)).await;
        }
    }
}

/// Reads what was requested last, one after the other.
async fn read<T: Clone>(
    client: Arc<Client>,
    mut requested: watch::Receiver<Newest<T>>,
    news: mpsc::Sender<News>,
    read: fn(T, String, RoomName, Result<Reply, ClientError>) -> News,
) {
    while requested.changed().await.is_ok() {
        let Some((tag, log, room, span)) = requested.borrow_and_update().clone() else { continue };
        let update = ClientUpdate { room: room.clone(), span, seen: None, digest: None, req: None };
        let page = client.update_of(&log, update).await;
        if news.send(read(tag, log, room, page)).await.is_err() {
            return;
        }
    }
}

/// Passes appends to the client in order, and their outcomes to the screen as they come.
async fn append(
    client: Arc<Client>,
    mut requests: mpsc::Receiver<(String, ClientAppend)>,
    news: mpsc::Sender<News>,
) {
    let mut waiting = JoinSet::new();
    while let Some((log, append)) = requests.recv().await {
        match client.append_of(&log, append).await {
            Ok(pending) => {
                let (news, id) = (news.clone(), pending.id().clone());
                waiting.spawn(async move {
                    let outcome = pending.await;
                    let _ = news.send(News::Answered(id, outcome)).await;
                });
            }
            Err(error) => {
                let _ = news.send(News::Ended(error)).await;
            }
        }
        while waiting.try_join_next().is_some() {}
    }
}

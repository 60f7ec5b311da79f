//! Between the screen and the client: what is asked goes one way, news come the other.
//!
//! Enters: asks of the screen. Leaves: news, all through one bounded channel. Invariant: the screen never waits
//! for the client, so it always takes the news; the client waits for the screen and thereby the server
//! does. Appends enter the client in the order they were asked.

use std::sync::Arc;

use roomlog_client::{
    Client, ClientError, Followed, Outcome, Start, State,
    protocol::{ClientAppend, ClientUpdate, EntryId, Heads, Reply, RoomName, Span},
};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, JoinSet},
};

use crate::limits::{MOST_UNSENT, PAGE};

/// News that wait for the screen.
const NEWS: usize = 16;

/// Which opening of a room something belongs to: what is late for another is dropped.
pub(crate) type Opening = u64;

/// What the screen asks for.
pub(crate) enum Ask {
    /// Follow this room from its newest page, and no other.
    Open(Opening, RoomName),
    /// Read once, in this log. The answer has the same number; asking again replaces what was not begun.
    Page(u64, String, RoomName, Span),
    /// Read, in this log, who wrote so many of a room's entries up to a slot; one at a time.
    Look(String, RoomName, Span),
    /// Append; the slots that it names are of this log.
    Append(String, ClientAppend),
}

/// What the screen is told.
pub(crate) enum News {
    /// Entries of the room, and the log that they are of.
    Followed(Opening, String, Followed),
    /// The room cannot be followed.
    NotFollowed(Opening, ClientError),
    Page(u64, Result<Reply, ClientError>),
    Heads(String, Heads),
    /// What was looked at in a room of this log.
    Looked(String, RoomName, Result<Reply, ClientError>),
    State(State),
    Answered(EntryId, Outcome),
    /// The client gave up.
    Ended(ClientError),
}

pub(crate) struct Link {
    open: watch::Sender<Option<(Opening, RoomName)>>,
    page: watch::Sender<Option<(u64, String, RoomName, Span)>>,
    look: watch::Sender<Option<(String, RoomName, Span)>>,
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
        let look = watch::Sender::new(None);
        let (appends, append_asks) = mpsc::channel(MOST_UNSENT);
        let mut tasks = JoinSet::new();
        tasks.spawn(states(client.state(), sender.clone()));
        tasks.spawn(heads(client.clone(), sender.clone()));
        tasks.spawn(follow(client.clone(), open.subscribe(), sender.clone()));
        tasks.spawn(read(client.clone(), page.subscribe(), sender.clone()));
        tasks.spawn(looks(client.clone(), look.subscribe(), sender.clone()));
        tasks.spawn(append(client, append_asks, sender));
        Self { open, page, look, appends, news, tasks }
    }

    /// Hands on what is asked. The screen lets no more than [`MOST_UNSENT`] texts be without an answer.
    pub(crate) fn ask(&self, ask: Ask) {
        match ask {
            Ask::Open(opening, room) => {
                self.open.send_replace(Some((opening, room)));
            }
            Ask::Page(number, log, room, span) => {
                self.page.send_replace(Some((number, log, room, span)));
            }
            Ask::Look(log, room, span) => {
                self.look.send_replace(Some((log, room, span)));
            }
            Ask::Append(log, append) => {
                let taken = self.appends.try_send((log, append));
                debug_assert!(taken.is_ok(), "at most {MOST_UNSENT} texts have no answer");
            }
        }
    }

    /// The next news.
    ///
    /// # Panics
    /// When one of its tasks did.
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

    /// News that are there already.
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

/// Follows one room after the other, each until another one is asked for.
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

async fn read(
    client: Arc<Client>,
    mut asked: watch::Receiver<Option<(u64, String, RoomName, Span)>>,
    news: mpsc::Sender<News>,
) {
    while asked.changed().await.is_ok() {
        let Some((number, log, room, span)) = asked.borrow_and_update().clone() else { continue };
        let update = ClientUpdate { room, span, seen: None, digest: None, req: None };
        let page = client.update_of(&log, update).await;
        if news.send(News::Page(number, page)).await.is_err() {
            return;
        }
    }
}

async fn looks(
    client: Arc<Client>,
    mut asked: watch::Receiver<Option<(String, RoomName, Span)>>,
    news: mpsc::Sender<News>,
) {
    while asked.changed().await.is_ok() {
        let Some((log, room, span)) = asked.borrow_and_update().clone() else { continue };
        let update = ClientUpdate { room: room.clone(), span, seen: None, digest: None, req: None };
        let page = client.update_of(&log, update).await;
        if news.send(News::Looked(log, room, page)).await.is_err() {
            return;
        }
    }
}

/// Hands appends to the client, one after the other, and their outcomes to the screen as they come.
async fn append(
    client: Arc<Client>,
    mut asks: mpsc::Receiver<(String, ClientAppend)>,
    news: mpsc::Sender<News>,
) {
    let mut waiting = JoinSet::new();
    while let Some((log, append)) = asks.recv().await {
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

//! The task of a client: it moves frames between the session and the socket, and reconnects.
//!
//! Enters: requests of the handles. Leaves: answers and deliveries. Invariant: memory is bounded:
//! the socket is not read while a follower does not take its entries, and no append is accepted
//! while the outbox is full.

use std::{collections::HashMap, sync::Arc, time::Duration};

use roomlog_protocol::{ClientUpdate, RoomName};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    ClientError,
    backoff::{Backoff, LONGEST},
    feed::Feed,
    options::Options,
    outbox::Verdict,
    reads::ReadCaller,
    requests::{Delivery, Item},
    session::{AppendRequest, Session},
    shared::{Shared, State, publish},
    socket::{ConnectError, Incoming, Opened, Socket},
    timeline::Start,
    token::Token,
};

/// A request of a handle besides appends. A log is that of the slots it names; `None`: any.
pub(crate) enum Request {
    Read(ClientUpdate, Option<String>, ReadCaller),
    Follow(RoomName, Start, String, Feed),
    Watch(Feed),
}

pub(crate) struct Driver {
    options: Options,
    shared: Arc<Shared>,
    session: Session,
    appends: mpsc::Receiver<AppendRequest>,
    requests: mpsc::Receiver<Request>,
    /// Whether no more requests can come.
    closing: bool,
    feeds: HashMap<u64, Feed>,
    last_number: u64,
    /// What a reader has to take before the socket is read again.
    blocked: Option<Delivery>,
    /// Whether the socket was not read when the timeouts were last checked.
    was_blocked: bool,
    started: Instant,
    backoff: Backoff,
    /// Since when no connection was useful.
    lost_since: Option<Instant>,
    /// When to log in with a new token; `None` without tokens.
    renew_at: Option<Instant>,
}

impl Driver {
    pub(crate) fn new(
        options: Options,
        shared: Arc<Shared>,
        opened: &Opened,
        (appends, requests): (mpsc::Receiver<AppendRequest>, mpsc::Receiver<Request>),
    ) -> Self {
        let session = Session::new(&options, &opened.hello, Duration::ZERO);
        Self {
            options,
            shared,
            session,
            appends,
            requests,
            closing: false,
            feeds: HashMap::new(),
            last_number: 0,
            blocked: None,
            was_blocked: false,
            started: Instant::now(),
            backoff: Backoff::default(),
            lost_since: None,
            renew_at: opened.renew_at,
        }
    }

    /// Runs until all handles are dropped and everything is answered, or the client gives up.
    pub(crate) async fn run(mut self, mut socket: Socket) {
        loop {
            let connected = Instant::now();
            let Some(why) = self.serve(&mut socket).await else {
                // Everything has its outcome, so the server's answer does not matter.
                let _ = timeout(Duration::from_secs(1), socket.close()).await;
                return;
            };
            drop(socket);
            self.reset_backoff(connected.elapsed());
            self.session.outbox.disconnected();
            socket = match self.reconnect(why).await {
                Ok(Some(socket)) => socket,
                Ok(None) => return,
                Err(error) => return self.fail(&error),
            };
        }
    }

    /// A connection that was useful, or lasted long, does not count as a failed attempt.
    fn reset_backoff(&mut self, lasted: Duration) {
        if self.session.was_answered || lasted > LONGEST {
            self.backoff.reset();
        }
        if self.session.was_answered || self.session.is_done() {
            self.lost_since = None;
        }
    }

    /// Serves the handles on this connection; why it was lost, or `None` once all is done.
    async fn serve(&mut self, socket: &mut Socket) -> Option<String> {
        loop {
            if self.is_done() {
                return None;
            }
            if let Some(delivery) = self.blocked.take() {
                self.deliver(delivery);
            }
            self.deliver_all();
            let now = self.started.elapsed();
            let wake = match self.check(now) {
                Ok(wake) => self.started + wake,
                Err(why) => return Some(why),
            };
            let (session, started) = (&mut self.session, self.started);
            let (append, other) = (session.outbox.has_space(), session.requests.has_space());
            let reading = self.blocked.is_none();
            let space = space(self.blocked.as_ref(), &self.feeds);
            tokio::select! {
                incoming = socket.next(|| session.next_frame(started.elapsed()), reading) => {
                    if let Some(why) = self.incoming(incoming) {
                        return Some(why);
                    }
                }
                Some(request) = self.appends.recv(), if append => self.session.append(request),
                request = self.requests.recv(), if other && !self.closing => self.request(request),
                () = space, if !reading => {}
                () = self.shared.dropped.notified() => self.sweep(),
                token = renewed(&self.options, self.renew_at) => match token {
                    Ok(token) => {
                        self.renew_at = Some(token.renew_at);
                        self.session.renew(token.text);
                    }
                    // The next one is asked for when this connection has ended.
                    Err(_) => self.renew_at = None,
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Checks the timeouts: when to check again, or why to reconnect.
    fn check(&mut self, now: Duration) -> Result<Duration, String> {
        let was_blocked = std::mem::replace(&mut self.was_blocked, self.blocked.is_some());
        if self.was_blocked {
            return Ok(self.session.check_unread(now));
        }
        if was_blocked {
            self.session.reading_again(now);
        }
        self.session.check(now)
    }

    /// Takes what arrived. `Some`: why to reconnect.
    fn incoming(&mut self, incoming: Incoming) -> Option<String> {
        let now = self.started.elapsed();
        match incoming {
            Incoming::Frame(frame) => match self.session.frame(*frame, now, rand::random()) {
                Verdict::Continue => None,
                Verdict::Reconnect(why) => Some(why),
            },
            Incoming::Control => {
                self.session.heard(now);
                None
            }
            Incoming::Lost(why) => Some(why),
        }
    }

    /// Takes a request; `None`: no more can come.
    fn request(&mut self, request: Option<Request>) {
        let now = self.started.elapsed();
        self.last_number += 1;
        let number = self.last_number;
        match request {
            Some(Request::Read(update, log, caller)) => {
                self.session.requests.read(update, log, caller, now);
            }
            Some(Request::Follow(room, start, log, feed)) => {
                let place = (start, log.as_str());
                let replaced = self.session.requests.follow(number, room.clone(), place, now);
                self.feeds.insert(number, feed);
                if let Some(feed) = replaced.and_then(|before| self.feeds.remove(&before)) {
                    feed.end(ClientError::Replaced { room });
                }
            }
            Some(Request::Watch(feed)) => {
                self.feeds.insert(number, feed);
                self.session.requests.watch(number, now);
            }
            None => {
                self.closing = true;
                // A slow follower must not keep appends and reads from their answers.
                self.session.requests.remove_all();
                (self.feeds, self.blocked) = Default::default();
            }
        }
    }

    /// Removes the follows and watches that were dropped.
    fn sweep(&mut self) {
        for (number, _) in self.feeds.extract_if(|_, feed| feed.items.is_closed()) {
            self.session.requests.remove(number);
        }
    }

    /// Delivers what readers can take now; the first item that does not fit blocks the rest.
    fn deliver_all(&mut self) {
        while self.blocked.is_none() {
            let Some(delivery) = self.session.requests.deliveries.pop_front() else { return };
            self.deliver(delivery);
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        if let Item::End(why) = delivery.item {
            if let Some(feed) = self.feeds.remove(&delivery.to) {
                feed.end(why);
            }
            return;
        }
        match self.feeds.get(&delivery.to).map(|feed| feed.items.try_send(delivery)) {
            None | Some(Ok(())) => {}
            Some(Err(TrySendError::Full(delivery))) => self.blocked = Some(delivery),
            Some(Err(TrySendError::Closed(_))) => self.sweep(),
        }
    }

    /// A new connection; `None`: the client was closed and needs none.
    async fn reconnect(&mut self, mut why: String) -> Result<Option<Socket>, ClientError> {
        let since = *self.lost_since.get_or_insert_with(Instant::now);
        let options = self.options.clone();
        loop {
            publish(&self.shared.state, State::Reconnecting(why.clone()));
            let wait = self.backoff.next(rand::random());
            if let Some(retry_timeout) = options.retry_timeout
                && since.elapsed() + wait > retry_timeout
            {
                let address = options.address.to_string();
                return Err(ClientError::Lost { address, why, waited: retry_timeout });
            }
            let opening = async {
                sleep(wait).await;
                Socket::open(&options).await
            };
            let Some(opened) = self.while_disconnected(opening).await else { return Ok(None) };
            match opened {
                Ok(Opened { author, .. }) if author != self.shared.author => {
                    let why = format!("it welcomes {author} and not {}", self.shared.author);
                    let address = options.address.to_string();
                    return Err(ClientError::Unusable { address, why });
                }
                Ok(Opened { socket, hello, renew_at, .. }) => {
                    self.renew_at = renew_at;
                    self.session.connected(&hello, self.started.elapsed());
                    self.shared.hello.send_replace(Arc::new(hello));
                    publish(&self.shared.state, State::Connected);
                    return Ok(Some(socket));
                }
                Err(ConnectError::Transient(problem)) => why = problem,
                Err(ConnectError::Final(error)) => return Err(error),
            }
        }
    }

    /// Awaits a future and accepts requests. `None`: the client is closed and nothing is pending.
    async fn while_disconnected<T>(&mut self, what: impl Future<Output = T>) -> Option<T> {
        let mut what = std::pin::pin!(what);
        loop {
            if self.is_done() {
                return None;
            }
            let (append, other) =
                (self.session.outbox.has_space(), self.session.requests.has_space());
            tokio::select! {
                done = &mut what => return Some(done),
                Some(request) = self.appends.recv(), if append => self.session.append(request),
                request = self.requests.recv(), if other && !self.closing => self.request(request),
                () = self.shared.dropped.notified() => self.sweep(),
            }
        }
    }

    fn is_done(&self) -> bool {
        self.closing && self.appends.is_empty() && self.session.is_done()
    }

    /// Gives up. Dropping this task then wakes everyone who waits.
    fn fail(mut self, error: &ClientError) {
        let _first_and_only = self.shared.end.set(error.clone());
        self.session.fail_all(error);
    }
}

/// A new token, when it is time for one.
async fn renewed(options: &Options, at: Option<Instant>) -> Result<Token, String> {
    let (Some(source), Some(at)) = (&options.token, at) else {
        return std::future::pending().await;
    };
    sleep_until(at).await;
    source.get().await
}

/// Waits for space for the blocked delivery, or until its reader is dropped.
async fn space(blocked: Option<&Delivery>, feeds: &HashMap<u64, Feed>) {
    if let Some(feed) = blocked.and_then(|delivery| feeds.get(&delivery.to)) {
        drop(feed.items.reserve().await);
    }
}

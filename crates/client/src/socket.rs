//! One connection: TCP, TLS if the address says so, WebSocket, `hello`, `login`, `welcome`, then frames both ways.
//!
//! Enters: options; frames to send. Leaves: frames of the server, or why the connection ended.
//! Invariant: reads and writes are concurrent, so full buffers cannot deadlock the two ends.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{Sink, Stream};
use http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use roomlog_protocol::{
    Author, ClientFrame, Hello, Login, PROTOCOL_VERSION, SUBPROTOCOL, ServerFrame,
};
use tokio::time::Instant;
use tokio_websockets::{
    ClientBuilder, CloseCode, Error, Limits, Message, WebSocketStream, upgrade,
};

use crate::{
    ClientError,
    options::Options,
    requests::written,
    transport::{self, OpenError, Transport},
};

/// The longest accepted frame: twice the largest page that a server can be configured to send.
const LONGEST_FRAME: usize = 32 << 20;
/// The ways to log in: `hello.auth`.
const OPEN: &str = "open";
const TOKEN: &str = "token";

/// The `req` of a login: those of appends are above, those of other requests below.
pub(crate) const LOGIN_REQ: i64 = 0;

/// What a connection begins with.
pub(crate) struct Opened {
    pub(crate) socket: Socket,
    pub(crate) hello: Hello,
    /// Whom the server welcomed.
    pub(crate) author: Author,
    /// When to log in again; `None` without a token.
    pub(crate) renew_at: Option<Instant>,
}

pub(crate) struct Socket {
    inner: WebSocketStream<Transport>,
}

#[derive(Debug)]
pub(crate) enum Incoming {
    Frame(Box<ServerFrame>),
    /// A WebSocket ping or pong.
    Control,
    /// The connection ended, for this reason.
    Lost(String),
}

pub(crate) enum ConnectError {
    /// A retry may succeed.
    Transient(String),
    /// A retry is pointless.
    Final(ClientError),
}

impl ConnectError {
    /// The error of a caller that does not retry.
    pub(crate) fn without_retry(self, options: &Options) -> ClientError {
        match self {
            Self::Final(error) => error,
            Self::Transient(why) => {
                ClientError::Unreachable { address: options.address.to_string(), why }
            }
        }
    }
}

impl Socket {
    /// Connects and logs in.
    pub(crate) async fn open(options: &Options) -> Result<Opened, ConnectError> {
        match tokio::time::timeout(options.connect_timeout, Self::log_in(options)).await {
            Ok(connected) => connected,
            Err(_) => Err(ConnectError::Transient(format!(
                "no welcome within {} s",
                options.connect_timeout.as_secs()
            ))),
        }
    }

    async fn log_in(options: &Options) -> Result<Opened, ConnectError> {
        let unusable = |why: String| {
            let address = options.address.to_string();
            ConnectError::Final(ClientError::Unusable { address, why })
        };
        let stream = transport::open(options.address.uri(), &options.trust).await;
        let stream = stream.map_err(|error| match error {
            OpenError::Unreachable(why) => ConnectError::Transient(why),
            OpenError::Tls(problem) => {
                let address = options.address.to_string();
                ConnectError::Final(ClientError::Tls { address, problem })
            }
        })?;
        let mut socket = Self::upgrade(options, stream).await.map_err(|error| match error {
            // From a proxy whose server is down, or of a server with too many of our connections.
            Error::Upgrade(upgrade::Error::DidNotSwitchProtocols(status @ (429 | 500..))) => {
                ConnectError::Transient(format!("it answered with status {status}"))
            }
            Error::Upgrade(upgrade::Error::DidNotSwitchProtocols(400)) => unusable(
                "it answered with status 400; if it serves TLS, its address begins with https://"
                    .into(),
            ),
            Error::Upgrade(why) => unusable(format!("it did not open a WebSocket ({why})")),
            other => ConnectError::Transient(plain(&other)),
        })?;
        // Without a token it goes out before the `hello` has come.
        let mut login = options.token.is_none().then(|| login_as(options));
        let (mut hello, mut renew_at) = (None, None);
        loop {
            let frame = match socket.next(|| login.take(), true).await {
                Incoming::Frame(frame) => *frame,
                Incoming::Control => continue,
                Incoming::Lost(why) => return Err(ConnectError::Transient(why)),
            };
            match (frame, hello.take()) {
                (ServerFrame::Hello(first), _) => {
                    if first.auth == TOKEN && options.token.is_none() {
                        let address = options.address.to_string();
                        return Err(ConnectError::Final(ClientError::TokenNeeded { address }));
                    }
                    let first = usable(*first).map_err(unusable)?;
                    if let Some(source) = &options.token {
                        login = Some(if first.auth == OPEN {
                            login_as(options)
                        } else {
                            let token = source.get().await.map_err(ConnectError::Transient)?;
                            renew_at = Some(token.renew_at);
                            login_with(token.text)
                        });
                    }
                    hello = Some(first);
                }
                (ServerFrame::Welcome { author }, Some(hello)) => {
                    return Ok(Opened { socket, hello, author, renew_at });
                }
                (ServerFrame::Error(error), _) if error.code.is_transient() => {
                    return Err(ConnectError::Transient(error.message));
                }
                (ServerFrame::Error(error), _) => {
                    return Err(ConnectError::Final(ClientError::Refused(Box::new(error))));
                }
                (_, None) => return Err(unusable("its first frame is not hello".into())),
                (_, known) => hello = known,
            }
        }
    }

    async fn upgrade(options: &Options, stream: Transport) -> Result<Self, Error> {
        let limits = Limits::default().max_payload_len(Some(LONGEST_FRAME));
        let builder = ClientBuilder::from_uri(options.address.uri().clone())
            .limits(limits)
            .add_header(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL))?;
        let (inner, _response) = builder.connect_on(stream).await?;
        Ok(Self { inner })
    }

    /// Sends what `next_frame` returns until something arrives. With `read` false it returns only
    /// if writing fails. Cancel-safe.
    pub(crate) async fn next(
        &mut self,
        mut next_frame: impl FnMut() -> Option<String>,
        read: bool,
    ) -> Incoming {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(Err(why)) = self.poll_write(cx, &mut next_frame) {
                // The server may have sent a reason before it closed.
                return Poll::Ready(match self.poll_read(cx) {
                    Poll::Ready(lost @ Incoming::Lost(_)) => lost,
                    _ => Incoming::Lost(plain(&why)),
                });
            }
            if read { self.poll_read(cx) } else { Poll::Pending }
        })
        .await
    }

    /// Sends a close frame and waits for the server's.
    pub(crate) async fn close(mut self) {
        let close = Message::close(Some(CloseCode::NORMAL_CLOSURE), "");
        let sent = Pin::new(&mut self.inner).start_send(close);
        if sent.is_ok() {
            while !matches!(self.next(|| None, true).await, Incoming::Lost(_)) {}
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        next_frame: &mut impl FnMut() -> Option<String>,
    ) -> Poll<Result<(), Error>> {
        let mut sink = Pin::new(&mut self.inner);
        loop {
            ready!(sink.as_mut().poll_ready(cx))?;
            match next_frame() {
                Some(text) => sink.as_mut().start_send(Message::text(text))?,
                None => return sink.poll_flush(cx),
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        let arrived = match ready!(Pin::new(&mut self.inner).poll_next(cx)) {
            None => Incoming::Lost("the server closed the connection".into()),
            Some(Err(why)) => Incoming::Lost(plain(&why)),
            Some(Ok(arrived)) => incoming(&arrived),
        };
        Poll::Ready(arrived)
    }
}

/// The `hello`, if this client can use that server.
fn usable(hello: Hello) -> Result<Hello, String> {
    if hello.protocol != PROTOCOL_VERSION {
        return Err(format!(
            "it speaks version {} of the protocol, this client {PROTOCOL_VERSION}",
            hello.protocol
        ));
    }
    match hello.auth.as_str() {
        OPEN | TOKEN => Ok(hello),
        other => Err(format!("it requires a login by {other}, which this client does not know")),
    }
}

/// The frame that logs in on an open server.
fn login_as(options: &Options) -> String {
    let author = Some(options.author.clone());
    written(&ClientFrame::Login(Login { token: None, author, req: Some(LOGIN_REQ) }))
}

/// The frame that logs in with a token.
pub(crate) fn login_with(token: String) -> String {
    let token = Some(token);
    written(&ClientFrame::Login(Login { token, author: None, req: Some(LOGIN_REQ) }))
}

fn incoming(arrived: &Message) -> Incoming {
    if let Some((code, reason)) = arrived.as_close() {
        let code = u16::from(code);
        return Incoming::Lost(if reason.is_empty() {
            format!("the server closed the connection ({code})")
        } else {
            format!("the server closed the connection ({code} {reason})")
        });
    }
    let Some(text) = arrived.as_text() else { return Incoming::Control };
    match serde_json::from_str(text) {
        Ok(frame) => Incoming::Frame(Box::new(frame)),
        Err(why) => Incoming::Lost(format!("the server sent an invalid frame: {why}")),
    }
}

/// The error without the library's own words.
fn plain(error: &Error) -> String {
    match error {
        Error::Io(why) => why.to_string(),
        Error::AlreadyClosed => "the connection is closed".into(),
        other => other.to_string(),
    }
}

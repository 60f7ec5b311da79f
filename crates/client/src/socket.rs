//! One connection: TCP, WebSocket, `hello`, `login`, `welcome`, then frames both ways.
//!
//! Enters: an address and an author; texts to send. Leaves: frames of the server, or why the
//! connection is no more. Invariant: reading and writing go on side by side, so two ends that both
//! have much to say cannot wait for each other.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{Sink, Stream};
use http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL};
use roomlog_protocol::{ClientFrame, Hello, Login, PROTOCOL_VERSION, SUBPROTOCOL, ServerFrame};
use tokio::net::TcpStream;
use tokio_websockets::{
    ClientBuilder, CloseCode, Error, Limits, MaybeTlsStream, Message, WebSocketStream, upgrade,
};

use crate::{ClientError, asks::written, options::Options};

/// The longest frame that is taken from a server: twice the largest page that one may be set to.
const LONGEST_FRAME: usize = 32 << 20;

/// The mark of `login`; an error with it answers the login.
const LOGIN_REQ: i64 = 0;

pub(crate) struct Socket {
    inner: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What came in.
#[derive(Debug)]
pub(crate) enum Incoming {
    Frame(Box<ServerFrame>),
    /// A WebSocket ping or pong.
    Sign,
    /// The connection is no more, for this reason.
    Lost(String),
}

/// Why there is no connection.
pub(crate) enum ConnectError {
    /// Another try may succeed.
    Transient(String),
    /// Another try is of no use.
    Final(ClientError),
}

impl Socket {
    /// Connects and logs in.
    pub(crate) async fn open(options: &Options) -> Result<(Self, Hello), ConnectError> {
        match tokio::time::timeout(options.connecting, Self::greet(options)).await {
            Ok(greeted) => greeted,
            Err(_) => Err(ConnectError::Transient(format!(
                "no welcome within {} s",
                options.connecting.as_secs()
            ))),
        }
    }

    /// As [`Socket::open`], after a while.
    pub(crate) async fn open_after(
        wait: Duration,
        options: &Options,
    ) -> Result<(Self, Hello), ConnectError> {
        tokio::time::sleep(wait).await;
        Self::open(options).await
    }

    async fn greet(options: &Options) -> Result<(Self, Hello), ConnectError> {
        let unusable = |why: String| {
            let address = options.address.to_string();
            ConnectError::Final(ClientError::Unusable { address, why })
        };
        let mut socket = Self::connect(options).await.map_err(|error| match error {
            // A proxy says so while the server behind it is away.
            Error::Upgrade(upgrade::Error::DidNotSwitchProtocols(status @ 500..)) => {
                ConnectError::Transient(format!("it answered with status {status}"))
            }
            Error::Upgrade(why) => unusable(format!("it did not open a WebSocket ({why})")),
            other => ConnectError::Transient(plain(&other)),
        })?;
        let author = Some(options.author.clone());
        let login = Login { token: None, author, req: Some(LOGIN_REQ) };
        let mut login = Some(written(&ClientFrame::Login(login)));
        let mut hello = None;
        loop {
            let frame = match socket.next(|| login.take(), true).await {
                Incoming::Frame(frame) => *frame,
                Incoming::Sign => continue,
                Incoming::Lost(why) => return Err(ConnectError::Transient(why)),
            };
            match (frame, hello.take()) {
                (ServerFrame::Hello(told), _) => {
                    hello = Some(spoken(told).map_err(unusable)?);
                }
                (ServerFrame::Welcome { .. }, Some(hello)) => return Ok((socket, hello)),
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

    async fn connect(options: &Options) -> Result<Self, Error> {
        let limits = Limits::default().max_payload_len(Some(LONGEST_FRAME));
        let builder = ClientBuilder::from_uri(options.address.uri().clone())
            .limits(limits)
            .add_header(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL))?;
        let (inner, _response) = builder.connect().await?;
        let MaybeTlsStream::Plain(stream) = inner.get_ref();
        stream.set_nodelay(true).map_err(Error::Io)?;
        Ok(Self { inner })
    }

    /// Sends all that `next_frame` gives while waiting for something to come in. With `read` false
    /// nothing is read; then this never returns unless writing fails. May be dropped at any point.
    pub(crate) async fn next(
        &mut self,
        mut next_frame: impl FnMut() -> Option<String>,
        read: bool,
    ) -> Incoming {
        std::future::poll_fn(|cx| {
            if let Poll::Ready(Err(why)) = self.poll_write(cx, &mut next_frame) {
                // The other end may have said why before it stopped listening.
                return Poll::Ready(self.last_word(cx).unwrap_or(Incoming::Lost(plain(&why))));
            }
            if read { self.poll_read(cx) } else { Poll::Pending }
        })
        .await
    }

    /// Says goodbye.
    pub(crate) async fn close(mut self) {
        let goodbye = Message::close(Some(CloseCode::NORMAL_CLOSURE), "");
        let sent = Pin::new(&mut self.inner).start_send(goodbye);
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

    fn last_word(&mut self, cx: &mut Context<'_>) -> Option<Incoming> {
        match self.poll_read(cx) {
            Poll::Ready(Incoming::Lost(why)) => Some(Incoming::Lost(why)),
            Poll::Ready(_) | Poll::Pending => None,
        }
    }
}

/// The `hello`, when this client speaks what it tells.
fn spoken(hello: Hello) -> Result<Hello, String> {
    if hello.protocol != PROTOCOL_VERSION {
        return Err(format!(
            "it speaks version {} of the protocol, this client {PROTOCOL_VERSION}",
            hello.protocol
        ));
    }
    if hello.auth != "open" {
        return Err(format!(
            "it asks for a {} to log in, which this client cannot give yet",
            hello.auth
        ));
    }
    Ok(hello)
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
    let Some(text) = arrived.as_text() else { return Incoming::Sign };
    match serde_json::from_str(text) {
        Ok(frame) => Incoming::Frame(Box::new(frame)),
        Err(why) => Incoming::Lost(format!("the server sent what is no frame: {why}")),
    }
}

/// The error without the name of the layer it happened in.
fn plain(error: &Error) -> String {
    match error {
        Error::Io(why) => why.to_string(),
        Error::AlreadyClosed => "the connection is closed".into(),
        other => other.to_string(),
    }
}

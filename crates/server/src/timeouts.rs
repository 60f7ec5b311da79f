//! The timeouts of an HTTP connection: for the head of a request, and for a client that does not
//! read.
//!
//! ```text
//!  opened ──handshake_ms──► request ──► answered: rests ──first byte──handshake_ms──► request
//! ```
//!
//! Enters: the bytes of HTTP. Leaves: the same, or an error. Invariants: a connection that has sent
//! nothing yet, and a head that has begun, have `handshake_ms`; a connection at rest between two
//! requests has hyper's `header_read_timeout`, [`REST_TIME`], which bounds every head as well; a
//! client that reads nothing of an answer for `idle_ms` is cut off (an endless one, such as
//! Server-Sent Events, would keep its socket for ever). A WebSocket has timeouts of its own and
//! takes the connection out of this.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep, sleep_until},
};

/// How long a connection may rest between two requests. Balancers and proxies usually keep one for
/// 60 s: they have to be the ones that close it, or a request meets a closed connection.
pub(crate) const REST_TIME: Duration = Duration::from_secs(75);

/// When the head of a request is due on one connection; shared by its socket and its requests.
#[derive(Clone)]
pub(crate) struct HeadTimeout {
    state: Arc<Mutex<HeadState>>,
    /// How long a head may take, from the opening of the connection or from its first byte.
    head_for: Duration,
}

#[derive(Clone, Copy)]
enum HeadState {
    Due(Instant),
    Received,
    AtRest,
}

impl HeadTimeout {
    pub(crate) fn start(head_for: Duration) -> Self {
        let state = Arc::new(Mutex::new(HeadState::Due(Instant::now() + head_for)));
        Self { state, head_for }
    }

    /// After an answer, bytes begin the next head.
    fn bytes_read(&self) {
        let mut state = self.state.lock();
        if matches!(*state, HeadState::AtRest) {
            *state = HeadState::Due(Instant::now() + self.head_for);
        }
    }

    pub(crate) fn received(&self) {
        *self.state.lock() = HeadState::Received;
    }

    fn due(&self) -> Option<Instant> {
        match *self.state.lock() {
            HeadState::Due(at) => Some(at),
            HeadState::Received | HeadState::AtRest => None,
        }
    }

    /// Whether a head is late.
    pub(crate) fn is_over(&self) -> bool {
        self.due().is_some_and(|due| Instant::now() >= due)
    }

    /// Wraps the body of an answer: when it is dropped, the connection rests.
    pub(crate) fn rest_after(&self, body: Body) -> Body {
        let at_end = RestGuard(self.clone());
        Body::new(body.map_err(move |error| {
            let _held = &at_end;
            error
        }))
    }
}

struct RestGuard(HeadTimeout);

impl Drop for RestGuard {
    fn drop(&mut self) {
        *self.0.state.lock() = HeadState::AtRest;
    }
}

/// A connection whose reads fail when a head is late, and whose writes when the client does not
/// read.
pub(crate) struct TimeoutStream<S> {
    stream: S,
    head: HeadTimeout,
    /// Ends a read that waits for a head.
    head_timer: Pin<Box<Sleep>>,
    idle_for: Duration,
    /// Ends a write; present while one is pending.
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> TimeoutStream<S> {
    pub(crate) fn new(stream: S, idle_for: Duration, head: HeadTimeout) -> Self {
        let head_timer = Box::pin(sleep_until(head.due().unwrap_or_else(Instant::now)));
        Self { stream, head, head_timer, idle_for, write_timer: None }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let idle_for = self.idle_for;
        let timer = self.write_timer.get_or_insert_with(|| Box::pin(sleep(idle_for)));
        ready!(timer.as_mut().poll(context));
        timed_out("the client has read nothing for idle_ms")
    }
}

fn timed_out<T>(why: &str) -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
}

impl<S: AsyncRead + Unpin> AsyncRead for TimeoutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.head.bytes_read();
        }
        let Some(due) = self.head.due().filter(|_| read.is_pending()) else { return read };
        if self.head_timer.deadline() != due {
            self.head_timer.as_mut().reset(due);
        }
        ready!(self.head_timer.as_mut().poll(context));
        timed_out("the head of a request did not arrive in time")
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimeoutStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.written(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.written(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::body::HttpBody;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use super::*;

    const HEAD_TIME: Duration = Duration::from_secs(10);

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("a connection"), accepted.expect("a connection").0)
    }

    #[tokio::test]
    async fn a_late_head_ends_the_connection_and_a_rest_does_not() {
        let ((mut client, accepted), head) = (connected().await, HeadTimeout::start(HEAD_TIME));
        tokio::time::pause();
        let mut server = TimeoutStream::new(accepted, Duration::from_secs(60), head.clone());
        let read = timeout(Duration::from_secs(9), server.read_u8()).await;
        assert!(read.is_err(), "it is open for 9 s");
        head.received();
        drop(head.rest_after(Body::empty()));
        let read = timeout(Duration::from_secs(70), server.read_u8()).await;
        assert!(read.is_err(), "it rests for 70 s");
        client.write_all(b"G").await.expect("sent");
        assert_eq!(server.read_u8().await.expect("a byte"), b'G');
        let begun = Instant::now();
        let late = server.read_u8().await.expect_err("a head that does not come");
        assert_eq!((late.kind(), begun.elapsed().as_secs()), (io::ErrorKind::TimedOut, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_is_due_after_opening_or_its_first_byte_and_a_rest_has_no_limit() {
        let head = HeadTimeout::start(HEAD_TIME);
        let opened = Instant::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        head.bytes_read();
        assert_eq!(head.due(), Some(opened + HEAD_TIME));
        head.received();
        head.bytes_read();
        assert_eq!(head.due(), None);
        let body = head.rest_after(Body::from("answer"));
        assert_eq!((head.due(), body.size_hint().exact()), (None, Some(6)));
        drop(body);
        assert_eq!(head.due(), None);
        tokio::time::advance(Duration::from_secs(60)).await;
        head.bytes_read();
        assert_eq!(head.due(), Some(Instant::now() + HEAD_TIME));
    }
}

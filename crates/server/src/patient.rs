//! A TCP connection that waits only so long: for a client that does not read, and for the head of a request.
//!
//! Enters: the bytes of HTTP. Leaves: the same, or an error when the client has taken nothing of an answer
//! for `idle_ms` (one without an end, such as Server-Sent Events, would keep its socket for ever), or when
//! the head of a request takes longer than the [`HeadClock`] allows. A WebSocket looks after itself and takes
//! the connection out of this.

use std::{
    io,
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep},
};

use crate::head_clock::HeadClock;

/// A connection whose writes end with an error when they make no headway, and whose reads when a head does
/// not come.
pub(crate) struct Patient {
    stream: TcpStream,
    clock: HeadClock,
    /// When a read ends that waits for a head.
    late: Pin<Box<Sleep>>,
    patience: Duration,
    /// When it ends; there while a write waits.
    stuck: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    pub(crate) fn new(stream: TcpStream, patience: Duration, clock: HeadClock) -> Self {
        let late = Box::pin(tokio::time::sleep_until(clock.due().unwrap_or_else(Instant::now)));
        Self { stream, clock, late, patience, stuck: None }
    }

    pub(crate) fn into_inner(self) -> TcpStream {
        self.stream
    }

    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stuck = None;
            return written;
        }
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        ready!(stuck.as_mut().poll(context));
        let why = "the client has not taken what was sent for idle_ms";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.clock.bytes_came();
        }
        let Some(due) = self.clock.due().filter(|_| read.is_pending()) else { return read };
        if self.late.deadline() != due {
            self.late.as_mut().reset(due);
        }
        ready!(self.late.as_mut().poll(context));
        let why = "the head of a request did not come in time";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl AsyncWrite for Patient {
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
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    async fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        (client.expect("a connection"), accepted.expect("a connection").0)
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_ends_the_connection_and_a_rest_does_not() {
        let ((mut client, accepted), clock) = (connected().await, HeadClock::start());
        tokio::time::pause();
        let mut server = Patient::new(accepted, Duration::from_secs(60), clock.clone());
        let read = timeout(Duration::from_secs(9), server.read_u8()).await;
        assert!(read.is_err(), "it is open for 9 s");
        clock.request_came();
        drop(clock.until_the_end_of(axum::body::Body::empty()));
        let read = timeout(Duration::from_secs(70), server.read_u8()).await;
        assert!(read.is_err(), "it rests for 70 s");
        client.write_all(b"G").await.expect("sent");
        assert_eq!(server.read_u8().await.expect("a byte"), b'G');
        let begun = Instant::now();
        let late = server.read_u8().await.expect_err("a head that does not come");
        assert_eq!((late.kind(), begun.elapsed().as_secs()), (io::ErrorKind::TimedOut, 10));
    }
}

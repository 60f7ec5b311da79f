//! tokio-websockets reads; what is written are frames made once per commit, shared by all.
//!
//! Enters: the read half, with writes thrown away, and commits. Leaves: commits' frames by
//! `write_vectored` on the write half. Invariant: the library never writes; pongs and the answer to a
//! close are ours.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use futures_util::{Stream, StreamExt};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
    sync::broadcast,
};
use tokio_websockets::ServerBuilder;

use super::{Commit, upgrade::Upgraded};

/// What a reader reports of a receiver.
pub(super) enum Incoming {
    Ping(Bytes),
    Close,
    Other,
}

/// Serves one receiver until it ends: tokio-websockets reads.
pub(super) async fn run(upgraded: Upgraded) -> io::Result<()> {
    let (read, write) = upgraded.stream.into_split();
    let reader = ServerBuilder::new().serve(Discarding(ReadFirst::new(upgraded.read, read)));
    let incoming = reader.map(|read| {
        let read = read.map_err(io::Error::other)?;
        Ok(match () {
            () if read.is_ping() => Incoming::Ping(read.into_payload().into()),
            () if read.is_close() => Incoming::Close,
            () => Incoming::Other,
        })
    });
    drive(upgraded.commits, write, incoming).await
}

/// Writes what is committed and what `incoming` asks for.
pub(super) async fn drive(
    mut commits: broadcast::Receiver<Commit>,
    mut write: OwnedWriteHalf,
    mut incoming: impl Stream<Item = io::Result<Incoming>> + Unpin,
) -> io::Result<()> {
    let mut frames = Frames::default();
    loop {
        tokio::select! {
            commit = commits.recv() => {
                let Ok(commit) = commit else { return Ok(()) };
                frames.0.push_back(commit.framed());
            }
            read = incoming.next() => match read {
                Some(Ok(Incoming::Ping(payload))) => frames.0.push_back(control(0x8A, &payload)),
                Some(Ok(Incoming::Close)) => frames.0.push_back(control(0x88, b"")),
                Some(Ok(Incoming::Other)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
        }
        write.write_all_buf(&mut frames).await?;
    }
}

/// A control frame; the library has checked that the payload is short.
fn control(head: u8, payload: &[u8]) -> Bytes {
    let mut frame = vec![head, payload.len() as u8];
    frame.extend_from_slice(payload);
    frame.into()
}

/// Frames that wait for the socket.
#[derive(Default)]
struct Frames(VecDeque<Bytes>);

impl Buf for Frames {
    fn remaining(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    fn chunk(&self) -> &[u8] {
        self.0.front().map_or(&[], |frame| frame)
    }

    fn chunks_vectored<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        let slices = self.0.iter().zip(into);
        slices.map(|(frame, slice)| *slice = IoSlice::new(frame)).count()
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(front) = self.0.front_mut() {
            let step = count.min(front.len());
            front.advance(step);
            count -= step;
            if !front.is_empty() {
                return;
            }
            self.0.pop_front();
        }
    }
}

/// A stream that begins with bytes which were read already.
pub(super) struct ReadFirst<T> {
    first: Bytes,
    then: T,
}

impl<T> ReadFirst<T> {
    pub(super) fn new(first: Bytes, then: T) -> Self {
        // Empty bytes still hold the buffer that they were cut from: hyper's 8 KiB.
        let first = if first.is_empty() { Bytes::new() } else { first };
        Self { first, then }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ReadFirst<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.then).poll_read(cx, into);
        }
        let step = into.remaining().min(self.first.len());
        into.put_slice(&self.first[..step]);
        self.first = if step == self.first.len() { Bytes::new() } else { self.first.slice(step..) };
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ReadFirst<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.then).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.then).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.then).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.then).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.then.is_write_vectored()
    }
}

/// Reads; throws away what is written.
pub(super) struct Discarding(pub(super) ReadFirst<OwnedReadHalf>);

impl AsyncRead for Discarding {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Discarding {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

//! As `shared`, but a reader of our own, which holds no buffer while nothing is half read.
//!
//! Enters: the read half. Leaves: whole frames, unmasked and reported by kind. Invariant: bytes are
//! read into the stack; only a frame that is not whole yet is kept. A sketch for the measurement: a
//! gateway's reader also checks fragments, UTF-8 and close codes, which an idle socket never pays.

use std::{
    collections::VecDeque,
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use tokio::io::{AsyncRead, ReadBuf};

use super::{
    shared::{Incoming, ReadFirst, drive},
    upgrade::Upgraded,
};

/// Bytes to read at a time.
const READ: usize = 4 * 1024;
/// The longest payload.
const MOST: usize = 128 * 1024;

/// Serves one receiver until it ends.
pub(super) async fn run(upgraded: Upgraded) -> io::Result<()> {
    let (read, write) = upgraded.stream.into_split();
    let reader = Reader {
        read: ReadFirst::new(upgraded.read, read),
        partial: Vec::new(),
        ready: VecDeque::new(),
    };
    drive(upgraded.commits, write, reader).await
}

struct Reader<R> {
    read: ReadFirst<R>,
    /// A frame that is not whole yet; without capacity when there is none.
    partial: Vec<u8>,
    ready: VecDeque<Incoming>,
}

impl<R: AsyncRead + Unpin> Stream for Reader<R> {
    type Item = io::Result<Incoming>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(incoming) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(incoming)));
            }
            let mut stack = [MaybeUninit::uninit(); READ];
            let mut buffer = ReadBuf::uninit(&mut stack);
            if let Err(error) = ready!(Pin::new(&mut self.read).poll_read(cx, &mut buffer)) {
                return Poll::Ready(Some(Err(error)));
            }
            if buffer.filled().is_empty() {
                return Poll::Ready(None);
            }
            if let Err(error) = self.take(buffer.filled_mut()) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }
}

impl<R> Reader<R> {
    fn take(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        if self.partial.is_empty() {
            let taken = frames(bytes, &mut self.ready)?;
            self.partial.extend_from_slice(&bytes[taken..]);
            return Ok(());
        }
        self.partial.extend_from_slice(bytes);
        let taken = frames(&mut self.partial, &mut self.ready)?;
        self.partial.drain(..taken);
        if self.partial.is_empty() {
            self.partial = Vec::new();
        }
        Ok(())
    }
}

/// Takes the whole frames at the start of `bytes`; returns how many bytes they have.
fn frames(bytes: &mut [u8], into: &mut VecDeque<Incoming>) -> io::Result<usize> {
    let mut at = 0;
    while let Some((payload, mask)) = span(&bytes[at..])? {
        let opcode = bytes[at] & 0x0F;
        let payload = &mut bytes[at + payload.start..at + payload.end];
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        into.push_back(match opcode {
            8 => Incoming::Close,
            9 => Incoming::Ping(Bytes::copy_from_slice(payload)),
            _ => Incoming::Other,
        });
        at += payload.len() + head_len(bytes[at + 1]);
    }
    Ok(at)
}

/// Where the payload of the frame at the start is, and its mask; none when it is not whole.
fn span(bytes: &[u8]) -> io::Result<Option<(std::ops::Range<usize>, [u8; 4])>> {
    let &[first, second, ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 || second & 0x80 == 0 {
        return Err(io::Error::other("a frame that is not masked, or has reserved bits"));
    }
    let head = head_len(second);
    if bytes.len() < head {
        return Ok(None);
    }
    let len = match second & 0x7F {
        126 => usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
        127 => bytes[2..10].iter().fold(0, |len, byte| (len << 8) | usize::from(*byte)),
        len => usize::from(len),
    };
    if len > MOST {
        return Err(io::Error::other("a frame that is too long"));
    }
    let mut mask = [0; 4];
    mask.copy_from_slice(&bytes[head - 4..head]);
    Ok((bytes.len() >= head + len).then_some((head..head + len, mask)))
}

/// Bytes of the head of a masked frame.
fn head_len(second: u8) -> usize {
    match second & 0x7F {
        126 => 8,
        127 => 14,
        _ => 6,
    }
}

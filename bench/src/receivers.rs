//! Many receivers on one thread, which count entries and nothing else.
//!
//! Enters: streams that have joined. Leaves: how many entries and bytes came. Invariant: an entry is
//! a pair of [`MARK`]s in the bytes; every body that these benchmarks send has exactly one, so a
//! byte search counts entries of every server alike, however split. (One mark would not do: 0x7E is
//! also the head of a frame of 126 bytes to 64 KiB. Two in a head need a payload of 31.5 KiB.)

use std::{
    io::{self, Read},
    net::TcpStream,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};

/// The byte that counts when it comes twice.
const MARK: u8 = b'~';

/// How long nothing may come before a wait is given up.
const QUIET: Duration = Duration::from_secs(20);

/// A body of `len` bytes (at least 2) with one pair of marks.
pub(crate) fn body(len: usize) -> String {
    let mut body = String::from_iter([char::from(MARK); 2]);
    body.extend(std::iter::repeat_n('x', len.saturating_sub(2)));
    body
}

/// One receiver: its stream, and whether the last byte that came was a mark.
struct Stream {
    tcp: mio::net::TcpStream,
    marked: bool,
}

/// The receivers of one server.
pub(crate) struct Receivers {
    poll: Poll,
    events: Events,
    streams: Vec<Stream>,
    buffer: Vec<u8>,
    /// Entries that came to all receivers together.
    pub(crate) entries: u64,
    /// Bytes that came to all receivers together.
    pub(crate) bytes: u64,
}

impl Receivers {
    /// Takes connected streams over.
    ///
    /// # Errors
    /// When they cannot be registered.
    pub(crate) fn new(streams: Vec<TcpStream>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut taken = Vec::with_capacity(streams.len());
        for (number, stream) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let mut tcp = mio::net::TcpStream::from_std(stream);
            poll.registry().register(&mut tcp, Token(number), Interest::READABLE)?;
            taken.push(Stream { tcp, marked: false });
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            streams: taken,
            buffer: vec![0; 256 * 1024],
            entries: 0,
            bytes: 0,
        })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Reads until each receiver has got `entries` more, all together.
    ///
    /// # Errors
    /// When nothing comes for 20 s, more comes than was sent, or a stream ends.
    pub(crate) fn take(&mut self, entries: u64) -> io::Result<()> {
        let wanted = self.entries + entries * self.streams.len() as u64;
        let mut last = Instant::now();
        while self.entries < wanted {
            self.poll.poll(&mut self.events, Some(QUIET))?;
            if self.events.is_empty() && last.elapsed() >= QUIET {
                let missing = wanted - self.entries;
                return Err(io::Error::other(format!("{missing} entries did not come")));
            }
            last = Instant::now();
            for event in &self.events {
                let stream = &mut self.streams[event.token().0];
                let (entries, bytes) = drain(stream, &mut self.buffer)?;
                self.entries += entries;
                self.bytes += bytes;
            }
        }
        if self.entries > wanted {
            return Err(io::Error::other("more entries came than were sent"));
        }
        Ok(())
    }
}

/// Reads what is there: entries and bytes.
fn drain(stream: &mut Stream, buffer: &mut [u8]) -> io::Result<(u64, u64)> {
    let (mut entries, mut bytes) = (0, 0);
    loop {
        match stream.tcp.read(buffer) {
            Ok(0) => return Err(io::Error::other("the server closed a receiver")),
            Ok(n) => {
                bytes += n as u64;
                entries += count(&buffer[..n], &mut stream.marked);
                // A short read emptied the socket; what comes later is a new event.
                if n < buffer.len() {
                    return Ok((entries, bytes));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((entries, bytes)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Pairs of marks in `bytes`, which follow bytes that ended with a mark if `marked`.
fn count(bytes: &[u8], marked: &mut bool) -> u64 {
    let split = *marked && bytes.first() == Some(&MARK);
    *marked = bytes.last() == Some(&MARK);
    u64::from(split) + memchr::memmem::find_iter(bytes, &[MARK; 2]).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_counted_wherever_the_bytes_are_split() {
        let wire = [body(9), body(2), body(5)].join("\"},{\"body\":\"");
        for at in 0..=wire.len() {
            let (mut marked, (first, second)) = (false, wire.as_bytes().split_at(at));
            assert_eq!(count(first, &mut marked) + count(second, &mut marked), 3, "split at {at}");
        }
    }
}

//! Many receivers on one thread, which count entries and parse nothing.
//!
//! Enters: streams that have joined a room. Leaves: the number of entries and bytes received.
//! Invariant: entries are counted as pairs of [`MARK`]s, so every server is read at the same cost.

use std::{
    io::{self, Read},
    net::TcpStream,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};

use crate::frame::{MARK, count_entries};

/// Timeout if nothing is received.
const QUIET: Duration = Duration::from_secs(20);

struct Stream {
    tcp: mio::net::TcpStream,
    /// Whether the last byte received was a mark.
    marked: bool,
}

/// The receivers of one server.
pub(crate) struct Receivers {
    poll: Poll,
    events: Events,
    streams: Vec<Stream>,
    buffer: Vec<u8>,
    /// Entries received by all.
    entries: u64,
    /// Bytes received by all.
    pub(crate) bytes: u64,
}

impl Receivers {
    pub(crate) fn new(streams: Vec<TcpStream>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut registered = Vec::with_capacity(streams.len());
        for (number, stream) in streams.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let mut tcp = mio::net::TcpStream::from_std(stream);
            poll.registry().register(&mut tcp, Token(number), Interest::READABLE)?;
            registered.push(Stream { tcp, marked: false });
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            streams: registered,
            buffer: vec![0; 256 * 1024],
            entries: 0,
            bytes: 0,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.streams.len()
    }

    /// Reads until every receiver has got `entries` more.
    ///
    /// # Errors
    /// If nothing is received for 20 s, more is received than was sent, or a stream ends.
    pub(crate) fn take(&mut self, entries: u64) -> io::Result<()> {
        let wanted = self.entries + entries * self.streams.len() as u64;
        let mut last = Instant::now();
        while self.entries < wanted {
            self.poll.poll(&mut self.events, Some(QUIET))?;
            if self.events.is_empty() && last.elapsed() >= QUIET {
                let missing = wanted - self.entries;
                return Err(io::Error::other(format!("{missing} entries were not received")));
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
            return Err(io::Error::other("more entries were received than sent"));
        }
        Ok(())
    }
}

/// Reads what is available; returns entries and bytes.
fn drain(stream: &mut Stream, buffer: &mut [u8]) -> io::Result<(u64, u64)> {
    let (mut entries, mut bytes) = (0, 0);
    loop {
        match stream.tcp.read(buffer) {
            Ok(0) => return Err(io::Error::other("the server closed a receiver")),
            Ok(n) => {
                bytes += n as u64;
                entries += count(&buffer[..n], &mut stream.marked);
                // A short read has emptied the socket; more is a new event.
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

/// Entries in `bytes`; `marked`: the bytes before ended with a mark.
fn count(bytes: &[u8], marked: &mut bool) -> u64 {
    let split = *marked && bytes.first() == Some(&MARK);
    *marked = bytes.last() == Some(&MARK);
    u64::from(split) + count_entries(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::body;

    #[test]
    fn entries_are_counted_wherever_the_bytes_are_split() {
        let wire = [body(9), body(2), body(5)].join("\"},{\"body\":\"");
        for at in 0..=wire.len() {
            let (mut marked, (first, second)) = (false, wire.as_bytes().split_at(at));
            assert_eq!(count(first, &mut marked) + count(second, &mut marked), 3, "split at {at}");
        }
    }
}

//! Authors on one thread, for any system: each connection has a number of appends in flight.
//!
//! ```text
//!  free place ──► append ──► ack: its time counts, the place is free ──► the next append
//! ```
//!
//! Enters: connected authors. Leaves: how long each append took. Invariant: a place has at most one append
//! without an answer.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};

use super::system::{Ack, Author, Connected};
use crate::{nonblocking, times::Times};

/// Timeout of the last answers.
const LAST: Duration = Duration::from_secs(40);

/// How long the generator waits for an event before it looks at the time.
const LOOK: Duration = Duration::from_millis(200);

/// What a run has counted.
#[derive(Default)]
pub(crate) struct Acked {
    /// From sending an append to its ack.
    pub(crate) times: Times,
    pub(crate) count: u64,
}

struct Connection {
    tcp: mio::net::TcpStream,
    author: Box<dyn Author>,
    input: Vec<u8>,
    out: Vec<u8>,
    /// When the append of each place was sent.
    sent: Vec<Instant>,
    free: Vec<usize>,
    /// Places with appends, oldest first.
    waiting: VecDeque<usize>,
}

/// Authors of one system.
pub(crate) struct Generator {
    poll: Poll,
    connections: Vec<Connection>,
    rooms: u32,
    next_room: u32,
    body: String,
}

impl Generator {
    /// Each of `authors` has `in_flight` appends in flight, to the rooms in turn.
    pub(crate) fn new(
        authors: Vec<Connected>,
        in_flight: usize,
        rooms: u32,
        body: String,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::with_capacity(authors.len());
        for (number, (stream, author)) in authors.into_iter().enumerate() {
            stream.set_nonblocking(true)?;
            let mut tcp = mio::net::TcpStream::from_std(stream);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut tcp, Token(number), both)?;
            let (input, out, waiting) = (Vec::new(), Vec::new(), VecDeque::new());
            let (sent, free) = (vec![Instant::now(); in_flight], (0..in_flight).rev().collect());
            connections.push(Connection { tcp, author, input, out, sent, free, waiting });
        }
        Ok(Self { poll, connections, rooms, next_room: 0, body })
    }

    /// Appends for `time`, or until `most` are sent, then waits for the last answers.
    ///
    /// # Errors
    /// If a connection breaks, an append is refused, or answers time out.
    pub(crate) fn run(&mut self, time: Duration, most: u64) -> io::Result<Acked> {
        let (begun, mut acked, mut left) = (Instant::now(), Acked::default(), most);
        let mut events = Events::with_capacity(1_024);
        for number in 0..self.connections.len() {
            self.fill(number, &mut left)?;
        }
        while self.connections.iter().any(|it| !it.waiting.is_empty()) {
            if begun.elapsed() > time + LAST {
                return Err(io::Error::other("answers timed out"));
            }
            self.poll.poll(&mut events, Some(LOOK))?;
            for event in &events {
                let Token(number) = event.token();
                self.connections[number].read(&mut acked)?;
                if begun.elapsed() >= time {
                    left = 0;
                }
                self.fill(number, &mut left)?;
            }
        }
        Ok(acked)
    }

    /// Appends as long as a connection has free places.
    fn fill(&mut self, number: usize, left: &mut u64) -> io::Result<()> {
        let connection = &mut self.connections[number];
        while *left > 0
            && let Some(place) = connection.free.pop()
        {
            *left -= 1;
            let room = self.next_room;
            self.next_room = (room + 1) % self.rooms;
            connection.author.append(&mut connection.out, room, &self.body, place);
            connection.sent[place] = Instant::now();
            connection.waiting.push_back(place);
        }
        connection.flush()
    }
}

impl Connection {
    /// Reads what has come, and counts the acks in it.
    fn read(&mut self, acked: &mut Acked) -> io::Result<()> {
        nonblocking::read(&mut self.tcp, &mut self.input, &mut [0; 64 << 10])?;
        let mut acks = Vec::new();
        let taken = self.author.answers(&self.input, &mut self.out, &mut acks)?;
        self.input.drain(..taken);
        let now = Instant::now();
        for ack in acks {
            let at = match ack {
                Ack::Oldest => Some(0),
                Ack::Place(place) => self.waiting.iter().position(|waiting| *waiting == place),
            };
            let place = at.and_then(|at| self.waiting.remove(at));
            let place = place.ok_or_else(|| io::Error::other("an ack of no append"))?;
            acked.times.record(now - self.sent[place]);
            acked.count += 1;
            self.free.push(place);
        }
        Ok(())
    }

    /// Writes as much as the socket accepts.
    fn flush(&mut self) -> io::Result<()> {
        nonblocking::write(&mut self.tcp, &mut self.out)
    }
}

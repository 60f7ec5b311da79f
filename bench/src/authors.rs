//! Many authors on one thread, each with several appends in flight.
//!
//! ```text
//!  place (connection, number) ──► append with req = number ──► appended: next append
//!                      ▲                                  └──► busy: the same again, later
//!                      └───────────────────────────────────────────┘
//! ```
//!
//! Enters: a plan, and a supply of appends. Leaves: their ack times. Invariants: a place has at
//! most one unanswered append; an append that is answered `busy` is resent with its id after
//! `retry_after_ms`, and its ack time counts from the first sending.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    fmt, io,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use rustix::io::Errno;
use serde::Deserialize;

use crate::{
    frame::{append_frame, body},
    nonblocking,
    peer::Peer,
    supply::Supply,
    times::Times,
    ws::{Input, Socket, put_text},
};

/// Timeout of the last answers.
const LAST: Duration = Duration::from_secs(40);

/// How many authors there are, and what they append.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Connections.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4000))]
    connections: u32,
    /// Appends in flight on each.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    in_flight: u32,
    /// Bytes in a body.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=16_384))]
    pub(crate) body: u32,
}

impl Plan {
    pub(crate) fn new(connections: u32, in_flight: u32, body: u32) -> Self {
        Self { connections, in_flight, body }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections with {} in flight", self.connections, self.in_flight)
    }
}

/// The token of the ticks; no connection has it.
const TICKS: Token = Token(usize::MAX);

/// The outcome of a run.
#[derive(Default)]
pub(crate) struct Tally {
    /// From the time an append was due, or else was first sent, to its `appended`.
    pub(crate) ack: Times,
    /// The same, always from the first sending: without the delays of this program.
    pub(crate) sent: Times,
    /// Appends answered `appended`.
    pub(crate) acked: u64,
    /// From the first append to the last answer.
    pub(crate) took: Duration,
    /// `busy` answers.
    pub(crate) busy: u64,
}

/// An append that is unanswered or was answered `busy`.
struct Place {
    since: Instant,
    sent: Instant,
    frame: String,
}

/// One author.
struct Connection {
    tcp: mio::net::TcpStream,
    input: Input,
    out: Vec<u8>,
    places: Vec<Place>,
}

/// The fields of an answer that matter here.
#[derive(Deserialize)]
struct Answer<'a> {
    r#type: &'a str,
    code: Option<&'a str>,
    req: Option<usize>,
    retry_after_ms: Option<u64>,
}

/// All authors of a run.
pub(crate) struct Authors {
    poll: Poll,
    connections: Vec<Connection>,
    /// Places to resend after a `busy`: due, connection, number.
    retries: BinaryHeap<Reverse<(Instant, usize, usize)>>,
    /// Places without an append, the longest free first: connection, number.
    free: VecDeque<(usize, usize)>,
    rooms: u64,
    body: String,
    unanswered: usize,
    tally: Tally,
}

impl Authors {
    /// Connects and logs in.
    pub(crate) fn connect<'a>(
        peer: impl Into<Peer<'a>>,
        plan: &Plan,
        rooms: u32,
    ) -> io::Result<Self> {
        let peer = peer.into();
        let poll = Poll::new()?;
        let mut connections = Vec::new();
        for number in 0..plan.connections as usize {
            let stream = Socket::login(peer, &format!("author-{number}"))?.into_stream()?;
            stream.set_nonblocking(true)?;
            let mut tcp = mio::net::TcpStream::from_std(stream);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut tcp, Token(number), both)?;
            let now = Instant::now();
            let place = || Place { since: now, sent: now, frame: String::new() };
            let places = (0..plan.in_flight).map(|_| place()).collect();
            let (input, out) = (Input::default(), Vec::new());
            connections.push(Connection { tcp, input, out, places });
        }
        let numbers = 0..plan.in_flight as usize;
        let free = numbers.flat_map(|place| (0..connections.len()).map(move |c| (c, place)));
        let free = free.collect();
        Ok(Self {
            poll,
            connections,
            retries: BinaryHeap::new(),
            free,
            rooms: u64::from(rooms),
            body: body(plan.body as usize),
            unanswered: 0,
            tally: Tally::default(),
        })
    }

    /// Appends to the rooms in turn for `time`, then waits for the last answers.
    ///
    /// # Errors
    /// If a connection breaks, an append is rejected, or answers time out.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<Tally> {
        let mut rooms = (0..self.rooms).cycle();
        self.drive(&mut Supply::lasting(time), &mut || rooms.next().unwrap_or(0))
    }

    /// Appends what is due, each entry to the room that `choose` returns, then waits for the last
    /// answers. An append that is due while no place is free is sent when one is.
    pub(crate) fn drive(
        &mut self,
        supply: &mut Supply,
        choose: &mut dyn FnMut() -> u64,
    ) -> io::Result<Tally> {
        let ticks = supply.ticks()?;
        if let Some(ticks) = &ticks {
            let source = &ticks.as_raw_fd();
            self.poll.registry().register(&mut SourceFd(source), TICKS, Interest::READABLE)?;
        }
        let mut events = Events::with_capacity(1024);
        supply.begin();
        self.fill(supply, choose)?;
        while self.unanswered > 0 || !supply.ended() {
            let now = Instant::now();
            if now > supply.end() + LAST {
                return Err(io::Error::other(format!("{} answers timed out", self.unanswered)));
            }
            supply.progress(now, self.tally.acked);
            self.retry(now)?;
            let due = self.retries.peek().map_or(LAST, |Reverse((due, ..))| *due - now);
            self.poll.poll(&mut events, Some(due.min(Duration::from_secs(1))))?;
            for event in &events {
                match (event.token(), &ticks) {
                    (TICKS, Some(ticks)) => match rustix::io::read(ticks, &mut [0; 8]) {
                        Ok(_) | Err(Errno::AGAIN) => {}
                        Err(error) => return Err(error.into()),
                    },
                    (Token(number), _) => self.serve(number, supply.warm_up)?,
                }
                self.fill(supply, choose)?;
            }
        }
        self.tally.took = supply.elapsed();
        if let Some(ticks) = &ticks {
            self.poll.registry().deregister(&mut SourceFd(&ticks.as_raw_fd()))?;
        }
        Ok(std::mem::take(&mut self.tally))
    }

    /// Appends what is due while places are free.
    fn fill(&mut self, supply: &mut Supply, choose: &mut dyn FnMut() -> u64) -> io::Result<()> {
        let mut last = None;
        while let Some(&(connection, place)) = self.free.front()
            && let now = Instant::now()
            && let Some(since) = supply.take(now)
        {
            self.free.pop_front();
            if let Some(before) = last.replace(connection).filter(|last| *last != connection) {
                self.connections[before].flush()?;
            }
            self.begin((connection, place), (since, now), choose());
        }
        last.map_or(Ok(()), |last| self.connections[last].flush())
    }

    /// Puts a new append into a place; its times are when it was due and when it is sent.
    fn begin(
        &mut self,
        (connection, place): (usize, usize),
        (since, sent): (Instant, Instant),
        room: u64,
    ) {
        self.unanswered += 1;
        let frame = append_frame(&format!("load-{room}"), &self.body, Some(place));
        let connection = &mut self.connections[connection];
        put_text(&mut connection.out, frame.as_bytes());
        connection.places[place] = Place { since, sent, frame };
    }

    /// Resends what was answered `busy` and is due.
    fn retry(&mut self, now: Instant) -> io::Result<()> {
        while let Some(&Reverse((due, connection, place))) = self.retries.peek() {
            if due > now {
                return Ok(());
            }
            self.retries.pop();
            let connection = &mut self.connections[connection];
            put_text(&mut connection.out, connection.places[place].frame.as_bytes());
            connection.flush()?;
        }
        Ok(())
    }

    /// Reads what a connection received; the first `warm_up` acks are not timed.
    fn serve(&mut self, number: usize, warm_up: u64) -> io::Result<()> {
        loop {
            let connection = &mut self.connections[number];
            match connection.input.fill(&mut connection.tcp) {
                Ok(true) => self.answers(number, warm_up)?,
                Ok(false) => return Err(io::Error::other("the server closed an author")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.connections[number].flush();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Handles every complete answer.
    fn answers(&mut self, number: usize, warm_up: u64) -> io::Result<()> {
        loop {
            let connection = &mut self.connections[number];
            let Some(text) = connection.input.next_text(&mut connection.out)? else {
                return Ok(());
            };
            let odd = || io::Error::other(format!("got {}", String::from_utf8_lossy(text)));
            let answer: Answer<'_> = serde_json::from_slice(text).map_err(|_| odd())?;
            let place = answer.req.filter(|place| *place < connection.places.len());
            let place = place.ok_or_else(odd)?;
            match (answer.r#type, answer.code) {
                ("appended", _) => {
                    if self.tally.acked >= warm_up {
                        let (place, now) = (&connection.places[place], Instant::now());
                        self.tally.ack.record(now - place.since);
                        self.tally.sent.record(now - place.sent);
                    }
                    self.tally.acked += 1;
                    self.unanswered -= 1;
                    self.free.push_back((number, place));
                }
                ("error", Some("busy")) => {
                    let wait = Duration::from_millis(answer.retry_after_ms.unwrap_or(500));
                    self.tally.busy += 1;
                    self.retries.push(Reverse((Instant::now() + wait, number, place)));
                }
                _ => return Err(odd()),
            }
        }
    }
}

impl Connection {
    /// Writes as much as the socket accepts.
    fn flush(&mut self) -> io::Result<()> {
        nonblocking::write(&mut self.tcp, &mut self.out)
    }
}

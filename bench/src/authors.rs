//! Many authors on one thread, each with some appends in flight.
//!
//! ```text
//!  place (connection, number) ──► append with req = number ──► appended: next append
//!                      ▲                                  └──► busy: the same again, later
//!                      └───────────────────────────────────────────┘
//! ```
//!
//! Enters: a plan, and a supply of appends. Leaves: the ack times. Invariant: a place has at most one
//! append unanswered.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    fmt,
    io::{self, Write},
    net::SocketAddr,
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use rustix::io::Errno;
use serde::Deserialize;

use crate::{
    receivers::body,
    supply::Supply,
    ws::{Input, Socket, put_text},
};

/// How long the last answers may take.
const LAST: Duration = Duration::from_secs(40);

/// Who appends how much.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Connections.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4000))]
    connections: u32,
    /// Appends unanswered at a time on each.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    in_flight: u32,
    /// Bytes of a body.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(2..=16_384))]
    pub(crate) body: u32,
}

impl Plan {
    /// A plan that no command line made.
    pub(crate) fn new(connections: u32, in_flight: u32, body: u32) -> Self {
        Self { connections, in_flight, body }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections with {} in flight", self.connections, self.in_flight)
    }
}

/// The token of the ticks: no connection has it.
const TICKS: Token = Token(usize::MAX);

/// What came of it.
#[derive(Default)]
pub(crate) struct Tally {
    /// From the first sending of an append, or when it was due, to its `appended`, in µs; nothing of
    /// a supply that is not timed.
    pub(crate) ack_us: Vec<f64>,
    /// The same from its first sending always: without what this program was late.
    pub(crate) sent_us: Vec<f64>,
    /// Appends answered `appended`.
    pub(crate) acked: u64,
    /// From the first append to the last answer.
    pub(crate) took: Duration,
    /// Appends answered `busy` (once for each answer).
    pub(crate) busy: u64,
}

/// An append that is unanswered, or was answered `busy`.
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

/// An answer, as far as it is read here.
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
    /// Places that wait after a `busy`: due, connection, number.
    later: BinaryHeap<Reverse<(Instant, usize, usize)>>,
    /// Places without an append, the one that is free for longest first: connection, number.
    free: VecDeque<(usize, usize)>,
    rooms: u64,
    sent: u64,
    body: String,
    unanswered: usize,
    tally: Tally,
}

impl Authors {
    /// Connects and logs in.
    ///
    /// # Errors
    /// When the server refuses.
    pub(crate) fn connect(addr: SocketAddr, plan: &Plan, rooms: u32) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut connections = Vec::new();
        for number in 0..plan.connections as usize {
            let stream = Socket::login(addr, &format!("author-{number}"))?.into_stream()?;
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
            later: BinaryHeap::new(),
            free,
            rooms: u64::from(rooms),
            sent: 0,
            body: body(plan.body as usize),
            unanswered: 0,
            tally: Tally::default(),
        })
    }

    /// Appends for `time`, to one room after the other, then waits for the last answers.
    ///
    /// # Errors
    /// When a connection breaks, an append is refused for good or answers do not come.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<Tally> {
        let (rooms, mut sent) = (self.rooms, self.sent);
        let mut next = || {
            sent += 1;
            (sent - 1) % rooms
        };
        let tally = self.drive(&mut Supply::lasting(time), &mut next);
        self.sent = sent;
        tally
    }

    /// Appends what `supply` has, each to the room that `choose` says, then waits for the last
    /// answers. What is due while no place is free goes when one is.
    ///
    /// # Errors
    /// As [`Authors::run`].
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
                return Err(io::Error::other(format!("{} answers did not come", self.unanswered)));
            }
            supply.progress(now, self.tally.acked);
            self.send_later(now)?;
            let due = self.later.peek().map_or(LAST, |Reverse((due, ..))| *due - now);
            self.poll.poll(&mut events, Some(due.min(Duration::from_secs(1))))?;
            for event in &events {
                match (event.token(), &ticks) {
                    (TICKS, Some(ticks)) => match rustix::io::read(ticks, &mut [0; 8]) {
                        Ok(_) | Err(Errno::AGAIN) => {}
                        Err(error) => return Err(error.into()),
                    },
                    (Token(number), _) => self.serve(number, supply.timed())?,
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

    /// Appends what is due, as far as places are free.
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

    /// A new append at a place, due and sent at these times.
    fn begin(
        &mut self,
        (connection, place): (usize, usize),
        (since, sent): (Instant, Instant),
        room: u64,
    ) {
        self.unanswered += 1;
        let frame = crate::append_frame(&format!("load-{room}"), &self.body, Some(place));
        let connection = &mut self.connections[connection];
        put_text(&mut connection.out, frame.as_bytes());
        connection.places[place] = Place { since, sent, frame };
    }

    /// Sends again what was `busy` and is due.
    fn send_later(&mut self, now: Instant) -> io::Result<()> {
        while let Some(&Reverse((due, connection, place))) = self.later.peek() {
            if due > now {
                return Ok(());
            }
            self.later.pop();
            let connection = &mut self.connections[connection];
            put_text(&mut connection.out, connection.places[place].frame.as_bytes());
            connection.flush()?;
        }
        Ok(())
    }

    /// Reads what came on a connection; `timed`: ack times are kept.
    fn serve(&mut self, number: usize, timed: bool) -> io::Result<()> {
        loop {
            let connection = &mut self.connections[number];
            match connection.input.fill(&mut connection.tcp) {
                Ok(true) => self.answers(number, timed)?,
                Ok(false) => return Err(io::Error::other("the server closed an author")),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return self.connections[number].flush();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes every whole answer that is there.
    fn answers(&mut self, number: usize, timed: bool) -> io::Result<()> {
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
                    if timed {
                        let (place, now) = (&connection.places[place], Instant::now());
                        let us = |since: Instant| (now - since).as_secs_f64() * 1e6;
                        self.tally.ack_us.push(us(place.since));
                        self.tally.sent_us.push(us(place.sent));
                    }
                    self.tally.acked += 1;
                    self.unanswered -= 1;
                    self.free.push_back((number, place));
                }
                ("error", Some("busy")) => {
                    let wait = Duration::from_millis(answer.retry_after_ms.unwrap_or(500));
                    self.tally.busy += 1;
                    self.later.push(Reverse((Instant::now() + wait, number, place)));
                }
                _ => return Err(odd()),
            }
        }
    }
}

impl Connection {
    /// Writes as much as the socket takes.
    fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.tcp.write(&self.out) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

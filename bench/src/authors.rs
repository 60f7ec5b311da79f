//! Many authors on one thread, each with some appends in flight.
//!
//! ```text
//!  place (connection, number) ──► append with req = number ──► appended: next append
//!                      ▲                                  └──► busy: the same again, later
//!                      └───────────────────────────────────────────┘
//! ```
//!
//! Enters: a plan. Leaves: the ack times. Invariant: a place has at most one append unanswered.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    fmt,
    io::{self, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use serde::Deserialize;

use crate::{
    receivers::body,
    spread::Rooms,
    ws::{Input, Socket, put_text},
};

/// How long the last answers may take.
const LAST: Duration = Duration::from_secs(40);

/// How late an append may be sent by this program alone.
const TICK: Duration = Duration::from_millis(3);

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

/// How much is appended.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// As much as the server takes in so long.
    Time(Duration),
    /// So many entries.
    Entries(u64),
    /// So many a second, for so long; one that finds no place waits, and its time counts from when it
    /// was to be sent.
    Paced(u32, Duration),
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections with {} in flight", self.connections, self.in_flight)
    }
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Tally {
    /// From the first sending of an append to its `appended`, in µs.
    pub(crate) ack_us: Vec<f64>,
    /// Appends answered `busy` (once for each answer).
    pub(crate) busy: u64,
}

/// An append that is unanswered, or was answered `busy`.
struct Place {
    since: Instant,
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
    /// Places with nothing unanswered, when appends come at a pace.
    idle: Vec<(usize, usize)>,
    rooms: u64,
    /// How rooms are drawn; in turn where there is none.
    spread: Option<(Rooms, Xoshiro256PlusPlus)>,
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
            let place = || Place { since: Instant::now(), frame: String::new() };
            let places = (0..plan.in_flight).map(|_| place()).collect();
            let (input, out) = (Input::default(), Vec::new());
            connections.push(Connection { tcp, input, out, places });
        }
        Ok(Self {
            poll,
            connections,
            later: BinaryHeap::new(),
            idle: Vec::new(),
            rooms: u64::from(rooms),
            spread: None,
            sent: 0,
            body: body(plan.body as usize),
            unanswered: 0,
            tally: Tally::default(),
        })
    }

    /// Draws rooms by their spread.
    pub(crate) fn spread(&mut self, rooms: Rooms) {
        self.spread = Some((rooms, Xoshiro256PlusPlus::seed_from_u64(1)));
    }

    /// Appends, then waits for the last answers.
    ///
    /// # Errors
    /// When a connection breaks, an append is refused for good or answers do not come.
    pub(crate) fn run(&mut self, until: Until) -> io::Result<Tally> {
        let start = Instant::now();
        let (time, until_sent) = match until {
            Until::Time(time) | Until::Paced(_, time) => (time, u64::MAX),
            Until::Entries(entries) => (Duration::from_secs(3_600), self.sent + entries),
        };
        let end = start + time;
        let places = |n: usize, it: &Connection| (0..it.places.len()).map(move |place| (n, place));
        let all = self.connections.iter().enumerate().flat_map(|(n, it)| places(n, it));
        self.idle = all.collect();
        let (mut events, mut scheduled) = (Events::with_capacity(1024), 0);
        loop {
            let now = Instant::now();
            let due = match until {
                _ if now > end => 0,
                Until::Paced(rate, _) => {
                    (start.elapsed().as_secs_f64() * f64::from(rate)) as u64 - scheduled
                }
                _ => u64::MAX,
            };
            let pace = if let Until::Paced(rate, _) = until { Some((start, rate)) } else { None };
            scheduled += self.begin_some(due, until_sent, pace.map(|(s, r)| (s, r, scheduled)))?;
            if self.unanswered == 0 && (now > end || self.sent >= until_sent) {
                return Ok(std::mem::take(&mut self.tally));
            }
            if now > end + LAST {
                return Err(io::Error::other(format!("{} answers did not come", self.unanswered)));
            }
            self.send_later(now)?;
            let later = self.later.peek().map_or(LAST, |Reverse((due, ..))| *due - now);
            let tick = if pace.is_some() { 1 } else { 1_000 };
            self.poll.poll(&mut events, Some(later.min(Duration::from_millis(tick))))?;
            for event in &events {
                self.serve(event.token().0)?;
            }
        }
    }

    /// Begins up to `due` appends at idle places; how many. With a pace (start, rate, how many were
    /// before), the time of one that had to wait for a place counts from when it was due.
    fn begin_some(
        &mut self,
        due: u64,
        until_sent: u64,
        pace: Option<(Instant, u32, u64)>,
    ) -> io::Result<u64> {
        let (mut begun, mut touched) = (0, Vec::new());
        while begun < due
            && self.sent < until_sent
            && let Some((connection, place)) = self.idle.pop()
        {
            self.begin(connection, place);
            if let Some((start, rate, before)) = pace {
                let when =
                    start + Duration::from_secs_f64((before + begun) as f64 / f64::from(rate));
                // What the tick of this loop adds is not the server's.
                if when.elapsed() > TICK {
                    self.connections[connection].places[place].since = when;
                }
            }
            begun += 1;
            touched.push(connection);
        }
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().try_for_each(|connection| self.connections[connection].flush())?;
        Ok(begun)
    }

    /// A new append at a place.
    fn begin(&mut self, connection: usize, place: usize) {
        let room = match &mut self.spread {
            Some((rooms, chance)) => rooms.draw(chance) as u64,
            None => self.sent % self.rooms,
        };
        let room = format!("load-{room}");
        self.sent += 1;
        self.unanswered += 1;
        let frame = crate::append_frame(&room, &self.body, Some(place));
        let connection = &mut self.connections[connection];
        put_text(&mut connection.out, frame.as_bytes());
        connection.places[place] = Place { since: Instant::now(), frame };
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

    /// Reads what came on a connection.
    fn serve(&mut self, number: usize) -> io::Result<()> {
        loop {
            let connection = &mut self.connections[number];
            match connection.input.fill(&mut connection.tcp) {
                Ok(true) => self.answers(number)?,
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
    fn answers(&mut self, number: usize) -> io::Result<()> {
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
                    let took = connection.places[place].since.elapsed();
                    self.tally.ack_us.push(took.as_secs_f64() * 1e6);
                    self.unanswered -= 1;
                    self.idle.push((number, place));
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

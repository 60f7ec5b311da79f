//! Connections that append as much as the server reads, without backoff.
//!
//! Enters: a number of connections and what they append. Leaves: counts of outcomes. Invariants: a
//! connection has at most `in_flight` unanswered appends and, apart from those, one frame in
//! memory; a refusal frees its place at once.

use std::{
    fmt,
    io::{
        self,
        ErrorKind::{TimedOut, UnexpectedEof, WouldBlock},
        Write,
    },
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use memchr::memmem;
use mio::{Events, Interest, Poll, Token};
use ulid::Ulid;

use super::Outcomes;
use crate::{
    frame::{append_frame, body},
    peer::Peer,
    ws::{Input, Socket, put_text},
};

/// How often the flooders look whether the step is over.
const LOOK: Duration = Duration::from_millis(50);

/// What each flooder appends.
#[derive(Debug, clap::Args)]
pub(super) struct Flood {
    /// Appends in flight on each flooding connection; more than the server's `appends_in_flight`
    /// wait in the socket.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=4096))]
    in_flight: u32,
    /// Bytes in a flooder's body.
    #[arg(long, default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(2..=16_384))]
    pub(super) body: u32,
    /// Rooms of each flooder, shared with nobody.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rooms: u32,
    /// Make one of each flooder's rooms the author's; the only one with `--rooms 1`.
    #[arg(long)]
    same_room: bool,
}

impl fmt::Display for Flood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { in_flight, body, rooms, same_room } = self;
        write!(f, "{in_flight} in flight, {body}-byte bodies, {rooms} rooms each")?;
        f.write_str(if *same_room { ", one of them the author's" } else { "" })
    }
}

/// A flooder's room. Room 0 of flooder 0 is the author's; all names have the same length.
pub(super) fn room(flooder: u32, room: u32) -> String {
    format!("flood-{flooder:04}-{room:04}")
}

/// One connection.
struct Flooder {
    number: u32,
    tcp: mio::net::TcpStream,
    input: Input,
    /// The rest of a frame of which the socket took a part.
    out: Vec<u8>,
    unanswered: u32,
    /// Appends so far.
    sent: u32,
}

/// A frame in which only the room and the id change.
struct Template {
    frame: Vec<u8>,
    room_at: usize,
    id_at: usize,
}

/// All flooders of a step.
pub(super) struct Flooders {
    poll: Poll,
    /// `None` once closed.
    flooders: Vec<Option<Flooder>>,
    template: Template,
    in_flight: u32,
    rooms: u32,
    same_room: bool,
    outcomes: Outcomes,
}

impl Flooders {
    /// Connects and logs in.
    ///
    /// # Errors
    /// If a login is not answered in time. One that is refused is counted as closed.
    pub(super) fn connect(peer: Peer<'_>, flood: &Flood, count: u32) -> io::Result<Self> {
        let (poll, mut outcomes) = (Poll::new()?, Outcomes::default());
        let mut flooders = Vec::new();
        for number in 1..=count {
            let stream = match Socket::login(peer, &format!("flooder-{number}")) {
                Ok(socket) => socket.into_stream()?,
                Err(error) if matches!(error.kind(), WouldBlock | TimedOut) => return Err(error),
                Err(_) => {
                    outcomes.lost += 1;
                    continue;
                }
            };
            stream.set_nonblocking(true)?;
            let mut tcp = mio::net::TcpStream::from_std(stream);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut tcp, Token(flooders.len()), both)?;
            let (input, out) = (Input::default(), Vec::new());
            flooders.push(Some(Flooder { number, tcp, input, out, unanswered: 0, sent: 0 }));
        }
        let template = Template::new(flood.body as usize)?;
        let Flood { in_flight, rooms, same_room, .. } = *flood;
        Ok(Self { poll, flooders, template, in_flight, rooms, same_room, outcomes })
    }

    /// Floods until `stop` is set, then closes the connections; returns also the seconds it took.
    ///
    /// # Errors
    /// If waiting for the sockets fails.
    pub(super) fn run(mut self, stop: &AtomicBool) -> io::Result<(Outcomes, f64)> {
        let start = Instant::now();
        let mut events = Events::with_capacity(1024);
        while !stop.load(Ordering::Relaxed) {
            self.poll.poll(&mut events, Some(LOOK))?;
            for event in &events {
                let Token(at) = event.token();
                if self.serve(at).is_err() {
                    self.flooders[at] = None;
                    self.outcomes.lost += 1;
                }
            }
        }
        Ok((self.outcomes, start.elapsed().as_secs_f64()))
    }

    /// Counts what a connection has received and fills its places.
    fn serve(&mut self, at: usize) -> io::Result<()> {
        let Some(flooder) = &mut self.flooders[at] else { return Ok(()) };
        while let Some(more) = ready(flooder.input.fill(&mut flooder.tcp))? {
            if !more {
                return Err(UnexpectedEof.into());
            }
            while let Some(text) = flooder.input.next_text(&mut flooder.out)? {
                if self.outcomes.count(text) {
                    flooder.unanswered = flooder.unanswered.saturating_sub(1);
                }
            }
        }
        loop {
            while !flooder.out.is_empty() {
                let Some(n) = ready(flooder.tcp.write(&flooder.out))? else { return Ok(()) };
                flooder.out.drain(..n);
            }
            if flooder.unanswered >= self.in_flight {
                return Ok(());
            }
            let own = flooder.sent % self.rooms;
            let owner = if self.same_room && own == 0 { 0 } else { flooder.number };
            let frame = self.template.next(&room(owner, own));
            flooder.sent = flooder.sent.wrapping_add(1);
            flooder.unanswered += 1;
            let n = ready(flooder.tcp.write(frame))?.unwrap_or(0);
            flooder.out.extend_from_slice(&frame[n..]);
        }
    }
}

impl Template {
    fn new(len: usize) -> io::Result<Self> {
        let (room, mut frame) = (room(0, 0), Vec::new());
        put_text(&mut frame, append_frame(&room, &body(len), None).as_bytes());
        let after = |mark: &str| memmem::find(&frame, mark.as_bytes()).map(|at| at + mark.len());
        let odd = || io::Error::other("an append frame without a room or an id");
        let room_at = after(r#""room":""#).ok_or_else(odd)?;
        let id_at = after(r#""id":""#).ok_or_else(odd)?;
        Ok(Self { frame, room_at, id_at })
    }

    /// The frame with another room and a new id.
    fn next(&mut self, room: &str) -> &[u8] {
        let id = Ulid::generate().to_string();
        for (at, text) in [(self.room_at, room), (self.id_at, id.as_str())] {
            self.frame[at..at + text.len()].copy_from_slice(text.as_bytes());
        }
        &self.frame
    }
}

/// `None` if a socket is not ready.
fn ready<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_gets_another_room_and_id() {
        let mut template = Template::new(10).expect("a frame");
        let first = template.frame.clone();
        let next = template.next(&room(7, 4000));
        assert_eq!(next.len(), first.len());
        assert_ne!(next, first);
        let next = String::from_utf8_lossy(next);
        assert!(next.contains(r#""room":"flood-0007-4000","id":""#), "{next}");
    }
}

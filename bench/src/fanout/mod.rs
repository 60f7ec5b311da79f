//! Server CPU per delivered entry, one room with many followers, compared with raw TCP.
//!
//! Enters: receivers, rounds, entries per round. Leaves: CPU per delivered entry, one at a time and
//! in bursts. Invariant: each round measures both servers once, so a ratio compares neighbours in
//! time.

mod floor;
mod lane;

use std::{io, net::TcpStream};

use crate::{
    args::ServerArgs,
    frame::{BODY, append_frame, body},
    process::Server,
    table::{Table, say},
    ws::Socket,
};

pub(crate) use floor::serve as serve_floor;

use self::lane::{BURST, Lane, Publisher};

/// The room that all followers join.
const ROOM: &str = "fanout";

/// How often each server commits before the first round.
const WARM_UP: u32 = 20;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct FanoutArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Receivers of each server.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=4000))]
    receivers: u32,
    /// Rounds; each measures every server once.
    #[arg(long, default_value_t = 21, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Entries sent one at a time in a round.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    singles: u32,
    /// Bursts of 32 sent in a round.
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    bursts: u32,
}

/// Measures and prints the table.
pub(crate) fn run(args: &FanoutArgs) -> io::Result<()> {
    let dir = args.server.dir.make()?;
    let server = args.server.start(dir.path())?;
    let author = Author { socket: Socket::login(server.peer(), "ada")?, body: body(BODY) };
    let ours = Lane::new("roomlog", server, args.receivers, follow, Box::new(author))?;
    let server = Server::own(floor::COMMAND)?;
    let control = floor::Control::connect(&server)?;
    let floor = Lane::new("floor", server, args.receivers, floor::receive, Box::new(control))?;
    let mut lanes = [floor, ours];
    measure(&mut lanes, args)?;
    let [_, ours] = lanes;
    for line in ours.stop()? {
        eprintln!("  {line}");
    }
    say("Bar: at most 1.5 of the floor, one at a time and in bursts.");
    Ok(())
}

/// Measures the lanes, the first of which is the floor, and prints the table.
fn measure(lanes: &mut [Lane], args: &FanoutArgs) -> io::Result<()> {
    lanes.iter_mut().try_for_each(|lane| lane.warm_up(WARM_UP))?;
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        lanes.iter_mut().try_for_each(|lane| lane.round(args.singles, args.bursts))?;
    }
    say(&format!(
        "Server CPU per delivered entry, {} receivers, bodies of {BODY} bytes, medians of {} \
         rounds:\n",
        args.receivers, args.rounds
    ));
    let bursts = format!("bursts of {BURST}, µs");
    let mut table = Table::new(&[
        "server",
        "one at a time, µs",
        "of floor",
        &bursts,
        "of floor",
        "bytes an entry",
        "idle KiB",
        "used KiB",
    ]);
    for lane in &*lanes {
        table.row(lane.row(&lanes[0])?);
    }
    table.print();
    say("\nidle, used: the server's memory per connection before and after the traffic (PSS).");
    Ok(())
}

/// A follower that has joined the room.
fn follow(server: &Server, number: u32) -> io::Result<TcpStream> {
    let mut socket = Socket::login(server.peer(), &format!("follower-{number}"))?;
    socket.join(ROOM)?;
    socket.into_stream()
}

/// An author who does not follow the room.
struct Author {
    socket: Socket,
    body: String,
}

impl Publisher for Author {
    fn commit(&mut self, entries: u16) -> io::Result<()> {
        let append = |_| append_frame(ROOM, &self.body, None);
        let frames: Vec<String> = (0..entries).map(append).collect();
        self.socket.send(&frames)
    }

    fn settle(&mut self, entries: u16) -> io::Result<()> {
        (0..entries).try_for_each(|_| self.socket.expect("appended"))
    }
}

//! Fan-out of our server against the floor: one room, many followers.

use std::{io, net::TcpStream};

use crate::{
    ServerArgs,
    fan::{self, Amount, Lane, Publish},
    process::Server,
    receivers::body,
    spike::{BODY, Kind},
    table::say,
    ws::Socket,
};

/// The room that everyone follows.
const ROOM: &str = "fanout";

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    amount: Amount,
}

/// Measures and prints the table.
///
/// # Errors
/// When the server or a follower fails.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let dir = args.server.dir.make()?;
    let server = Server::roomlog(&args.server.binary, dir.path())?;
    let ours = Lane::new("roomlog", server, args.amount.receivers, follow, publish)?;
    let mut lanes = [Lane::peer(Kind::Floor, args.amount.receivers)?, ours];
    fan::compare(&mut lanes, &args.amount)?;
    let [_, ours] = lanes;
    for line in ours.stop()? {
        eprintln!("  {line}");
    }
    say("Bar: at most 1.5 of the floor, one at a time and in bursts.");
    Ok(())
}

fn follow(server: &Server, number: u32) -> io::Result<TcpStream> {
    let mut socket = Socket::login(server.addr, &format!("follower-{number}"))?;
    socket.join(ROOM)?;
    socket.into_stream()
}

fn publish(server: &Server) -> io::Result<Box<dyn Publish>> {
    Ok(Box::new(Author { socket: Socket::login(server.addr, "ada")?, body: body(BODY) }))
}

/// An author who does not follow the room.
struct Author {
    socket: Socket,
    body: String,
}

impl Publish for Author {
    fn commit(&mut self, entries: u16) -> io::Result<()> {
        let append = |_| crate::append_frame(ROOM, &self.body, None);
        let frames: Vec<String> = (0..entries).map(append).collect();
        self.socket.send(&frames)
    }

    fn settle(&mut self, entries: u16) -> io::Result<()> {
        (0..entries).try_for_each(|_| self.socket.expect("appended").map(drop))
    }
}

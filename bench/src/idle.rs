//! The server's memory per idle connection.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{
    args::ServerArgs,
    process::{Server, memory},
    table::{Table, say},
    ws::Socket,
};

/// Descriptors that either side needs besides the connections.
const SPARE: u64 = 200;
/// Connections that are opened and closed before the first reading.
const WARM_UP: u32 = 200;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct IdleArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Connections; a loopback address has ports for about 28,000.
    #[arg(long, default_value_t = 10_000,
        value_parser = clap::value_parser!(u32).range(1..=25_000))]
    connections: u32,
    /// Rooms; each connection follows one of them.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=25_000))]
    rooms: u32,
}

/// Measures and prints the table.
pub(crate) fn run(args: &IdleArgs) -> io::Result<()> {
    raise_descriptors(u64::from(args.connections) + SPARE)?;
    let dir = args.server.dir.make()?;
    let server = args.server.start(dir.path())?;
    drop(open(&server, WARM_UP, args.rooms)?);
    let before = memory(server.pid())?;
    let connections = open(&server, args.connections, args.rooms)?;
    let after = memory(server.pid())?;
    let each = |after: u64, before: u64| {
        let grown = after as f64 - before as f64;
        format!("{:.2}", grown / 1024.0 / f64::from(args.connections))
    };
    let mut table = Table::new(&["memory", "before, MiB", "after, MiB", "KiB per connection"]);
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / 1_048_576.0);
    for (name, before, after) in [("RSS", before.rss, after.rss), ("PSS", before.pss, after.pss)] {
        table.row(vec![name.into(), mib(before), mib(after), each(after, before)]);
    }
    say(&format!("{} idle connections, each in one of {} rooms:\n", args.connections, args.rooms));
    table.print();
    say("\nBar: at most 12 KiB per connection.");
    drop(connections);
    server.stop().map(drop)
}

/// Connections that have logged in and joined.
fn open(server: &Server, count: u32, rooms: u32) -> io::Result<Vec<Socket>> {
    let one = |number: u32| {
        let mut socket = Socket::login(server.peer(), &format!("idle-{number}"))?;
        socket.join(&format!("idle-{}", number % rooms))?;
        Ok(socket)
    };
    (0..count).map(one).collect()
}

/// Raises the soft limit on descriptors, which the server inherits, to the hard limit.
fn raise_descriptors(needed: u64) -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    match limit.maximum {
        Some(max) if max < needed => Err(io::Error::other(format!(
            "{needed} file descriptors are needed, the hard limit is {max}: raise `ulimit -Hn` or \
             use fewer --connections"
        ))),
        _ => Ok(()),
    }
}

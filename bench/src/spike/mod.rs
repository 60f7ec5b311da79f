//! Fan-out servers that do nothing else: the floor, and three ways to speak WebSocket.
//!
//! ```text
//!  control: a u16 n ──► a commit of n entries, encoded once ──► broadcast ──► a task per receiver
//!                                                                              writes its frame
//! ```
//!
//! Enters: one number on the control connection for each commit. Leaves: the same bytes from every
//! kind, the frame with its `ack`, to every receiver. Invariant: the kinds differ in the write path
//! alone; runtime, waking and encoding are one.

mod axum_ws;
mod commit;
mod floor;
mod own;
mod shared;
mod sink;
mod tung;
mod upgrade;

use std::io;

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
    sync::broadcast,
};

pub(crate) use commit::{BODY, Commit};
pub(crate) use floor::GREETING;

use crate::fan::{self, Amount, Lane};

/// Commits that a receiver may be behind; the benchmarks never have more than one on the way.
const BEHIND: usize = 64;

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    amount: Amount,
    /// What to compare with the floor.
    #[arg(long, value_delimiter = ',', default_value = "axum,sink,shared,tung,own")]
    servers: Vec<Kind>,
}

/// Measures and prints the table.
///
/// # Errors
/// When a server or a receiver fails.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let kinds = std::iter::once(Kind::Floor).chain(args.servers.iter().copied());
    let lanes: io::Result<Vec<_>> =
        kinds.map(|kind| Lane::peer(kind, args.amount.receivers)).collect();
    fan::compare(&mut lanes?, &args.amount)
}

/// How a commit reaches a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Raw TCP: the floor.
    Floor,
    /// axum's WebSocket with 2 KiB to read and 16 KiB to write.
    Axum,
    /// tokio-websockets, its own sink.
    Sink,
    /// tokio-websockets reads; frames made once per commit are written by us.
    Shared,
    /// As shared, tungstenite reads.
    Tung,
    /// As shared, a reader of our own without a buffer.
    Own,
}

impl Kind {
    /// The name on the command line and in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Axum => "axum",
            Self::Sink => "sink",
            Self::Shared => "shared",
            Self::Tung => "tung",
            Self::Own => "own",
        }
    }
}

/// Serves until the process is ended.
///
/// # Errors
/// When it cannot listen, or the control connection breaks.
pub(crate) fn serve(kind: Kind) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let receivers = TcpListener::bind("127.0.0.1:0").await?;
        let control = TcpListener::bind("127.0.0.1:0").await?;
        let (addr, control_addr) = (receivers.local_addr()?, control.local_addr()?);
        eprintln!("{}: listening on http://{addr} control on {control_addr}", kind.name());
        let (publish, _) = broadcast::channel(BEHIND);
        let commits = publish.clone();
        match kind {
            Kind::Floor => tokio::spawn(floor::serve(receivers, commits)),
            Kind::Axum => tokio::spawn(axum_ws::serve(receivers, commits)),
            Kind::Sink => tokio::spawn(upgrade::serve(receivers, commits, sink::run)),
            Kind::Shared => tokio::spawn(upgrade::serve(receivers, commits, shared::run)),
            Kind::Tung => tokio::spawn(upgrade::serve(receivers, commits, tung::run)),
            Kind::Own => tokio::spawn(upgrade::serve(receivers, commits, own::run)),
        };
        let (control, _) = control.accept().await?;
        // A task of its own, as the server's apply is: it wakes receivers from inside the runtime.
        tokio::spawn(command(control, publish)).await?
    })
}

/// Publishes a commit for each number that comes, until the control connection ends.
async fn command(mut control: TcpStream, publish: broadcast::Sender<Commit>) -> io::Result<()> {
    let mut slot = 0;
    loop {
        let entries = match control.read_u16().await {
            Ok(entries) => u64::from(entries),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        // Without receivers there is nobody to tell.
        let _ = publish.send(Commit::encode(slot, entries)?);
        slot += entries;
    }
}

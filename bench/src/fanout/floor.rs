//! The floor of fan-out: a raw-TCP server with a task per connection that reads nothing.
//!
//! ```text
//!  control: a u16 n ──► a commit of n entries, encoded once ──► broadcast ──► a task per receiver
//! ```
//!
//! Enters: one number per commit, on the control connection. Leaves: to every receiver the bytes
//! that Roomlog would send, a WebSocket frame with an `ack`. Invariant: a receiver that has been
//! greeted misses no commit.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use bytes::Bytes;
use roomlog_protocol::{
    Author, Content, Entry, EntryId, Kind, NameError, RoomName, Salt, ServerAck, ServerFrame,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream as AsyncStream},
    sync::broadcast,
};

use super::lane::Publisher;
use crate::{
    frame::{BODY, body},
    process::Server,
    ws::server_text,
};

/// The subcommand that starts the server.
pub(super) const COMMAND: &str = "fanout-floor";

/// The first byte that a receiver gets.
const GREETING: u8 = b'!';

/// How many commits a receiver may be behind; there is never more than one in flight.
const CAPACITY: usize = 64;

/// Connects a receiver.
pub(super) fn receive(server: &Server, _: u32) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(server.addr)?;
    let mut greeting = [0];
    stream.read_exact(&mut greeting)?;
    if greeting[0] != GREETING {
        return Err(io::Error::other("the floor did not greet"));
    }
    Ok(stream)
}

/// The control connection.
pub(super) struct Control(TcpStream);

impl Control {
    pub(super) fn connect(server: &Server) -> io::Result<Self> {
        let addr =
            server.control.ok_or_else(|| io::Error::other("the floor has no control port"))?;
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }
}

impl Publisher for Control {
    fn commit(&mut self, entries: u16) -> io::Result<()> {
        self.0.write_all(&entries.to_be_bytes())
    }
}

/// Runs the server until the control connection ends.
pub(crate) fn serve() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let receivers = TcpListener::bind("127.0.0.1:0").await?;
        let control = TcpListener::bind("127.0.0.1:0").await?;
        let (addr, control_addr) = (receivers.local_addr()?, control.local_addr()?);
        eprintln!("floor: listening on http://{addr} control on {control_addr}");
        let (commits, _) = broadcast::channel(CAPACITY);
        tokio::spawn(accept(receivers, commits.clone()));
        let (control, _) = control.accept().await?;
        // In a task, as the server's apply is: it wakes receivers from inside the runtime.
        tokio::spawn(publish(control, commits)).await?
    })
}

async fn accept(listener: TcpListener, commits: broadcast::Sender<Bytes>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(deliver(stream, commits.subscribe()));
    }
}

/// Writes every commit to one receiver, until either ends.
async fn deliver(
    mut stream: AsyncStream,
    mut commits: broadcast::Receiver<Bytes>,
) -> io::Result<()> {
    stream.write_all(&[GREETING]).await?;
    while let Ok(commit) = commits.recv().await {
        stream.write_all(&commit).await?;
    }
    Ok(())
}

/// Publishes a commit for each number received.
async fn publish(mut control: AsyncStream, commits: broadcast::Sender<Bytes>) -> io::Result<()> {
    let mut slot = 0;
    loop {
        let entries = match control.read_u16().await {
            Ok(entries) => u64::from(entries),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        };
        // Fails only if there are no receivers.
        let _ = commits.send(commit(slot, entries)?);
        slot += entries;
    }
}

/// The frame of a commit of `entries` entries from `slot` on.
fn commit(slot: u64, entries: u64) -> io::Result<Bytes> {
    let entries = (slot..slot + entries).map(entry).collect::<io::Result<_>>()?;
    let ack = ServerFrame::Ack(ServerAck { room: name("fanout", RoomName::new)?, entries });
    Ok(server_text(&serde_json::to_vec(&ack)?).into())
}

/// An entry as large as a real one.
fn entry(slot: u64) -> io::Result<Entry> {
    Ok(Entry {
        slot,
        author: name("ada", Author::new)?,
        id: name(&format!("01JD9Z{slot:020}"), EntryId::new)?,
        content: Content::Said {
            body: body(BODY).into(),
            meta: None,
            salt: Salt(*b"roomlog-slt0"),
        },
        committed_at: 1_763_796_120_123 + slot,
        sent_at: None,
        kind: Kind::default(),
        reference: None,
    })
}

fn name<T>(text: &str, make: fn(&str) -> Result<T, NameError>) -> io::Result<T> {
    make(text).map_err(io::Error::other)
}

//! What one attacker does, over and over.

use std::{fmt, io, net::SocketAddr, time::Duration};

use clap::ValueEnum;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

/// The room of the honest author.
pub(super) const ROOM: &str = "general";

/// How many rooms those who return follow.
const ROOMS: usize = 100;

/// How long an attacker waits before it begins again.
const AGAIN: Duration = Duration::from_millis(20);

/// How long one that reads nothing stays.
const STAYS: Duration = Duration::from_secs(60);

/// Bytes of a large body.
const BODY: usize = 16_000;

/// A kind of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Attack {
    /// Honest clients that all return at once, as after a restart: they log in and follow rooms of theirs
    Returns,
    /// Connections that are closed at once
    Churn,
    /// A head that comes a byte at a time
    SlowHeads,
    /// Bodies of a POST that come a byte at a time
    SlowBodies,
    /// A frame that is announced as long and never ends
    HalfFrames,
    /// Bytes that are no HTTP
    Garbage,
    /// Large appends to many rooms, as many as are read
    Flood,
    /// The same append over and over
    Repeats,
    /// New rooms
    NewRooms,
    /// Appends that wait for a slot that does not come
    Parked,
    /// Reads and joins of rooms that were never written
    NoSuchRooms,
    /// Pages that nobody takes
    DeafReaders,
    /// Followers and watchers that read nothing
    DeafFollowers,
    /// Event streams that nobody reads
    DeafEvents,
    /// Pings without end
    Pings,
}

impl fmt::Display for Attack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("", |value| value.get_name()))
    }
}

pub(super) fn failed(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::other(why)
}

impl Attack {
    /// Attacks until it is aborted.
    pub(super) async fn run(self, address: SocketAddr, number: usize) {
        for round in 0_u64.. {
            // Whatever the server does, the attacker comes again.
            let _refused = self.once(address, number, &format!("{number}-{round}")).await;
            sleep(AGAIN).await;
        }
    }

    async fn once(self, address: SocketAddr, number: usize, name: &str) -> io::Result<()> {
        match self {
            Self::Returns => returns(address, name, number).await,
            Self::Churn => TcpStream::connect(address).await.map(drop),
            Self::SlowHeads => trickle(address, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ").await,
            Self::SlowBodies => trickle(address, &post(100_000)).await,
            Self::Garbage => {
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(&[0x16; 4_096]).await?;
                take_all(&mut stream).await
            }
            Self::HalfFrames => {
                let handshake = "GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n\
                    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
                // A text frame of 120,000 bytes, of which some come.
                let head = [0x81, 0xff, 0, 0, 0, 0, 0, 1, 0xd4, 0xc0, 0, 0, 0, 0];
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(handshake.as_bytes()).await?;
                stream.write_all(&head).await?;
                stream.write_all(&[b' '; 100_000]).await?;
                sleep(STAYS).await;
                Ok(())
            }
            Self::DeafEvents => {
                let path = format!("/v1/rooms/{ROOM}/events?after=-1");
                let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
                let mut stream = TcpStream::connect(address).await?;
                stream.write_all(request.as_bytes()).await?;
                sleep(STAYS).await;
                Ok(())
            }
            other => other.over_websocket(address, name).await,
        }
    }

    /// Sends frames as fast as they are taken; reads the answers if it wants any.
    async fn over_websocket(self, address: SocketAddr, name: &str) -> io::Result<()> {
        let (mut socket, _) =
            connect_async(format!("ws://{address}/v1/ws")).await.map_err(failed)?;
        say(&mut socket, &json!({"type": "login", "author": format!("mallory-{name}")})).await?;
        let body = "x".repeat(BODY);
        let is_deaf = matches!(self, Self::DeafReaders | Self::DeafFollowers | Self::Parked);
        for n in 0_u64.. {
            let frame = match self {
                Self::Repeats => {
                    json!({"type": "append", "room": "repeats", "id": "same", "author": "eve", "body": "x"})
                }
                Self::NewRooms => {
                    json!({"type": "append", "room": format!("new-{name}-{n}"), "body": "x"})
                }
                Self::Parked => {
                    json!({"type": "append", "room": ROOM, "after": 1_u64 << 40, "body": body})
                }
                Self::NoSuchRooms => {
                    json!({"type": "join", "room": format!("none-{name}-{n}"), "count": 500})
                }
                Self::DeafReaders => json!({"type": "update", "room": ROOM, "count": 500}),
                Self::DeafFollowers if n % 2 == 0 => json!({"type": "watch"}),
                Self::DeafFollowers => json!({"type": "join", "room": ROOM, "count": 500}),
                Self::Pings => json!({"type": "ping", "req": n}),
                _ => {
                    json!({"type": "append", "room": format!("flood-{name}-{}", n % 256), "body": body})
                }
            };
            // One that reads nothing waits here, once the server reads no more.
            say(&mut socket, &frame).await?;
            while !is_deaf && let Ok(answer) = timeout(Duration::ZERO, socket.next()).await {
                answer.ok_or_else(|| failed("closed"))?.map_err(failed)?;
            }
        }
        Ok(())
    }
}

/// Logs in and follows one of [`ROOMS`] rooms, which are not the author's: his appends do not go to all.
async fn returns(address: SocketAddr, name: &str, number: usize) -> io::Result<()> {
    let (mut socket, _) = connect_async(format!("ws://{address}/v1/ws")).await.map_err(failed)?;
    say(&mut socket, &json!({"type": "login", "author": format!("member-{name}")})).await?;
    let room = format!("room-{}", number % ROOMS);
    say(&mut socket, &json!({"type": "join", "room": room, "count": 50})).await?;
    while let Some(frame) = socket.next().await {
        frame.map_err(failed)?;
    }
    Err(failed("closed"))
}

async fn say(
    socket: &mut WebSocketStream<MaybeTlsStream<TcpStream>>,
    frame: &Value,
) -> io::Result<()> {
    socket.send(Message::text(frame.to_string())).await.map_err(failed)
}

/// The head of a POST with a body of so many bytes.
fn post(length: usize) -> String {
    format!(
        "POST /v1/rooms/{ROOM}/entries HTTP/1.1\r\nHost: 127.0.0.1\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// Sends this, then a byte at a time.
async fn trickle(address: SocketAddr, begin: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(begin.as_bytes()).await?;
    loop {
        sleep(Duration::from_millis(200)).await;
        stream.write_all(b"x").await?;
    }
}

/// Reads until the server closes.
async fn take_all(stream: &mut TcpStream) -> io::Result<()> {
    let mut buffer = [0; 4_096];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

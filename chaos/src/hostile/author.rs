//! The honest author: appends to a room, one entry at a time.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{runtime, sync::oneshot, time::timeout};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use super::attack::{ROOM, failed};

/// The timeout of an answer.
const ANSWER: Duration = Duration::from_secs(30);

/// Entries in the room before anything is measured: what an attacker reads is worth something.
const ENTRIES: usize = 500;

/// Bytes of their bodies.
const BODY: usize = 2_000;

/// Fills the room.
pub(super) async fn fill(address: SocketAddr) -> io::Result<()> {
    let (mut author, body) = (Author::connect(address).await?, "x".repeat(BODY));
    for _ in 0..ENTRIES {
        author.append(&body).await?;
    }
    Ok(())
}

/// The ack times, sorted, and the codes of refusals.
type Measured = (Vec<Duration>, Vec<String>);

/// An author who is connected, on a thread of its own, so that it does not wait for the attackers' tasks.
pub(super) struct Waiting {
    go: oneshot::Sender<Duration>,
    result: oneshot::Receiver<io::Result<Measured>>,
}

impl Waiting {
    /// Connects.
    pub(super) async fn connect(address: SocketAddr) -> io::Result<Self> {
        let (go, time) = oneshot::channel();
        let (done, result) = oneshot::channel();
        let (connected, is_connected) = oneshot::channel();
        std::thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let measured = runtime.and_then(|runtime| {
                runtime.block_on(async {
                    let author = Author::connect(address).await?;
                    let _nobody_waits = connected.send(());
                    author.appends(time.await.map_err(failed)?).await
                })
            });
            // Nobody waits for it if the run was interrupted.
            let _interrupted = done.send(measured);
        });
        match is_connected.await {
            Ok(()) => Ok(Self { go, result }),
            Err(_) => {
                Err(result.await.map_err(failed)?.err().unwrap_or_else(|| failed("no author")))
            }
        }
    }

    /// Appends for `time`.
    pub(super) async fn measure(self, time: Duration) -> io::Result<Measured> {
        let _its_result_says_why = self.go.send(time);
        self.result.await.map_err(failed)?
    }
}

struct Author(WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>);

impl Author {
    async fn connect(address: SocketAddr) -> io::Result<Self> {
        let (socket, _) = connect_async(format!("ws://{address}/v1/ws")).await.map_err(failed)?;
        let mut author = Self(socket);
        author.send(json!({"type": "login", "author": "ada"})).await?;
        while author.frame().await?["type"] != "welcome" {}
        Ok(author)
    }

    async fn appends(mut self, time: Duration) -> io::Result<Measured> {
        let (begun, mut acks, mut refused) = (Instant::now(), Vec::new(), Vec::new());
        while begun.elapsed() < time {
            let sent = Instant::now();
            match self.append("x").await? {
                None => acks.push(sent.elapsed()),
                Some(code) => refused.push(code),
            }
        }
        acks.sort();
        Ok((acks, refused))
    }

    /// Appends an entry; the code of its refusal, or `None`.
    async fn append(&mut self, body: &str) -> io::Result<Option<String>> {
        self.send(json!({"type": "append", "room": ROOM, "body": body})).await?;
        loop {
            let frame = self.frame().await?;
            match frame["type"].as_str() {
                Some("appended") => return Ok(None),
                Some("error") => return Ok(frame["code"].as_str().map(str::to_owned)),
                _ => {}
            }
        }
    }

    async fn send(&mut self, frame: Value) -> io::Result<()> {
        self.0.send(Message::text(frame.to_string())).await.map_err(failed)
    }

    async fn frame(&mut self) -> io::Result<Value> {
        loop {
            let next = timeout(ANSWER, self.0.next()).await;
            let message = next.map_err(|_| failed("the author got no answer in time"))?;
            let message = message.ok_or_else(|| failed("the author was disconnected"))?;
            if let Message::Text(text) = message.map_err(failed)? {
                return serde_json::from_str(&text).map_err(failed);
            }
        }
    }
}

//! As `shared`, but tungstenite reads, whose read buffer can be small.

use std::io;

use futures_util::StreamExt;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    shared::{Discarding, Incoming, ReadFirst, drive},
    upgrade::Upgraded,
};

/// Bytes to read at a time.
const READ: usize = 1024;

/// Serves one receiver until it ends.
pub(super) async fn run(upgraded: Upgraded) -> io::Result<()> {
    let (read, write) = upgraded.stream.into_split();
    let config = WebSocketConfig::default().read_buffer_size(READ).write_buffer_size(0);
    let stream = Discarding(ReadFirst::new(upgraded.read, read));
    let reader = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let incoming = reader.map(|read| {
        Ok(match read.map_err(io::Error::other)? {
            Message::Ping(payload) => Incoming::Ping(payload),
            Message::Close(_) => Incoming::Close,
            _ => Incoming::Other,
        })
    });
    drive(upgraded.commits, write, incoming).await
}

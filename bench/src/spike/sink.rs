//! tokio-websockets as it comes: its stream reads, its sink writes.

use std::io;

use futures_util::SinkExt;
use futures_util::StreamExt;
use tokio_websockets::{Message, ServerBuilder};

use super::{shared::ReadFirst, upgrade::Upgraded};

/// Serves one receiver until it ends.
pub(super) async fn run(upgraded: Upgraded) -> io::Result<()> {
    let mut commits = upgraded.commits;
    let stream = ReadFirst::new(upgraded.read, upgraded.stream);
    let mut socket = ServerBuilder::new().serve(stream);
    loop {
        tokio::select! {
            commit = commits.recv() => {
                let Ok(commit) = commit else { return Ok(()) };
                socket.send(Message::text(commit.payload())).await.map_err(io::Error::other)?;
            }
            read = socket.next() => match read {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(io::Error::other(error)),
                None => return Ok(()),
            },
        }
    }
}

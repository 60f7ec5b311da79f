//! The floor: raw TCP, a task per connection, nothing read.

use std::io;

use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::broadcast,
};

use super::Commit;

/// What a receiver gets first: from then on it misses nothing.
pub(crate) const GREETING: u8 = b'!';

/// Accepts until the process is ended.
pub(super) async fn serve(
    listener: TcpListener,
    publish: broadcast::Sender<Commit>,
) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(run(stream, publish.subscribe()));
    }
}

/// Writes every commit to one receiver, until either ends.
async fn run(mut stream: TcpStream, mut commits: broadcast::Receiver<Commit>) -> io::Result<()> {
    stream.write_all(&[GREETING]).await?;
    while let Ok(commit) = commits.recv().await {
        stream.write_all(&commit.framed()).await?;
    }
    Ok(())
}

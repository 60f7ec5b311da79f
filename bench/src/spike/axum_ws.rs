//! axum's WebSocket with small buffers.

use std::io;

use axum::{
    Router,
    extract::{
        State,
        ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
    },
    response::Response,
    routing::get,
    serve::ListenerExt,
};
use tokio::{net::TcpListener, sync::broadcast};

use super::Commit;

/// Accepts until the process is ended.
pub(super) async fn serve(
    listener: TcpListener,
    publish: broadcast::Sender<Commit>,
) -> io::Result<()> {
    let listener = listener.tap_io(|stream| {
        // A socket that is gone already fails at its first read.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, Router::new().route("/v1/ws", get(upgrade)).with_state(publish)).await
}

async fn upgrade(
    ws: WebSocketUpgrade,
    State(publish): State<broadcast::Sender<Commit>>,
) -> Response {
    let commits = publish.subscribe();
    ws.read_buffer_size(2 * 1024).write_buffer_size(16 * 1024).protocols(["roomlog.v1"]).on_upgrade(
        move |socket| async move {
            // A receiver that is gone needs no answer.
            let _ = run(socket, commits).await;
        },
    )
}

async fn run(
    mut socket: WebSocket,
    mut commits: broadcast::Receiver<Commit>,
) -> Result<(), axum::Error> {
    loop {
        tokio::select! {
            commit = commits.recv() => {
                let Ok(commit) = commit else { return Ok(()) };
                let text = Utf8Bytes::try_from(commit.payload()).map_err(axum::Error::new)?;
                socket.send(Message::Text(text)).await?;
            }
            read = socket.recv() => match read {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
        }
    }
}

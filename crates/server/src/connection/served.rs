//! A connection where it is served: on one runtime, then on another.
//!
//! Enters: an upgraded socket. Leaves: nothing, when the connection has ended. Invariant: what is held for a
//! connection is held until it has ended, wherever it is.

use std::sync::Arc;

use bytes::Bytes;
use tokio::{runtime::Handle, sync::mpsc};
use tracing::debug;

use super::task::Connection;
use crate::{
    gateway::SocketPermit,
    stream::{Detached, Stream},
};

/// A connection, and what it holds as long as it is served.
pub(crate) struct Served {
    pub(crate) connection: Box<Connection>,
    pub(crate) permit: Arc<SocketPermit>,
    pub(crate) drain_guard: mpsc::Sender<()>,
}

impl Served {
    /// Serves it here until it ends, or moves. `read` is what came with the handshake already.
    #[expect(
        clippy::manual_async_fn,
        reason = "it spawns another of its kind, so `Send` is declared"
    )]
    pub(crate) fn serve(self, stream: Stream, read: Bytes) -> impl Future<Output = ()> + Send {
        async move {
            let Self { connection, permit, drain_guard } = self;
            let presence = permit.client.presence.clone();
            let moved = tokio::select! {
                moved = connection.serve(stream, read) => moved,
                () = presence.pending.cut() => return debug!("cut: there are newer connections"),
            };
            if let Some((connection, socket)) = moved {
                let runtime = connection.runtime();
                Self { connection, permit, drain_guard }.serve_on(&runtime, socket);
            }
        }
    }

    fn serve_on(self, runtime: &Handle, socket: Detached) {
        runtime.spawn(async move {
            match socket.attach() {
                Ok(stream) => self.serve(stream, Bytes::new()).await,
                Err(error) => debug!(%error, "a connection could not be moved"),
            }
        });
    }
}

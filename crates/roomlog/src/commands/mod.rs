//! One module per command.
//!
//! Input: arguments. Output: data on standard output. The commands that talk to a server use only
//! the public protocol, through `roomlog-client`.

pub(crate) mod append;
pub(crate) mod backup;
pub(crate) mod chat;
pub(crate) mod config;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod read;
pub(crate) mod relocate;
pub(crate) mod restore;
pub(crate) mod rooms;
pub(crate) mod tail;
pub(crate) mod verify;

mod printer;
mod replayed;

use roomlog_client::{Client, Options};
use tokio::signal::unix::{SignalKind, signal};

use crate::{cli::ServerArgs, failure::Failure};

/// Completes at SIGINT, SIGTERM or SIGHUP. Await one future: signals between two are lost.
async fn interrupted() {
    let received = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    let hung_up = async {
        if crate::serve::ignores_hangup() {
            std::future::pending::<()>().await;
        }
        received(SignalKind::hangup()).await;
    };
    tokio::select! {
        () = received(SignalKind::interrupt()) => {}
        () = received(SignalKind::terminate()) => {}
        () = hung_up => {}
    }
}

async fn connect(
    server: &ServerArgs,
    adjust: impl FnOnce(&mut Options),
) -> Result<Client, Failure> {
    let mut options = Options::new(server.server.clone(), server.author());
    adjust(&mut options);
    Ok(Client::connect(options).await?)
}

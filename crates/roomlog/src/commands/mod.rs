//! The commands that talk to a server, a file each.
//!
//! Enters: arguments. Leaves: data on standard output. Invariant: they use nothing but the public
//! protocol, through `roomlog-client`.

pub(crate) mod append;
pub(crate) mod backup;
pub(crate) mod chat;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod moving;
pub(crate) mod output;
pub(crate) mod read;
pub(crate) mod restore;
pub(crate) mod rooms;
pub(crate) mod tail;
pub(crate) mod verify;

mod replayed;
mod verify_archive;
mod verify_directory;
mod window;

use roomlog_client::{Client, Options};
use tokio::signal::unix::{SignalKind, signal};

use crate::{cli::ServerArgs, failure::Failure};

/// Done when Ctrl-C or SIGTERM asks the command to end.
async fn interrupted() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            // Then SIGTERM ends the process as it does anyway.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}

/// Connects with the usual patience, changed by `adjust`.
async fn connect(
    server: &ServerArgs,
    adjust: impl FnOnce(&mut Options),
) -> Result<Client, Failure> {
    let mut options = Options::new(server.server.clone(), server.author());
    adjust(&mut options);
    Ok(Client::connect(options).await?)
}

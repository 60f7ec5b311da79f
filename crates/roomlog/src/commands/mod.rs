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

/// Done when Ctrl-C, SIGTERM or a closed terminal asks the command to end. Whoever waits keeps the same future:
/// what comes while there is none is lost.
async fn interrupted() {
    let came = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            // Then the signal ends the process as it does anyway.
            Err(_) => std::future::pending().await,
        }
    };
    let hung_up = async {
        if crate::serve::ignores_hangup() {
            std::future::pending::<()>().await;
        }
        came(SignalKind::hangup()).await;
    };
    tokio::select! {
        () = came(SignalKind::interrupt()) => {}
        () = came(SignalKind::terminate()) => {}
        () = hung_up => {}
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

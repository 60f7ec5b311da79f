//! The commands.
//!
//! Input: arguments. Output: data on standard output. The commands that talk to a server use only
//! the public protocol, through `roomlog-client`.

pub(crate) mod append;
pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod erase;
pub(crate) mod import;
pub(crate) mod manual;
pub(crate) mod read;
pub(crate) mod relocate;
pub(crate) mod revoke;
pub(crate) mod tail;
pub(crate) mod token;
pub(crate) mod verify;

mod operators;
mod printer;
mod replayed;

use roomlog_client::{Client, Options};

use crate::{
    cli::{ChatArgs, ServerArgs},
    failure::Failure,
    signals::Signals,
};

/// Completes at a signal. Await one future: signals between two are lost.
async fn interrupted() {
    match Signals::install() {
        Ok(mut signals) => signals.received().await,
        Err(_) => std::future::pending().await,
    }
}

async fn connect(
    server: &ServerArgs,
    adjust: impl FnOnce(&mut Options),
) -> Result<Client, Failure> {
    let mut options = server.options()?;
    adjust(&mut options);
    Ok(Client::connect(options).await?)
}

/// `roomlog chat`: the rooms in a terminal.
pub(crate) async fn chat(args: ChatArgs) -> Result<(), Failure> {
    let client = connect(&args.server, |options| options.retry_timeout = None).await?;
    let server = args.server.server.to_string();
    let author = client.author().clone();
    Ok(roomlog_terminal::run(client, author, server, args.room).await?)
}

//! Appends to a room, then prints the room's entries as they come. It waits for a server that is
//! not running yet, and continues when the server restarts. The README has the same program.
//!
//!     cargo run -p roomlog-client --example hello
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line example")]

use std::{error::Error, process::ExitCode};

use roomlog_client::{
    Client, ClientError, Followed, Options, Start, draft,
    protocol::{Author, RoomName},
};

#[tokio::main]
async fn main() -> ExitCode {
    match talk("http://127.0.0.1:7400", |line| println!("{line}")).await {
        Ok(()) => ExitCode::SUCCESS,
        // Every error is a sentence. `main` would print it as a Rust value.
        Err(why) => {
            eprintln!("hello: {why}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) async fn talk(url: &str, mut print: impl FnMut(String)) -> Result<(), Box<dyn Error>> {
    let mut options = Options::new(url.parse()?, Author::new("ada")?);
    options.retry_timeout = None; // Never give up while the server is down.
    let client = match Client::connect(options.clone()).await {
        Err(why @ ClientError::Unreachable { .. }) => {
            print(format!("{why}; waiting for it"));
            Client::connect_when_up(options).await?
        }
        connected => connected?,
    };
    let room = RoomName::new("general")?;

    // It is in the log now, once, however often it had to be sent.
    let committed = client.append(draft(room.clone(), "hello from Rust")).await?.await?;
    print(format!("appended at slot {}", committed.appended.slot));

    let mut follow = client.follow(room, Start::Newest(10)).await?;
    loop {
        match follow.next().await? {
            // In slot order, each once, without a gap.
            Followed::Entries(entries) => {
                for entry in entries {
                    print(format!("{} <{}> {}", entry.slot, entry.author, entry.body()));
                }
            }
            Followed::Reset(why) => print(format!("the server has another log now: {why:?}")),
            Followed::Waiting(why) => print(format!("not now: {why}")),
        }
    }
}

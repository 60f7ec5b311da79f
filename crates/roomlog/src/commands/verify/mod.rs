//! `roomlog verify`: recomputes digests from entries, of a running server or of a directory.
//! Also that exactly those texts are gone that later entries remove.
//!
//! Output: for each room the digest at its latest slot, the first wrong slot, or why the room
//! cannot be read. Every digest reported as `ok` was computed here from entries.

mod archive;
mod directory;
mod report;
mod server;
mod texts;

use std::process::ExitCode;

use crate::{cli::VerifyArgs, failure::Failure};

pub(crate) async fn run(args: VerifyArgs) -> Result<ExitCode, Failure> {
    match &args.data {
        Some(dir) => directory::verify(dir, args.room.as_ref()).await,
        None => server::verify(args).await,
    }
}

//! `roomlog serve`: not built yet.

use std::process::ExitCode;

use clap::Args;

use crate::failure::Failure;

/// Flags of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {}

/// Runs the server until it is told to stop.
///
/// # Errors
/// Why it cannot run.
pub(crate) async fn run(_args: ServeArgs) -> Result<ExitCode, Failure> {
    Err(Failure::said("`serve` is not built yet"))
}

//! `roomlog restore`: a backup becomes a directory that `serve` can use.
//!
//! Enters: a backup, and a new directory. Leaves: the directory, with a new log that goes on behind
//! the backup. Invariant: the backup is only read.

use std::process::ExitCode;

use roomlog_sqlite::{Directory, Restored};

use super::output::Output;
use crate::{cli::RestoreArgs, failure::Failure, show::utc};

pub(crate) async fn run(args: RestoreArgs) -> Result<ExitCode, Failure> {
    let (backup, to) = (args.backup.clone(), args.directory.clone());
    let restored = tokio::task::spawn_blocking(move || Directory::restore(&backup, &to)).await;
    let restored = restored.map_err(|why| Failure::said(format!("the restore failed: {why}")))?;
    let Restored { manifest, log } = restored.map_err(|why| Failure::said(why.to_string()))?;
    let mut output = Output::of_work(false);
    for (name, value) in [
        ("backup of log", manifest.log),
        ("taken", utc(manifest.taken_at)),
        ("rooms", manifest.rooms.to_string()),
        ("entries", manifest.entries.to_string()),
        ("new log", log),
        ("directory", args.directory.display().to_string()),
    ] {
        output.line(format_args!("{name:<16} {value}"))?;
    }
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

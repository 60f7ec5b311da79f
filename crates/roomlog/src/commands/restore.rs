//! `roomlog restore`: creates a data directory for `serve` from a backup, which is only read.

use roomlog_sqlite::{Directory, Restored};

use super::printer::Printer;
use crate::{cli::RestoreArgs, failure::Failure, show::utc};

pub(crate) async fn run(args: RestoreArgs) -> Result<(), Failure> {
    let (backup, to) = (args.backup, args.directory.clone());
    let restored = tokio::task::spawn_blocking(move || Directory::restore(&backup, &to)).await;
    let restored = restored.map_err(|why| Failure::other(format!("the restore failed: {why}")))?;
    let Restored { manifest, log } = restored.map_err(Failure::other)?;
    let mut printer = Printer::of_work(false);
    printer.field("backup of log", manifest.log)?;
    printer.field("taken", utc(manifest.taken_at))?;
    printer.field("rooms", manifest.rooms)?;
    printer.field("entries", manifest.entries)?;
    printer.field("new log", log)?;
    printer.field("directory", args.directory.display())?;
    printer.finish()
}

//! `roomlog check`: compares a record of frames with the promises of the protocol.
//!
//! Enters: a file, or `-` for standard input. Leaves: counts, and a sentence for each violation.

use std::{
    fs::File,
    io::{self, BufReader, Write},
    path::Path,
    process::ExitCode,
};

use roomlog_checker::{History, HistoryError, check};

use crate::{
    cli::CheckArgs,
    failure::{DIFFERS, Failure},
};

pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode, Failure> {
    let path = &args.history;
    let history = if path == Path::new("-") {
        History::read(io::stdin().lock())
    } else {
        let file = File::open(path).map_err(Failure::reading(path))?;
        History::read(BufReader::new(file))
    };
    let history = history.map_err(|why| match why {
        HistoryError::Unreadable(why) => Failure::File { path: path.clone(), why },
        HistoryError::Line(_) if path == Path::new("-") => {
            Failure::other(format!("standard input: {why}"))
        }
        HistoryError::Line(_) => Failure::other(format!("{}: {why}", path.display())),
    })?;
    let report = check(&history);
    let mut out = io::stdout().lock();
    writeln!(out, "{report}")?;
    out.flush()?;
    Ok(if report.broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERS) })
}

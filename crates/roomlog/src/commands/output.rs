//! Standard output: buffered, one entry a line.

use std::io::{self, BufWriter, StdoutLock, Write};

use roomlog_protocol::{Entry, write_json};
use serde::Serialize;

use crate::{failure::Failure, show::Shown};

/// Standard output of a command.
pub(crate) struct Output {
    out: BufWriter<StdoutLock<'static>>,
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { out: BufWriter::new(io::stdout().lock()), json }
    }

    /// One entry, as JSON or as a person reads it.
    pub(crate) fn entry(&mut self, entry: &Entry) -> Result<(), Failure> {
        if self.json {
            return self.json(entry);
        }
        Ok(writeln!(self.out, "{}", Shown(entry))?)
    }

    /// One line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        write_json(&mut self.out, value)?;
        Ok(self.out.write_all(b"\n")?)
    }

    /// One line of text.
    pub(crate) fn line(&mut self, line: impl std::fmt::Display) -> Result<(), Failure> {
        Ok(writeln!(self.out, "{line}")?)
    }

    /// Lets the reader have what was written.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.out.flush()?)
    }
}

//! Standard output: buffered, one line per entry, safe for a terminal.
//!
//! Input: entries, values, lines. Output: one line each; text of others in it cannot control the
//! terminal. An output that cannot be written is never a success. A command whose work is what it
//! prints ends at once when its reader exits; other commands ([`Printer::of_work`]) finish their
//! work first.

use std::{
    fmt::Display,
    io::{self, BufWriter, StdoutLock, Write},
};

use roomlog_protocol::Entry;
use roomlog_terminal::text;
use serde::Serialize;
use serde_json::ser::Serializer;

use crate::{failure::Failure, json_text::Escaping, show::Shown, stderr};

pub(crate) struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    json: bool,
    /// A failed write stops the printing, not the command.
    of_work: bool,
    failed: Option<io::Error>,
}

impl Printer {
    /// For a command whose work is what it prints.
    pub(crate) fn new(json: bool) -> Self {
        let out = BufWriter::new(io::stdout().lock());
        Self { out, json, of_work: false, failed: None }
    }

    /// For a command whose work is done elsewhere; [`Printer::finish`] reports a failed write.
    pub(crate) fn of_work(json: bool) -> Self {
        Self { of_work: true, ..Self::new(json) }
    }

    /// One entry, as JSON or as text.
    pub(crate) fn entry(&mut self, entry: &Entry) -> Result<(), Failure> {
        if self.json {
            return self.json(entry);
        }
        self.write(|out| writeln!(out, "{}", Shown(entry)))
    }

    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        self.write(|out| {
            value.serialize(&mut Serializer::with_formatter(&mut *out, Escaping))?;
            out.write_all(b"\n")
        })
    }

    pub(crate) fn line(&mut self, line: impl Display) -> Result<(), Failure> {
        self.write(|out| writeln!(out, "{}", text::printed(&line.to_string())))
    }

    /// One line of a summary.
    pub(crate) fn field(&mut self, name: &str, value: impl Display) -> Result<(), Failure> {
        self.line(format_args!("{name:<16} {value}"))
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        stderr::flush_before_data();
        self.write(Write::flush)
    }

    /// Flushes after the work is done: a closed reader no longer matters, any other error does.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.flush()?;
        match self.failed {
            Some(why) if why.kind() != io::ErrorKind::BrokenPipe => Err(Failure::other(format!(
                "done, but standard output cannot be written to: {why}"
            ))),
            _ => Ok(()),
        }
    }

    fn write(
        &mut self,
        write: impl FnOnce(&mut BufWriter<StdoutLock<'static>>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        if self.failed.is_some() {
            return Ok(());
        }
        match write(&mut self.out) {
            Err(why) if self.of_work => {
                self.failed = Some(why);
                Ok(())
            }
            written => Ok(written?),
        }
    }
}

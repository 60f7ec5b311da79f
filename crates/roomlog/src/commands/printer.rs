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
use serde_json::ser::{Formatter, Serializer};

use crate::{failure::Failure, show::Shown, stderr};

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

/// Writes characters that could control a terminal as `\uXXXX`, which is the same JSON.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W>(&mut self, out: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + Write,
    {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| text::is_escaped_in_json(*c)) {
            out.write_all(&rest.as_bytes()[..at])?;
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_json_is_the_same_and_safe_for_a_terminal() {
        let text = "a\u{9b}2J\u{7f}\u{202e}\u{feff}\u{2028}ö👩‍👩‍👧\n\"";
        let mut out = Vec::new();
        let mut escaping = Serializer::with_formatter(&mut out, Escaping);
        text.serialize(&mut escaping).expect("written");
        let written = String::from_utf8(out).expect("UTF-8");
        assert_eq!(written, r#""a\u009b2J\u007f\u202e\ufeff\u2028ö👩‍👩‍👧\n\"""#);
        assert_eq!(serde_json::from_str::<String>(&written).expect("JSON"), text);
    }
}

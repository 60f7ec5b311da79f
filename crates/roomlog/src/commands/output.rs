//! Standard output: buffered, one entry a line, safe for a terminal.
//!
//! Enters: entries, values, lines. Leaves: one line each, in which no text of others commands the terminal.
//! Invariant: what cannot be written is no success. A command whose work is what it prints ends at once
//! when its reader goes away; one whose work is elsewhere ([`Output::of_work`]) finishes that first.

use std::io::{self, BufWriter, StdoutLock, Write};

use roomlog_protocol::Entry;
use roomlog_terminal::text;
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::{failure::Failure, say, show::Shown};

/// Standard output of a command.
pub(crate) struct Output {
    out: BufWriter<StdoutLock<'static>>,
    json: bool,
    /// The command's work is done elsewhere: printing is left off when it fails.
    of_work: bool,
    /// Why nothing is printed any more.
    failed: Option<io::Error>,
}

impl Output {
    /// For a command whose work is what it prints.
    pub(crate) fn new(json: bool) -> Self {
        let out = BufWriter::new(io::stdout().lock());
        Self { out, json, of_work: false, failed: None }
    }

    /// For a command whose work is done elsewhere, which is told by [`Output::finish`].
    pub(crate) fn of_work(json: bool) -> Self {
        Self { of_work: true, ..Self::new(json) }
    }

    /// One entry, as JSON or as a person reads it.
    pub(crate) fn entry(&mut self, entry: &Entry) -> Result<(), Failure> {
        if self.json {
            return self.json(entry);
        }
        self.write(|out| writeln!(out, "{}", Shown(entry)))
    }

    /// One line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        self.write(|out| {
            value.serialize(&mut Serializer::with_formatter(&mut *out, Escaping))?;
            out.write_all(b"\n")
        })
    }

    /// One line of text.
    pub(crate) fn line(&mut self, line: impl std::fmt::Display) -> Result<(), Failure> {
        self.write(|out| writeln!(out, "{}", text::printed(&line.to_string())))
    }

    /// Lets the reader have what was written.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        say::settle();
        self.write(Write::flush)
    }

    /// The last word of a command whose work is done: a reader that went away does not matter any more,
    /// and what else kept standard output from being written does.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.flush()?;
        match self.failed {
            Some(why) if why.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::said(format!("done, but standard output cannot be written to: {why}")))
            }
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

/// JSON in which no string commands a terminal: what could is written as `\uXXXX`, which means the same.
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
    fn json_means_the_same_and_commands_no_terminal() {
        let text = "a\u{9b}2J\u{7f}\u{202e}\u{feff}\u{2028}ö👩‍👩‍👧\n\"";
        let mut out = Vec::new();
        let mut escaping = Serializer::with_formatter(&mut out, Escaping);
        text.serialize(&mut escaping).expect("written");
        let written = String::from_utf8(out).expect("UTF-8");
        assert_eq!(written, r#""a\u009b2J\u007f\u202e\ufeff\u2028ö👩‍👩‍👧\n\"""#);
        assert_eq!(serde_json::from_str::<String>(&written).expect("JSON"), text);
    }
}

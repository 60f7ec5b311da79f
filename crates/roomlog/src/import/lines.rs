//! Reads a file line by line, with at most [`LINE_BYTES`] of a line in memory.

use std::{
    borrow::Cow,
    io::{self, BufRead, Read},
};

use encoding_rs::Encoding;

use super::item::Line;

/// The longest line: an entry with the largest body and meta that a server may allow, every
/// character escaped.
const LINE_BYTES: usize = 2 << 20;

/// A format whose files are read by line.
pub(super) trait LineFormat {
    fn line(&mut self, line: &str) -> Line;

    /// Whether a line without a newline is certainly complete.
    fn is_complete(&self, _line: &str) -> bool {
        false
    }
}

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Newline,
    /// The file ends: the line may be incomplete.
    File,
    /// It is longer than [`LINE_BYTES`] and was skipped.
    TooLong,
}

/// Reads the next line, without its line ending; `None` at the end of the file.
pub(super) fn next(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<End>> {
    line.clear();
    let read = file.by_ref().take(LINE_BYTES as u64 + 1).read_until(b'\n', line)?;
    if line.pop_if(|last| *last == b'\n').is_some() {
        line.pop_if(|last| *last == b'\r');
        return Ok(Some(End::Newline));
    }
    if read > LINE_BYTES {
        line.clear();
        file.skip_until(b'\n')?;
        return Ok(Some(End::TooLong));
    }
    Ok((read > 0).then_some(End::File))
}

/// The line as text, and whether it has replacement characters.
///
/// Logs of IRC mix encodings, as every client has its own: a line that is valid UTF-8 is taken as
/// UTF-8, and `encoding` is that of the others. That is safe because text in a single-byte encoding
/// is hardly ever valid UTF-8. Other encodings are decoded before the file is split into lines.
pub(super) fn text<'a>(
    line: &'a [u8],
    encoding: Option<&'static Encoding>,
) -> (Cow<'a, str>, bool) {
    match str::from_utf8(line) {
        Ok(text) => (text.into(), false),
        Err(_) => encoding.unwrap_or(encoding_rs::UTF_8).decode_without_bom_handling(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Vec<(String, End)> {
        let (mut file, mut line) = (io::BufReader::with_capacity(3, bytes), Vec::new());
        let mut lines = Vec::new();
        while let Some(end) = next(&mut file, &mut line).expect("a line") {
            lines.push((String::from_utf8(line.clone()).expect("UTF-8"), end));
        }
        lines
    }

    #[test]
    fn a_line_ends_at_a_newline_or_at_the_end_of_the_file() {
        let line = |text: &str, end| (text.to_owned(), end);
        let read = all(b"one\r\n\ntwo three\nfour");
        let expected = [
            line("one", End::Newline),
            line("", End::Newline),
            line("two three", End::Newline),
            line("four", End::File),
        ];
        assert_eq!(read, expected);
        assert!(all(b"").is_empty());
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped() {
        let long = [vec![b'x'; LINE_BYTES + 1], b"\nnext\n".to_vec()].concat();
        let read = all(&long);
        assert_eq!((read[0].1, read[0].0.as_str()), (End::TooLong, ""));
        assert_eq!((read[1].1, read[1].0.as_str()), (End::Newline, "next"));
    }

    #[test]
    fn utf_8_lines_are_kept_next_to_another_encoding() {
        let cp1252 = Some(encoding_rs::WINDOWS_1252);
        assert_eq!(text(b"caf\xe9 \x80", cp1252), ("café €".into(), false));
        assert_eq!(text("café".as_bytes(), cp1252), ("café".into(), false));
        assert_eq!(text(b"caf\xe9", None), ("caf\u{fffd}".into(), true));
    }
}

//! Lines of a file, one at a time.
//!
//! Enters: bytes. Leaves: lines as text, and how each ends. Invariant: no more of a line is in memory than
//! [`LINE_BYTES`], however long it is.

use std::{
    borrow::Cow,
    io::{self, BufRead},
};

use encoding_rs::Encoding;

/// The longest line: an entry of the largest body and meta that a server may allow, with every character escaped.
const LINE_BYTES: usize = 2 << 20;

/// How a line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Newline,
    /// With the file: there may be more of it to come.
    File,
    /// It is longer than what is read of a line; the rest was passed over.
    TooLong,
}

/// Reads the next line, without its end; none after the last one.
pub(super) fn next(file: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<End>> {
    line.clear();
    let (mut too_long, mut any) = (false, false);
    loop {
        let bytes = match file.fill_buf() {
            Ok(bytes) => bytes,
            Err(why) if why.kind() == io::ErrorKind::Interrupted => continue,
            Err(why) => return Err(why),
        };
        if bytes.is_empty() {
            return Ok(any.then_some(if too_long { End::TooLong } else { End::File }));
        }
        any = true;
        let newline = bytes.iter().position(|byte| *byte == b'\n');
        let (part, used) = newline.map_or((bytes, bytes.len()), |at| (&bytes[..at], at + 1));
        too_long |= line.len() + part.len() > LINE_BYTES;
        if too_long {
            line.clear();
        } else {
            line.extend_from_slice(part);
        }
        file.consume(used);
        if newline.is_some() {
            line.pop_if(|last| *last == b'\r');
            return Ok(Some(if too_long { End::TooLong } else { End::Newline }));
        }
    }
}

/// The line as text, and whether replacement characters stand for what is none.
///
/// Logs of IRC mix encodings, since every client has its own: a line that is UTF-8 is UTF-8, and `encoding` is that
/// of the others. That is safe, since text of a single-byte encoding hardly ever is UTF-8 by chance. Other
/// encodings are decoded before there are lines.
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
    fn a_line_ends_with_its_newline_or_with_the_file() {
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
    fn a_line_without_end_costs_no_memory() {
        let long = [vec![b'x'; LINE_BYTES + 1], b"\nnext\n".to_vec()].concat();
        let read = all(&long);
        assert_eq!((read[0].1, read[0].0.as_str()), (End::TooLong, ""));
        assert_eq!((read[1].1, read[1].0.as_str()), (End::Newline, "next"));
    }

    #[test]
    fn what_is_utf_8_stays_so_beside_another_encoding() {
        let cp1252 = Some(encoding_rs::WINDOWS_1252);
        assert_eq!(text(b"caf\xe9 \x80", cp1252), ("café €".into(), false));
        assert_eq!(text("café".as_bytes(), cp1252), ("café".into(), false));
        assert_eq!(text(b"caf\xe9", None), ("caf\u{fffd}".into(), true));
    }
}

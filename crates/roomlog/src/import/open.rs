//! A file as a stream of text.
//!
//! Enters: a path. Leaves: its bytes, unpacked when it is gzip, without a byte order mark, in UTF-8 where an encoding was
//! found or named that has no lines of its own. Invariants: nothing is unpacked ahead of its reader; what is packed
//! in another way is refused by its name.

use std::{
    fs::{self, File},
    io::{self, BufReader, Cursor, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use encoding_rs::Encoding;
use encoding_rs_io::DecodeReaderBytesBuilder;
use flate2::read::MultiGzDecoder;

use crate::failure::Failure;

const BUFFER_BYTES: usize = 1 << 16;

/// Enough to tell what a file is packed with.
const HEAD_BYTES: u64 = 8;

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// What other files begin with, and what they are.
const OTHERS: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "a zip archive"),
    (b"\xfd7zXZ\x00", "packed by xz"),
    (b"\x28\xb5\x2f\xfd", "packed by zstd"),
    (b"BZh", "packed by bzip2"),
    (b"7z\xbc\xaf", "a 7z archive"),
];

/// A stream of a file.
pub(super) type Text = BufReader<Box<dyn Read + Send>>;

/// Counts what is read of a file, for the progress.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(into)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Opens a file; what is read of it is added to `read`.
///
/// # Errors
/// What cannot be opened, is no regular file, or is packed in a way that is not unpacked here.
pub(super) fn open(
    path: &Path,
    encoding: Option<&'static Encoding>,
    read: &Arc<AtomicU64>,
) -> Result<Text, Failure> {
    let failed = |why| Failure::file(path, why);
    // Opening what is no file, such as a pipe without a writer, would wait.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Failure::said(format!("{} is no regular file", path.display())));
    }
    let file = File::open(path).map_err(failed)?;
    let raw: Box<dyn Read + Send> = Box::new(Counted { file, read: read.clone() });
    let (mut head, mut stream) = peek(raw).map_err(failed)?;
    if head.starts_with(b"\x1f\x8b") {
        (head, stream) = peek(Box::new(MultiGzDecoder::new(stream))).map_err(failed)?;
    }
    if let Some((_, what)) = OTHERS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(Failure::said(format!(
            "{} is {what}; unpack it, and name what was in it",
            path.display()
        )));
    }
    // What has lines in ASCII is decoded line by line.
    let encoding =
        encoding.filter(|encoding| !encoding.is_single_byte() && *encoding != encoding_rs::UTF_8);
    let has_mark = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    if has_mark || encoding.is_some() {
        stream = Box::new(DecodeReaderBytesBuilder::new().encoding(encoding).build(stream));
    }
    (head, stream) = peek(stream).map_err(failed)?;
    if head.starts_with(UTF8_MARK) {
        pass_over(&mut stream, UTF8_MARK.len()).map_err(failed)?;
    }
    Ok(BufReader::with_capacity(BUFFER_BYTES, stream))
}

/// The first bytes of a stream, and the stream with them.
fn peek(mut stream: Box<dyn Read + Send>) -> io::Result<(Vec<u8>, Box<dyn Read + Send>)> {
    let mut head = Vec::new();
    stream.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let whole = Box::new(Cursor::new(head.clone()).chain(stream));
    Ok((head, whole))
}

fn pass_over(stream: &mut impl Read, bytes: usize) -> io::Result<u64> {
    io::copy(&mut stream.take(bytes as u64), &mut io::sink())
}

//! Opens a file as a stream of text.
//!
//! Input: a path. Output: its bytes, decompressed if it is gzip, without a byte order mark, and in
//! UTF-8 if its encoding cannot be decoded line by line. Nothing is decompressed ahead of the
//! reader; other compressions are rejected by name.

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

/// Enough to recognize a compression.
const HEAD_BYTES: u64 = 8;

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

const UNSUPPORTED: &[(&[u8], &str)] = &[
    (b"PK\x03\x04", "a zip archive"),
    (b"\xfd7zXZ\x00", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"BZh", "compressed with bzip2"),
    (b"7z\xbc\xaf", "a 7z archive"),
];

pub(super) type Text = BufReader<Box<dyn Read + Send>>;

/// Counts the bytes that are read, for the progress bar.
struct CountedFile {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for CountedFile {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(into)?;
        self.read.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Opens a file; the bytes read of it are added to `read`. Fails if it is not a regular file, or is
/// compressed in another way than gzip.
pub(super) fn open(
    path: &Path,
    encoding: Option<&'static Encoding>,
    read: &Arc<AtomicU64>,
) -> Result<Text, Failure> {
    // Opening a pipe without a writer would block.
    if !fs::metadata(path).map_err(Failure::reading(path))?.is_file() {
        return Err(Failure::other(format!("{} is not a regular file", path.display())));
    }
    let file = File::open(path).map_err(Failure::reading(path))?;
    let raw: Box<dyn Read + Send> = Box::new(CountedFile { file, read: read.clone() });
    let (mut head, mut stream) = peek(raw).map_err(Failure::reading(path))?;
    if head.starts_with(b"\x1f\x8b") {
        (head, stream) =
            peek(Box::new(MultiGzDecoder::new(stream))).map_err(Failure::reading(path))?;
    }
    if let Some((_, what)) = UNSUPPORTED.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Err(Failure::other(format!(
            "{} is {what}; unpack it, and import the files in it",
            path.display()
        )));
    }
    // Where newlines are ASCII, lines are decoded one by one.
    let encoding =
        encoding.filter(|encoding| !encoding.is_single_byte() && *encoding != encoding_rs::UTF_8);
    let has_mark = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    if has_mark || encoding.is_some() {
        stream = Box::new(DecodeReaderBytesBuilder::new().encoding(encoding).build(stream));
    }
    (head, stream) = peek(stream).map_err(Failure::reading(path))?;
    if head.starts_with(UTF8_MARK) {
        io::copy(&mut stream.by_ref().take(UTF8_MARK.len() as u64), &mut io::sink())
            .map_err(Failure::reading(path))?;
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

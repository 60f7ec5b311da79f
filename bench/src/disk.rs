//! The floor under a journal: append to a file, fdatasync, again.
//!
//! Enters: blocks of bytes. Leaves: how long each took. Invariant: the file lies in the directory
//! given, on the file system that the server's data would use, and holds at most [`MOST`] bytes.

use std::{
    fs::File,
    io::{self, Seek, Write},
    path::Path,
    time::{Duration, Instant},
};

/// Bytes of an entry in a block, about: a body of 200, names, the rest of a row.
pub(crate) const ENTRY: usize = 300;

/// At this size the file begins anew.
const MOST: u64 = 1 << 30;

/// A file that is appended to.
pub(crate) struct Bare {
    file: File,
    len: u64,
    bytes: Vec<u8>,
}

impl Bare {
    /// An empty file in `dir`; it is gone when this is.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(dir)?, len: 0, bytes: Vec::new() })
    }

    /// Appends `len` bytes and waits for stable storage.
    ///
    /// # Errors
    /// What the disk gives.
    pub(crate) fn append(&mut self, len: usize) -> io::Result<Duration> {
        if self.len > MOST {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.len = 0;
        }
        self.bytes.resize(len, b'x');
        let start = Instant::now();
        self.file.write_all(&self.bytes)?;
        self.file.sync_data()?;
        self.len += len as u64;
        Ok(start.elapsed())
    }

    /// Appends blocks of `len` bytes for `time`: blocks a second.
    ///
    /// # Errors
    /// What the disk gives.
    pub(crate) fn rate(&mut self, len: usize, time: Duration) -> io::Result<f64> {
        let (start, mut blocks) = (Instant::now(), 0.0);
        while start.elapsed() < time {
            self.append(len)?;
            blocks += 1.0;
        }
        Ok(blocks / start.elapsed().as_secs_f64())
    }
    /// Appends blocks of `len` bytes for `time`: how long each took, µs.
    ///
    /// # Errors
    /// What the disk gives.
    pub(crate) fn times_us(&mut self, len: usize, time: Duration) -> io::Result<Vec<f64>> {
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed() < time {
            times.push(self.append(len)?.as_secs_f64() * 1e6);
        }
        Ok(times)
    }
}

//! The floor of durability, append + fdatasync to a plain file, and the kernel's counts of writes.
//!
//! Enters: block lengths. Leaves: the time of each append. Invariant: the file is on the file
//! system that the server's data would use and holds about [`MAX_FILE`] bytes at most.

use std::{
    fs::{self, File},
    io::{self, Seek, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};

use rustix::fs::{major, minor};

use crate::times::Times;

/// Approximate bytes that an entry takes in a block: a body of 200, names, the other fields.
pub(crate) const ENTRY: usize = 300;

/// The file is truncated when it is longer than this.
const MAX_FILE: u64 = 1 << 30;

/// The name of the floor in tables.
pub(crate) const FLOOR: &str = "append + fdatasync";

/// An unnamed file that is appended to.
pub(crate) struct SyncedFile {
    file: File,
    len: u64,
    bytes: Vec<u8>,
}

impl SyncedFile {
    /// An empty file in `dir`.
    pub(crate) fn new(dir: &Path) -> io::Result<Self> {
        Ok(Self { file: tempfile::tempfile_in(dir)?, len: 0, bytes: Vec::new() })
    }

    /// Appends `len` bytes and waits for stable storage.
    pub(crate) fn append(&mut self, len: usize) -> io::Result<Duration> {
        if self.len > MAX_FILE {
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

    /// Appends blocks of `len` bytes for `time`, one after the other.
    pub(crate) fn run(&mut self, len: usize, time: Duration) -> io::Result<Times> {
        let (start, mut times) = (Instant::now(), Times::default());
        while start.elapsed() < time {
            times.record(self.append(len)?);
        }
        Ok(times)
    }
}

/// Bytes that this process has written to storage: `write_bytes` in `/proc/self/io`. `None` if the
/// kernel does not count them.
pub(crate) fn process_written() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("write_bytes:"))?.trim().parse().ok()
}

/// Bytes that the whole machine has written to the device under `dir`, including the file system's
/// own journal. `None` if the kernel does not count them.
pub(crate) fn device_written(dir: &Path) -> Option<u64> {
    let device = fs::metadata(dir).ok()?.dev();
    let stat = format!("/sys/dev/block/{}:{}/stat", major(device), minor(device));
    // Field 7: sectors written, always in units of 512 bytes.
    let sectors: u64 = fs::read_to_string(stat).ok()?.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}

//! Bytes that this process has written.
//!
//! Enters: a directory in which something is written. Leaves: a counter that grows by it. Invariant: the
//! way of counting is found out once, by a write, and named beside the figures.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use rustix::fs::{major, minor};

/// How written bytes are counted on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Written {
    /// By the kernel, as they go to the block layer.
    Device,
    /// By the kernel, as they go into write calls: the file system tells no more.
    Calls,
    /// By the growth of the files, which leaves out what is written twice.
    Files,
}

impl Written {
    /// What can be read here, by what a write to `dir` does.
    ///
    /// # Errors
    /// When nothing can be written.
    pub(crate) fn here(dir: &Path) -> io::Result<Self> {
        let Ok(before) = io_counter("write_bytes") else { return Ok(Self::Files) };
        let file = dir.join("probe");
        fs::write(&file, vec![1; 1 << 16])?;
        fs::File::open(&file)?.sync_all()?;
        fs::remove_file(&file)?;
        let grew = io_counter("write_bytes").is_ok_and(|after| after > before);
        Ok(if grew { Self::Device } else { Self::Calls })
    }

    /// For the line below the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Device => "`write_bytes` of /proc/self/io",
            Self::Calls => "`wchar` of /proc/self/io, for its `write_bytes` stays 0 here",
            Self::Files => "the growth of the files, for /proc/self/io cannot be read here",
        }
    }

    /// What was written so far, in bytes; by all threads of this process, unless the files are asked.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(self, dir: &Path) -> io::Result<u64> {
        match self {
            Self::Device => io_counter("write_bytes"),
            Self::Calls => io_counter("wchar"),
            Self::Files => file_bytes(dir),
        }
    }
}

fn io_counter(name: &str) -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/io")?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value
        .and_then(|value| value.trim().parse().ok())
        .ok_or_else(|| io::Error::other(format!("no {name} in /proc/self/io")))
}

/// The bytes of the files in a directory, but for shared memory.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn file_bytes(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for file in fs::read_dir(dir)? {
        let file = file?;
        if !file.file_name().to_string_lossy().ends_with("-shm") {
            sum += file.metadata()?.len();
        }
    }
    Ok(sum)
}

/// Bytes that the whole machine has written to the device under `dir`, the file system's own journal
/// included. Nothing where the kernel does not tell.
pub(crate) fn device_bytes(dir: &Path) -> Option<u64> {
    let device = fs::metadata(dir).ok()?.dev();
    let stat = format!("/sys/dev/block/{}:{}/stat", major(device), minor(device));
    // The seventh is sectors written, of 512 bytes whatever the device's own are.
    let sectors: u64 = fs::read_to_string(stat).ok()?.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}

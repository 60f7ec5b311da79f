//! A journal in a format of our own, as far as its write path goes: what one would cost at least.
//!
//! ```text
//!  current   │ record │ record │ zeroes, or what an earlier use left │   its size never changes
//!            block ──► pwritev, fdatasync ┘        └ does not fit: the next, which is ready
//!
//!  second thread   full ──► kept ──► the oldest: renamed, directory fsynced ──► ready
//!
//!  record    position u64 │ time u64 │ length u32 │ crc32 u32 │ block      (little-endian)
//! ```
//!
//! Enters: blocks. Leaves: the same, on stable storage, the newest in memory too. Invariants: a file is
//! written to only after all of it was written and fsynced, so that a commit changes no metadata and
//! fdatasync has the data alone to wait for; each crc covers the number of the segment, which its
//! name holds and which is never used twice, so that what an earlier use left is no record; no more files
//! than are kept, one being written, and one ready.
//!
//! A start that finds the end, reads behind the newest, a trim by position, and what a full disk asks for
//! are not here: they would be the journal's, and not faster for it.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, IoSlice, Write},
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::JoinHandle,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use roomlog_core::journal::{Durable, Position};

/// Bytes before the block of a record.
const HEADER: usize = 24;

/// How many of the newest blocks are kept in memory, as our journal does.
const RECENT_BLOCKS: usize = 64;

/// How zeroes are written: a page a call. A larger call would make larger pieces of the system's cache, and
/// each commit would then be counted in `write_bytes` as a whole piece.
const ZEROES: usize = 4 << 10;

/// Full segments are kept, being written or ready: one of each of the latter.
const BESIDE_KEPT: usize = 2;

/// How large it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Bytes of a segment.
    pub(crate) segment: u64,
    /// Full segments that are kept; then the oldest is used again.
    pub(crate) keep: usize,
}

/// As many bytes as our journal keeps when nothing else is said.
pub(crate) const SHAPE: Shape = Shape { segment: 64 << 20, keep: 4 };

/// A file of the ring.
struct Segment {
    number: u64,
    path: PathBuf,
    file: File,
}

/// The journal.
pub(crate) struct Segments {
    shape: Shape,
    current: Segment,
    /// Where the next record begins.
    offset: u64,
    next: Option<Segment>,
    ring: Ring,
    head: u64,
    time: u64,
    recent: VecDeque<Durable>,
}

impl Segments {
    /// An empty journal in `dir`. All files are made before this returns, as if it had gone
    /// round once: a server would make them one ahead, and pay each of them once in its life.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(crate) fn new(dir: &Path, shape: Shape) -> io::Result<Self> {
        let ring = Ring::start(dir.into(), shape);
        let (current, next) = (ring.ready()?, ring.ready()?);
        Ok(Self {
            shape,
            current,
            offset: 0,
            next: Some(next),
            ring,
            head: 0,
            time: 0,
            recent: VecDeque::with_capacity(RECENT_BLOCKS),
        })
    }

    /// Appends a block and waits for stable storage.
    ///
    /// # Errors
    /// When it is larger than a segment, and what the disk gives: then nothing can be said of the block.
    pub(crate) fn append(&mut self, block: Bytes) -> io::Result<()> {
        let len = HEADER + block.len();
        if len as u64 > self.shape.segment {
            let why = format!("a record of {len} bytes, in segments of {}", self.shape.segment);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        if self.offset + len as u64 > self.shape.segment {
            self.turn()?;
        }
        let (position, time) = (self.head + 1, self.time.max(now_ms()));
        let header = header(self.current.number, position, time, &block)?;
        let parts = [IoSlice::new(&header), IoSlice::new(&block)];
        let written = rustix::io::pwritev(&self.current.file, &parts, self.offset)?;
        if written != len {
            let why = format!("{}: {written} of {len} bytes", self.current.path.display());
            return Err(io::Error::new(io::ErrorKind::WriteZero, why));
        }
        self.current.file.sync_data()?;
        (self.head, self.time, self.offset) = (position, time, self.offset + len as u64);
        if self.recent.len() == RECENT_BLOCKS {
            self.recent.pop_front();
        }
        self.recent.push_back(Durable { position: Position(position), time, block });
        Ok(())
    }

    /// Goes on in the next segment.
    fn turn(&mut self) -> io::Result<()> {
        self.settle()?;
        let next = self.next.take().ok_or_else(gone)?;
        let full = std::mem::replace(&mut self.current, next);
        self.offset = 0;
        self.ring.give_back(full)
    }

    /// Waits until the second thread has nothing to do.
    ///
    /// # Errors
    /// What the disk gave it.
    pub(crate) fn settle(&mut self) -> io::Result<()> {
        if self.next.is_none() {
            self.next = Some(self.ring.ready()?);
        }
        Ok(())
    }
}

/// What stands before a block: its crc is over the segment's number, the rest of the header, the block.
fn header(segment: u64, position: u64, time: u64, block: &[u8]) -> io::Result<[u8; HEADER]> {
    let len = u32::try_from(block.len()).map_err(io::Error::other)?;
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&position.to_le_bytes());
    header[8..16].copy_from_slice(&time.to_le_bytes());
    header[16..20].copy_from_slice(&len.to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&segment.to_le_bytes());
    crc.update(&header[..20]);
    crc.update(block);
    header[20..].copy_from_slice(&crc.finalize().to_le_bytes());
    Ok(header)
}

/// The second thread, which has the segments that are not written to.
struct Ring {
    full: Option<SyncSender<Segment>>,
    ready: Receiver<io::Result<Segment>>,
    thread: Option<JoinHandle<()>>,
}

impl Ring {
    fn start(dir: PathBuf, shape: Shape) -> Self {
        let (full, given) = sync_channel(1);
        let (tell, ready) = sync_channel(BESIDE_KEPT);
        let thread = std::thread::spawn(move || {
            if let Err(error) = go_round(&dir, shape, &given, &tell) {
                let _nobody_asks = tell.send(Err(error));
            }
        });
        Self { full: Some(full), ready, thread: Some(thread) }
    }

    fn ready(&self) -> io::Result<Segment> {
        self.ready.recv().map_err(|_| gone())?
    }

    fn give_back(&self, segment: Segment) -> io::Result<()> {
        let full = self.full.as_ref().ok_or_else(gone)?;
        full.send(segment).map_err(|_| gone())
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.full = None;
        if let Some(thread) = self.thread.take() {
            let _ended_or_panicked = thread.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that makes segments has ended")
}

/// Makes all files, and hands out the oldest for each that comes back.
fn go_round(
    dir: &Path,
    shape: Shape,
    given: &Receiver<Segment>,
    tell: &SyncSender<io::Result<Segment>>,
) -> io::Result<()> {
    let made = (0..shape.keep + BESIDE_KEPT).map(|n| zeroed(dir, n, shape.segment));
    let mut kept = made.collect::<io::Result<VecDeque<_>>>()?;
    for number in 1.. {
        if number > BESIDE_KEPT as u64 {
            let Ok(full) = given.recv() else { return Ok(()) };
            kept.push_back(full);
        }
        let oldest = kept.pop_front().ok_or_else(gone)?;
        if tell.send(Ok(renewed(dir, oldest, number)?)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// A file of zeroes on stable storage: its blocks are there and written.
fn zeroed(dir: &Path, n: usize, len: u64) -> io::Result<Segment> {
    let path = dir.join(format!("new-{n}"));
    let mut file = File::options().read(true).write(true).create_new(true).open(&path)?;
    let zeroes = vec![0; ZEROES];
    let mut left = len;
    while left > 0 {
        let part = left.min(ZEROES as u64);
        // Not more than the zeroes are.
        file.write_all(&zeroes[..part as usize])?;
        left -= part;
    }
    file.sync_all()?;
    Ok(Segment { number: 0, path, file })
}

/// The file under the name of its next use, which stable storage has.
fn renewed(dir: &Path, segment: Segment, number: u64) -> io::Result<Segment> {
    let path = dir.join(format!("{number:016}.segment"));
    fs::rename(&segment.path, &path)?;
    File::open(dir)?.sync_all()?;
    Ok(Segment { number, path, file: segment.file })
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Shape = Shape { segment: 4096, keep: 2 };

    /// The positions of the records of a segment, up to what is none, and how many bytes they take.
    fn records(bytes: &[u8], segment: u64) -> (Vec<u64>, usize) {
        let (mut positions, mut at) = (Vec::new(), 0);
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        while at + HEADER <= bytes.len() {
            // The crc is in the upper half.
            let len = word(at + 16) as u32 as usize;
            let Some(block) = bytes.get(at + HEADER..at + HEADER + len) else { break };
            let right = header(segment, word(at), word(at + 8), block).expect("a short block");
            if bytes[at..at + HEADER] != right {
                break;
            }
            positions.push(word(at));
            at += HEADER + len;
        }
        (positions, at)
    }

    /// All segments that have a number, the oldest first.
    fn files(dir: &Path) -> Vec<(u64, Vec<u8>)> {
        let read = |file: io::Result<fs::DirEntry>| {
            let path = file.expect("an entry").path();
            let number = path.file_stem()?.to_str()?.parse().ok()?;
            Some((number, fs::read(&path).expect("a segment")))
        };
        let mut files: Vec<_> = fs::read_dir(dir).expect("a directory").filter_map(read).collect();
        files.sort();
        files
    }

    #[test]
    fn a_ring_holds_the_newest_blocks_and_an_old_record_is_none() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = Segments::new(dir.path(), SMALL).expect("a journal");
        for n in 0..200_usize {
            journal.append(Bytes::from(vec![b'x'; 100 + n % 7])).expect("appended");
        }
        journal.settle().expect("the next is ready");

        let files = files(dir.path());
        assert_eq!(files.len(), SMALL.keep + BESIDE_KEPT);
        assert!(files.iter().all(|(_, bytes)| bytes.len() as u64 == SMALL.segment));
        let found: Vec<_> = files.iter().map(|(number, bytes)| records(bytes, *number)).collect();
        let [kept @ .., current, next] = found.as_slice() else { panic!("{found:?}") };
        assert!(kept.iter().all(|(positions, _)| positions.len() > 20), "{kept:?}");
        assert!(next.0.is_empty(), "it is ready, and nothing of its earlier use counts");

        let all: Vec<u64> = found.iter().flat_map(|(positions, _)| positions.clone()).collect();
        let first = all[0];
        assert_eq!(all, (first..=200).collect::<Vec<_>>(), "without a hole up to the newest");
        let (number, bytes) = &files[SMALL.keep];
        assert!(
            bytes[current.1..].iter().any(|byte| *byte != 0),
            "old records lie behind: {number}"
        );
        assert_eq!(journal.recent.len(), RECENT_BLOCKS);
    }

    #[test]
    fn a_block_fills_a_segment_and_no_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = Segments::new(dir.path(), SMALL).expect("a journal");
        let most = SMALL.segment as usize - HEADER;
        journal.append(vec![b'x'; most].into()).expect("a whole segment");
        let error = journal.append(vec![b'x'; most + 1].into()).expect_err("more than a segment");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        journal.append(vec![b'x'; most].into()).expect("the next");
        assert_eq!((journal.head, journal.current.number), (2, 2));
    }
}

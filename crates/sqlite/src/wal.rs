//! The scan of a WAL, before SQLite opens it.
//!
//! SQLite takes a WAL up to the first frame whose checksum is wrong, and drops all behind it without a
//! word. After a crash that is right; after a flipped bit it loses what was acked. This tells the two
//! apart, by <https://sqlite.org/fileformat2.html#the_write_ahead_log>:
//!
//! ```text
//!  header │ frame  frame  COMMIT │ frame  COMMIT │ frame  frame  COMMIT │ of an older round
//!         └ sums are chained: each frame's begins with the one stored before it ┘   other salts
//! ```
//!
//! Enters: the file beside a database that nobody has open. Leaves: nothing, or why it must not be
//! opened. Invariants: nothing is written; the file is read once, a frame at a time; what a crash or a
//! power cut can leave is never refused. The chain can be taken up again behind a bad frame, with the
//! sum stored in it. What stands behind the first bad frame, and what it means:
//!
//! | found | how it came | so |
//! |---|---|---|
//! | frames with other salts | an older round of the file; the newest commit ended before them | fine |
//! | frames of one transaction, in the chain or not | a write that a crash or power cut cut off: its pages reach the disk in any order, and it was never acked. Or a transaction that found no room and was rolled back | fine |
//! | a commit, and a frame chained to it | **journal**: a transaction is written when the one before is on stable storage (FULL), so a power cut tears the last one only: damage. **archive**: several can be torn (NORMAL): fine, the journal has what they held, or start refuses by the positions | damage, or fine |
//!
//! And in either file, wherever it stands, the last transaction included:
//!
//! | found | how it came | so |
//! |---|---|---|
//! | a frame that one flipped bit makes whole | writes that were cut off leave old sectors, not one bit | damage |
//! | a frame behind the bad one whose page is in the database | a WAL is synced before it is copied | damage |
//! | a header that is wrong, and frames that are chained | the header is one sector, synced before the first frame of its round | damage |
//! | a WAL whose database is not there, or empty | the database is made first | damage |
//!
//! What is not told apart: the last transaction, acked, with a whole sector gone. That is what a torn
//! tail looks like. Where the archive had taken it in, start refuses by the positions.

mod copied;
mod sum;

use std::{
    ffi::OsString,
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use thiserror::Error;

use self::{
    copied::Copied,
    sum::{Order, Sum, is_one_bit_off},
};
use crate::pragma::Sync;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// The magic, but for its last bit, which says the order of bytes.
const MAGIC: u32 = 0x377f_0682;

/// The page sizes that SQLite has.
const PAGE_SIZES: std::ops::RangeInclusive<usize> = 512..=65_536;

/// Why a WAL must not be opened. Nothing was changed.
#[derive(Debug, Error)]
pub(crate) enum WalError {
    /// The system refused.
    #[error("{} cannot be read: {error}", file.display())]
    Io { file: PathBuf, error: io::Error },
    /// The WAL has no database.
    #[error(
        "{} holds commits, and the database beside it is missing or empty; bring that file back, or \
         restore a backup of the whole directory. Nothing was changed",
        file.display()
    )]
    Alone { file: PathBuf },
    /// A part of it is not what was written.
    #[error(
        "{} is damaged: {what} at byte {at}; what was committed before is whole up to byte {whole}, \
         and {behind} more frames lie behind, up to byte {end}, which SQLite would drop in silence. \
         Nothing was changed; {}",
        file.display(), way_out(file)
    )]
    Damaged { file: PathBuf, what: String, at: u64, whole: u64, behind: u64, end: u64 },
}

fn way_out(file: &Path) -> &'static str {
    let is_archive = file.file_name().is_some_and(|name| name == "archive.db-wal");
    if is_archive {
        "restore a backup of the whole directory; while the journal holds everything from its first \
         position, moving archive.db, archive.db-wal and archive.db-shm away is enough: they are \
         made again"
    } else {
        "restore a backup of the whole directory"
    }
}

/// Looks at the WAL beside a database, which nobody may have open.
///
/// # Errors
/// [`WalError`] when SQLite would open it and lose commits.
pub(crate) fn scan(database: &Path, sync: Sync) -> Result<(), WalError> {
    let mut name = OsString::from(database);
    name.push("-wal");
    let file = PathBuf::from(name);
    let io = |error| WalError::Io { file: file.clone(), error };
    let wal = match File::open(&file) {
        Ok(wal) => wal,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io(error)),
    };
    if wal.metadata().map_err(io)?.len() < HEADER_BYTES as u64 {
        return Ok(());
    }
    let page_size = match page_size_of(database) {
        Ok(Some(page_size)) => page_size,
        Ok(None) => return Err(WalError::Alone { file }),
        Err(error) => return Err(WalError::Io { file: database.into(), error }),
    };
    let mut wal = BufReader::with_capacity(1 << 18, wal);
    let mut header = [0; HEADER_BYTES];
    wal.read_exact(&mut header).map_err(io)?;
    let walk = match Round::of(&header) {
        Some(round) => {
            let copied = Copied::new(database, &file).map_err(io)?;
            walk(&mut wal, &round, sync, copied).map_err(io)?
        }
        None => walk_without_header(&mut wal, &header, page_size).map_err(io)?,
    };
    let Walk { damage, whole, behind, end } = walk;
    match damage {
        Some((what, at)) => Err(WalError::Damaged { file, what, at, whole, behind, end }),
        None => Ok(()),
    }
}

/// The page size of a database; `None` when it is missing or has no page.
fn page_size_of(database: &Path) -> io::Result<Option<usize>> {
    let mut header = Vec::with_capacity(18);
    match File::open(database) {
        Ok(file) => file.take(18).read_to_end(&mut header)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = header.get(16..18).map(|size| usize::from(size[0]) << 8 | usize::from(size[1]));
    Ok(size.map(|size| if size == 1 { 65_536 } else { size }))
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// What a valid header says: the frames that bear its salts are of its round.
struct Round {
    order: Order,
    page_size: usize,
    salts: [u8; 8],
    sum: Sum,
}

impl Round {
    fn of(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let magic = number(&header[..4]);
        let order = if magic & 1 == 0 { Order::Little } else { Order::Big };
        let sum = Sum::default().after(order, &header[..24]);
        let page_size = number(&header[8..12]) as usize;
        let is_valid = magic & !1 == MAGIC
            && sum == Sum::stored(&header[24..])
            && page_size.is_power_of_two()
            && PAGE_SIZES.contains(&page_size);
        let mut salts = [0; 8];
        salts.copy_from_slice(&header[16..24]);
        is_valid.then_some(Self { order, page_size, salts, sum })
    }
}

/// One frame: its header and its page.
struct Frame(Vec<u8>);

impl Frame {
    fn new(page_size: usize) -> Self {
        Self(vec![0; FRAME_HEADER_BYTES + page_size])
    }

    /// Reads the next frame; `false` when there is none, or a part of one.
    fn read(&mut self, wal: &mut impl Read) -> io::Result<bool> {
        match wal.read_exact(&mut self.0) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The number of its page, from 1.
    fn page(&self) -> u32 {
        number(&self.0[..4])
    }

    /// When it says that a transaction ends with it: how many pages the database has then; else 0.
    fn commit(&self) -> u32 {
        number(&self.0[4..8])
    }

    fn is_commit(&self) -> bool {
        self.commit() != 0
    }

    fn content(&self) -> &[u8] {
        &self.0[FRAME_HEADER_BYTES..]
    }

    fn salts(&self) -> &[u8] {
        &self.0[8..16]
    }

    fn stored(&self) -> Sum {
        Sum::stored(&self.0[16..24])
    }

    /// What is summed.
    fn parts(&self) -> [&[u8]; 2] {
        [&self.0[..8], self.content()]
    }

    fn sum(&self, order: Order, before: Sum) -> Sum {
        self.parts().into_iter().fold(before, |sum, part| sum.after(order, part))
    }
}

/// What was found.
#[derive(Default)]
struct Walk {
    /// What is wrong, and at which byte.
    damage: Option<(String, u64)>,
    /// Where the last commit ends that SQLite would find.
    whole: u64,
    /// How many frames of this round stand behind the first bad one.
    behind: u64,
    /// Where the last of them ends.
    end: u64,
}

fn walk(wal: &mut impl Read, round: &Round, sync: Sync, mut copied: Copied) -> io::Result<Walk> {
    let mut walk = Walk { whole: HEADER_BYTES as u64, ..Walk::default() };
    let mut frame = Frame::new(round.page_size);
    let mut at = HEADER_BYTES as u64;
    let mut broken: Option<u64> = None;
    let (mut before, mut behind_commit) = (round.sum, false);
    while frame.read(wal)? {
        let end = at + frame.0.len() as u64;
        let is_ours = frame.salts() == round.salts;
        let sum = frame.sum(round.order, before);
        let is_chained = is_ours && frame.page() != 0 && sum == frame.stored();
        match broken {
            None if is_chained => {
                copied.note(frame.page(), at + FRAME_HEADER_BYTES as u64, frame.commit());
                if frame.is_commit() {
                    walk.whole = end;
                }
            }
            None => {
                (broken, walk.end) = (Some(at), end);
                if is_one_bit_away(&frame, round, sum) {
                    walk.damage = Some(("a bit of a frame was flipped".into(), at));
                }
            }
            Some(bad) => {
                // A frame that was torn where its header crosses sectors could say commit by chance:
                // its first eight bytes old, the rest new. One header in 512 lies so.
                if is_chained && behind_commit && sync.is_full() && walk.damage.is_none() {
                    walk.damage = Some(("a frame before later commits is not whole".into(), bad));
                }
                if is_chained
                    && walk.damage.is_none()
                    && copied.holds(frame.page(), frame.content())?
                {
                    walk.damage = Some(("a frame before what was copied is not whole".into(), bad));
                }
                if is_ours {
                    (walk.behind, walk.end) = (walk.behind + 1, end);
                }
            }
        }
        (before, behind_commit) = (frame.stored(), is_ours && frame.is_commit());
        at = end;
    }
    Ok(walk)
}

/// Whether one flipped bit explains a frame that stands where the chain is whole up to it.
fn is_one_bit_away(frame: &Frame, round: &Round, computed: Sum) -> bool {
    let salts = frame.salts().iter().zip(round.salts);
    match salts.map(|(there, ours)| (there ^ ours).count_ones()).sum::<u32>() {
        0 => is_one_bit_off(round.order, frame.parts(), computed, frame.stored()),
        1 => computed == frame.stored(),
        _ => false,
    }
}

/// A WAL whose header is wrong: SQLite would not look at any frame.
fn walk_without_header(
    wal: &mut impl Read,
    header: &[u8; HEADER_BYTES],
    page_size: usize,
) -> io::Result<Walk> {
    let stored = Sum::stored(&header[24..]);
    let flipped = [Order::Little, Order::Big].into_iter().any(|order| {
        let computed = Sum::default().after(order, &header[..24]);
        is_one_bit_off(order, [&header[..24], &[]], computed, stored)
    });
    let mut walk = Walk::default();
    if !page_size.is_power_of_two() || !PAGE_SIZES.contains(&page_size) {
        // Not this file's fault: SQLite says what is wrong with the database.
        return Ok(walk);
    }
    let mut frame = Frame::new(page_size);
    let mut at = HEADER_BYTES as u64;
    let mut before: Option<(Sum, [u8; 8])> = None;
    let mut is_chained = false;
    while frame.read(wal)? {
        at += frame.0.len() as u64;
        (walk.behind, walk.end) = (walk.behind + 1, at);
        if let Some((sum, salts)) = before {
            let follows = |order| frame.sum(order, sum) == frame.stored();
            is_chained |= frame.salts() == salts && (follows(Order::Little) || follows(Order::Big));
        }
        let mut salts = [0; 8];
        salts.copy_from_slice(frame.salts());
        before = Some((frame.stored(), salts));
    }
    if walk.behind > 0 && (is_chained || flipped) {
        walk.damage = Some(("its header is not what was written".into(), 0));
    }
    Ok(walk)
}

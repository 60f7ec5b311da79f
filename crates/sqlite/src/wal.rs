//! The scan of a WAL, before SQLite opens it.
//!
//! SQLite takes a WAL up to the first frame whose checksum is wrong, and silently drops the rest.
//! After a crash that is right; after a flipped bit it loses what was acked. The scan tells them
//! apart, by <https://sqlite.org/fileformat2.html#the_write_ahead_log>:
//!
//! ```text
//!  header │ frame  frame  COMMIT │ frame  COMMIT │ frame  frame  COMMIT │ of an older round
//!         └ checksums are chained: each continues the one stored before it ┘   other salts
//! ```
//!
//! Enters: the WAL of a database that nobody has open. Leaves: nothing, or why it must not be
//! opened. Invariants: nothing is written; the file is read once, a frame at a time; what a crash
//! or a power cut can leave is never refused. After a bad frame the chain continues with the sum
//! stored in it. What follows the first bad frame:
//!
//! | found | cause | verdict |
//! |---|---|---|
//! | frames with other salts | an older round; the newest commit ended before them | fine |
//! | frames of one transaction, chained or not | a write that a crash or power cut interrupted: its pages reach the disk in any order, and it was never acked. Or a transaction without room that was rolled back | fine |
//! | a commit, and a frame chained to it | **journal**: a transaction is written once the one before it is on stable storage (FULL), so a power cut tears only the last one. **archive**: it can tear several (NORMAL); the journal has what they held, or the start refuses by the positions | journal: damage; archive: fine |
//!
//! In either file, and in the last transaction too:
//!
//! | found | cause | verdict |
//! |---|---|---|
//! | a frame that one flipped bit would make valid | an interrupted write leaves old sectors, which seldom differ in one bit | **journal**: damage; **archive**: fine, as above |
//! | frames of the bad one's transaction or after it whose pages are in the database | a WAL is synced before it is copied | damage |
//! | a wrong header, and chained frames | the header is one sector, synced before the first frame of its round | damage |
//! | a WAL whose database is missing or empty | the database is made first | damage |
//!
//! Not detected: the last transaction, acked, with a complete sector lost: it looks like a torn
//! tail. If the archive had applied it, the start refuses by the positions.

mod checksum;
mod copied_pages;

use std::{
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use thiserror::Error;

use self::{
    checksum::{ByteOrder, Checksum, is_one_bit_off},
    copied_pages::CopiedPages,
};
use crate::{
    files::{ARCHIVE, wal_of},
    pragma::Durability,
    private::{self, if_exists},
};

pub(crate) const HEADER_BYTES: usize = 32;
pub(crate) const FRAME_HEADER_BYTES: usize = 24;

/// The magic without its last bit, which is the byte order.
const MAGIC: u32 = 0x377f_0682;

const PAGE_SIZES: std::ops::RangeInclusive<usize> = 512..=65_536;

/// Why a WAL must not be opened. Nothing was changed.
#[derive(Debug, Error)]
pub(crate) enum WalError {
    #[error("{} cannot be read: {error}", file.display())]
    Io { file: PathBuf, error: io::Error },
    #[error(
        "{} holds commits, and the database beside it is missing or empty; bring that file back, \
         or restore a backup of the whole directory. Nothing was changed",
        file.display()
    )]
    Alone { file: PathBuf },
    #[error(
        "{} is damaged: {what} at byte {at}; commits are intact up to byte {intact}, and {after} \
         more frames follow, up to byte {end}, which SQLite would silently drop. Nothing was \
         changed; {}",
        file.display(), remedy(file)
    )]
    Damaged { file: PathBuf, what: &'static str, at: u64, intact: u64, after: u64, end: u64 },
}

fn remedy(file: &Path) -> &'static str {
    if file.file_name() == wal_of(Path::new(ARCHIVE)).file_name() {
        "restore a backup of the whole directory; while the journal holds everything from its \
         first position, moving archive.db, archive.db-wal and archive.db-shm away is enough: \
         they are rebuilt"
    } else {
        "restore a backup of the whole directory"
    }
}

/// Scans the WAL of a database that nobody has open; fails if SQLite would lose commits.
pub(crate) fn scan(database: &Path, durability: Durability) -> Result<(), WalError> {
    let file = wal_of(database);
    let io = |error| WalError::Io { file: file.clone(), error };
    let Some(wal) = if_exists(private::open(&file)).map_err(io)? else { return Ok(()) };
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
            let copied = CopiedPages::new(database, &file, round.page_size).map_err(io)?;
            walk(&mut wal, &round, durability, copied).map_err(io)?
        }
        None => walk_without_header(&mut wal, &header, page_size).map_err(io)?,
    };
    let Walk { damage, intact, after, end } = walk;
    match damage {
        Some((what, at)) => Err(WalError::Damaged { file, what, at, intact, after, end }),
        None => Ok(()),
    }
}

/// The page size of a database; `None` if it is missing or has no page.
fn page_size_of(database: &Path) -> io::Result<Option<usize>> {
    let mut header = Vec::with_capacity(18);
    let Some(file) = if_exists(private::open(database))? else { return Ok(None) };
    file.take(18).read_to_end(&mut header)?;
    let size = header.get(16..18).map(|size| usize::from(size[0]) << 8 | usize::from(size[1]));
    Ok(size.map(|size| if size == 1 { 65_536 } else { size }))
}

pub(crate) fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// A valid header: the frames with its salts are of its round.
pub(crate) struct Round {
    order: ByteOrder,
    pub(crate) page_size: usize,
    pub(crate) salts: [u8; 8],
    sum: Checksum,
}

impl Round {
    pub(crate) fn of(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let magic = number(&header[..4]);
        let order = if magic & 1 == 0 { ByteOrder::Little } else { ByteOrder::Big };
        let sum = Checksum::default().after(order, &header[..24]);
        let page_size = number(&header[8..12]) as usize;
        let is_valid = magic & !1 == MAGIC
            && sum == Checksum::stored(&header[24..])
            && page_size.is_power_of_two()
            && PAGE_SIZES.contains(&page_size);
        let mut salts = [0; 8];
        salts.copy_from_slice(&header[16..24]);
        is_valid.then_some(Self { order, page_size, salts, sum })
    }
}

struct Frame(Vec<u8>);

impl Frame {
    fn new(page_size: usize) -> Self {
        Self(vec![0; FRAME_HEADER_BYTES + page_size])
    }

    /// Reads the next frame; `false` at the end, or if the frame is incomplete.
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

    /// How many pages the database has, if a transaction ends with it; else 0.
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

    fn stored(&self) -> Checksum {
        Checksum::stored(&self.0[16..24])
    }

    fn parts(&self) -> [&[u8]; 2] {
        [&self.0[..8], self.content()]
    }

    fn sum(&self, order: ByteOrder, before: Checksum) -> Checksum {
        self.parts().into_iter().fold(before, |sum, part| sum.after(order, part))
    }
}

#[derive(Default)]
struct Walk {
    /// What is wrong, and at which byte.
    damage: Option<(&'static str, u64)>,
    /// Where the last commit ends that SQLite would find.
    intact: u64,
    /// How many frames of this round follow the first bad one.
    after: u64,
    /// Where the last of them ends.
    end: u64,
}

fn walk(
    wal: &mut impl Read,
    round: &Round,
    durability: Durability,
    mut copied: CopiedPages,
) -> io::Result<Walk> {
    let mut walk = Walk { intact: HEADER_BYTES as u64, ..Walk::default() };
    let mut frame = Frame::new(round.page_size);
    let mut at = HEADER_BYTES as u64;
    let mut broken: Option<u64> = None;
    let (mut before, mut after_commit) = (round.sum, false);
    while frame.read(wal)? {
        let (page_at, end) = (at + FRAME_HEADER_BYTES as u64, at + frame.0.len() as u64);
        let is_ours = frame.salts() == round.salts;
        let sum = frame.sum(round.order, before);
        let is_chained = is_ours && frame.page() != 0 && sum == frame.stored();
        match broken {
            None if is_chained => {
                copied.note(frame.page(), page_at, frame.commit());
                if frame.is_commit() {
                    walk.intact = end;
                }
            }
            None => {
                (broken, walk.end) = (Some(at), end);
                // With other salts it is of an older round, which was copied.
                copied.note_bad(is_ours.then(|| (frame.page(), page_at)));
                if durability == Durability::Full && is_one_bit_away(&frame, round, sum) {
                    walk.damage = Some(("a bit of a frame was flipped", at));
                }
            }
            Some(bad) => {
                // A frame torn where its header crosses sectors could look like a commit, its first
                // eight bytes old and the rest new, hence the chained frame. One header in 512
                // crosses sectors.
                if is_chained {
                    copied.note_after(frame.page(), page_at);
                    if after_commit && durability == Durability::Full && walk.damage.is_none() {
                        walk.damage = Some(("a frame before later commits is incomplete", bad));
                    }
                }
                if is_ours {
                    (walk.after, walk.end) = (walk.after + 1, end);
                }
            }
        }
        (before, after_commit) = (frame.stored(), is_ours && frame.is_commit());
        at = end;
    }
    if let Some(bad) = broken
        && walk.damage.is_none()
        && copied.are_there()?
    {
        walk.damage = Some(("a frame that was copied is not what was written", bad));
    }
    Ok(walk)
}

/// Whether one flipped bit explains a bad frame up to which the chain is intact.
fn is_one_bit_away(frame: &Frame, round: &Round, computed: Checksum) -> bool {
    let salts = frame.salts().iter().zip(round.salts);
    match salts.map(|(stored, ours)| (stored ^ ours).count_ones()).sum::<u32>() {
        0 => is_one_bit_off(round.order, frame.parts(), computed, frame.stored()),
        1 => computed == frame.stored(),
        _ => false,
    }
}

/// A WAL with a wrong header, of which SQLite would read no frame.
fn walk_without_header(
    wal: &mut impl Read,
    header: &[u8; HEADER_BYTES],
    page_size: usize,
) -> io::Result<Walk> {
    let stored = Checksum::stored(&header[24..]);
    let flipped = [ByteOrder::Little, ByteOrder::Big].into_iter().any(|order| {
        let computed = Checksum::default().after(order, &header[..24]);
        is_one_bit_off(order, [&header[..24], &[]], computed, stored)
    });
    let mut walk = Walk::default();
    if !page_size.is_power_of_two() || !PAGE_SIZES.contains(&page_size) {
        // SQLite reports what is wrong with the database.
        return Ok(walk);
    }
    let mut frame = Frame::new(page_size);
    let mut at = HEADER_BYTES as u64;
    let mut before: Option<(Checksum, [u8; 8])> = None;
    let mut is_chained = false;
    while frame.read(wal)? {
        at += frame.0.len() as u64;
        (walk.after, walk.end) = (walk.after + 1, at);
        if let Some((sum, salts)) = before {
            let follows = |order| frame.sum(order, sum) == frame.stored();
            is_chained |=
                frame.salts() == salts && (follows(ByteOrder::Little) || follows(ByteOrder::Big));
        }
        let mut salts = [0; 8];
        salts.copy_from_slice(frame.salts());
        before = Some((frame.stored(), salts));
    }
    if walk.after > 0 && (is_chained || flipped) {
        walk.damage = Some(("its header is not what was written", 0));
    }
    Ok(walk)
}

//! Which pages a WAL holds, while SQLite has it open.
//!
//! Closing a descriptor of a WAL drops no lock: SQLite's are on its index and on the database.

use std::{collections::BTreeSet, io, os::unix::fs::FileExt, path::Path, path::PathBuf};

use crate::{
    files::wal_of,
    private::{self, if_exists},
    wal::{FRAME_HEADER_BYTES, HEADER_BYTES, Round, number},
};

/// Reads the frames of a WAL, each of them once.
#[derive(Debug)]
pub(crate) struct WalPages {
    file: PathBuf,
    /// The salts of the round whose frames were read.
    salts: [u8; 8],
    /// How many of its frames were read.
    frames: u64,
}

impl WalPages {
    pub(crate) fn new(database: &Path) -> Self {
        Self { file: wal_of(database), salts: [0; 8], frames: 0 }
    }

    /// Adds the pages of the frames up to `frames` that were not read yet. All of them must be
    /// committed: SQLite writes others in the place of those that it rolls back.
    pub(crate) fn read(&mut self, frames: u64, pages: &mut BTreeSet<u32>) -> io::Result<()> {
        if frames == 0 {
            return Ok(());
        }
        let Some(wal) = if_exists(private::open(&self.file))? else { return Ok(()) };
        let mut header = [0; HEADER_BYTES];
        wal.read_exact_at(&mut header, 0)?;
        let Some(round) = Round::of(&header) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the header of the WAL is wrong",
            ));
        };
        if round.salts != self.salts {
            (self.salts, self.frames) = (round.salts, 0);
        }
        let length = (FRAME_HEADER_BYTES + round.page_size) as u64;
        let mut page = [0; 4];
        while self.frames < frames {
            wal.read_exact_at(&mut page, HEADER_BYTES as u64 + self.frames * length)?;
            pages.insert(number(&page));
            self.frames += 1;
        }
        Ok(())
    }
}

//! The records of a segment, read one after another.
//!
//! Enters: a segment, and the position that comes next. Leaves: its block. Invariant: a record that is not
//! what was written is an error with its position, and none after it is given.

use std::{fs::File, os::unix::fs::FileExt, path::Path};

use roomlog_core::journal::{Durable, JournalError};

use super::{
    format::{self, Header, RecordHeader},
    segment::failed,
};
use crate::{files::segment_name, private};

pub(super) struct Records {
    file: File,
    pub(super) number: u64,
    salt: u64,
    /// The position of the next record.
    pub(super) next: u64,
    /// Where it begins.
    pub(super) at: u64,
    /// The time of the block before it.
    pub(super) time: u64,
}

impl Records {
    pub(super) fn open(directory: &Path, header: &Header) -> Result<Self, JournalError> {
        let name = segment_name(header.number);
        let file = private::open(&directory.join(&name));
        let file = file.map_err(|error| failed(&name, "cannot be read", &error))?;
        let &Header { number, salt, first, at, time, .. } = header;
        Ok(Self { file, number, salt, next: first, at, time })
    }

    /// Goes on to a position, which may be one past the last.
    pub(super) fn seek(&mut self, position: u64) -> Result<(), JournalError> {
        while self.next < position {
            let header = self.header()?;
            self.pass(&header);
        }
        Ok(())
    }

    /// Reads the next block.
    pub(super) fn read(&mut self) -> Result<Durable, JournalError> {
        let header = self.header()?;
        let mut bytes = vec![0; header.rest()];
        self.read_at(&mut bytes, self.at + RecordHeader::BYTES as u64)?;
        let block = header.block(&bytes, self.salt).ok_or_else(|| self.changed())?;
        let durable = format::durable(&header, block);
        self.pass(&header);
        Ok(durable)
    }

    fn pass(&mut self, header: &RecordHeader) {
        self.next += 1;
        self.at += header.room();
        self.time = header.time;
    }

    fn header(&self) -> Result<RecordHeader, JournalError> {
        let mut bytes = [0; RecordHeader::BYTES];
        self.read_at(&mut bytes, self.at)?;
        let header = RecordHeader::decode(&bytes, self.salt);
        header.filter(|header| header.position == self.next).ok_or_else(|| self.changed())
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> Result<(), JournalError> {
        match self.file.read_exact_at(bytes, at) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(self.changed()),
            read => {
                read.map_err(|error| failed(&segment_name(self.number), "cannot be read", &error))
            }
        }
    }

    fn changed(&self) -> JournalError {
        JournalError(format!(
            "{}: position {} of the journal is not what was written: its checksum is wrong; restore a \
             backup of the whole directory. Nothing was changed",
            segment_name(self.number),
            self.next
        ))
    }
}

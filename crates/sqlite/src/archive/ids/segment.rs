//! A segment: ids that were sorted and written once.
//!
//! Enters: ids in the order of their hashes ([`Build`]); or what the state says of one, at the start.
//! Leaves: rows, and a [`Segment`] to look up in. Invariant: all 2^bits buckets have a row, empty ones
//! too, so that a row that is gone is noticed.

use std::sync::Arc;

use roomlog_core::archive::ArchiveError;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    bucket::{self, IdAt},
    filter::{self, Filter},
    part_key,
};
use crate::{
    archive::{failed, is_damaged, state::SegmentForm},
    sql,
};

/// The bytes of a filter in one row, before its checksum.
const FILTER_PART: usize = 32 << 10;

/// How many such rows one transaction writes.
const PARTS_A_TRANSACTION: usize = 8;

/// A segment that can be looked up in.
pub(in crate::archive) struct Segment {
    form: SegmentForm,
    /// Held by all who may read its buckets.
    pin: Arc<()>,
    /// None: every hash is looked up in the file.
    filter: Option<Filter>,
}

impl Segment {
    /// Opens a segment that the state names, without its filter.
    pub(super) fn open(form: SegmentForm) -> Self {
        Self { form, pin: Arc::default(), filter: None }
    }

    /// The same segment with its filter, which is read.
    pub(super) fn with_filter(self, connection: &Connection) -> Result<Self, ArchiveError> {
        Ok(Self { filter: Some(read_filter(connection, &self.form)?), ..self })
    }

    /// How the state names it.
    pub(in crate::archive) fn form(&self) -> SegmentForm {
        self.form
    }

    /// How many ids it holds.
    pub(in crate::archive) fn ids(&self) -> u64 {
        self.form.ids
    }

    /// Whether a hash may be in it.
    pub(in crate::archive) fn may_hold(&self, hash: u64) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.may_hold(hash))
    }

    /// Held while anyone may read its buckets.
    pub(super) fn pin(&self) -> Arc<()> {
        self.pin.clone()
    }

    /// The same segment, without the memory that its filter takes.
    pub(super) fn without_filter(&self) -> Arc<Self> {
        Arc::new(Self { form: self.form, pin: self.pin.clone(), filter: None })
    }

    /// The keys of the entries that have a hash.
    pub(super) fn entries_of(
        &self,
        connection: &Connection,
        hash: u64,
    ) -> Result<Vec<i64>, ArchiveError> {
        let bucket = bucket::of(hash, self.form.bits);
        let row = self.row(connection, bucket)?;
        let entries = bucket::entries_of(self.form.number, bucket, &row, hash);
        entries.ok_or_else(|| self.is_changed(bucket))
    }

    /// The ids of a bucket.
    pub(super) fn bucket(
        &self,
        connection: &Connection,
        bucket: i64,
    ) -> Result<Vec<IdAt>, ArchiveError> {
        let row = self.row(connection, bucket)?;
        bucket::decode(self.form.number, bucket, &row).ok_or_else(|| self.is_changed(bucket))
    }

    /// How many buckets it has.
    pub(super) fn buckets(&self) -> i64 {
        1 << self.form.bits
    }

    fn row(&self, connection: &Connection, bucket: i64) -> Result<Vec<u8>, ArchiveError> {
        let key = part_key(self.form.number, bucket);
        let read = || {
            connection.prepare_cached(sql::BUCKET)?.query_row([key], |row| row.get(0)).optional()
        };
        let row = read().map_err(|error| failed(&error))?;
        row.ok_or_else(|| {
            is_damaged(&format!("bucket {bucket} of ids {} is missing", self.form.number))
        })
    }

    fn is_changed(&self, bucket: i64) -> ArchiveError {
        let number = self.form.number;
        is_damaged(&format!(
            "bucket {bucket} of ids {number} does not have the checksum it was given"
        ))
    }
}

fn read_filter(connection: &Connection, form: &SegmentForm) -> Result<Filter, ArchiveError> {
    let number = form.number;
    let mut bytes = Vec::with_capacity(filter::size(form.ids));
    let mut statement = connection.prepare_cached(sql::FILTER).map_err(|error| failed(&error))?;
    let bounds = [part_key(number, 0), part_key(number + 1, 0)];
    let mut rows = statement.query(bounds).map_err(|error| failed(&error))?;
    let damaged = || is_damaged(&format!("the filter of ids {number} is not what was written"));
    while let Some(row) = rows.next().map_err(|error| failed(&error))? {
        let columns = || Ok((row.get::<_, i64>(0)?, row.get_ref(1)?.as_blob()?));
        let (key, part) = columns().map_err(|error: rusqlite::Error| failed(&error))?;
        let (bits, crc) = part.split_last_chunk::<4>().ok_or_else(damaged)?;
        if part_crc(key, bits) != u32::from_be_bytes(*crc) {
            return Err(damaged());
        }
        bytes.extend_from_slice(bits);
    }
    Filter::read(form.ids, &bytes).ok_or_else(damaged)
}

fn part_crc(key: i64, bits: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&key.to_be_bytes());
    crc.update(bits);
    crc.finalize()
}

/// A segment that is being written.
pub(in crate::archive) struct Build {
    form: SegmentForm,
    /// None: it would be larger than all filters may be.
    filter: Option<Filter>,
    /// How many parts of it are written.
    parts: usize,
    /// The bucket that is being filled, and what is in it.
    bucket: i64,
    ids: Vec<IdAt>,
}

impl Build {
    /// A segment of so many ids.
    pub(in crate::archive) fn new(number: i64, ids: u64) -> Self {
        let form = SegmentForm { number, ids, bits: bucket::bits(ids) };
        let filter = filter::fits(ids).then(|| Filter::new(ids));
        Self { form, filter, parts: 0, bucket: 0, ids: Vec::new() }
    }

    /// Its number.
    pub(super) fn number(&self) -> i64 {
        self.form.number
    }

    /// Takes the next id; they come in the order of their hashes.
    pub(in crate::archive) fn push(
        &mut self,
        connection: &Connection,
        id: IdAt,
    ) -> Result<(), ArchiveError> {
        let bucket = bucket::of(id.0, self.form.bits);
        if let Some(filter) = &mut self.filter {
            filter.insert(id.0);
        }
        self.close_buckets_before(connection, bucket)?;
        self.ids.push(id);
        Ok(())
    }

    /// Writes what is left, and some of the filter; `true` when that is all.
    pub(in crate::archive) fn close(
        &mut self,
        connection: &Connection,
    ) -> Result<bool, ArchiveError> {
        self.close_buckets_before(connection, 1 << self.form.bits)?;
        let Some(filter) = &self.filter else { return Ok(true) };
        for _ in 0..PARTS_A_TRANSACTION {
            let begin = self.parts * FILTER_PART;
            let bits = filter.bytes(begin..begin + FILTER_PART);
            if bits.is_empty() {
                return Ok(true);
            }
            // At most as many as FILTER_BYTES have.
            let key = part_key(self.form.number, i64::try_from(self.parts).unwrap_or(i64::MAX));
            let row = [&bits[..], &part_crc(key, &bits).to_be_bytes()].concat();
            let write = || connection.prepare_cached(sql::MAKE_FILTER)?.execute(params![key, row]);
            write().map_err(|error| failed(&error))?;
            self.parts += 1;
        }
        Ok(false)
    }

    /// The segment, once it is closed.
    pub(in crate::archive) fn segment(self) -> Arc<Segment> {
        Arc::new(Segment { form: self.form, pin: Arc::default(), filter: self.filter })
    }

    fn close_buckets_before(
        &mut self,
        connection: &Connection,
        bucket: i64,
    ) -> Result<(), ArchiveError> {
        while self.bucket < bucket {
            let row = bucket::encode(self.form.number, self.bucket, &self.ids);
            let key = part_key(self.form.number, self.bucket);
            let write = || connection.prepare_cached(sql::MAKE_BUCKET)?.execute(params![key, row]);
            write().map_err(|error| failed(&error))?;
            self.ids.clear();
            self.bucket += 1;
        }
        Ok(())
    }
}

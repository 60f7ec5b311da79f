//! A segment: ids that were sorted and written once.
//!
//! Enters: ids in the order of their hashes. Leaves: rows, and a [`Segment`] for look-ups.
//! Invariant: each of the 2^bits buckets has a row, even if empty, so a missing row is detected.

use std::sync::Arc;

use roomlog_core::archive::ArchiveError;
use rusqlite::{Connection, params};

use super::{
    bucket::{self, IdAt},
    filter::{self, Filter},
};
use crate::archive::{
    sql::{self, damaged, failed, part_key},
    state::SegmentForm,
};

/// The bytes of a filter in one row, before their checksum.
const FILTER_PART: usize = 32 << 10;

const PARTS_PER_TRANSACTION: usize = 8;

pub(in crate::archive) struct Segment {
    pub(in crate::archive) form: SegmentForm,
    /// Held by all who may read its buckets.
    pub(super) pin: Arc<()>,
    /// If `None`, every hash is looked up in the file.
    filter: Option<Filter>,
}

impl Segment {
    /// Opens a segment that the state lists, with or without its filter.
    pub(super) fn open(
        connection: &Connection,
        form: SegmentForm,
        is_filtered: bool,
    ) -> Result<Arc<Self>, ArchiveError> {
        let filter = is_filtered.then(|| read_filter(connection, &form)).transpose()?;
        Ok(Arc::new(Self { form, pin: Arc::default(), filter }))
    }

    pub(in crate::archive) fn may_hold(&self, hash: u64) -> bool {
        self.filter.as_ref().is_none_or(|filter| filter.may_hold(hash))
    }

    pub(super) fn without_filter(&self) -> Arc<Self> {
        Arc::new(Self { form: self.form, pin: self.pin.clone(), filter: None })
    }

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

    pub(super) fn bucket(
        &self,
        connection: &Connection,
        bucket: i64,
    ) -> Result<Vec<IdAt>, ArchiveError> {
        let row = self.row(connection, bucket)?;
        bucket::decode(self.form.number, bucket, &row).ok_or_else(|| self.is_changed(bucket))
    }

    fn row(&self, connection: &Connection, bucket: i64) -> Result<Vec<u8>, ArchiveError> {
        let number = self.form.number;
        let row = sql::find(connection, sql::BUCKET, [part_key(number, bucket)], |row| row.get(0))?;
        row.ok_or_else(|| damaged(&format!("bucket {bucket} of ids {number} is missing")))
    }

    fn is_changed(&self, bucket: i64) -> ArchiveError {
        let number = self.form.number;
        damaged(&format!("bucket {bucket} of ids {number} does not have the checksum it was given"))
    }
}

fn read_filter(connection: &Connection, form: &SegmentForm) -> Result<Filter, ArchiveError> {
    let number = form.number;
    let mut bytes = Vec::with_capacity(filter::size(form.ids));
    let mut statement = connection.prepare_cached(sql::FILTER).map_err(failed)?;
    let bounds = [part_key(number, 0), part_key(number + 1, 0)];
    let mut rows = statement.query(bounds).map_err(failed)?;
    let changed = || damaged(&format!("the filter of ids {number} is not what was written"));
    while let Some(row) = rows.next().map_err(failed)? {
        let columns = || Ok((row.get::<_, i64>(0)?, row.get_ref(1)?.as_blob()?));
        let (key, part) = columns().map_err(failed)?;
        let (bits, crc) = part.split_last_chunk::<4>().ok_or_else(changed)?;
        if part_crc(key, bits) != u32::from_be_bytes(*crc) {
            return Err(changed());
        }
        bytes.extend_from_slice(bits);
    }
    Filter::read(form.ids, &bytes).ok_or_else(changed)
}

fn part_crc(key: i64, bits: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&key.to_be_bytes());
    crc.update(bits);
    crc.finalize()
}

pub(in crate::archive) struct SegmentBuilder {
    pub(super) form: SegmentForm,
    /// `None` if it would be larger than all filters together may be.
    filter: Option<Filter>,
    /// How many parts of the filter are written.
    parts: usize,
    /// The bucket that is being filled, and its ids.
    bucket: i64,
    ids: Vec<IdAt>,
}

impl SegmentBuilder {
    pub(in crate::archive) fn new(number: i64, ids: u64) -> Self {
        let form = SegmentForm { number, ids, bits: bucket::bits(ids) };
        let filter = filter::fits(ids).then(|| Filter::new(ids));
        Self { form, filter, parts: 0, bucket: 0, ids: Vec::new() }
    }

    /// Adds an id; ids come in the order of their hashes.
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

    /// Writes the last bucket and a part of the filter; `true` if that was the last part.
    pub(in crate::archive) fn close(
        &mut self,
        connection: &Connection,
    ) -> Result<bool, ArchiveError> {
        self.close_buckets_before(connection, 1 << self.form.bits)?;
        let Some(filter) = &self.filter else { return Ok(true) };
        for _ in 0..PARTS_PER_TRANSACTION {
            let begin = self.parts * FILTER_PART;
            let bits = filter.bytes(begin..begin + FILTER_PART);
            if bits.is_empty() {
                return Ok(true);
            }
            // At most FILTER_BYTES / FILTER_PART parts.
            let key = part_key(self.form.number, i64::try_from(self.parts).unwrap_or(i64::MAX));
            let row = [&bits[..], &part_crc(key, &bits).to_be_bytes()].concat();
            sql::execute(connection, sql::MAKE_FILTER, params![key, row])?;
            self.parts += 1;
        }
        Ok(false)
    }

    /// The segment, once it is closed.
    pub(in crate::archive) fn finish(self) -> Arc<Segment> {
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
            sql::execute(connection, sql::MAKE_BUCKET, params![key, row])?;
            self.ids.clear();
            self.bucket += 1;
        }
        Ok(())
    }
}

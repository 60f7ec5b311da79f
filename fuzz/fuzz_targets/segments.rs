//! A journal whose segment was changed, with checksums that are right again: the start is refused, or the journal is
//! followed to its head.
#![no_main]

use std::{fs, path::Path, sync::OnceLock, time::Duration};

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use roomlog_core::journal::{Journal, Position};
use roomlog_sqlite::SegmentJournal;
use tokio::{runtime::Runtime, time::timeout};

const SECTOR: usize = 512;
const BLOCKS: usize = 6;
const FILE: &str = "journal-00000001";

fuzz_target!(|changes: Vec<(u16, u8)>| {
    static BASE: OnceLock<Vec<u8>> = OnceLock::new();
    let runtime = Runtime::new().expect("a runtime");
    let mut bytes = BASE.get_or_init(|| runtime.block_on(base())).clone();
    for (at, byte) in changes {
        let at = usize::from(at) % bytes.len().min(6 * SECTOR);
        bytes[at] = byte;
    }
    sum(&mut bytes);
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join(FILE), bytes).expect("written");
    runtime.block_on(follow(directory.path()));
});

/// A segment with a few blocks.
async fn base() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let journal = SegmentJournal::open_keeping(directory.path(), 0).expect("a journal");
    for n in 0..BLOCKS {
        journal.propose(0, Bytes::from(format!("block {n}").repeat(1 + n * 30))).await;
    }
    drop(journal);
    fs::read(directory.path().join(FILE)).expect("a segment")
}

async fn follow(directory: &Path) {
    let Ok(journal) = SegmentJournal::open_keeping(directory, 0) else { return };
    let Ok(head) = journal.head(0) else { return };
    let mut follow = journal.follow(0, Position(0).into());
    let mut last = Position(0);
    while last < head {
        let next = timeout(Duration::from_secs(5), follow.next()).await;
        let Ok(durable) = next.expect("an answer in time") else { return };
        assert!(durable.position > last, "{:?} after {last:?}", durable.position);
        last = durable.position;
    }
    journal.propose(0, Bytes::from_static(b"one more")).await;
}

/// Makes the checksums of headers and records right.
fn sum(bytes: &mut [u8]) {
    for sector in bytes.chunks_exact_mut(SECTOR).take(2) {
        put(sector, SECTOR - 4, crc32fast::hash(&sector[..SECTOR - 4]));
    }
    let salt: [u8; 8] = bytes[72..80].try_into().expect("eight bytes");
    let mut at = 2 * SECTOR;
    for _ in 0..BLOCKS {
        let Some(record) = bytes.get_mut(at..).filter(|it| it.len() > 24) else { return };
        let of = |parts: &[&[u8]]| crc32fast::hash(&parts.concat());
        put(record, 20, of(&[&salt, &record[..20]]));
        let length = u32::from_be_bytes(record[16..20].try_into().expect("four bytes")) as usize;
        if record.len() < 24 + length + 4 {
            return;
        }
        put(record, 24 + length, of(&[&salt, &record[..8], &record[24..24 + length]]));
        at += (24 + length + 4).next_multiple_of(SECTOR);
    }
}

fn put(bytes: &mut [u8], at: usize, sum: u32) {
    bytes[at..at + 4].copy_from_slice(&sum.to_be_bytes());
}

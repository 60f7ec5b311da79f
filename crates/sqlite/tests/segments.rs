//! Segments at rest: what a crash or a power cut can leave is opened, what only damage can leave is refused
//! and nothing is changed.
//!
//! A copy of the files while the journal is open is a directory as `kill -9` leaves it.

mod node;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use bytes::Bytes;
use node::{directory, files, segment, with_files};
use roomlog_core::journal::{Journal, JournalError, Position, Proposed};
use roomlog_sqlite::SegmentJournal;
use roomlog_testkit::suites::journal::wipe_upto;
use tempfile::TempDir;
use tokio::time::timeout;

const SECTOR: usize = 512;
const RECORDS: usize = 2 * SECTOR;
const LONG: Duration = Duration::from_secs(30);

type Files = BTreeMap<String, Vec<u8>>;

/// Small blocks, and some that take several sectors; none of them has a sector of zeros.
fn block(n: u64) -> Bytes {
    let length = if n.is_multiple_of(4) { 2_900 } else { 200 };
    (0..length).map(|byte| (1 + byte * n % 250) as u8).collect()
}

/// How many sectors the record of a block takes.
fn sectors(n: u64) -> usize {
    (24 + block(n).len() + 4).div_ceil(SECTOR)
}

/// Where the record of a block begins, if all before it are in one segment.
fn at(n: u64) -> usize {
    RECORDS + (1..n).map(sectors).sum::<usize>() * SECTOR
}

async fn propose(journal: &SegmentJournal, n: u64) {
    let proposed = timeout(LONG, journal.propose(0, block(n))).await.expect("an answer in time");
    assert_eq!(proposed, Proposed::Durable(Position(n)));
}

/// A journal in one segment, killed; `stopped`, if it is not.
async fn journal(blocks: u64) -> (Vec<u8>, Vec<u8>) {
    let path = directory();
    let journal = SegmentJournal::open(path.path()).expect("a journal");
    for n in 1..=blocks {
        propose(&journal, n).await;
    }
    let killed = fs::read(segment(&path, 1)).expect("a segment");
    drop(journal);
    (killed, fs::read(segment(&path, 1)).expect("a segment"))
}

fn lay(segment: &[u8]) -> TempDir {
    with_files(&Files::from([("journal-00000001".into(), segment.to_vec())]))
}

/// The head of a journal that is opened, or why it is refused, unchanged.
fn head_in(path: &TempDir) -> Result<u64, String> {
    let before = files(path.path());
    match SegmentJournal::open(path.path()) {
        Ok(journal) => Ok(journal.head(0).expect("a head").0),
        Err(JournalError(message)) => {
            assert!(files(path.path()) == before, "something was changed: {message}");
            Err(message)
        }
    }
}

fn head(segment: &[u8]) -> Result<u64, String> {
    head_in(&lay(segment))
}

#[track_caller]
fn refused(segment: &[u8], says: &[&str]) {
    let message = head(segment).expect_err("it was opened");
    for part in says {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
    assert!(message.contains("restore a backup"), "{message}");
}

fn changed(segment: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut changed = segment.to_vec();
    change(&mut changed);
    changed
}

/// Every block after a position, up to the first error.
async fn read(path: &Path, keep: u64) -> Result<u64, JournalError> {
    let journal = SegmentJournal::open_keeping(path, keep)?;
    let (first, Position(head)) = (journal.first(0)?.0, journal.head(0)?);
    let mut follow = journal.follow(0, Position(first - 1).into());
    for n in first..=head {
        let durable = timeout(LONG, follow.next()).await.expect("a block in time")?;
        assert_eq!((durable.position, durable.block), (Position(n), block(n)));
    }
    Ok(head)
}

#[tokio::test]
async fn what_a_killed_and_a_stopped_process_left_is_opened_in_full() {
    let (killed, stopped) = journal(10).await;
    assert_ne!(killed, stopped, "one that was stopped says where it ends");
    assert_eq!((head(&killed), head(&stopped)), (Ok(10), Ok(10)));
    assert_eq!(read(lay(&killed).path(), 0).await, Ok(10));
}

#[tokio::test]
async fn a_flipped_bit_of_any_part_of_any_record_is_refused_the_last_one_included() {
    let (killed, stopped) = journal(9).await;
    for n in 1..=9 {
        let end = 24 + block(n).len() + 4;
        for place in [0, 7, 8, 15, 16, 19, 20, 23, 24, 30, end / 2, end - 5, end - 4, end - 1] {
            let flip = |bytes: &mut Vec<u8>| bytes[at(n) + place] ^= 1 << (place % 8);
            let says = format!("journal-00000001 is damaged at byte {}: position {n} ", at(n));
            for of in [&killed, &stopped] {
                refused(&changed(of, flip), &[&says, &format!("up to {} are intact", n - 1)]);
            }
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_of_the_first_two_sectors_is_refused() {
    let (killed, _) = journal(3).await;
    for byte in 0..RECORDS {
        refused(
            &changed(&killed, |bytes| bytes[byte] ^= 1 << (byte % 8)),
            &["is not what was written"],
        );
    }
    refused(&changed(&killed, |bytes| bytes[..SECTOR].fill(0x20)), &["its header"]);
    refused(&changed(&killed, |bytes| bytes.truncate(9_000)), &["its length"]);
}

#[tokio::test]
async fn a_missing_sector_before_later_records_is_refused_with_what_follows() {
    let (killed, _) = journal(9).await;
    for n in 1..9 {
        for sector in 0..sectors(n) {
            let start = at(n) + sector * SECTOR;
            let without = changed(&killed, |bytes| bytes[start..start + SECTOR].fill(0));
            refused(
                &without,
                &[&format!("position {n} is not what was written, and position {} ", n + 1)],
            );
        }
    }
}

#[tokio::test]
async fn a_last_record_of_which_any_part_did_not_reach_the_disk_is_a_torn_tail() {
    let (killed, stopped) = journal(8).await;
    let count = sectors(8);
    assert!(count >= 5, "the last record takes several sectors");
    for subset in 1..1_usize << count {
        let torn = |bytes: &mut Vec<u8>| {
            for sector in (0..count).filter(|sector| subset & 1 << sector != 0) {
                let start = at(8) + sector * SECTOR;
                bytes[start..start + SECTOR].fill(0);
            }
        };
        assert_eq!(head(&changed(&killed, torn)), Ok(7), "without {subset:b}");
        refused(&changed(&stopped, torn), &["it had reached position 8"]);
    }
}

#[tokio::test]
async fn a_journal_goes_on_after_a_torn_tail_as_if_that_had_never_been_written() {
    let (killed, _) = journal(8).await;
    for missing in 0..sectors(8) {
        let start = at(8) + missing * SECTOR;
        let path = lay(&changed(&killed, |bytes| bytes[start..start + SECTOR].fill(0)));
        let journal = SegmentJournal::open(path.path()).expect("a journal");
        let left = fs::read(segment(&path, 1)).expect("a segment");
        assert!(left[at(8)..].iter().all(|byte| *byte == 0), "the torn record is still there");
        // Another one in its place, shorter, and longer ones after it.
        let proposed = journal.propose(0, block(9)).await;
        assert_eq!(proposed, Proposed::Durable(Position(8)));
        propose(&journal, 9).await;
        let now = fs::read(segment(&path, 1)).expect("a segment");
        assert_eq!(head(&now), Ok(9));
    }
}

#[tokio::test]
async fn one_bit_where_nothing_was_written_harms_nothing() {
    let (killed, stopped) = journal(5).await;
    for of in [&killed, &stopped] {
        for byte in [at(6), at(6) + 300, at(6) + 5_000] {
            assert_eq!(head(&changed(of, |bytes| bytes[byte] ^= 8)), Ok(5), "byte {byte}");
        }
    }
}

#[tokio::test]
async fn last_records_that_are_missing_after_a_stop_are_refused() {
    let (_, stopped) = journal(5).await;
    for n in 1..=5 {
        let without = changed(&stopped, |bytes| bytes[at(n)..].fill(0));
        let says = format!("it had reached position 5; positions up to {} are intact", n - 1);
        refused(&without, &[&says]);
    }
}

/// A directory with several short segments, killed after this many blocks.
async fn several(blocks: u64) -> Files {
    let path = directory();
    let journal = SegmentJournal::open_keeping(path.path(), 0).expect("a journal");
    for n in 1..=blocks {
        propose(&journal, n).await;
    }
    let mut files = files(path.path());
    drop(journal);
    // The one that is being made for the next blocks.
    let blank = |bytes: &Vec<u8>| bytes.iter().all(|byte| *byte == 0);
    files.retain(|_, bytes| !blank(bytes));
    files
}

fn name(number: usize) -> String {
    format!("journal-{number:08}")
}

#[tokio::test]
async fn a_kill_between_any_two_blocks_loses_none() {
    let path = directory();
    let journal = SegmentJournal::open_keeping(path.path(), 0).expect("a journal");
    for n in 1..=40 {
        propose(&journal, n).await;
        assert_eq!(read(with_files(&files(path.path())).path(), 0).await, Ok(n));
    }
}

#[tokio::test]
async fn a_segment_that_is_missing_is_named() {
    let whole = several(20).await;
    let count = whole.len();
    assert!(count >= 4, "{:?}", whole.keys());
    for missing in 2..=count {
        let mut files = whole.clone();
        files.remove(&name(missing)).expect("a segment");
        let message = head_in(&with_files(&files)).expect_err("it was opened");
        assert!(message.contains(&format!("{} is missing", name(missing))), "{message}");
    }
    // The oldest ones may have been trimmed: the archive says whether it has what they had.
    let mut files = whole;
    files.remove(&name(1)).expect("a segment");
    assert_eq!(head_in(&with_files(&files)), Ok(20));
}

#[tokio::test]
async fn a_power_cut_while_a_segment_is_begun_loses_nothing_that_was_acked() {
    // How many blocks the segments before the last one have.
    let whole = several(20).await;
    let last = name(whole.len());
    let acked = (1..=20_u64).rev().find(|n| {
        let records = |name: &str| whole[name][RECORDS..].chunks(SECTOR);
        let header = &n.to_be_bytes()[..];
        records(&name(whole.len() - 1)).any(|sector| sector.starts_with(header))
    });
    let acked: u64 = acked.expect("a block");
    // It was not followed by another one yet, as far as the disk knew.
    let mut before = whole.clone();
    let reached = SECTOR..2 * SECTOR;
    let unknown = before[&name(1)][reached.clone()].to_vec();
    assert!(unknown.iter().any(|byte| *byte != 0));
    before.get_mut(&name(whole.len() - 1)).expect("it")[reached].fill(0);
    for (what, cut) in [
        ("nothing of it", 0..usize::MAX),
        ("all but its header", 0..SECTOR),
        ("its header", SECTOR..usize::MAX),
        ("its first two sectors", RECORDS..usize::MAX),
    ] {
        let mut files = before.clone();
        let bytes = files.get_mut(&last).expect("the last one");
        let length = bytes.len();
        bytes[cut.start.min(length)..cut.end.min(length)].fill(0);
        let path = with_files(&files);
        assert_eq!(read(path.path(), 0).await, Ok(acked), "{what}");
        let journal = SegmentJournal::open_keeping(path.path(), 0).expect("a journal");
        propose(&journal, acked + 1).await;
        drop(journal);
        assert_eq!(read(path.path(), 0).await, Ok(acked + 1), "{what}");
    }
}

#[tokio::test]
async fn segments_of_another_log_or_out_of_place_are_refused() {
    let (mine, other) = (several(20).await, several(20).await);
    for number in 1..mine.len() {
        let mut files = mine.clone();
        files.insert(name(number), other[&name(number)].clone());
        let message = head_in(&with_files(&files)).expect_err("it was opened");
        assert!(message.contains("is of log "), "{message}");
    }
    let mut files = mine.clone();
    files.insert(name(2), mine[&name(3)].clone());
    let message = head_in(&with_files(&files)).expect_err("it was opened");
    assert!(message.contains("its number, its length or its first position"), "{message}");
}

#[tokio::test]
async fn a_damaged_record_of_an_older_segment_is_named_and_nothing_after_it_is_given() {
    let whole = several(20).await;
    for byte in [RECORDS + 3, RECORDS + 40] {
        let mut files = whole.clone();
        files.get_mut(&name(2)).expect("a segment")[byte] ^= 1;
        let JournalError(message) =
            read(with_files(&files).path(), 0).await.expect_err("it was read");
        assert!(message.contains("journal-00000002: position "), "{message}");
        assert!(
            message.contains("is not what was written") && message.contains("restore a backup")
        );
    }
}

#[tokio::test]
async fn a_file_of_another_format_or_another_program_is_refused() {
    let (killed, _) = journal(1).await;
    let newer = changed(&killed, |bytes| {
        bytes[8..12].copy_from_slice(&5_u32.to_be_bytes());
        let sum = crc32fast::hash(&bytes[..SECTOR - 4]);
        bytes[SECTOR - 4..SECTOR].copy_from_slice(&sum.to_be_bytes());
    });
    let message = head(&newer).expect_err("it was opened");
    assert!(message.contains("format 5 is not known to this version, which writes 4"), "{message}");
    refused("a text, and longer than two sectors ".repeat(99).as_bytes(), &["its header"]);
}

#[tokio::test]
async fn what_a_wipe_has_begun_is_finished_by_the_next_start() {
    let path = directory();
    let journal = SegmentJournal::open(path.path()).expect("a journal");
    for n in 1..=9 {
        propose(&journal, n).await;
    }
    let before = fs::read(segment(&path, 1)).expect("a segment");
    assert_eq!(journal.wipe(0, &wipe_upto(5)), Ok(true));
    let after = fs::read(segment(&path, 1)).expect("a segment");
    assert_eq!((at(6), at(1)), (at(6), RECORDS));
    assert!(after[RECORDS..at(6)].iter().all(|byte| *byte == 0));
    // Its header was written, and the blocks were not overwritten yet.
    let cut =
        changed(&after, |bytes| bytes[RECORDS..at(6)].copy_from_slice(&before[RECORDS..at(6)]));
    let path = lay(&cut);
    let journal = SegmentJournal::open(path.path()).expect("a journal");
    assert_eq!((journal.first(0), journal.head(0)), (Ok(Position(6)), Ok(Position(9))));
    let left = fs::read(segment(&path, 1)).expect("a segment");
    assert!(left[RECORDS..at(6)].iter().all(|byte| *byte == 0));
    // To its end, and on.
    assert_eq!(journal.wipe(0, &wipe_upto(9)), Ok(true));
    assert_eq!(journal.first(0), Ok(Position(10)));
    drop(journal);
    let journal = SegmentJournal::open(path.path()).expect("a journal");
    propose(&journal, 10).await;
    drop(journal);
    assert_eq!(read(path.path(), 0).await, Ok(10));
}

//! Segments beside something else: a wipe beside a follower or a hold, a trim beside appends, a start that is
//! cut off itself, and files that another program left.

mod node;

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use node::{JOURNAL, directory, files, open, refused, segment, with_files};
use roomlog_core::journal::{Durable, Journal, JournalError, Position, Proposed};
use roomlog_sqlite::{Contents, Directory, OpenError, SegmentJournal};
use roomlog_testkit::suites::journal::wipe_upto;
use tokio::time::timeout;

const SECTOR: usize = 512;
const LONG: Duration = Duration::from_secs(30);

type Files = BTreeMap<String, Vec<u8>>;

fn block(n: u64) -> Bytes {
    Bytes::from(format!("block {n} ").repeat(30))
}

fn propose(journal: &SegmentJournal, n: u64) {
    let proposed = journal.propose(0, block(n)).now_or_never();
    assert_eq!(proposed, Some(Proposed::Durable(Position(n))));
}

/// The head of a journal that is opened, or why it is refused.
fn head(path: &Path) -> Result<u64, String> {
    let journal = SegmentJournal::open_keeping(path, 0).map_err(|JournalError(why)| why)?;
    Ok(journal.head(0).expect("a head").0)
}

#[tokio::test]
async fn a_follower_gets_what_a_wipe_keeps_whenever_it_comes() {
    let path = directory();
    let journal = SegmentJournal::open(path.path()).expect("a journal");
    (1..=400).for_each(|n| propose(&journal, n));
    drop(journal);
    let before = fs::read(segment(&path, 1)).expect("a segment");
    for round in 0..300_u64 {
        let path = with_files(&Files::from([("journal-00000001".into(), before.clone())]));
        let journal = Arc::new(SegmentJournal::open(path.path()).expect("a journal"));
        let wiping = std::thread::spawn({
            let journal = journal.clone();
            move || journal.wipe(0, &wipe_upto(200 + round % 100))
        });
        for after in [300, 320] {
            let mut follow = journal.follow(0, Position(after).into());
            let next = timeout(LONG, follow.next()).await.expect("in time");
            let Durable { position, block: there, .. } = next.expect("a block");
            assert_eq!((position, there), (Position(after + 1), block(after + 1)));
        }
        assert_eq!(wiping.join().expect("a wipe"), Ok(true));
    }
}

#[test]
fn a_wipe_beside_a_hold_is_done_or_not_but_never_in_part() {
    for _ in 0..50 {
        let path = directory();
        let journal = SegmentJournal::open_keeping(path.path(), 0).expect("a journal");
        (1..=40).for_each(|n| propose(&journal, n));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    drop(journal.hold_trim());
                }
            });
            let wiped = (0..1_000_000).any(|_| journal.wipe(0, &wipe_upto(37)).expect("a wipe"));
            is_over.store(true, Ordering::Relaxed);
            assert!(wiped);
        });
        assert_eq!(journal.first(0), Ok(Position(38)));
        drop(journal);
        assert_eq!(head(path.path()), Ok(40));
    }
}

#[test]
fn appends_go_on_beside_a_wipe() {
    let path = directory();
    let journal = SegmentJournal::open(path.path()).expect("a journal");
    let long = Bytes::from(vec![7; 1 << 20]);
    for n in 1..=50 {
        let proposed = journal.propose(0, long.clone()).now_or_never();
        assert_eq!(proposed, Some(Proposed::Durable(Position(n))));
    }
    let is_over = AtomicBool::new(false);
    let mut meanwhile = 0;
    std::thread::scope(|threads| {
        threads.spawn(|| {
            // Tens of megabytes of zeros.
            let wiped = (0..100).any(|_| journal.wipe(0, &wipe_upto(50)).expect("a wipe"));
            is_over.store(true, Ordering::Relaxed);
            assert!(wiped);
        });
        while !is_over.load(Ordering::Relaxed) {
            propose(&journal, 51 + meanwhile);
            meanwhile += 1;
        }
    });
    assert!(meanwhile > 4, "{meanwhile} appends beside a wipe");
    assert_eq!(journal.first(0), Ok(Position(51)));
    drop(journal);
    assert_eq!(head(path.path()), Ok(50 + meanwhile));
}

#[test]
fn a_next_segment_is_made_before_all_is_trimmed() {
    let path = directory();
    let journal = SegmentJournal::open_keeping(path.path(), 1 << 20).expect("a journal");
    let mut n = 0;
    let mut more = |journal: &SegmentJournal, blocks: u64| {
        (0..blocks).for_each(|_| {
            n += 1;
            propose(journal, n);
        });
        n
    };
    let head = more(&journal, 4_000);
    drop(journal);
    // What it keeps is less now: there are many segments to trim, of which each append needs another one.
    let journal = SegmentJournal::open_keeping(path.path(), 0).expect("a journal");
    journal.trim(0, Position(head));
    more(&journal, 50);
    // Nor does its end wait for all of them.
    drop(journal);
    assert_eq!(self::head(path.path()), Ok(head + 50));
}

/// What a disk has after a power cut, if of a file only these sectors of the newer state have reached it.
fn cut(disk: &[u8], cache: &[u8], sectors: impl Fn(usize) -> bool) -> Vec<u8> {
    let sector = |n: usize| if sectors(n) { cache } else { disk }[n * SECTOR..][..SECTOR].to_vec();
    (0..disk.len() / SECTOR).flat_map(sector).collect()
}

#[test]
fn a_start_that_a_power_cut_ends_says_nothing_before_it_is_on_the_disk() {
    // Killed between the write of block 8 and its sync.
    let path = directory();
    let journal = SegmentJournal::open(path.path()).expect("a journal");
    (1..=7).for_each(|n| propose(&journal, n));
    let disk = fs::read(segment(&path, 1)).expect("a segment");
    propose(&journal, 8);
    let killed = fs::read(segment(&path, 1)).expect("a segment");
    drop(journal);
    let settled = fs::read(segment(&path, 1)).expect("a segment");
    assert_ne!(
        killed[SECTOR..2 * SECTOR],
        settled[SECTOR..2 * SECTOR],
        "it says that it has block 8"
    );
    // The first sync of the next start brings the record and the first two sectors as they were, in any part.
    for sectors in 0..8_usize {
        let is_there = |n: usize| n < 2 && sectors & 1 << n != 0 || n == 9 && sectors & 4 != 0;
        let after = cut(&disk, &killed, is_there);
        let path = with_files(&Files::from([("journal-00000001".into(), after)]));
        assert_eq!(head(path.path()), Ok(if sectors & 4 == 0 { 7 } else { 8 }), "{sectors:b}");
    }
}

#[test]
fn what_a_start_removes_is_overwritten_before() {
    let path = directory();
    drop(SegmentJournal::open(path.path()).expect("a journal"));
    let (blank, begun) = (path.path().join("journal.blank"), segment(&path, 2));
    // As a trim that was cut off leaves it, and a segment whose header has not reached the disk.
    fs::write(&blank, b"redacted text").expect("a file");
    fs::write(&begun, [&[0; 2 * SECTOR][..], b"redacted text"].concat()).expect("a file");
    let elsewhere = directory();
    let inodes = [&blank, &begun].map(|file| {
        let second = elsewhere.path().join(file.file_name().expect("a name"));
        fs::hard_link(file, &second).expect("a second name");
        second
    });
    drop(SegmentJournal::open(path.path()).expect("a journal"));
    assert!(!blank.exists());
    for inode in inodes {
        assert!(fs::read(&inode).expect("a file").iter().all(|byte| *byte == 0), "{inode:?}");
    }
}

/// A journal in one segment, after a stop.
fn stopped(blocks: u64) -> Vec<u8> {
    let path = directory();
    let journal = SegmentJournal::open(path.path()).expect("a journal");
    (1..=blocks).for_each(|n| propose(&journal, n));
    drop(journal);
    fs::read(segment(&path, 1)).expect("a segment")
}

#[test]
fn a_journal_whose_only_header_is_lost_is_not_taken_for_a_new_one() {
    let mut bytes = stopped(7);
    bytes[..SECTOR].fill(0);
    let path = with_files(&Files::from([("journal-00000001".into(), bytes)]));
    let before = files(path.path());
    let message = refused(&path).to_string();
    assert!(message.contains("journal-00000001: its header is not what was written"), "{message}");
    assert!(files(path.path()) == before);
}

#[test]
fn a_header_with_impossible_numbers_is_refused() {
    for (at, number) in
        [(64, u64::MAX), (80, u64::MAX), (80, 0), (88, u64::MAX), (88, 1_025), (104, 1 << 42)]
    {
        let mut bytes = stopped(1);
        bytes[at..at + 8].copy_from_slice(&u64::to_be_bytes(number));
        let sum = crc32fast::hash(&bytes[..SECTOR - 4]);
        bytes[SECTOR - 4..SECTOR].copy_from_slice(&sum.to_be_bytes());
        let name =
            if at == 64 { format!("{JOURNAL}{number}") } else { format!("{JOURNAL}00000001") };
        let path = with_files(&Files::from([(name.clone(), bytes)]));
        if at == 104 {
            let file = fs::OpenOptions::new().write(true).open(path.path().join(&name));
            file.and_then(|file| file.set_len(number)).expect("a sparse file");
        }
        let why = head(path.path()).expect_err("it was opened");
        assert!(
            why.contains("its number, its length or its first position"),
            "{name}, {at}: {why}"
        );
    }
}

#[test]
fn files_whose_names_only_begin_like_those_of_a_journal_are_somebody_elses() {
    for name in ["journal-2024-05.md", "journal-1", "journal-99999999999999999999"] {
        let path = with_files(&Files::from([(name.into(), b"dear diary".to_vec())]));
        assert!(matches!(refused(&path), OpenError::NotOurs { .. }), "{name}");
        assert_eq!(fs::read(path.path().join(name)).expect("the file"), b"dear diary");
    }
    let path = directory();
    drop(open(&path));
    fs::write(path.path().join("journal-notes"), "mine").expect("a file");
    assert_eq!(Directory::open(path.path()).expect("a directory").found, Contents::Log);
    assert!(path.path().join("journal-notes").exists());
}

//! Reads: every span of a log that is partly in the archive and partly in the tail is one answer.

use std::sync::Arc;

use crate::{
    Threads,
    archive::Archive,
    proposal::Stored,
    read::{
        reader::{Page, PageLimits, ReadError, Reader},
        rooms::Rooms,
        tail::Tail,
    },
};
use crate::{
    fixtures::{SALT, Speaker, room, window},
    memory::MemoryArchive,
};
use roomlog_protocol::{Content, Digest, Latest, Span};

const WHOLE: PageLimits = PageLimits { entries: 500, bytes: 1 << 20 };

/// A log of 12 entries of 4 bytes in 5 commits: `archived` of them in the archive, `dropped` of
/// those no longer in the tail.
struct Log {
    reader: Reader,
    entries: Vec<Stored>,
    _held: Arc<Tail>,
}

impl Log {
    fn new(archived: usize, dropped: usize) -> Self {
        let archive = Arc::new(MemoryArchive::default());
        let rooms = Arc::new(Rooms::new(archive.clone()));
        let mut speaker = Speaker::new("general");
        let mut slot = 0;
        let mut commits = Vec::new();
        for (position, size) in (1..).zip([1, 4, 3, 1, 3]) {
            let bodies: Vec<String> = (slot..slot + size).map(|n| format!("{n:04}")).collect();
            let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
            commits.push(speaker.says(position, &bodies));
            slot += size;
        }
        let tail = rooms.open(&room("general")).expect("a tail");
        for commit in &commits {
            tail.publish(commit.clone());
        }
        archive.fold(&window(archived as u64, &commits[..archived])).expect("a fold");
        (0..dropped).for_each(|_| tail.drop_oldest());
        let entries = commits.iter().flat_map(|commit| commit.entries.clone()).collect();
        Self { reader: Reader::new(rooms, archive, Threads::default()), entries, _held: tail }
    }

    async fn checked(
        &self,
        span: Span,
        digest: Option<Digest>,
        limits: PageLimits,
    ) -> Result<Page, ReadError> {
        self.reader.read(&room("general"), span, digest, limits).await
    }

    async fn read(&self, span: Span) -> Page {
        self.checked(span, None, WHOLE).await.expect("a page")
    }

    /// The slots of a page within these limits.
    async fn slots(&self, span: Span, entries: u64, bytes: usize) -> Vec<u64> {
        slots(&self.checked(span, None, PageLimits { entries, bytes }).await.expect("a page"))
    }

    fn digest_after(&self, latest: Latest) -> Digest {
        match latest.slot() {
            Some(slot) => self.entries[slot as usize].digest,
            None => Digest::start(&room("general")),
        }
    }
}

fn slots(page: &Page) -> Vec<u64> {
    page.entries.iter().map(|stored| stored.entry.slot).collect()
}

fn upto(count: u64, upto: impl Into<Option<u64>>) -> Span {
    Span::UpTo { count, upto: upto.into() }
}

/// All splits of the commits between archive and tail.
fn splits() -> impl Iterator<Item = (usize, usize)> {
    (0..=5).flat_map(|archived| (0..=archived).map(move |dropped| (archived, dropped)))
}

#[tokio::test]
async fn every_span_is_the_same_wherever_its_entries_are() {
    for (archived, dropped) in splits() {
        let log = Log::new(archived, dropped);
        for last in 0..15_usize {
            let end = 12.min(last + 1);
            for count in 0..15_usize {
                let page = log.read(upto(count as u64, last as u64)).await;
                let expected = &log.entries[end - count.min(end)..end];
                assert_eq!(page.entries, expected, "{count} up to {last}, {archived} {dropped}");
                // `digest_at` of the last entry, or without entries of `upto` or the latest.
                assert_eq!(page.digest_at, Latest::before(end as u64));
                assert_eq!(page.digest, log.digest_after(page.digest_at));
                assert_eq!(page.head.end, 12);
            }
        }
        for after in (-1..12).map(Latest) {
            let page = log.read(Span::After(after)).await;
            let first = usize::try_from(after.end()).expect("a slot");
            assert_eq!(page.entries, log.entries[first..], "after {after}, {archived} {dropped}");
            assert_eq!((page.digest_at, page.digest), (Latest(11), log.digest_after(Latest(11))));
        }
        assert_eq!(log.read(upto(3, None)).await.entries, log.entries[9..]);
    }
}

#[tokio::test]
async fn a_page_is_clipped_at_its_older_end_for_upto_and_at_its_newer_end_for_after() {
    for (archived, dropped) in splits() {
        let log = Log::new(archived, dropped);
        for (span, entries, bytes, slots) in [
            (upto(50, None), 3, 1_000, vec![9, 10, 11]),
            (upto(50, 6), 3, 1_000, vec![4, 5, 6]),
            (Span::After(Latest(-1)), 3, 1_000, vec![0, 1, 2]),
            (Span::After(Latest(4)), 3, 1_000, vec![5, 6, 7]),
            // Four bytes per entry: both sides of the bound.
            (upto(50, None), 500, 16, vec![8, 9, 10, 11]),
            (upto(50, None), 500, 15, vec![9, 10, 11]),
            (upto(9, 9), 500, 20, vec![5, 6, 7, 8, 9]),
            (Span::After(Latest(-1)), 500, 16, vec![0, 1, 2, 3]),
            (Span::After(Latest(2)), 500, 23, vec![3, 4, 5, 6, 7]),
            // At least one.
            (upto(50, None), 500, 0, vec![11]),
            (Span::After(Latest(3)), 500, 0, vec![4]),
        ] {
            let found = log.slots(span, entries, bytes).await;
            assert_eq!(found, slots, "{span:?}, {entries}, {bytes}, {archived} {dropped}");
        }
    }
}

#[tokio::test]
async fn an_archived_entry_that_does_not_fit_ends_the_page_before_the_tail() {
    let archive = Arc::new(MemoryArchive::default());
    let rooms = Arc::new(Rooms::new(archive.clone()));
    let mut speaker = Speaker::new("general");
    let large = "x".repeat(60);
    let archived = speaker.says(1, &["one", &large]);
    let tail = rooms.open(&room("general")).expect("a tail");
    for commit in [archived.clone(), speaker.says(2, &["two"])] {
        tail.publish(commit);
    }
    archive.fold(&window(1, &[archived])).expect("a fold");
    tail.drop_oldest();
    let reader = Reader::new(rooms, archive, Threads::default());
    let limits = PageLimits { entries: 500, bytes: 20 };
    for (span, expected) in [(Span::After(Latest(-1)), [0]), (upto(50, None), [2])] {
        let page = reader.read(&room("general"), span, None, limits).await.expect("a page");
        assert_eq!(slots(&page), expected, "{span:?}");
    }
}

#[tokio::test]
async fn an_empty_room_reads_as_an_empty_log() {
    let archive = Arc::new(MemoryArchive::default());
    let reader = Reader::new(Arc::new(Rooms::new(archive.clone())), archive, Threads::default());
    let start = Digest::start(&room("nobody"));
    for span in [upto(50, None), upto(0, None), upto(5, 7), Span::After(Latest(-1))] {
        let page = reader.read(&room("nobody"), span, None, WHOLE).await.expect("a page");
        assert_eq!(
            (page.entries.len(), page.digest_at, page.digest),
            (0, Latest::EMPTY, start),
            "{span:?}"
        );
    }
    let checked = reader.read(&room("nobody"), Span::After(Latest(-1)), Some(start), WHOLE).await;
    assert!(checked.is_ok(), "{checked:?}");
}

#[tokio::test]
async fn a_room_not_in_memory_is_read_from_the_archive() {
    let archived = Arc::new(MemoryArchive::default());
    let mut speaker = Speaker::new("general");
    archived.fold(&window(1, &[speaker.says(1, &["x"])])).expect("a fold");
    let fresh = Reader::new(Arc::new(Rooms::new(archived.clone())), archived, Threads::default());
    let page = fresh.read(&room("general"), upto(50, None), None, WHOLE).await.expect("a page");
    assert_eq!((page.entries.len(), page.head), (1, speaker.head));
}

#[tokio::test]
async fn a_digest_is_compared_at_every_slot() {
    for (archived, dropped) in splits() {
        let log = Log::new(archived, dropped);
        for after in (-1..12).map(Latest) {
            let read = |digest| log.checked(Span::After(after), digest, WHOLE);
            let page = read(Some(log.digest_after(after))).await.expect("the same log");
            let first = usize::try_from(after.end()).expect("a slot");
            assert_eq!(page.entries, log.entries[first..], "after {after}, {archived} {dropped}");
            assert_eq!((page.digest_at, page.digest), (Latest(11), log.digest_after(Latest(11))));
            let other = read(Some(Digest([7; 32]))).await;
            assert_eq!(other, Err(ReadError::Diverged { latest: Latest(11) }), "after {after}");
        }
    }
}

#[tokio::test]
async fn a_digest_does_not_shorten_the_page() {
    for (archived, dropped) in splits() {
        let log = Log::new(archived, dropped);
        for after in (-1..11).map(Latest) {
            for (entries, bytes) in [(2, 1_000), (500, 8), (500, 7), (500, 0)] {
                let limits = PageLimits { entries, bytes };
                let digest = Some(log.digest_after(after));
                let page = log.checked(Span::After(after), digest, limits).await;
                let slots = slots(&page.expect("the same log"));
                let without = log.slots(Span::After(after), entries, bytes).await;
                assert_eq!(slots, without, "after {after}, {entries}, {bytes}");
                assert!(!slots.is_empty(), "a page has at least one entry");
            }
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_in_the_archive_is_never_served() {
    let archive = Arc::new(MemoryArchive::default());
    let rooms = Arc::new(Rooms::new(archive.clone()));
    let mut speaker = Speaker::new("general");
    let commit = speaker.says(1, &["one", "two", "three"]);
    let mut entries = commit.entries.clone();
    let content = Content::Said { body: "twO".into(), meta: None, salt: SALT };
    entries[1].entry.content = content;
    let flipped = crate::commit::Commit::new(commit.room.clone(), commit.position, entries);
    archive.fold(&window(1, &[Arc::new(flipped)])).expect("a fold");
    let reader = Reader::new(rooms, archive, Threads::default());
    let read = reader.read(&room("general"), upto(50, None), None, WHOLE).await;
    assert!(matches!(read, Err(ReadError::Archive(_))), "{read:?}");
}

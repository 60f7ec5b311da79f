//! Redactions: what they remove is gone for readers at once, from the archive with the next fold, and from
//! the journal behind that.

use roomlog_core::{
    NodeError, NodeSettings,
    archive::{Archive, Keep},
    journal::{Journal, Position},
    outcome::AppendOutcome,
    proposal::Stored,
};
use roomlog_protocol::ErrorCode;
use roomlog_testkit::{
    fixtures::{erasure, proposal, redaction, room},
    life::{
        Connection, Disk, LONG, Life, committed, identity, repeat, small_windows, without_fold,
    },
};
use tokio::time::timeout;

const ROOM: &str = "general";

/// The bodies, and `None` for what is redacted.
fn bodies(log: &[Stored]) -> Vec<Option<&str>> {
    log.iter().map(|it| (!it.entry.content.is_redacted()).then(|| it.entry.body())).collect()
}

async fn say_all(life: &Life, ids: &[&str]) {
    let mut ada = Connection::default();
    for id in ids {
        ada.say(life, proposal(ROOM, "ada", id, id)).await;
    }
}

async fn has_wiped(disk: &Disk, upto: u64) {
    let wiped = async {
        while disk.journal.first(0).expect("a position") <= Position(upto) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, wiped).await.expect("wiped in time");
}

#[tokio::test]
async fn a_redacted_entry_is_read_without_its_body_before_and_after_the_fold() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), without_fold(small_windows())).await;
    say_all(&life, &["one", "two", "three"]).await;
    let before = life.log_of(ROOM).await;
    let mut ada = Connection::default();
    assert_eq!(ada.say(&life, redaction(ROOM, "ada", "r", 1)).await, committed(3));

    let held = life.log_of(ROOM).await;
    assert_eq!(bodies(&held), [Some("one"), None, Some("three"), Some("")]);
    assert_eq!(held[1].digest, before[1].digest, "the chain stays");
    life.fold_to_head().await.expect("a fold");
    let archived = disk.archive.page(&room(ROOM), 0, 4, usize::MAX, Keep::Oldest).expect("a page");
    assert_eq!(archived, held);
    assert_eq!(life.log_of(ROOM).await, held);
}

#[tokio::test]
async fn an_entry_in_the_archive_is_read_without_its_body_before_the_fold_of_its_redaction() {
    let disk = Disk::default();
    // Tails without room for any commit: entries are read from the archive once they are there.
    let settings = NodeSettings { tail_bytes: 0, ..without_fold(small_windows()) };
    let life = Life::start(&disk, identity(1, 1), settings).await;
    say_all(&life, &["one", "two"]).await;
    life.fold_to_head().await.expect("a fold");
    let mut ada = Connection::default();
    ada.say(&life, redaction(ROOM, "ada", "r", 0)).await;

    let archived = disk.archive.page(&room(ROOM), 0, 2, usize::MAX, Keep::Oldest).expect("a page");
    assert_eq!(bodies(&archived), [Some("one"), Some("two")], "the fold comes later");
    assert_eq!(bodies(&life.log_of(ROOM).await), [None, Some("two"), Some("")]);
    let other = proposal(ROOM, "ada", "one", "another body");
    assert_eq!(ada.say(&life, other.clone()).await, repeat(0));
    life.fold_to_head().await.expect("a fold");
    assert_eq!(bodies(&life.log_of(ROOM).await), [None, Some("two"), Some("")]);
    assert_eq!(ada.say(&life, other).await, repeat(0));
    let two = proposal(ROOM, "ada", "two", "another body");
    assert_eq!(ada.say(&life, two).await, AppendOutcome::IdReused { slot: 1 });
}

#[tokio::test]
async fn a_repeat_of_a_redacted_append_has_its_slot_whatever_it_says() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), without_fold(small_windows())).await;
    say_all(&life, &["one"]).await;
    let mut ada = Connection::default();
    let other = proposal(ROOM, "ada", "one", "another body");
    assert_eq!(ada.say(&life, other.clone()).await, AppendOutcome::IdReused { slot: 0 });
    ada.say(&life, redaction(ROOM, "ada", "r", 0)).await;
    assert_eq!(ada.say(&life, other).await, repeat(0));
    assert_eq!(ada.say(&life, redaction(ROOM, "ada", "r", 0)).await, repeat(1));
}

#[tokio::test]
async fn only_the_author_or_who_has_the_right_redacts() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    say_all(&life, &["one"]).await;
    let mut grace = Connection::default();
    let refused = grace.say(&life, redaction(ROOM, "grace", "g-1", 0)).await;
    let AppendOutcome::Invalid(refusal) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.code, ErrorCode::Forbidden);
    assert_eq!(bodies(&life.log_of(ROOM).await), [Some("one")]);
    let mut by_right = redaction(ROOM, "grace", "g-2", 0);
    by_right.may_remove = true;
    assert_eq!(grace.say(&life, by_right).await, committed(1));
    assert_eq!(bodies(&life.log_of(ROOM).await), [None, Some("")]);
}

#[tokio::test]
async fn an_erasure_removes_what_its_author_wrote_wherever_that_is() {
    for tail_bytes in [0, 1 << 20] {
        let disk = Disk::default();
        let settings = NodeSettings { tail_bytes, ..without_fold(small_windows()) };
        let life = Life::start(&disk, identity(1, 1), settings).await;
        say_all(&life, &["one", "two"]).await;
        life.fold_to_head().await.expect("a fold");
        let (mut ada, mut grace) = (Connection::default(), Connection::default());
        grace.say(&life, proposal(ROOM, "grace", "three", "three")).await;
        ada.say(&life, proposal(ROOM, "ada", "four", "four")).await;
        let own = erasure(ROOM, "ada", "e", (3, Some("ada")));
        assert_eq!(ada.say(&life, own.clone()).await, committed(4));
        let left = [None, None, Some("three"), None, Some("ada")];
        assert_eq!(bodies(&life.log_of(ROOM).await), left);
        for (id, slot) in [("one", 0), ("four", 3)] {
            assert_eq!(ada.say(&life, proposal(ROOM, "ada", id, "other")).await, repeat(slot));
        }
        let other = proposal(ROOM, "grace", "three", "other");
        assert_eq!(grace.say(&life, other).await, AppendOutcome::IdReused { slot: 2 });
        assert_eq!(ada.say(&life, own).await, repeat(4));
        life.fold_to_head().await.expect("a fold");
        assert_eq!(bodies(&life.log_of(ROOM).await), left);
        let archived = disk.archive.page(&room(ROOM), 0, 5, usize::MAX, Keep::Oldest);
        assert_eq!(bodies(&archived.expect("a page")), left);
        assert_eq!(ada.say(&life, proposal(ROOM, "ada", "one", "other")).await, repeat(0));
    }
}

#[tokio::test]
async fn only_who_has_the_right_erases_what_others_wrote() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    say_all(&life, &["one"]).await;
    let mut grace = Connection::default();
    for (id, of) in [("g-1", Some("ada")), ("g-2", None)] {
        let refused = grace.say(&life, erasure(ROOM, "grace", id, (0, of))).await;
        let AppendOutcome::Invalid(refusal) = refused else { panic!("{refused:?}") };
        assert_eq!(refusal.code, ErrorCode::Forbidden, "of {of:?}");
    }
    let later = erasure(ROOM, "grace", "g-3", (1, Some("grace")));
    assert_eq!(grace.say(&life, later).await, AppendOutcome::BadRef);
    let mut all = erasure(ROOM, "grace", "g-4", (0, None));
    all.may_remove = true;
    assert_eq!(grace.say(&life, all).await, committed(1));
    assert_eq!(bodies(&life.log_of(ROOM).await), [None, Some("")]);
    let refused = grace.say(&life, redaction(ROOM, "grace", "g-5", 1)).await;
    let AppendOutcome::Invalid(refusal) = refused else { panic!("{refused:?}") };
    assert_eq!(refusal.code, ErrorCode::BadRef, "an erasure is not redacted");
    has_wiped(&disk, 1).await;
}

#[tokio::test]
async fn the_journal_keeps_nothing_before_a_redaction_that_is_folded() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    say_all(&life, &["one", "two"]).await;
    disk.folded().await;
    assert_eq!(disk.journal.first(0).expect("a position"), Position(1), "it keeps all");
    let mut ada = Connection::default();
    ada.say(&life, redaction(ROOM, "ada", "r", 0)).await;
    has_wiped(&disk, 2).await;
    assert_eq!(disk.journal.first(0).expect("a position"), Position(3), "the redaction's block");
    assert_eq!(life.end().await, Ok(()));
}

#[tokio::test]
async fn a_repeat_of_a_redacted_append_leaves_the_journal_too() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    say_all(&life, &["one"]).await;
    let mut ada = Connection::default();
    ada.say(&life, redaction(ROOM, "ada", "r", 0)).await;
    has_wiped(&disk, 1).await;
    // An outbox that did not see the answer sends the text again.
    assert_eq!(ada.say(&life, proposal(ROOM, "ada", "one", "one")).await, repeat(0));
    has_wiped(&disk, 3).await;
    assert_eq!(ada.say(&life, proposal(ROOM, "ada", "two", "two")).await, committed(2));
    assert_eq!(life.end().await, Ok(()));
}

#[tokio::test]
async fn the_journal_is_searched_from_the_oldest_text_that_was_removed_whatever_its_clock_did() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    for (time, id) in [(10_000, "old"), (20_000, "new"), (15_000, "late")] {
        disk.journal.set_time(time);
        ada.say(&life, proposal(ROOM, "ada", id, id)).await;
    }
    let log = life.log_of(ROOM).await;
    let times: Vec<_> = log.iter().map(|stored| stored.entry.committed_at).collect();
    assert_eq!(times, [10_000, 20_000, 20_000], "they never decrease");
    ada.say(&life, redaction(ROOM, "ada", "r", 0)).await;
    has_wiped(&disk, 3).await;
    // Its span begins with an entry that was redacted before.
    ada.say(&life, erasure(ROOM, "ada", "e", (2, Some("ada")))).await;
    has_wiped(&disk, 4).await;
    // The clock went back by 5 s, so a block may have been stamped that much before its entries.
    assert_eq!(disk.journal.wiped_since(), [5_000, 15_000]);
    // What is erased already is searched for no more.
    ada.say(&life, erasure(ROOM, "ada", "e-2", (2, Some("ada")))).await;
    disk.folded().await;
    assert_eq!(life.end().await, Ok(()));
    assert_eq!(disk.journal.wiped_since().len(), 2);
}

#[tokio::test]
async fn after_a_start_the_journal_is_searched_from_the_first_entry_that_a_removal_may_concern() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), without_fold(small_windows())).await;
    let mut ada = Connection::default();
    for (time, id) in [(10_000, "old"), (20_000, "new")] {
        disk.journal.set_time(time);
        ada.say(&life, proposal(ROOM, "ada", id, id)).await;
    }
    ada.say(&life, redaction(ROOM, "ada", "r", 0)).await;
    ada.say(&life, erasure(ROOM, "ada", "e", (1, Some("ada")))).await;
    life.crash().await;
    // A fold that was cut off may have removed the text at slot 0, and so not say it again.
    let life = Life::start(&disk, identity(1, 2), small_windows()).await;
    has_wiped(&disk, 3).await;
    assert_eq!(disk.journal.wiped_since(), [10_000]);
    assert_eq!(life.end().await, Ok(()));
}

#[tokio::test]
async fn an_archive_that_cannot_be_flushed_ends_the_node_before_the_journal_is_wiped() {
    let disk = Disk::default();
    disk.archive.fail_next_flush();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    say_all(&life, &["one"]).await;
    let mut ada = Connection::default();
    ada.say(&life, redaction(ROOM, "ada", "r", 0)).await;
    let ended = life.has_ended().await;
    assert!(matches!(ended, Err(NodeError::Archive(_))), "{ended:?}");
    assert_eq!(disk.journal.first(0).expect("a position"), Position(1));
}

#[tokio::test]
async fn a_journal_that_was_not_wiped_before_a_crash_is_wiped_by_the_next_start() {
    let disk = Disk::default();
    // Nothing of the archive is on stable storage, so nothing may leave the journal.
    disk.archive.keep_from_disk(u64::MAX);
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    say_all(&life, &["one"]).await;
    let mut ada = Connection::default();
    ada.say(&life, redaction(ROOM, "ada", "r", 0)).await;
    disk.folded().await;
    life.crash().await;
    assert_eq!(disk.journal.first(0).expect("a position"), Position(1));
    disk.archive.keep_from_disk(0);
    let life = Life::start(&disk, identity(1, 2), small_windows()).await;
    has_wiped(&disk, 1).await;
    assert_eq!(bodies(&life.log_of(ROOM).await), [None, Some("")]);
}

#[tokio::test]
async fn an_archive_rebuilt_from_the_journal_has_the_same_redactions() {
    let disk = Disk::default();
    disk.archive.keep_from_disk(u64::MAX);
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    say_all(&life, &["one", "two"]).await;
    let mut ada = Connection::default();
    ada.say(&life, redaction(ROOM, "ada", "r", 1)).await;
    let log = life.log_of(ROOM).await;
    disk.folded().await;
    life.crash().await;
    let again = disk.without_archive();
    again.archive.keep_from_disk(u64::MAX);
    let life = Life::start(&again, identity(1, 2), small_windows()).await;
    assert_eq!(life.log_of(ROOM).await, log);
    again.folded().await;
    let archived = again.archive.page(&room(ROOM), 0, 3, usize::MAX, Keep::Oldest).expect("a page");
    assert_eq!(archived, log);
}

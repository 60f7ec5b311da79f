//! The suite of the archive's contract.

use std::sync::Arc;

use roomlog_core::{
    applied::Applied,
    archive::{Archive, ArchiveError, IdKey, Keep},
    commit::Commit,
    head::Known,
    journal::Position,
    proposal::{Proposal, Stored},
};

use crate::fixtures::{Speaker, erasure, proposal, redaction, room, window};
use roomlog_protocol::RoomRange;

/// Creates an archive, and reopens the same one after its last handle was dropped.
pub trait Engine {
    /// Opens the archive.
    fn open(&self) -> Arc<dyn Archive>;
    /// Whether a reopened archive holds what it held before.
    fn is_durable(&self) -> bool;
}

/// A test per clause of the contract, in a module of this name. The expression creates a new
/// [`Engine`].
#[macro_export]
macro_rules! archive_suite {
    ($module:ident, $engine:expr) => {
        $crate::archive_suite! { $module, $engine;
            an_empty_archive_holds_nothing
            a_page_is_what_was_folded
            a_page_is_clipped_from_either_end
            ids_are_found_forever
            rooms_are_listed_in_byte_order
            a_window_folded_again_is_skipped
            a_row_that_differs_stops_the_fold
            a_redaction_removes_what_its_entry_said_and_nothing_else
            a_window_with_a_redaction_is_folded_again_from_any_point
            an_erasure_removes_the_texts_of_one_author_or_of_all_in_its_span
            an_id_at_two_slots_stops_the_fold
            what_was_folded_survives_a_reopen
            make_durable_returns_the_position_of_the_last_fold
        }
    };
    ($module:ident, $engine:expr; $($clause:ident)*) => {
        mod $module {
            use super::*;

            $(#[test]
            fn $clause() {
                $crate::suites::archive::$clause(&$engine);
            })*
        }
    };
}

fn bodies(page: &[Stored]) -> Vec<&str> {
    page.iter().map(|stored| stored.entry.body()).collect()
}

/// A clause of the contract.
pub fn an_empty_archive_holds_nothing(engine: &dyn Engine) {
    let archive = engine.open();
    assert_eq!(archive.applied(0), Ok(Applied::default()));
    assert_eq!(archive.head(&room("a")), Ok(None));
    assert_eq!(archive.rooms(&RoomRange::every(), 10), Ok(vec![]));
    assert_eq!(archive.page(&room("a"), 0, 0, 100, Keep::Oldest), Ok(vec![]));
}

/// A clause of the contract.
pub fn a_page_is_what_was_folded(engine: &dyn Engine) {
    let archive = engine.open();
    let (mut a, mut b) = (Speaker::new("a"), Speaker::new("b"));
    let commits = [a.says(1, &["one", "m"]), b.says(1, &["else"]), a.says(2, &["s", "r", "last"])];
    archive.fold(&window(2, &commits)).expect("a fold");
    let all: Vec<Stored> =
        [&commits[0], &commits[2]].iter().flat_map(|commit| commit.entries.clone()).collect();
    assert_eq!(archive.page(&room("a"), 0, 5, 1_000, Keep::Oldest), Ok(all.clone()));
    assert_eq!(archive.page(&room("a"), 1, 3, 1_000, Keep::Oldest), Ok(all[1..3].to_vec()));
    assert_eq!(archive.head(&room("a")), Ok(Some(a.head)));
    assert_eq!(archive.head(&room("b")), Ok(Some(b.head)));
    assert_eq!(archive.applied(0), Ok(window(2, &[]).applied));
    assert!(archive.page(&room("a"), 0, 6, 1_000, Keep::Oldest).is_err(), "slot 5 is missing");
}

/// A clause of the contract.
pub fn a_page_is_clipped_from_either_end(engine: &dyn Engine) {
    let archive = engine.open();
    let mut a = Speaker::new("a");
    archive.fold(&window(1, &[a.says(1, &["0000", "1111", "2222"])])).expect("a fold");
    let page = |bytes, keep| archive.page(&room("a"), 0, 3, bytes, keep).expect("a page");
    assert_eq!(bodies(&page(8, Keep::Oldest)), ["0000", "1111"]);
    assert_eq!(bodies(&page(8, Keep::Newest)), ["1111", "2222"]);
    assert_eq!(bodies(&page(7, Keep::Oldest)), ["0000"]);
    assert_eq!(bodies(&page(0, Keep::Newest)), ["2222"], "at least one");
}

/// A clause of the contract.
pub fn ids_are_found_forever(engine: &dyn Engine) {
    let archive = engine.open();
    let mut a = Speaker::new("a");
    archive.fold(&window(1, &[a.says(1, &["one", "two"])])).expect("a fold");
    let key = |room: &str, author: &str, id: &str| {
        let Proposal { room, author, id, .. } = proposal(room, author, id, "");
        IdKey { room, author, id }
    };
    let keys = [key("a", "ada", "two"), key("a", "bob", "two"), key("b", "ada", "two")];
    let found = archive.find(&keys).expect("an answer");
    assert_eq!((found[1], found[2]), (None, None));
    let known = found[0].expect("the entry");
    assert_eq!((known.slot, known.committed_at), (1, 1_001));
    assert!(known.original.is_repeated_by(&proposal("a", "ada", "two", "two")));
}

/// A clause of the contract.
pub fn rooms_are_listed_in_byte_order(engine: &dyn Engine) {
    let archive = engine.open();
    let commits: Vec<_> =
        ["b", "a.1", "a", "Z"].iter().map(|name| Speaker::new(name).says(1, &["x"])).collect();
    archive.fold(&window(1, &commits)).expect("a fold");
    let names = |after: Option<&str>, limit| {
        let range = RoomRange::every().after(after.map(room).as_ref());
        let rooms = archive.rooms(&range, limit).expect("rooms");
        rooms.into_iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 10), ["Z", "a", "a.1", "b"]);
    assert_eq!(names(None, 2), ["Z", "a"]);
    assert_eq!(names(Some("a"), 10), ["a.1", "b"]);
    let prefix = RoomRange::of_prefix(None, "a");
    let rooms = archive.rooms(&prefix, 10).expect("rooms");
    assert_eq!(rooms.iter().map(|(name, _)| &**name).collect::<Vec<_>>(), ["a", "a.1"]);
    assert_eq!(archive.room_count(), Ok(4));
}

/// A clause of the contract.
pub fn a_window_folded_again_is_skipped(engine: &dyn Engine) {
    let archive = engine.open();
    let mut a = Speaker::new("a");
    let (first, second) = (a.says(1, &["one"]), a.says(2, &["two"]));
    archive.fold(&window(1, std::slice::from_ref(&first))).expect("a fold");
    // Like after a crash between the rows of a window and its `applied`.
    archive.fold(&window(2, &[first, second])).expect("the same rows again");
    assert_eq!(archive.head(&room("a")).expect("a head").map(|head| head.end), Some(2));
}

/// A clause of the contract.
pub fn a_row_that_differs_stops_the_fold(engine: &dyn Engine) {
    let archive = engine.open();
    archive.fold(&window(1, &[Speaker::new("a").says(1, &["one"])])).expect("a fold");
    let other = archive.fold(&window(2, &[Speaker::new("a").says(1, &["other"])]));
    assert!(matches!(other, Err(ArchiveError::Damaged { slot: 0, .. })), "{other:?}");
    assert_eq!(archive.applied(0).expect("applied").position, Position(1));
}

/// A commit in which `ada` redacts these slots.
fn redacts(speaker: &mut Speaker, position: u64, slots: &[u64]) -> Arc<Commit> {
    let redact = |slot: &u64| redaction("a", "ada", &format!("redacts-{slot}"), *slot);
    speaker.commits(position, slots.iter().map(redact))
}

/// A clause of the contract.
pub fn a_redaction_removes_what_its_entry_said_and_nothing_else(engine: &dyn Engine) {
    let archive = engine.open();
    let mut a = Speaker::new("a");
    let said = a.says(1, &["one", "m", "three"]);
    archive.fold(&window(1, std::slice::from_ref(&said))).expect("a fold");
    // One of an earlier window, one of the same.
    let more = a.says(2, &["four"]);
    let redaction = redacts(&mut a, 3, &[1, 3]);
    // The older of the two.
    let removed = archive.fold(&window(3, &[more.clone(), redaction.clone()]));
    assert_eq!(removed, Ok(Some(said.entries[1].entry.committed_at)));
    let mut log = [&said.entries[..], &more.entries, &redaction.entries].concat();
    let key = |slot: usize| {
        let entry = &log[slot].entry;
        IdKey { room: room("a"), author: entry.author.clone(), id: entry.id.clone() }
    };
    let found = archive.find(&[key(0), key(1)]).expect("an answer");
    let repeats = |found: Option<Known>, body: &str| {
        found.expect("the entry").original.is_repeated_by(&proposal("a", "ada", body, body))
    };
    assert!(!repeats(found[0], "other") && repeats(found[1], "other"));
    for slot in [1, 3] {
        log[slot].entry.redact();
    }
    assert_eq!(archive.page(&room("a"), 0, 6, 1_000, Keep::Oldest), Ok(log));
    assert_eq!(archive.wipe(), Ok(true));
    // Folds go on in the run that was written again.
    archive.fold(&window(4, &[a.says(4, &["last"])])).expect("a fold");
    let page = archive.page(&room("a"), 0, 7, 1_000, Keep::Oldest).expect("a page");
    assert_eq!(bodies(&page), ["one", "", "three", "", "", "", "last"]);
}

/// A clause of the contract.
pub fn a_window_with_a_redaction_is_folded_again_from_any_point(engine: &dyn Engine) {
    let archive = engine.open();
    let mut a = Speaker::new("a");
    let (said, redaction) = (a.says(1, &["one", "two"]), redacts(&mut a, 2, &[0]));
    archive.fold(&window(2, &[said.clone(), redaction.clone()])).expect("a fold");
    let before = archive.page(&room("a"), 0, 3, 1_000, Keep::Oldest).expect("a page");
    // Like after a crash between the rows of the window and its `applied`.
    archive.fold(&window(1, std::slice::from_ref(&said))).expect("the same entries again");
    let again = archive.fold(&window(2, std::slice::from_ref(&redaction)));
    assert_eq!(again, Ok(None), "the same redaction removes nothing again");
    assert_eq!(archive.page(&room("a"), 0, 3, 1_000, Keep::Oldest), Ok(before));
    // A journal that was wiped meanwhile: what it gives again has no text.
    let two = redacts(&mut a, 3, &[1]);
    archive.fold(&window(3, std::slice::from_ref(&two))).expect("a fold");
    let mut without = said.entries.clone();
    without.iter_mut().for_each(|stored| stored.entry.redact());
    let without = Commit::new(room("a"), Position(1), without);
    let (text, archive) = (said, engine.open());
    archive.fold(&window(1, std::slice::from_ref(&text))).expect("a fold");
    archive.fold(&window(3, &[Arc::new(without), redaction, two])).expect("without the text");
    let page = archive.page(&room("a"), 0, 2, 1_000, Keep::Oldest).expect("a page");
    assert!(page.iter().all(|stored| stored.entry.content.is_redacted()));
    let other = archive.fold(&window(2, &[Speaker::new("a").says(1, &["other"])]));
    assert!(matches!(other, Err(ArchiveError::Damaged { slot: 0, .. })), "{other:?}");
}

/// A clause of the contract.
pub fn an_erasure_removes_the_texts_of_one_author_or_of_all_in_its_span(engine: &dyn Engine) {
    let archive = engine.open();
    let mut a = Speaker::new("a");
    // More than the span of an erasure, in runs that begin and end elsewhere; every third is bob's.
    let author = |slot: u64| if slot.is_multiple_of(3) { "bob" } else { "ada" };
    let said: Vec<_> =
        (0..5_000).map(|slot| proposal("a", author(slot), &format!("id-{slot}"), "hi")).collect();
    let said = a.commits(1, said.into_iter());
    let erases = |id: &str, last, of| erasure("a", "ada", id, (last, of));
    let removals = [redaction("a", "ada", "r", 10), erases("e-1", 4_500, Some("bob"))];
    let removals = a.commits(2, removals.into_iter());
    archive.fold(&window(2, &[said, removals])).expect("a fold");
    let is_erased = |slot| slot == 10 || (405..=4_500).contains(&slot) && author(slot) == "bob";
    assert_eq!(redacted(&*archive, a.head.end), (0..5_002).map(is_erased).collect::<Vec<_>>());

    let all = a.commits(3, [erases("e-2", 5_001, None)].into_iter());
    assert_eq!(archive.fold(&window(3, &[all])), Ok(Some(1_001)));
    // What removes texts stays.
    let is_erased = |slot| is_erased(slot) || (906..5_000).contains(&slot);
    assert_eq!(redacted(&*archive, a.head.end), (0..5_003).map(is_erased).collect::<Vec<_>>());
}

/// Whether each entry of the room `a` is redacted.
fn redacted(archive: &dyn Archive, end: u64) -> Vec<bool> {
    let page = archive.page(&room("a"), 0, end, usize::MAX, Keep::Oldest).expect("a page");
    page.iter().map(|stored| stored.entry.content.is_redacted()).collect()
}

/// A clause of the contract.
pub fn an_id_at_two_slots_stops_the_fold(engine: &dyn Engine) {
    let archive = engine.open();
    let mut a = Speaker::new("a");
    archive.fold(&window(1, &[a.says(1, &["one"])])).expect("a fold");
    // Apply would have made this a repeat: that it did not is a bug, and must stop the node.
    let twice = archive.fold(&window(2, &[a.says(2, &["one"])]));
    assert!(matches!(twice, Err(ArchiveError::Damaged { slot: 1, .. })), "{twice:?}");
}

/// A clause of the contract.
pub fn what_was_folded_survives_a_reopen(engine: &dyn Engine) {
    if !engine.is_durable() {
        return;
    }
    let mut a = Speaker::new("a");
    let commit = a.says(1, &["one", "two"]);
    let archive = engine.open();
    archive.fold(&window(1, std::slice::from_ref(&commit))).expect("a fold");
    drop(archive);
    let archive = engine.open();
    assert_eq!(archive.applied(0), Ok(window(1, &[]).applied));
    assert_eq!(archive.page(&room("a"), 0, 2, 100, Keep::Oldest), Ok(commit.entries.clone()));
}

/// A clause of the contract.
pub fn make_durable_returns_the_position_of_the_last_fold(engine: &dyn Engine) {
    let archive = engine.open();
    assert_eq!(archive.make_durable(0), Ok(Position(0)));
    let mut a = Speaker::new("a");
    for (position, body) in [(1, "one"), (2, "two"), (5, "five")] {
        archive.fold(&window(position, &[a.says(position, &[body])])).expect("a fold");
        // Called twice: the second call has nothing to do.
        assert_eq!(archive.make_durable(0), Ok(Position(position)));
        assert_eq!(archive.make_durable(0), Ok(Position(position)));
    }
    // Folds continue after it.
    archive.fold(&window(6, &[a.says(6, &["six"])])).expect("a fold");
    assert_eq!(archive.applied(0).expect("applied").position, Position(6));
}

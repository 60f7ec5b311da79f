//! Which rooms moved: what is kept, and for whom.

use std::sync::Arc;

use super::{Heads, MOVED_ROOMS, Watcher};
use crate::fixtures::room;

/// What a watcher returns next: the rooms that moved, with where they end.
fn moved(watcher: &mut Watcher, limit: usize) -> String {
    let moved = watcher.moved(limit);
    let rooms = moved.rooms.iter().map(|(room, end)| format!("{room}:{end}"));
    let missed = moved.missed.then(|| "missed".to_owned());
    missed.into_iter().chain(rooms).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_watcher_too_far_behind_learns_that_it_missed_rooms_and_gets_the_others() {
    let heads = Arc::new(Heads::default());
    let mut slow = Watcher::new(heads.clone());
    heads.moved(&room("r0"), 1);
    let mut in_time = Watcher::new(heads.clone());
    (1..=MOVED_ROOMS).for_each(|n| heads.moved(&room(&format!("r{n}")), 1));
    assert_eq!(moved(&mut slow, 2), "missed r1:1 r2:1");
    assert_eq!(moved(&mut slow, 1), "r3:1", "it missed rooms once");
    assert_eq!(moved(&mut in_time, 2), "r1:1 r2:1", "only the oldest was evicted");
}

#[test]
fn a_room_that_moves_again_is_returned_once_with_its_newest_end() {
    let heads = Arc::new(Heads::default());
    let mut watcher = Watcher::new(heads.clone());
    heads.moved(&room("a"), 1);
    heads.moved(&room("b"), 1);
    heads.moved(&room("a"), 2);
    assert_eq!(moved(&mut watcher, 10), "b:1 a:2");
    heads.moved(&room("b"), 2);
    assert_eq!(moved(&mut watcher, 10), "b:2");
}

#[test]
fn nothing_is_kept_without_watchers() {
    let heads = Arc::new(Heads::default());
    let watcher = Watcher::new(heads.clone());
    heads.moved(&room("a"), 1);
    assert_eq!(heads.state.lock().by_mark.len(), 1);
    drop(watcher);
    assert_eq!(heads.state.lock().by_mark.len(), 0);
    heads.moved(&room("b"), 1);
    let mut watcher = Watcher::new(heads.clone());
    assert_eq!(moved(&mut watcher, 10), "");
    heads.moved(&room("c"), 1);
    assert_eq!(moved(&mut watcher, 10), "c:1");
}

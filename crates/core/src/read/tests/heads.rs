//! Which rooms moved: what is kept of it, and for whom.

use std::sync::Arc;

use super::{Heads, MOVED_ROOMS, Moved, Watcher};
use crate::fixtures::room;

/// The next names that a watcher is told.
fn told(watcher: &mut Watcher, limit: usize) -> String {
    match watcher.moved(limit) {
        Moved::Rooms(rooms) => rooms.iter().map(|it| it.as_str()).collect::<Vec<_>>().join(" "),
        Moved::All => "all".into(),
    }
}

#[test]
fn a_watcher_that_asks_too_late_is_told_to_list_all_rooms() {
    let heads = Arc::new(Heads::default());
    let mut slow = Watcher::new(heads.clone());
    heads.moved(&room("r0"));
    let mut in_time = Watcher::new(heads.clone());
    (1..=MOVED_ROOMS).for_each(|n| heads.moved(&room(&format!("r{n}"))));
    assert_eq!(told(&mut slow, 10), "all");
    assert_eq!(told(&mut slow, 10), "", "told once");
    assert_eq!(told(&mut in_time, 2), "r1 r2", "only the oldest was evicted");
}

#[test]
fn nothing_is_kept_while_nobody_watches() {
    let heads = Arc::new(Heads::default());
    let watcher = Watcher::new(heads.clone());
    heads.moved(&room("a"));
    assert_eq!(heads.state.lock().by_mark.len(), 1);
    drop(watcher);
    assert_eq!(heads.state.lock().by_mark.len(), 0);
    heads.moved(&room("b"));
    let mut watcher = Watcher::new(heads.clone());
    assert_eq!(told(&mut watcher, 10), "");
    heads.moved(&room("c"));
    assert_eq!(told(&mut watcher, 10), "c");
}

//! The tail of a room: what follows a cursor, and when a connection is notified.

use std::sync::Arc;

use futures_util::FutureExt;

use crate::fixtures::{Speaker, room};
use crate::{
    commit::Commit,
    mailbox::Mailbox,
    read::{
        delivery::Deliveries,
        tail::{After, Tail},
    },
};

/// A tail with these commits, each written as its bodies.
fn tail(commits: &[&str]) -> (Tail, Vec<Arc<Commit>>) {
    let mut speaker = Speaker::new("general");
    let tail = Tail::new(room("general"), speaker.head, &Arc::default());
    let say = |(position, bodies): (u64, &&str)| {
        let bodies: Vec<&str> = bodies.split_whitespace().collect();
        let commit = speaker.says(position, &bodies);
        tail.publish(commit.clone());
        commit
    };
    let commits = (1..).zip(commits).map(say).collect();
    (tail, commits)
}

/// What follows a slot: the bodies of each commit, or where it is.
fn after(tail: &Tail, next: u64, bytes: usize) -> String {
    let bodies = |commit: &Arc<Commit>| {
        commit.entries.iter().map(|stored| stored.entry.body()).collect::<Vec<_>>().join(" ")
    };
    match tail.after(next, bytes) {
        After::Nothing => "nothing".into(),
        After::Archived => {
            format!("archived before {}", tail.view(|_| (next, next)).archived)
        }
        After::Commits { commits, .. } => {
            commits.iter().map(bodies).collect::<Vec<_>>().join(" | ")
        }
    }
}

#[test]
fn a_cursor_finds_the_commit_of_its_slot_and_all_after_it() {
    let (tail, _) = tail(&["a b c", "d", "e f"]);
    for (next, found) in [
        (0, "a b c | d | e f"),
        (1, "a b c | d | e f"),
        (3, "d | e f"),
        (5, "e f"),
        (6, "nothing"),
        (99, "nothing"),
    ] {
        assert_eq!(after(&tail, next, usize::MAX), found, "after slot {next}");
    }
}

#[test]
fn a_batch_is_bounded_by_bytes_and_never_empty() {
    let (tail, commits) = tail(&["a b c", "d", "e f"]);
    let weight = |n: usize| commits[..n].iter().map(|commit| commit.weight()).sum::<usize>();
    assert_eq!(after(&tail, 0, 0), "a b c");
    assert_eq!(after(&tail, 0, weight(2) - 1), "a b c");
    assert_eq!(after(&tail, 0, weight(2)), "a b c | d");
    assert_eq!(after(&tail, 0, weight(3) - 1), "a b c | d");
    assert_eq!(after(&tail, 0, weight(3)), "a b c | d | e f");
}

#[test]
fn what_the_tail_dropped_is_in_the_archive() {
    let (tail, _) = tail(&["a b c", "d", "e f"]);
    tail.drop_oldest();
    assert_eq!(after(&tail, 2, usize::MAX), "archived before 3");
    assert_eq!(after(&tail, 3, usize::MAX), "d | e f");
    tail.drop_oldest();
    tail.drop_oldest();
    tail.drop_oldest();
    assert_eq!(after(&tail, 5, usize::MAX), "archived before 6");
    assert_eq!(after(&tail, 6, usize::MAX), "nothing");
    assert_eq!(tail.head().end, 6, "the head has not changed");
}

#[test]
fn a_tail_may_begin_in_the_middle_of_a_log() {
    let mut speaker = Speaker::new("general");
    speaker.says(1, &["a", "b"]);
    let tail = Tail::new(room("general"), speaker.head, &Arc::default());
    assert_eq!(after(&tail, 0, usize::MAX), "archived before 2");
    assert_eq!(after(&tail, 2, usize::MAX), "nothing");
    tail.publish(speaker.says(2, &["c"]));
    assert_eq!(after(&tail, 2, usize::MAX), "c");
    assert_eq!(tail.head(), speaker.head);
}

#[test]
fn a_view_is_consistent_and_names_where_the_tail_begins() {
    let (tail, commits) = tail(&["a b c", "d", "e f"]);
    tail.drop_oldest();
    let view = tail.view(|head| (1, head.end - 1));
    assert_eq!((view.first, view.end, view.archived), (1, 5, 3));
    assert_eq!(view.head, commits[2].head());
    assert_eq!(view.commits.iter().map(|commit| commit.first()).collect::<Vec<_>>(), [3, 4]);
    let view = tail.view(|_| (4, 4));
    assert!(view.commits.is_empty(), "no slot was asked for");
}

/// Delivers a tail that moved, as the delivery task does.
fn deliver(tail: &Arc<Tail>) {
    let deliveries = Arc::new(Deliveries::default());
    deliveries.add([tail.clone()].into_iter());
    assert!(deliveries.run().now_or_never().is_none());
}

#[tokio::test]
async fn a_connection_is_notified_once_until_it_looks() {
    let mut speaker = Speaker::new("general");
    let tail = Arc::new(Tail::new(room("general"), speaker.head, &Arc::default()));
    let mailbox = Arc::new(Mailbox::default());
    let subscription = tail.subscribe(&mailbox, 7, None);
    let mut move_on = |position, bodies: &[&str]| {
        tail.publish(speaker.says(position, bodies));
        deliver(&tail);
    };
    assert!(!subscription.take(), "nothing happened yet");

    move_on(1, &["a"]);
    move_on(2, &["b"]);
    assert_eq!(mailbox.take().moved, [7]);
    move_on(3, &["c"]);
    assert_eq!(mailbox.take().moved, [0_u32; 0], "it has not looked yet");

    assert!(subscription.take());
    assert!(!subscription.take());
    move_on(4, &["d"]);
    assert_eq!(mailbox.take().moved, [7]);
}

#[tokio::test]
async fn every_registered_connection_is_notified_and_no_other() {
    let mut speaker = Speaker::new("general");
    let tail = Arc::new(Tail::new(room("general"), speaker.head, &Arc::default()));
    let (one, two) = (Arc::new(Mailbox::default()), Arc::new(Mailbox::default()));
    let removed = tail.subscribe(&one, 1, None);
    let _kept = tail.subscribe(&one, 2, None);
    let _other = tail.subscribe(&two, 3, None);
    drop(removed);
    tail.publish(speaker.says(1, &["a"]));
    assert_eq!(one.take().moved, [0_u32; 0], "publishing does not notify");
    deliver(&tail);
    assert_eq!(one.take().moved, [2]);
    assert_eq!(two.take().moved, [3]);
}

#[test]
fn dropping_a_registration_removes_it() {
    let held = Arc::default();
    let tail = Arc::new(Tail::new(room("general"), Speaker::new("general").head, &held));
    let mailbox = Arc::default();
    let subscription = tail.subscribe(&mailbox, 1, None);
    assert!(!subscription.take());
    assert_eq!(Arc::strong_count(&mailbox), 2);
    drop(subscription);
    assert_eq!(Arc::strong_count(&mailbox), 1);
}

//! The order within a room: tables of what arrives and what leaves, and what holds for all of them.

use std::collections::{BTreeMap, VecDeque};

use crate::append::merge::{CLOCK_TRUST_MS, Merge, QueueId, merge_time};
use proptest::prelude::*;

/// Plays a table. `a 100 x` puts x into queue a with the time 100; `take 2` takes two; `remove a`
/// takes all that waits in queue a. Gives what left, in order.
fn order(table: &str) -> String {
    let mut merge = Merge::default();
    let mut left: Vec<String> = Vec::new();
    let queue = |name: &str| QueueId(u64::from(name.as_bytes()[0]));
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["take", count] => {
                let count: usize = count.parse().expect("a count");
                left.extend((0..count).map(|_| merge.take().unwrap_or_else(|| "nothing".into())));
            }
            ["remove", name] => left.extend(merge.remove(queue(name))),
            [name, time, item] => {
                merge.push(queue(name), time.parse().expect("a time"), item.to_string());
            }
            _ => panic!("{line}: not a line of the table"),
        }
    }
    let empty = if merge.is_empty() { "" } else { " …" };
    left.join(" ") + empty
}

#[test]
fn among_heads_the_smallest_time_goes_first() {
    let table = "
        a 300 third
        b 100 first
        c 200 second
        take 4";
    assert_eq!(order(table), "first second third nothing");
}

#[test]
fn equal_times_go_in_the_order_of_arrival() {
    let table = "
        c 100 first
        a 100 second
        b 100 third
        take 3";
    assert_eq!(order(table), "first second third");
}

#[test]
fn a_queue_keeps_its_order_whatever_its_times_say() {
    let table = "
        a 300 first
        a 100 second
        a 200 third
        take 3";
    assert_eq!(order(table), "first second third");
}

#[test]
fn only_the_head_of_a_queue_is_a_candidate() {
    // a's second has the smallest time of all, and waits behind its own head.
    let table = "
        a 300 a1
        a 100 a2
        b 200 b1
        b 400 b2
        take 4";
    assert_eq!(order(table), "b1 a1 a2 b2");
}

#[test]
fn the_next_of_a_queue_is_a_candidate_as_soon_as_its_head_is_gone() {
    let table = "
        a 100 a1
        a 150 a2
        b 200 b1
        take 1
        b 50 b2
        c 120 c1
        take 4";
    assert_eq!(order(table), "a1 c1 a2 b1 b2");
}

#[test]
fn the_arrival_that_breaks_a_tie_is_the_items_own() {
    // When a2 becomes a head it has arrived before b1, though b1 was a head before it.
    let table = "
        a 100 a1
        a 200 a2
        b 200 b1
        take 3";
    assert_eq!(order(table), "a1 a2 b1");
}

#[test]
fn a_queue_that_is_removed_gives_all_it_has_in_order_and_leaves_the_others() {
    let table = "
        a 300 a1
        a 100 a2
        b 200 b1
        remove a
        take 2";
    assert_eq!(order(table), "a1 a2 b1 nothing");
}

#[test]
fn a_queue_that_was_removed_begins_anew() {
    let table = "
        a 100 a1
        remove a
        remove a
        b 300 b1
        a 200 a2
        take 1";
    assert_eq!(order(table), "a1 a2 …");
}

#[test]
fn a_clock_is_believed_within_two_seconds_of_the_receipt() {
    let received = 10_000;
    for (sent_at, time) in [
        (None, 10_000),
        (Some(10_000), 10_000),
        (Some(10_001), 10_000),
        (Some(u64::MAX), 10_000),
        (Some(9_999), 9_999),
        (Some(8_000), 8_000),
        (Some(7_999), 8_000),
        (Some(0), 8_000),
    ] {
        assert_eq!(merge_time(sent_at, received), time, "sent at {sent_at:?}");
    }
    assert_eq!(merge_time(Some(0), 1_999), 0, "before 1970 + 2 s there is nothing to hold it at");
}

/// What happens to a merge: an append of a queue, received so much later than the one before, with
/// the author's clock that much off; or a take.
#[derive(Debug, Clone)]
enum Op {
    Push { queue: u64, later: u64, clock: Option<i64> },
    Take,
    Remove(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let clock = proptest::option::of(-4_000..4_000_i64);
    let op = prop_oneof![
        5 => (0..5_u64, 0..1_500_u64, clock)
            .prop_map(|(queue, later, clock)| Op::Push { queue, later, clock }),
        4 => Just(Op::Take),
        1 => (0..5_u64).prop_map(Op::Remove),
    ];
    proptest::collection::vec(op, 0..120)
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Item {
    queue: u64,
    time: u64,
    received: u64,
    arrival: u64,
}

/// What the page says, word for word: the heads, the smallest of them, that queue again.
#[derive(Default)]
struct Model(BTreeMap<u64, VecDeque<Item>>);

impl Model {
    fn take(&mut self) -> Option<Item> {
        let heads = self.0.values().filter_map(VecDeque::front);
        let first = *heads.min_by_key(|item| (item.time, item.arrival))?;
        self.0.get_mut(&first.queue)?.pop_front()
    }
}

proptest! {
    // No file of failures is kept beside the tests: what is found becomes a transcript.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_merge_is_the_page_word_for_word_and_nobody_starves(ops in ops()) {
        let (mut merge, mut model) = (Merge::default(), Model::default());
        let (mut received, mut arrival) = (1_000_000, 0);
        let drain = std::iter::repeat_n(Op::Take, ops.len());
        for op in ops.clone().into_iter().chain(drain) {
            match op {
                Op::Push { queue, later, clock } => {
                    received += later;
                    arrival += 1;
                    let sent_at = clock.map(|off| received.saturating_add_signed(off));
                    let time = merge_time(sent_at, received);
                    prop_assert!((received - CLOCK_TRUST_MS..=received).contains(&time));
                    let item = Item { queue, time, received, arrival };
                    merge.push(QueueId(queue), time, item);
                    model.0.entry(queue).or_default().push_back(item);
                }
                Op::Take => {
                    let taken = merge.take();
                    prop_assert_eq!(taken, model.take());
                    // The bound: what goes before me came at most two seconds after me.
                    for waiting in model.0.values().flatten() {
                        let taken = taken.expect("something waits, so something was taken");
                        prop_assert!(taken.received <= waiting.received + CLOCK_TRUST_MS);
                    }
                }
                Op::Remove(queue) => {
                    let removed = model.0.remove(&queue).unwrap_or_default();
                    prop_assert_eq!(merge.remove(QueueId(queue)), Vec::from(removed));
                }
            }
        }
        prop_assert!(merge.is_empty());
    }
}

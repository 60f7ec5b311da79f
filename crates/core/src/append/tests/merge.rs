//! The order within a room: tables of arrivals and departures, and properties that always hold.

use std::collections::{BTreeMap, VecDeque};

use crate::append::merge::{CLOCK_TRUST_MS, Merge, PASSES, QueueId, merge_time};
use proptest::prelude::*;

/// Plays a table. `a 100 x` pushes x to queue a with time 100; `take 2` takes two; `remove a`
/// removes queue a. Returns what left, in order.
fn order(table: &str) -> String {
    let mut merge = Merge::default();
    let mut left: Vec<String> = Vec::new();
    let queue = |name: &str| {
        QueueId(name.parse().unwrap_or_else(|_| 1_000 + u64::from(name.as_bytes()[0])))
    };
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
fn a_queue_keeps_its_order_whatever_its_times() {
    let table = "
        a 300 first
        a 100 second
        a 200 third
        take 3";
    assert_eq!(order(table), "first second third");
}

#[test]
fn only_the_head_of_a_queue_is_a_candidate() {
    // The second item of a has the smallest time of all, but is behind its head.
    let table = "
        a 300 a1
        a 100 a2
        b 200 b1
        b 400 b2
        take 4";
    assert_eq!(order(table), "b1 a1 b2 a2");
}

#[test]
fn the_next_item_of_a_queue_is_a_candidate_once_its_head_was_taken() {
    let table = "
        a 100 a1
        a 150 a2
        b 200 b1
        take 1
        b 50 b2
        c 120 c1
        take 4";
    assert_eq!(order(table), "a1 c1 b1 a2 b2");
}

#[test]
fn a_backlog_delays_another_queue_by_one_item() {
    // All of a's came before b's, but a2 competes from when a1 was taken.
    let table = "
        a 100 a1
        a 110 a2
        a 120 a3
        b 200 b1
        take 4";
    assert_eq!(order(table), "a1 b1 a2 a3");
}

#[test]
fn a_head_is_passed_over_a_bounded_number_of_times() {
    // Each of these queues is new, and claims an older time than b1 has.
    let late = (0..=PASSES).map(|n| format!("{n} 100 early\ntake 1\n")).collect::<String>();
    let left = order(&format!("b 200 b1\n{late}"));
    let expected = "early ".repeat(PASSES) + "b1 …";
    assert_eq!(left, expected);
}

#[test]
fn removing_a_queue_returns_its_items_in_order_and_keeps_the_others() {
    let table = "
        a 300 a1
        a 100 a2
        b 200 b1
        remove a
        take 2";
    assert_eq!(order(table), "a1 a2 b1 nothing");
}

#[test]
fn a_removed_queue_can_be_used_again() {
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
fn a_clock_is_trusted_within_two_seconds_before_receipt() {
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
    assert_eq!(merge_time(Some(0), 1_999), 0, "the lower bound saturates at 0");
}

/// An operation on a merge: a push, received `later` ms after the previous one, with the author's
/// clock off by `clock` ms; or a take; or a removal.
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

/// A time, and the number of the head.
type Head = (u64, usize);

/// The documented order, written naively: each queue with the (time, arrival) of its head.
#[derive(Default)]
struct Model {
    queues: BTreeMap<u64, (Head, VecDeque<(u64, usize)>)>,
    heads: usize,
    newest: u64,
    passes: usize,
}

impl Model {
    fn push(&mut self, queue: u64, time: u64, item: usize) {
        self.newest = self.newest.max(time);
        if let Some((_, items)) = self.queues.get_mut(&queue) {
            return items.push_back((time, item));
        }
        self.heads += 1;
        self.queues.insert(queue, ((time, self.heads), VecDeque::from([(time, item)])));
    }

    fn oldest(&self) -> Option<u64> {
        let oldest = self.queues.iter().min_by_key(|(_, ((_, arrival), _))| *arrival)?;
        Some(*oldest.0)
    }

    fn take(&mut self) -> Option<usize> {
        let oldest = self.oldest()?;
        let (first, _) = self.queues.iter().min_by_key(|(_, (head, _))| *head)?;
        let queue = if self.passes >= PASSES { oldest } else { *first };
        self.passes = if queue == oldest { 0 } else { self.passes + 1 };
        let (head, items) = self.queues.get_mut(&queue)?;
        let (_, taken) = items.pop_front()?;
        match items.front() {
            Some((time, _)) => {
                self.heads += 1;
                *head = (self.newest.max(*time), self.heads);
            }
            None => _ = self.queues.remove(&queue),
        }
        Some(taken)
    }

    fn remove(&mut self, queue: u64) -> Vec<usize> {
        if self.oldest() == Some(queue) {
            self.passes = 0;
        }
        let (_, items) = self.queues.remove(&queue).unwrap_or_default();
        items.into_iter().map(|(_, item)| item).collect()
    }
}

proptest! {
    // Failures are not persisted: each one becomes a table above.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_merge_equals_its_model(ops in ops()) {
        let (mut merge, mut model) = (Merge::default(), Model::default());
        let mut received = 1_000_000;
        let drain = std::iter::repeat_n(Op::Take, ops.len());
        for (item, op) in ops.clone().into_iter().chain(drain).enumerate() {
            match op {
                Op::Push { queue, later, clock } => {
                    received += later;
                    let sent_at = clock.map(|off| received.saturating_add_signed(off));
                    let time = merge_time(sent_at, received);
                    prop_assert!((received - CLOCK_TRUST_MS..=received).contains(&time));
                    merge.push(QueueId(queue), time, item);
                    model.push(queue, time, item);
                }
                Op::Take => prop_assert_eq!(merge.take(), model.take()),
                Op::Remove(queue) => {
                    prop_assert_eq!(merge.remove(QueueId(queue)), model.remove(queue));
                }
            }
        }
        prop_assert!(merge.is_empty());
    }
}

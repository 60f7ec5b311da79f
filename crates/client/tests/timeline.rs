//! The timeline under any order of server frames: lost, duplicate and late acks, short pages,
//! rejoins.

mod fake;

use fake::{room, said};
use proptest::prelude::*;
use roomlog_client::{
    Start,
    timeline::{Step, Timeline},
};
use roomlog_protocol::{Digest, Entry, Latest, Reply, Span};

/// A server's room.
struct Log {
    entries: Vec<Entry>,
}

impl Log {
    fn grow(&mut self, by: usize) {
        let end = self.entries.len() as u64;
        self.entries.extend(fake::log(end..end + by as u64));
    }

    fn latest(&self) -> Latest {
        Latest::before(self.entries.len() as u64)
    }

    fn between(&self, from: usize, count: usize) -> Vec<Entry> {
        self.entries.iter().skip(from).take(count).cloned().collect()
    }

    /// The answer to a request, cut to a page.
    fn answer(&self, span: Span, page: usize) -> Reply {
        let entries = match span {
            Span::After(after) => self.between(usize::try_from(after.end()).expect("a slot"), page),
            Span::UpTo { count, .. } => {
                let count = usize::try_from(count).expect("few").min(page);
                self.between(self.entries.len().saturating_sub(count), count)
            }
        };
        let digest_at = entries.last().map_or(self.latest(), |entry| Latest::at(entry.slot));
        let upto = usize::try_from(digest_at.end()).expect("a slot");
        let digest = self.entries[..upto].iter().fold(Digest::start(&room("r")), Digest::then);
        Reply { room: room("r"), entries, latest: self.latest(), digest_at, digest }
    }
}

#[derive(Debug, Clone)]
enum Event {
    Grow(usize),
    /// An ack of these slots, wherever the follower is.
    Ack(usize, usize),
    /// The follower requests a page of at most this many entries.
    Update(usize),
    /// The connection is lost and restored.
    Rejoin(usize),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (1_usize..6).prop_map(Event::Grow),
        (0_usize..40, 1_usize..6).prop_map(|(from, count)| Event::Ack(from, count)),
        (1_usize..5).prop_map(Event::Update),
        (1_usize..5).prop_map(Event::Rejoin),
    ]
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![(0_u64..4).prop_map(Start::Newest), Just(Start::After(Latest(-1)))]
}

/// The entries of a step; `None`: it diverged.
fn taken(step: Step) -> Option<Vec<Entry>> {
    match step {
        Step::Take(entries) | Step::Gap(entries) => Some(entries),
        Step::Diverged => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_entry_comes_once_in_slot_order_without_a_gap(
        start in start(), first in 0_usize..5, events in prop::collection::vec(event(), 0..40),
    ) {
        let mut log = Log { entries: Vec::new() };
        log.grow(first);
        let mut timeline = Timeline::new(room("r"), start);
        let mut got = taken(timeline.joined(log.answer(timeline.join().span, 3))).expect("one log");
        // A start with the newest entries may begin with none; the next is then above the latest.
        let begin = got.first().map_or(log.entries.len() as u64, |entry| entry.slot);
        for event in events {
            let step = match event {
                Event::Grow(by) => {
                    log.grow(by);
                    continue;
                }
                Event::Ack(from, count) => timeline.ack(log.between(from, count)),
                Event::Update(page) => {
                    let Some(update) = timeline.update() else { continue };
                    timeline.page(log.answer(update.span, page))
                }
                Event::Rejoin(page) => timeline.joined(log.answer(timeline.join().span, page)),
            };
            got.extend(taken(step).expect("one log"));
        }
        while let Some(update) = timeline.update() {
            let step = timeline.page(log.answer(update.span, 3));
            let is_gap = matches!(step, Step::Gap(_));
            got.extend(taken(step).expect("one log"));
            if !is_gap {
                break;
            }
        }
        let begin = usize::try_from(begin).expect("few");
        prop_assert_eq!(&got[..], &log.entries[begin.min(log.entries.len())..]);
    }

    #[test]
    fn another_log_is_noticed_by_the_first_reply_that_reaches_it(
        common in 1_usize..5, ours in 1_usize..5, more in 0_usize..5,
    ) {
        let (mut log, mut other) = (Log { entries: Vec::new() }, Log { entries: Vec::new() });
        log.grow(common + ours);
        other.grow(common + ours + more);
        for entry in &mut other.entries[common..] {
            entry.content = said("another");
        }
        let mut timeline = Timeline::new(room("r"), Start::After(Latest(-1)));
        let step = timeline.joined(log.answer(timeline.join().span, 99));
        prop_assert_eq!(taken(step).map(|entries| entries.len()), Some(common + ours));
        let update = timeline.update().expect("joined");
        prop_assert_eq!(timeline.page(other.answer(update.span, 99)), Step::Diverged);
    }
}

//! Retention: texts are erased when they have reached an age.
//!
//! ```text
//!  --retention 'team-*=30d'   every hour: room by room, from where the last round ended
//!                             ─► the slots that were committed before then ─► `erase` entries
//! ```
//!
//! Enters: rules, and the log. Leaves: `erase` entries, like those of an operator; slots, authors, ids and
//! digests stay. Invariants: of the rules that fit a room, the one with its name holds, or else the one with
//! the longest beginning of it; a round pauses between spans, so that appends hardly notice it. Each node of a cluster does this, and finds
//! little to do behind the others.

use std::{collections::HashMap, convert::Infallible, time::Duration};

use roomlog_core::{Node, reader::PageLimits};
use roomlog_protocol::{ERASE_SLOTS, Refusal, RoomName, RoomRange, Slot, Span};
use tracing::warn;

use crate::{
    erasing::{Erasing, Work},
    gateway::unreadable,
    outcome::{now_ms, server_author},
    wire::unknown_outcome,
};

/// The longest time between two rounds; with short ages it is a part of the shortest.
const ROUND: Duration = Duration::from_secs(60 * 60);

/// An age lasts at least so many rounds.
const ROUNDS_PER_AGE: u32 = 24;

const SHORTEST_ROUND: Duration = Duration::from_secs(1);

/// The pause after each span in which texts were erased.
const PAUSE: Duration = Duration::from_millis(50);

/// How many rooms are listed at once.
const ROOMS: usize = 1_000;

/// How long the texts of some rooms are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// The pattern of their names: see [`RoomRange::of_pattern`].
    pub pattern: String,
    /// `None`: for ever.
    pub age: Option<Duration>,
}

/// The rules of a server, and how far the rooms are erased.
pub struct Retention {
    /// The one that holds first.
    rules: Vec<(RoomRange, Option<Duration>)>,
    /// Up to where a room was looked at, unless that is 0: about 100 bytes a room.
    looked_at: HashMap<RoomName, Slot>,
}

impl Retention {
    /// Those of a server.
    ///
    /// # Errors
    /// A pattern is neither a name nor the beginning of names and `*`, or is there twice.
    pub fn new(mut rules: Vec<RetentionRule>) -> Result<Self, String> {
        // A room's own name before the beginning of its name, however long; last the rule for all rooms.
        let length = |rule: &RetentionRule| match rule.pattern.strip_suffix('*') {
            Some(_) if rule.pattern == RoomRange::ALL => (false, 0),
            Some(beginning) => (false, 1 + beginning.len()),
            None => (true, rule.pattern.len()),
        };
        rules.sort_by_key(|rule| std::cmp::Reverse(length(rule)));
        for (index, rule) in rules.iter().enumerate() {
            if rules[..index].iter().any(|before| before.pattern == rule.pattern) {
                return Err(format!("{:?} has two ages", rule.pattern));
            }
        }
        let of_rule = |rule: RetentionRule| match RoomRange::of_pattern(&rule.pattern) {
            Ok(range) => Ok((range, rule.age)),
            Err(why) => Err(format!("{:?}: {why}", rule.pattern)),
        };
        let rules = rules.into_iter().map(of_rule).collect::<Result<_, _>>()?;
        Ok(Self { rules, looked_at: HashMap::new() })
    }

    /// Erases what is old for as long as it is polled.
    pub async fn run(mut self, node: &Node) -> Infallible {
        let Some(shortest) = self.rules.iter().filter_map(|(_, age)| *age).min() else {
            return std::future::pending().await;
        };
        let every = (shortest / ROUNDS_PER_AGE).clamp(SHORTEST_ROUND, ROUND);
        loop {
            // Nodes that started together do not do the same at the same time.
            tokio::time::sleep(every.mul_f64(rand::random_range(0.5..1.5))).await;
            if let Err(refusal) = self.round(node).await {
                warn!(why = refusal.message, "old texts could not be erased; trying again later");
            }
        }
    }

    /// Looks at all rooms. Fails with the first error, behind the others.
    async fn round(&mut self, node: &Node) -> Result<(), Refusal> {
        let erasing = Erasing { node, of: None, by: server_author(), client: None };
        let now = Duration::from_millis(now_ms());
        let mut failed = Ok(());
        for index in 0..self.rules.len() {
            let (mut range, age) = self.rules[index].clone();
            let Some(age) = age else { continue };
            let before = now.saturating_sub(age).as_millis();
            loop {
                let rooms = tokio::task::block_in_place(|| node.room_heads(&range, ROOMS));
                let rooms = rooms.map_err(|problem| unreadable(&problem))?;
                for (room, head) in &rooms {
                    if !self.rules[..index].iter().any(|(range, _)| range.holds(room)) {
                        let erased = self.erase(&erasing, (room, head.end), before).await;
                        failed = failed.and(erased);
                    }
                }
                let Some((last, _)) = rooms.last().filter(|_| rooms.len() == ROOMS) else { break };
                range = range.after(Some(last));
            }
        }
        failed
    }

    /// Erases the texts of a room that were committed before a time, in ms since the epoch.
    async fn erase(
        &mut self,
        erasing: &Erasing<'_>,
        (room, end): (&RoomName, Slot),
        before: u128,
    ) -> Result<(), Refusal> {
        let from = self.looked_at.get(room).copied().unwrap_or(0);
        let end = first_after(erasing.node, room, from..end, before).await?;
        if end > from {
            erase(erasing, room, from, end).await?;
            self.looked_at.insert(room.clone(), end);
        }
        Ok(())
    }
}

/// Erases the texts of these slots, with pauses.
async fn erase(
    erasing: &Erasing<'_>,
    room: &RoomName,
    mut from: Slot,
    end: Slot,
) -> Result<(), Refusal> {
    loop {
        let mut work = Work::of(ERASE_SLOTS);
        let next = erasing.erase(room, from, end, &mut work).await?;
        if work.erased > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        match next {
            Some(next) => from = next,
            None => return Ok(()),
        }
    }
}

/// The first of these slots whose entry was not committed before a time, in ms since the epoch; the end if
/// there is none. Times never decrease within a room.
async fn first_after(
    node: &Node,
    room: &RoomName,
    slots: std::ops::Range<Slot>,
    before: u128,
) -> Result<Slot, Refusal> {
    let (mut first, mut end) = (slots.start, slots.end);
    // In most rooms nothing is due: one read says so.
    let mut next = first;
    while first < end {
        let span = Span::UpTo { count: 1, upto: Some(next) };
        let page = node.read(room, span, None, PageLimits { entries: 1, bytes: 1 }).await;
        let page = page.map_err(|why| unknown_outcome(why.to_string()))?;
        let Some(stored) = page.entries.last() else { return Ok(first) };
        if u128::from(stored.entry.committed_at) < before {
            first = next + 1;
        } else {
            end = next;
        }
        next = first + (end - first) / 2;
    }
    Ok(first)
}

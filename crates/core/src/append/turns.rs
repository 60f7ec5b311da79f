//! Turns: of principals, of the connections of a principal, and of what a connection has to do.
//!
//! Enters: items, each with its principal and connection. Leaves: the same, one turn at a time, and
//! each turn has a cost in bytes. Invariant: among principals, and among the connections of one, who
//! would have used fewest bytes after another turn like the last one is next (fair queueing by virtual
//! finish times: Golestani, INFOCOM 1994). So whoever sends less than the others is never behind their
//! backlogs, and a rest saves up nothing. The items of a connection take turns one by one.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use foldhash::HashMap;

/// A principal and its connection.
pub(crate) type Whose = (usize, usize);

struct Member<V> {
    /// Where its next turn begins, in bytes.
    at: u64,
    value: V,
}

/// Members that share turns by their cost.
struct Share<V> {
    members: HashMap<usize, Member<V>>,
    /// Where the next turn of each will end, in bytes; of equal ones the first first. A member without
    /// items stays until then.
    ends: BinaryHeap<Reverse<(u64, u64, usize)>>,
    /// Where the last turn began, in bytes.
    now: u64,
    turns: u64,
}

impl<V> Default for Share<V> {
    fn default() -> Self {
        Self { members: HashMap::default(), ends: BinaryHeap::new(), now: 0, turns: 0 }
    }
}

impl<V: Default> Share<V> {
    fn member(&mut self, key: usize) -> &mut V {
        let Self { members, ends, now, turns } = self;
        let member = members.entry(key).or_insert_with(|| {
            *turns += 1;
            ends.push(Reverse((*now, *turns, key)));
            Member { at: *now, value: V::default() }
        });
        &mut member.value
    }

    /// Gives the next member its turn: `turn` returns its cost, `None` if it has no items. `None` if no
    /// member has.
    fn turn(&mut self, mut turn: impl FnMut(&mut V) -> Option<u64>) -> Option<u64> {
        while let Some(Reverse((_, _, key))) = self.ends.pop() {
            let member = self.members.get_mut(&key)?;
            let Some(cost) = turn(&mut member.value) else {
                self.members.remove(&key);
                continue;
            };
            self.now = self.now.max(member.at);
            self.turns += 1;
            member.at += cost;
            self.ends.push(Reverse((member.at + cost, self.turns, key)));
            return Some(cost);
        }
        None
    }
}

pub(crate) struct Turns<T>(Share<Share<VecDeque<T>>>);

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self(Share::default())
    }
}

impl<T> Turns<T> {
    /// Adds an item behind the others of its connection.
    pub(crate) fn push(&mut self, (principal, connection): Whose, item: T) {
        self.0.member(principal).member(connection).push_back(item);
    }

    /// Gives the next item its turn: `turn` returns the cost in bytes, and whether the item stays.
    /// `false` if there are no items.
    pub(crate) fn turn(&mut self, mut turn: impl FnMut(&T) -> (u64, bool)) -> bool {
        let had_turn = self.0.turn(|connections| {
            connections.turn(|items| {
                let item = items.pop_front()?;
                let (cost, stays) = turn(&item);
                if stays {
                    items.push_back(item);
                }
                Some(cost)
            })
        });
        had_turn.is_some()
    }
}

#[cfg(test)]
#[path = "tests/turns.rs"]
mod tests;

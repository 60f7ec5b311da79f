//! Turns: of principals, of the connections of a principal, and of what a connection has to do.
//!
//! Enters: items, each with its principal and connection. Leaves: the same, one turn at a time.
//! Invariant: between two turns of a principal every other one has a turn, and likewise for the
//! connections of a principal and the items of a connection; those without items are forgotten.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
};

/// A principal and its connection.
pub(crate) type Whose = (usize, usize);

/// Members that take turns, in the order in which they came.
struct Ring<K, V> {
    order: VecDeque<K>,
    members: HashMap<K, V>,
}

impl<K, V> Default for Ring<K, V> {
    fn default() -> Self {
        Self { order: VecDeque::new(), members: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash, V: Default> Ring<K, V> {
    fn member(&mut self, key: K) -> &mut V {
        let order = &mut self.order;
        self.members.entry(key).or_insert_with(|| {
            order.push_back(key);
            V::default()
        })
    }

    /// Gives the first member its turn; it leaves unless `turn` says that it has more. `false` if
    /// there are no members.
    fn turn(&mut self, turn: impl FnOnce(&mut V) -> bool) -> bool {
        let Some(key) = self.order.pop_front() else { return false };
        if self.members.get_mut(&key).is_some_and(turn) {
            self.order.push_back(key);
        } else {
            self.members.remove(&key);
        }
        true
    }
}

pub(crate) struct Turns<T>(Ring<usize, Ring<usize, VecDeque<T>>>);

impl<T> Default for Turns<T> {
    fn default() -> Self {
        Self(Ring::default())
    }
}

impl<T> Turns<T> {
    /// Adds an item behind the others of its connection.
    pub(crate) fn push(&mut self, (principal, connection): Whose, item: T) {
        self.0.member(principal).member(connection).push_back(item);
    }

    /// Gives the next item its turn; it leaves unless `turn` says that it stays. `false` if there are
    /// no items.
    pub(crate) fn turn(&mut self, turn: impl FnOnce(&T) -> bool) -> bool {
        self.0.turn(|connections| {
            connections.turn(|items| {
                if let Some(item) = items.pop_front()
                    && turn(&item)
                {
                    items.push_back(item);
                }
                !items.is_empty()
            });
            !connections.order.is_empty()
        })
    }
}

#[cfg(test)]
#[path = "tests/turns.rs"]
mod tests;

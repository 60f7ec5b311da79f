//! Turns: who is next among principals, connections and their items.

use std::cell::Cell;

use super::{Turns, Whose};

/// An item that stays for so many turns, each of this cost.
struct Item {
    name: &'static str,
    times: Cell<usize>,
    cost: u64,
}

#[derive(Default)]
struct Player(Turns<Item>);

impl Player {
    fn push(&mut self, whose: Whose, name: &'static str, times: usize, cost: u64) {
        self.0.push(whose, Item { name, times: Cell::new(times), cost });
    }

    /// Gives up to this many turns.
    fn turns(&mut self, most: usize) -> String {
        let mut order = Vec::new();
        while order.len() < most
            && self.0.turn(|item| {
                order.push(item.name);
                item.times.set(item.times.get() - 1);
                (item.cost, item.times.get() > 0)
            })
        {}
        order.join(" ")
    }
}

#[test]
fn the_items_of_a_connection_take_turns() {
    let mut player = Player::default();
    for (name, times) in [("a", 3), ("b", 1), ("c", 2)] {
        player.push((1, 1), name, times, 10);
    }
    assert_eq!(player.turns(9), "a b c a c a");
}

#[test]
fn a_connection_with_many_items_has_no_more_turns_than_one_with_one() {
    let mut player = Player::default();
    for name in ["a", "b", "c"] {
        player.push((1, 1), name, 1, 10);
    }
    player.push((1, 2), "x", 1, 10);
    player.push((1, 3), "y", 1, 10);
    assert_eq!(player.turns(9), "a x y b c");
}

#[test]
fn a_principal_with_many_connections_has_no_more_turns_than_one_with_one() {
    let mut player = Player::default();
    for (connection, name) in [(1, "a"), (2, "b"), (3, "c")] {
        player.push((1, connection), name, 2, 10);
    }
    player.push((2, 4), "x", 3, 10);
    assert_eq!(player.turns(9), "a x b x c x a b c");
}

#[test]
fn turns_are_shared_by_bytes() {
    let mut player = Player::default();
    player.push((1, 1), "large", 3, 40);
    player.push((1, 2), "small", 9, 10);
    let order = "large small small small small small small small large small small large";
    assert_eq!(player.turns(12), order);
}

#[test]
fn whoever_comes_after_a_rest_is_next_and_has_saved_up_nothing() {
    let mut player = Player::default();
    for connection in 0..200 {
        player.push((1, connection), "flood", 100, 16_384);
    }
    player.turns(250);
    for _ in 0..5 {
        assert_eq!(player.turns(50), ["flood"; 50].join(" "));
        player.push((1, 1_000), "lone", 1, 64);
        assert_eq!(player.turns(2), "lone flood");
    }
    player.push((1, 1_000), "lone", 3, 16_384);
    assert_eq!(player.turns(300).matches("lone").count(), 2, "its share and no more");
}

#[test]
fn members_without_items_are_forgotten() {
    let mut player = Player::default();
    for connection in 0..100 {
        player.push((connection, connection), "a", 1, 10);
    }
    player.turns(100);
    assert_eq!(player.turns(1), "");
    assert!(player.0.0.members.is_empty() && player.0.0.ends.is_empty());
}

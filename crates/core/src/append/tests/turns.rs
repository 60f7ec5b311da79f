//! Turns: who is next among principals, connections and their items.

use super::Turns;

/// Gives turns until all is done; an item `(name, times)` stays until it had so many.
fn order(items: &[((usize, usize), &str, usize)]) -> String {
    let mut turns = Turns::default();
    for (whose, name, times) in items {
        turns.push(*whose, (name.to_string(), std::cell::Cell::new(*times)));
    }
    let mut order = Vec::new();
    while turns.turn(|(name, left)| {
        order.push(name.clone());
        left.set(left.get() - 1);
        left.get() > 0
    }) {}
    order.join(" ")
}

#[test]
fn the_items_of_a_connection_take_turns() {
    assert_eq!(order(&[((1, 1), "a", 3), ((1, 1), "b", 1), ((1, 1), "c", 2)]), "a b c a c a");
}

#[test]
fn a_connection_with_many_items_has_as_many_turns_as_one_with_one() {
    let items =
        [((1, 1), "a", 1), ((1, 1), "b", 1), ((1, 1), "c", 1), ((1, 2), "x", 1), ((1, 3), "y", 1)];
    assert_eq!(order(&items), "a x y b c");
}

#[test]
fn a_principal_with_many_connections_has_as_many_turns_as_one_with_one() {
    let items = [((1, 1), "a", 2), ((1, 2), "b", 2), ((1, 3), "c", 2), ((2, 4), "x", 3)];
    assert_eq!(order(&items), "a x b x c x a b c");
}

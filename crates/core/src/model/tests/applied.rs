//! Which blocks take effect: transcripts of the blocks that a journal gives back.

use crate::{
    applied::{Proposer, Proposers},
    block::BlockName,
    identity::NodeId,
};

/// Plays `NODE INCARNATION.N`, a block each, and marks those that take effect with a `+`.
fn admitted(blocks: &str) -> String {
    let mut proposers = Proposers::default();
    let mark = |block: &str| {
        let (node, rest) = block.split_at(1);
        let (incarnation, n) = rest.split_once('.').expect("incarnation.n");
        let name = BlockName {
            node: NodeId([node.as_bytes()[0]; 16]),
            incarnation: incarnation.parse().expect("an incarnation"),
            n: n.parse().expect("a number"),
        };
        let before = proposers.clone();
        let admitted = proposers.admit(&name);
        if !admitted && before.0.contains_key(&name.node) {
            assert_eq!(proposers, before, "{block}: what is skipped leaves no trace");
        }
        format!("{block}{}", if admitted { "+" } else { "" })
    };
    blocks.split_whitespace().map(mark).collect::<Vec<_>>().join(" ")
}

#[test]
fn blocks_in_their_order_take_effect() {
    assert_eq!(admitted("a1.0 a1.1 a1.2"), "a1.0+ a1.1+ a1.2+");
}

#[test]
fn a_block_that_comes_again_is_skipped() {
    assert_eq!(admitted("a1.0 a1.0 a1.1 a1.0 a1.1"), "a1.0+ a1.0 a1.1+ a1.0 a1.1");
}

#[test]
fn a_block_behind_a_missing_one_is_skipped_until_that_came() {
    assert_eq!(admitted("a1.0 a1.2 a1.1 a1.2"), "a1.0+ a1.2 a1.1+ a1.2+");
}

#[test]
fn a_new_incarnation_begins_with_number_0() {
    assert_eq!(admitted("a1.0 a2.1 a1.1 a2.0 a2.1"), "a1.0+ a2.1 a1.1+ a2.0+ a2.1+");
}

#[test]
fn an_incarnation_may_be_passed_over() {
    assert_eq!(admitted("a1.0 a5.0 a5.1"), "a1.0+ a5.0+ a5.1+");
}

#[test]
fn a_new_incarnations_first_block_fences_all_that_the_old_one_left() {
    assert_eq!(admitted("a1.0 a2.0 a1.1 a1.0 a2.1"), "a1.0+ a2.0+ a1.1 a1.0 a2.1+");
}

#[test]
fn nodes_do_not_count_for_each_other() {
    assert_eq!(admitted("a1.0 b7.0 a1.1 b7.1 b1.0"), "a1.0+ b7.0+ a1.1+ b7.1+ b1.0");
}

#[test]
fn a_node_that_was_never_seen_begins_with_number_0_too() {
    assert_eq!(admitted("a3.1 a3.0"), "a3.1 a3.0+");
}

#[test]
fn what_was_admitted_is_what_is_kept() {
    let mut proposers = Proposers::default();
    let node = NodeId([9; 16]);
    for n in 0..3 {
        assert!(proposers.admit(&BlockName { node, incarnation: 4, n }));
    }
    assert_eq!(proposers.0[&node], Proposer { incarnation: 4, next: 3 });
}

//! What a node makes of the chains of others.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{Agreement, Judgement, Said};
use crate::{
    applied::Chain,
    identity::{Identity, NodeId},
    journal::Position,
};

fn identity(node: u8, incarnation: u64) -> Identity {
    Identity { node: NodeId([node; 16]), incarnation }
}

const POSITION: Position = Position(64);

/// What a node with this number says: its chain at one position.
fn said(node: u8, chain: u8) -> Said {
    let chains = BTreeMap::from([(POSITION, Chain([chain; 32]))]);
    Said { node: NodeId([node; 16]), incarnation: 1, rules: 1, partition: 0, chains }
}

/// Node 1, whose chain is 7.
fn node() -> Agreement {
    let agreement = Agreement::new(identity(1, 1), 0);
    agreement.note(POSITION, Chain([7; 32]));
    agreement
}

/// The judgement when all had time to speak.
fn judged(agreement: &Agreement, heard: Instant) -> Judgement {
    assert_eq!(agreement.judge(heard), Judgement::Agrees, "nothing is decided at once");
    agreement.judge(heard + Duration::from_secs(4))
}

#[tokio::test]
async fn of_three_the_one_that_differs_stops_and_the_others_go_on() {
    let now = Instant::now();
    let (good, bad) = (node(), node());
    good.hear(said(2, 7), now);
    good.hear(said(3, 8), now);
    assert_eq!(judged(&good, now), Judgement::Alarm(1));
    bad.hear(said(2, 8), now);
    bad.hear(said(3, 8), now);
    assert_eq!(judged(&bad, now), Judgement::Freeze { position: POSITION, others: 2 });
}

#[tokio::test]
async fn of_two_that_differ_both_stop_because_nobody_knows_which_is_right() {
    let (agreement, now) = (node(), Instant::now());
    agreement.hear(said(2, 8), now);
    assert_eq!(judged(&agreement, now), Judgement::Freeze { position: POSITION, others: 1 });
}

#[tokio::test]
async fn nodes_that_agree_or_are_elsewhere_are_no_reason_to_stop() {
    let (agreement, now) = (node(), Instant::now());
    agreement.hear(said(2, 7), now);
    let chains = BTreeMap::from([(Position(128), Chain([9; 32]))]);
    agreement.hear(Said { chains, ..said(3, 7) }, now);
    assert_eq!(judged(&agreement, now), Judgement::Agrees);
    // What was said ahead is compared when this node comes there.
    agreement.note(Position(128), Chain([7; 32]));
    let then = now + Duration::from_secs(5);
    assert_eq!(agreement.judge(then), Judgement::Agrees);
    assert_eq!(agreement.judge(then + Duration::from_secs(4)), Judgement::Alarm(1));
}

#[tokio::test]
async fn a_node_that_is_gone_or_has_made_its_archive_again_does_not_count() {
    let (agreement, now) = (node(), Instant::now());
    agreement.hear(said(2, 8), now);
    agreement.hear(Said { incarnation: 2, ..said(2, 7) }, now + Duration::from_secs(1));
    assert_eq!(judged(&agreement, now + Duration::from_secs(1)), Judgement::Agrees);
    agreement.hear(said(3, 8), now + Duration::from_secs(1));
    assert_eq!(agreement.judge(now + Duration::from_secs(20)), Judgement::Agrees);
}

#[test]
fn what_is_said_reads_back_and_what_is_not_ours_is_not_heard() {
    let said = said(3, 9);
    let bytes = said.encode();
    assert_eq!(Said::decode(&bytes), Some(said));
    for other in [&b""[..], b"hello", &bytes[..bytes.len() - 1], &[&b"X"[..], &bytes[1..]].concat()]
    {
        assert_eq!(Said::decode(other), None);
    }
}

//! The verdict of a node on the chains of others.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::{Agreement, Report, Verdict};
use crate::{
    applied::Chain,
    identity::{Identity, NodeId},
    journal::Position,
};

fn identity(node: u8, incarnation: u64) -> Identity {
    Identity { node: NodeId([node; 16]), incarnation }
}

const POSITION: Position = Position(64);

/// A report of this node: its chain at one position.
fn report_of(node: u8, chain: u8) -> Report {
    let chains = BTreeMap::from([(POSITION, Chain([chain; 32]))]);
    Report { node: NodeId([node; 16]), incarnation: 1, rules: 1, partition: 0, chains }
}

/// Node 1, whose chain is 7.
fn node() -> Agreement {
    let agreement = Agreement::new(identity(1, 1), 0);
    agreement.note(POSITION, Chain([7; 32]));
    agreement
}

/// The verdict after all had time to report.
fn judged(agreement: &Agreement, received: Instant) -> Verdict {
    assert_eq!(agreement.judge(received), Verdict::Agrees, "there is no verdict at once");
    agreement.judge(received + Duration::from_secs(4))
}

#[tokio::test]
async fn of_three_the_one_that_differs_stops_and_the_others_continue() {
    let now = Instant::now();
    let (good, bad) = (node(), node());
    good.receive(report_of(2, 7), now);
    good.receive(report_of(3, 8), now);
    assert_eq!(judged(&good, now), Verdict::Alarm(1));
    bad.receive(report_of(2, 8), now);
    bad.receive(report_of(3, 8), now);
    assert_eq!(judged(&bad, now), Verdict::Freeze { position: POSITION, others: 2 });
}

#[tokio::test]
async fn of_two_that_differ_both_stop() {
    let (agreement, now) = (node(), Instant::now());
    agreement.receive(report_of(2, 8), now);
    assert_eq!(judged(&agreement, now), Verdict::Freeze { position: POSITION, others: 1 });
}

#[tokio::test]
async fn nodes_that_agree_or_are_at_other_positions_are_no_reason_to_stop() {
    let (agreement, now) = (node(), Instant::now());
    agreement.receive(report_of(2, 7), now);
    let chains = BTreeMap::from([(Position(128), Chain([9; 32]))]);
    agreement.receive(Report { chains, ..report_of(3, 7) }, now);
    assert_eq!(judged(&agreement, now), Verdict::Agrees);
    // A chain ahead of this node is compared when it gets there.
    agreement.note(Position(128), Chain([7; 32]));
    let then = now + Duration::from_secs(5);
    assert_eq!(agreement.judge(then), Verdict::Agrees);
    assert_eq!(agreement.judge(then + Duration::from_secs(4)), Verdict::Alarm(1));
}

#[tokio::test]
async fn a_silent_node_or_one_with_a_rebuilt_archive_does_not_count() {
    let (agreement, now) = (node(), Instant::now());
    agreement.receive(report_of(2, 8), now);
    agreement.receive(Report { incarnation: 2, ..report_of(2, 7) }, now + Duration::from_secs(1));
    assert_eq!(judged(&agreement, now + Duration::from_secs(1)), Verdict::Agrees);
    agreement.receive(report_of(3, 8), now + Duration::from_secs(1));
    assert_eq!(agreement.judge(now + Duration::from_secs(20)), Verdict::Agrees);
}

#[test]
fn a_report_round_trips_and_foreign_bytes_are_ignored() {
    let report = report_of(3, 9);
    let bytes = report.encode();
    assert_eq!(Report::decode(&bytes), Some(report));
    for other in [&b""[..], b"hello", &bytes[..bytes.len() - 1], &[&b"X"[..], &bytes[1..]].concat()]
    {
        assert_eq!(Report::decode(other), None);
    }
}

//! The suite of the journal's contract.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use roomlog_core::{
    block,
    journal::{Durable, Follow, Journal, Mark, Position, Proposed, Wipe},
    proposal::Proposal,
};

/// Creates a journal, and reopens the same one after its last handle was dropped.
pub trait Engine {
    /// Opens the journal, set to keep as little as possible when trimmed.
    fn open(&self) -> Arc<dyn Journal>;
    /// Whether a reopened journal holds what it held before.
    fn is_durable(&self) -> bool;
    /// Whether it supports trimming.
    fn is_trimmed(&self) -> bool {
        true
    }
}

const LONG: Duration = Duration::from_secs(20);

fn block(n: usize) -> Bytes {
    Bytes::from(format!("block {n}"))
}

async fn propose(journal: &Arc<dyn Journal>, n: usize) -> Position {
    match timeout(LONG, journal.propose(0, block(n))).await.expect("an answer") {
        Proposed::Durable(position) => position,
        other => panic!("block {n}: {other:?}"),
    }
}

async fn next(follow: &mut Box<dyn Follow>) -> Durable {
    timeout(LONG, follow.next()).await.expect("a block in time").expect("a block")
}

/// A test per clause of the contract, in a module of this name. The expression creates a new
/// [`Engine`].
#[macro_export]
macro_rules! journal_suite {
    ($module:ident, $engine:expr) => {
        $crate::journal_suite! { $module, $engine;
            a_follower_gets_every_block_once_in_order
            a_follower_from_the_middle_gets_the_blocks_after_it
            a_follower_with_a_wrong_stamp_gets_an_error
            a_follower_waits_for_the_next_block
            blocks_take_effect_in_the_order_of_the_calls
            a_dropped_wait_loses_nothing
            positions_and_the_log_survive_a_reopen
            a_trimmed_journal_returns_what_it_keeps_and_nothing_before
            positions_never_restart_however_much_is_trimmed
            a_wiped_journal_has_removed_what_it_may_at_once
        }
    };
    ($module:ident, $engine:expr; $($clause:ident)*) => {
        mod $module {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread")]
            async fn $clause() {
                $crate::suites::journal::$clause(&$engine).await;
            })*
        }
    };
}

/// A clause of the contract.
pub async fn a_follower_gets_every_block_once_in_order(engine: &dyn Engine) {
    let journal = engine.open();
    assert_eq!(journal.head(0).expect("a head"), Position(0));
    let mut positions = Vec::new();
    for n in 0..300 {
        positions.push(propose(&journal, n).await);
    }
    assert_eq!(journal.head(0).expect("a head"), positions[299]);
    let mut follow = journal.follow(0, Position(0).into());
    let mut time = 0;
    for (n, position) in positions.iter().enumerate() {
        let durable = next(&mut follow).await;
        assert_eq!((durable.position, durable.block), (*position, block(n)));
        assert!(durable.time >= time, "the journal's time went back at {position}");
        time = durable.time;
    }
}

/// A clause of the contract.
pub async fn a_follower_from_the_middle_gets_the_blocks_after_it(engine: &dyn Engine) {
    let journal = engine.open();
    let mut middle = Position(0);
    for n in 0..10 {
        let position = propose(&journal, n).await;
        if n == 4 {
            middle = position;
        }
    }
    let mut follow = journal.follow(0, middle.into());
    for n in 5..10 {
        assert_eq!(next(&mut follow).await.block, block(n));
    }
}

/// A clause of the contract.
pub async fn a_follower_with_a_wrong_stamp_gets_an_error(engine: &dyn Engine) {
    let journal = engine.open();
    if journal.facts().head_is_exact {
        return;
    }
    let position = propose(&journal, 0).await;
    propose(&journal, 1).await;
    let same = Mark { position, stamp: Some(block::stamp(&block(0))) };
    assert_eq!(next(&mut journal.follow(0, same)).await.block, block(1));
    let other = Mark { position, stamp: Some(block::stamp(&block(9))) };
    let got = timeout(LONG, journal.follow(0, other).next()).await.expect("an answer");
    assert!(got.is_err(), "another block was there: {got:?}");
}

/// A clause of the contract.
pub async fn a_follower_waits_for_the_next_block(engine: &dyn Engine) {
    let journal = engine.open();
    let mut follow = journal.follow(0, Position(0).into());
    let (got, _) = tokio::join!(next(&mut follow), propose(&journal, 7));
    assert_eq!(got.block, block(7));
}

/// A clause of the contract.
pub async fn blocks_take_effect_in_the_order_of_the_calls(engine: &dyn Engine) {
    let journal = engine.open();
    let proposed: Vec<_> = (0..20).map(|n| journal.propose(0, block(n))).collect();
    let outcomes = futures_util::future::join_all(proposed).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Proposed::Durable(_))));
    let mut follow = journal.follow(0, Position(0).into());
    for n in 0..20 {
        assert_eq!(next(&mut follow).await.block, block(n));
    }
}

/// A clause of the contract.
pub async fn a_dropped_wait_loses_nothing(engine: &dyn Engine) {
    let journal = engine.open();
    let mut follow = journal.follow(0, Position(0).into());
    for n in 0..20 {
        // Polled once and dropped, before and while a block becomes durable.
        let _nothing_yet = futures_util::FutureExt::now_or_never(follow.next());
        let proposed = journal.propose(0, block(n));
        let early = futures_util::FutureExt::now_or_never(follow.next());
        proposed.await;
        let got = match early {
            Some(got) => got.expect("a block"),
            None => next(&mut follow).await,
        };
        assert_eq!(got.block, block(n));
    }
}

/// A clause of the contract.
pub async fn positions_and_the_log_survive_a_reopen(engine: &dyn Engine) {
    if !engine.is_durable() {
        return;
    }
    let journal = engine.open();
    let log = journal.facts().log.clone();
    let first = propose(&journal, 0).await;
    drop(journal);
    let journal = engine.open();
    assert_eq!(journal.facts().log, log);
    assert_eq!(journal.head(0).expect("a head"), first);
    let second = propose(&journal, 1).await;
    assert!(second > first);
    let mut follow = journal.follow(0, Position(0).into());
    assert_eq!(next(&mut follow).await.block, block(0));
    assert_eq!(next(&mut follow).await.block, block(1));
}

/// The most blocks until a journal has trimmed what it may.
const UNTIL_TRIMMED: usize = 400;

/// How many blocks that it may trim a journal may keep, because it trims several at once.
const TOGETHER: u64 = 16;

/// Trims up to a position and proposes until the journal has done so; returns the next number.
async fn trim(journal: &Arc<dyn Journal>, upto: Position, mut n: usize) -> usize {
    for _ in 0..UNTIL_TRIMMED {
        journal.trim(0, upto);
        let first = journal.first(0).expect("a first");
        assert!(first.0 <= upto.0 + 1, "only what was allowed is trimmed");
        if first.0 + TOGETHER > upto.0 {
            return n;
        }
        propose(journal, n).await;
        n += 1;
    }
    panic!("{upto} was not trimmed in {UNTIL_TRIMMED} blocks");
}

/// A clause of the contract.
pub async fn a_trimmed_journal_returns_what_it_keeps_and_nothing_before(engine: &dyn Engine) {
    if !engine.is_trimmed() {
        return;
    }
    let journal = engine.open();
    assert_eq!(journal.first(0).expect("a first"), Position(1));
    for n in 0..100 {
        propose(&journal, n).await;
    }
    assert_eq!(journal.first(0).expect("a first"), Position(1), "no trim was allowed");
    let mut live = journal.follow(0, Position(99).into());
    let n = trim(&journal, Position(60), 100).await;
    // Below the last trim: no effect.
    journal.trim(0, Position(10));
    let n = {
        propose(&journal, n).await;
        n + 1
    };
    assert!(journal.first(0).expect("a first") <= Position(61));
    let mut follow = journal.follow(0, Position(60).into());
    for kept in 60..n {
        assert_eq!(next(&mut follow).await.block, block(kept));
    }
    for kept in 99..n {
        assert_eq!(next(&mut live).await.block, block(kept));
    }
    let mut behind = journal.follow(0, Position(0).into());
    let got = timeout(LONG, behind.next()).await.expect("an answer");
    assert!(got.is_err(), "what was trimmed cannot be followed: {got:?}");
}

/// A clause of the contract.
pub async fn a_wiped_journal_has_removed_what_it_may_at_once(engine: &dyn Engine) {
    if !engine.is_trimmed() {
        return;
    }
    let journal = engine.open();
    for n in 0..100 {
        propose(&journal, n).await;
    }
    let mut live = journal.follow(0, Position(99).into());
    wipe(&journal, 70);
    assert_eq!(journal.first(0).expect("a first"), Position(71));
    assert_eq!(journal.wipe(0, &wipe_upto(10)), Ok(true), "that is removed already");
    assert_eq!(journal.first(0).expect("a first"), Position(71));
    assert_eq!(propose(&journal, 100).await, Position(101));
    let mut follow = journal.follow(0, Position(70).into());
    for kept in 70..=100 {
        assert_eq!(next(&mut follow).await.block, block(kept));
    }
    for kept in 99..=100 {
        assert_eq!(next(&mut live).await.block, block(kept));
    }
    // All of it: the next position is the same as ever, after a reopen too.
    wipe(&journal, 101);
    assert_eq!(journal.first(0).expect("a first"), Position(102));
    drop((follow, live));
    let journal = if engine.is_durable() {
        drop(journal);
        engine.open()
    } else {
        journal
    };
    assert_eq!(journal.head(0).expect("a head"), Position(101));
    let mut live = journal.follow(0, Position(101).into());
    assert_eq!(propose(&journal, 101).await, Position(102));
    assert_eq!(next(&mut live).await.block, block(101));
}

/// A wipe of all blocks up to a position.
#[must_use]
pub fn wipe_upto(upto: u64) -> Wipe {
    let are_removed = Arc::new(|proposals: &[Proposal]| Ok(vec![false; proposals.len()]));
    Wipe { since: 0, upto: Position(upto), are_removed }
}

/// Wipes until it is done.
fn wipe(journal: &Arc<dyn Journal>, upto: u64) {
    let is_done = (0..100).any(|_| journal.wipe(0, &wipe_upto(upto)).expect("a wipe"));
    assert!(is_done, "it was called often enough");
}

/// A clause of the contract.
pub async fn positions_never_restart_however_much_is_trimmed(engine: &dyn Engine) {
    if !engine.is_trimmed() {
        return;
    }
    let mut journal = engine.open();
    let (mut n, mut last) = (0, Position(0));
    for _ in 0..3 {
        for _ in 0..20 {
            let position = propose(&journal, n).await;
            assert_eq!(position, Position(last.0 + 1));
            (n, last) = (n + 1, position);
        }
        let before = n;
        n = trim(&journal, last, n).await;
        last = Position(last.0 + (n - before) as u64);
        assert_eq!(journal.head(0).expect("a head"), last);
        if engine.is_durable() {
            let first = journal.first(0).expect("a first");
            drop(journal);
            journal = engine.open();
            assert_eq!(journal.head(0).expect("a head"), last);
            assert!(journal.first(0).expect("a first") >= first);
        }
    }
}

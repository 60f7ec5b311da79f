//! Nodes of two builds on real servers: one knows newer rules, and the other is upgraded to them.

use std::{sync::Arc, time::Duration};

use roomlog_core::{
    NodeError, NodeSettings,
    block::{BlockError, decode},
    journal::{Follow, Journal, Mark},
    outcome::AppendOutcome,
    rules::Rules,
};
use roomlog_jetstream::{JetStreamJournal, Options};
use roomlog_testkit::{
    fixtures::{TRIAL, proposal, room},
    life::{Connection, LONG, Life, identity, small_windows},
    memory::MemoryArchive,
    nats::{Cluster, Setup},
};
use tokio::time::{Instant, timeout};

/// For how long all that are heard must know a version before a block names it.
const HEARD_FOR: Duration = Duration::from_secs(30);

/// A node of a build that knows these rules, with its own connection to NATS.
async fn start(cluster: &Cluster, number: u8, incarnation: u64, knows: Rules) -> Life {
    let opened = JetStreamJournal::open(&Options::new(cluster.url())).await;
    let settings = NodeSettings { knows, ..small_windows() };
    let (archive, identity) = (Arc::<MemoryArchive>::default(), identity(number, incarnation));
    Life::over(Arc::new(opened.expect("a journal")), archive, identity, settings)
}

/// An author who appends at any node, each time with a new id.
struct Ada {
    connection: Connection,
    said: u64,
}

impl Ada {
    async fn says(&mut self, life: &Life) {
        let id = format!("id-{}", self.said);
        let outcome = self.connection.say(life, proposal("general", "ada", &id, &id)).await;
        assert!(
            matches!(outcome, AppendOutcome::Committed { slot, .. } if slot == self.said),
            "{outcome:?}"
        );
        self.said += 1;
    }
}

/// The rules that the stream's next block names.
async fn named(follow: &mut Box<dyn Follow>) -> Rules {
    let durable = timeout(LONG, follow.next()).await.expect("in time").expect("a block");
    decode(&durable.block, TRIAL).expect("a block of ours").rules
}

async fn whole(life: &Life, end: u64) -> Vec<(String, u64)> {
    let general = life.tail(&room("general")).expect("a room");
    let reached = async {
        while general.head().end < end {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, reached).await.expect("all of it in time");
    let log = life.log_of("general").await;
    log.iter().map(|stored| (stored.entry.body().to_owned(), stored.entry.committed_at)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_two_builds_hold_one_log_and_newer_rules_begin_when_both_know_them() {
    let cluster = Cluster::start(&Setup::default()).expect("servers");
    let watch = JetStreamJournal::open(&Options::new(cluster.url())).await.expect("a journal");
    let mut stream = watch.follow(0, Mark::default());
    let new = start(&cluster, 1, 1, TRIAL).await;
    let old = start(&cluster, 2, 1, Rules::FIRST).await;
    new.has_caught_up().await;
    old.has_caught_up().await;
    let mut ada = Ada { connection: Connection::default(), said: 0 };
    let until = Instant::now() + HEARD_FOR + Duration::from_secs(5);
    while Instant::now() < until {
        ada.says(&new).await;
        ada.says(&old).await;
        // Each start proposed an empty block too.
        assert_eq!(named(&mut stream).await, Rules::FIRST, "one of them does not know newer ones");
        assert_eq!(named(&mut stream).await, Rules::FIRST, "one of them does not know newer ones");
    }
    assert_eq!(whole(&new, ada.said).await, whole(&old, ada.said).await);

    old.end().await.expect("a good end");
    let brought = start(&cluster, 2, 2, TRIAL).await;
    brought.has_caught_up().await;
    let begun = async {
        loop {
            ada.says(&new).await;
            ada.says(&brought).await;
            for _ in 0..2 {
                if named(&mut stream).await == TRIAL {
                    return;
                }
            }
        }
    };
    timeout(HEARD_FOR * 2, begun).await.expect("both know newer rules");
    for _ in 0..100 {
        ada.says(&new).await;
        ada.says(&brought).await;
    }
    let log = whole(&new, ada.said).await;
    assert_eq!(log, whole(&brought, ada.said).await);
    let last = &log[log.len() - 100..];
    assert!(last.windows(2).all(|two| two[0].1 < two[1].1), "no two have one time by these rules");

    let late = start(&cluster, 3, 1, Rules::FIRST).await;
    let ended = timeout(LONG, late.has_ended()).await.expect("it stops");
    let is_newer = |problem: &BlockError| matches!(problem, BlockError::Newer { .. });
    assert!(
        matches!(&ended, Err(NodeError::Block { problem, .. }) if is_newer(problem)),
        "{ended:?}"
    );
    for life in [new, brought] {
        life.end().await.expect("a good end");
    }
}

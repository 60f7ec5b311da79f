//! Texts that leave the stream: what stays in its place, and that nobody misses it.

#[expect(dead_code, reason = "other tests use the rest")]
mod common;

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use common::{LONG, by_hand, next, open, servers};
use roomlog_core::{
    block::{self, BlockName, Payload},
    identity::NodeId,
    journal::{Journal, Mark, Position, Proposed, Wipe},
    proposal::Proposal,
    rules::Rules,
};
use roomlog_jetstream::{JetStreamJournal, Options};
use roomlog_testkit::{fixtures::proposal, nats::Cluster};
use tokio::time::{sleep, timeout};

fn secret(id: &str) -> String {
    format!("secret of {id}, which nobody may keep")
}

/// A block of two proposals.
fn pair(n: u64) -> Bytes {
    let name = BlockName { node: NodeId([7; 16]), incarnation: 1, n };
    let ids = [format!("{n}-a"), format!("{n}-b")];
    let proposals = ids.map(|id| proposal("general", "ada", &id, &secret(&id)));
    block::encode(name, Rules::FIRST, proposals.iter())
}

async fn propose(journal: &JetStreamJournal, n: u64) {
    let proposed = timeout(LONG, journal.propose(0, pair(n))).await.expect("an answer in time");
    assert!(matches!(proposed, Proposed::Durable(_)), "{proposed:?}");
}

/// Erases the texts of these ids.
async fn erase(journal: &JetStreamJournal, upto: u64, ids: &[&str]) {
    let ids: BTreeSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let is_removed = move |proposal: &Proposal| ids.contains(&*proposal.id);
    let are_removed =
        Arc::new(move |all: &[Proposal]| Ok(all.iter().map(&is_removed).collect::<Vec<_>>()));
    let wipe = Wipe { since: 0, upto: Position(upto), are_removed };
    let wiped = async {
        while !journal.wipe(0, &wipe).expect("a wipe") {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, wiped).await.expect("wiped in time");
}

/// The ids of the log whose texts are there, in order; each block once, without a gap.
async fn read(journal: &JetStreamJournal, after: Mark) -> Vec<String> {
    let mut follow = journal.follow(0, after);
    let mut ids = Vec::new();
    for position in after.position.0 + 1..=journal.head(0).expect("a head").0 {
        let durable = next(&mut follow).await.expect("a block");
        assert_eq!(durable.position, Position(position));
        let block = block::decode_at(durable.position, &durable.block, Rules::NEWEST);
        let Some(block) = block.expect("a block") else { continue };
        let Payload::Proposals(proposals) = block.payload else { panic!("no history") };
        assert_eq!(proposals.len(), 2);
        let kept = proposals.into_iter().filter(|it| !it.content.is_redacted());
        ids.extend(kept.map(|it| it.id.to_string()));
    }
    ids
}

/// All that a reader may have read last.
async fn marks(journal: &JetStreamJournal) -> Vec<Mark> {
    let mut follow = journal.follow(0, Mark::default());
    let mut marks = Vec::new();
    for _ in 0..journal.head(0).expect("a head").0 {
        let durable = next(&mut follow).await.expect("a block");
        let stamp = Some(block::stamp(&durable.block));
        marks.push(Mark { position: durable.position, stamp });
    }
    marks
}

/// Which ids have their texts in the files of a server.
fn in_store(cluster: &Cluster, server: usize) -> BTreeSet<String> {
    fn files(directory: &Path, found: &mut Vec<u8>) {
        for entry in fs::read_dir(directory).expect("a directory").flatten() {
            match entry.path() {
                path if path.is_dir() => files(&path, found),
                path => found.extend(fs::read(path).unwrap_or_default()),
            }
        }
    }
    let mut bytes = Vec::new();
    files(cluster.store(server), &mut bytes);
    let ids = (0..20).flat_map(|n| [format!("{n}-a"), format!("{n}-b")]);
    ids.filter(|id| {
        let secret = secret(id);
        bytes.windows(secret.len()).any(|window| window == secret.as_bytes())
    })
    .collect()
}

fn ids(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(|id| (*id).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_is_replaced_and_a_reader_misses_nothing() {
    let cluster = servers(1);
    let options = Options::new(cluster.url());
    let journal = open(&options).await.expect("a journal");
    for n in 0..4 {
        propose(&journal, n).await;
    }
    let all = ["0-a", "0-b", "1-a", "1-b", "2-a", "2-b", "3-a", "3-b"];
    assert_eq!(in_store(&cluster, 0), ids(&all));
    erase(&journal, 4, &["0-a", "2-b", "3-a"]).await;
    let left = ["0-b", "1-a", "1-b", "2-a", "3-b"];
    assert_eq!(read(&journal, Mark::default()).await, left);
    assert_eq!(in_store(&cluster, 0), ids(&left));
    // Who has read a block before finds it unchanged, although it is another one.
    for position in 1..=4_u64 {
        let stamp = Some(block::stamp(&pair(position - 1)));
        let mark = Mark { position: Position(position), stamp };
        let after = left.iter().filter(|id| id.as_bytes()[0] >= b'0' + position as u8);
        assert_eq!(read(&journal, mark).await, after.copied().collect::<Vec<_>>());
    }

    // More of the same blocks, of replacements too, and again what is erased already.
    let marks = marks(&journal).await;
    propose(&journal, 4).await;
    let upto = journal.head(0).expect("a head").0;
    erase(&journal, upto, &["0-a", "0-b", "2-a", "2-b", "4-a"]).await;
    let left = ["1-a", "1-b", "3-b", "4-b"];
    assert_eq!(read(&journal, Mark::default()).await, left);
    assert_eq!(in_store(&cluster, 0), ids(&left));
    // Who has read a replacement last, which has one itself now, reads on.
    for mark in marks {
        let ids = read(&journal, mark).await;
        assert!(left.map(str::to_owned).ends_with(&ids), "after {mark:?}: {ids:?}");
    }
    let messages = cluster.messages("ROOMLOG_1_0");
    let upto = journal.head(0).expect("a head").0;
    erase(&journal, upto, &["0-a", "0-b", "2-a", "2-b", "4-a"]).await;
    assert_eq!(cluster.messages("ROOMLOG_1_0"), messages, "nothing is left to do");

    // All of it, the first and the last block too, and a journal that is opened again.
    let upto = journal.head(0).expect("a head").0;
    erase(&journal, upto, &["1-a", "1-b", "3-b", "4-b"]).await;
    assert_eq!(in_store(&cluster, 0), ids(&[]));
    drop(journal);
    let journal = open(&options).await.expect("a journal");
    assert_eq!(read(&journal, Mark::default()).await, Vec::<String>::new());
    assert!(journal.head(0).expect("a head") > Position(upto));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_erase_at_the_same_time_bring_nothing_back() {
    let cluster = servers(1);
    let options = Options::new(cluster.url());
    let [one, two] = [open(&options).await, open(&options).await].map(|it| it.expect("a journal"));
    for n in 0..8 {
        propose(&one, n).await;
    }
    // Each knows of other texts that are removed.
    let of = |end: char| (0..8).map(|n| format!("{n}-{end}")).collect::<Vec<_>>();
    let (a, b) = (of('a'), of('b'));
    let [a, b] = [&a, &b].map(|ids| ids.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::join!(erase(&one, 8, &a), erase(&two, 8, &b));
    let upto = one.head(0).expect("a head").0;
    erase(&one, upto, &[&a[..], &b].concat()).await;
    assert_eq!(in_store(&cluster, 0), ids(&[]));
    assert_eq!(read(&two, Mark::default()).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_write_in_the_place_of_a_replacement_stops_nobody() {
    let cluster = servers(1);
    let journal = open(&Options::new(cluster.url())).await.expect("a journal");
    for n in 0..2 {
        propose(&journal, n).await;
    }
    let others = by_hand(&cluster).await;
    let sent = others.publish("ROOMLOG.1.0.replaced.1", "no block".into()).await.expect("sent");
    assert_eq!(sent.await.expect("an ack").sequence, 3);
    let foreign = Mark { position: Position(3), stamp: Some(block::stamp(b"no block")) };
    erase(&journal, 2, &["0-a", "1-b"]).await;
    let left = ["0-b", "1-a"];
    assert_eq!(in_store(&cluster, 0), ids(&left));
    assert_eq!(read(&journal, Mark::default()).await, left);
    // Who had read it last reads on, and finds no other text behind it.
    assert_eq!(read(&journal, foreign).await, Vec::<String>::new());
}

//! What a follower reads when servers hang, and when their stores have changed.

mod common;

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use async_nats::jetstream::{Context, consumer::pull, stream::Config};
use bytes::Bytes;
use common::{LONG, block, by_hand, by_hand_at, next, open, propose, servers};
use roomlog_core::{
    block::stamp,
    journal::{Follow, Journal, Mark, Position, Proposed},
};
use roomlog_jetstream::{JetStreamJournal, Options};
use roomlog_testkit::nats::Cluster;
use tokio::time::{sleep, timeout};

/// A follower that has read five blocks.
async fn five_blocks_read(journal: &JetStreamJournal) -> Box<dyn Follow> {
    let mut follow = journal.follow(0, Mark::default());
    for n in 0..5 {
        propose(journal, n).await;
        assert_eq!(next(&mut follow).await.expect("a block").block, block(n));
    }
    follow
}

/// Recreates the stream, empty, as if all servers had lost it.
async fn make_again(cluster: &Cluster) {
    let context = by_hand(cluster).await;
    let stream = context.get_stream("ROOMLOG_1_0").await.expect("the stream");
    let config = stream.cached_info().config.clone();
    context.delete_stream("ROOMLOG_1_0").await.expect("a deletion");
    // The server may still remove the files of the old one ("error creating store for stream").
    let created = async {
        while context.create_stream(config.clone()).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, created).await.expect("a stream in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_ends_when_the_stream_was_recreated_with_other_blocks() {
    let cluster = servers(1);
    let journal = open(&Options::new(cluster.url())).await.expect("a journal");
    let mut follow = five_blocks_read(&journal).await;
    make_again(&cluster).await;
    for n in 10..20 {
        propose(&journal, n).await;
    }
    let why = next(&mut follow).await.expect_err("an end").to_string();
    assert!(why.contains("another block at position 5"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_ends_when_a_block_that_it_read_stays_missing() {
    let cluster = servers(1);
    let journal = open(&Options::new(cluster.url())).await.expect("a journal");
    let mut follow = five_blocks_read(&journal).await;
    make_again(&cluster).await;
    propose(&journal, 0).await;
    let why = next(&mut follow).await.expect_err("an end").to_string();
    assert!(why.contains("has lost position 5"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_survives_a_server_that_hangs() {
    let cluster = servers(3);
    let journal = open(&Options::new(cluster.url())).await.expect("a journal");
    let mut follow = journal.follow(0, Mark::default());
    let (mut n, mut read) = (0, 0);
    for server in 0..3 {
        cluster.freeze(server);
        let until = tokio::time::Instant::now() + Duration::from_secs(12);
        while tokio::time::Instant::now() < until {
            // An unanswered block is proposed again; the follower gets it soon either way.
            let durable = timeout(LONG, journal.propose(0, block(n))).await.expect("an answer");
            if let Proposed::Durable(position) = durable {
                let given = timeout(Duration::from_secs(5), async {
                    loop {
                        let durable = follow.next().await.expect("a block");
                        assert_eq!(durable.position.0, read + 1, "without a gap");
                        read = durable.position.0;
                        if durable.position == position {
                            return;
                        }
                    }
                });
                given.await.expect("what is durable is read within five seconds");
                n += 1;
            }
        }
        cluster.thaw(server);
    }
    assert!(n > 100, "{n} blocks");
}

/// Waits until the servers create no consumers any more, as without a leader of the cluster.
async fn no_consumers(context: &Context) {
    loop {
        let config = pull::Config::default();
        let made = context.create_consumer_on_stream(config, "ROOMLOG_1_0").await;
        if let Err(why) = made
            && why.to_string().contains("10008")
        {
            return;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_reads_from_two_of_three_replicas_when_three_of_five_servers_are_down() {
    let mut cluster = servers(5);
    let journal = open(&Options::new(cluster.url())).await.expect("a journal");
    let stream = by_hand(&cluster).await.get_stream("ROOMLOG_1_0").await.expect("the stream");
    let kept_by = stream.cached_info().cluster.clone().expect("a group");
    let leader = cluster.leader("ROOMLOG_1_0").expect("a leader");
    let other = kept_by.replicas[0].name.clone();
    for server in (0..5).filter(|&server| server != leader && format!("n{server}") != other) {
        cluster.kill(server);
    }
    let context = by_hand_at(&cluster, leader).await;
    timeout(LONG, no_consumers(&context)).await.expect("no leader in time");

    let mut follow = journal.follow(0, Mark::default());
    for n in 0..20 {
        let position = propose(&journal, n).await;
        let durable = timeout(Duration::from_secs(5), next(&mut follow)).await.expect("soon");
        let durable = durable.expect("a block");
        assert_eq!((durable.position, durable.block), (position, block(n)));
    }
}

/// A proxy to a server, on the port that it gives. No consumer is created before `created_after`
/// blocks were requested by position. A consumer gives `other` in place of `block`, as if it read a
/// server whose store differs from the leader's; by position, where the stream's name comes first,
/// the block is unchanged.
fn proxy(block: Bytes, other: Bytes, created_after: usize, port: u16) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let here = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, server) = (client?, TcpStream::connect((Ipv4Addr::LOCALHOST, port))?);
            let (from, to) = (client.try_clone()?, server.try_clone()?);
            let (block, other) = (block.clone(), other.clone());
            thread::spawn(move || forward_requests(from, to, created_after));
            thread::spawn(move || forward_replies(server, client, &block, &other));
        }
        io::Result::Ok(())
    });
    Ok(here)
}

fn forward_requests(from: TcpStream, mut to: TcpStream, created_after: usize) -> io::Result<()> {
    let (mut from, mut read, mut held) = (BufReader::new(from), Vec::new(), Vec::new());
    let mut by_position = 0;
    while from.read_until(b'\n', &mut read)? > 0 {
        let line = String::from_utf8_lossy(&read).into_owned();
        if line.starts_with("PUB ") {
            // The published bytes follow on a line of their own.
            from.read_until(b'\n', &mut read)?;
        }
        if line.contains("$JS.API.CONSUMER.CREATE") && by_position < created_after {
            held.append(&mut read);
        }
        to.write_all(&read)?;
        by_position += usize::from(line.contains("$JS.API.DIRECT.GET"));
        if by_position == created_after {
            to.write_all(&held)?;
            held.clear();
        }
        read.clear();
    }
    Ok(())
}

fn forward_replies(
    from: TcpStream,
    mut to: TcpStream,
    block: &[u8],
    other: &[u8],
) -> io::Result<()> {
    let (mut from, mut read, mut by_position) = (BufReader::new(from), Vec::new(), false);
    while from.read_until(b'\n', &mut read)? > 0 {
        let line = read.trim_ascii_end();
        by_position |= line.starts_with(b"Nats-Stream:");
        let is_block = line == block;
        to.write_all(if is_block && !by_position { other } else { line })?;
        to.write_all(b"\r\n")?;
        by_position &= !is_block;
        read.clear();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_ends_when_the_server_that_it_reads_from_has_another_block_than_the_leader() {
    let cluster = servers(1);
    let journal = open(&Options::new(cluster.url())).await.expect("a journal");
    five_blocks_read(&journal).await;
    let mark = Mark { position: Position(5), stamp: Some(stamp(&block(4))) };

    let port = proxy(block(4), block(7), 2, cluster.port(0)).expect("a proxy");
    let options = Options::new(format!("nats://roomlog:roomlog@127.0.0.1:{port}"));
    let other = open(&options).await.expect("a journal");
    let why = next(&mut other.follow(0, mark)).await.expect_err("an end").to_string();
    assert!(why.contains("another block at position 5"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_without_a_consumer_reads_block_by_block_with_and_without_direct_gets() {
    let cluster = servers(1);
    let journal = open(&Options::new(cluster.url())).await.expect("a journal");
    five_blocks_read(&journal).await;
    let context = by_hand(&cluster).await;
    let port = proxy(block(0), block(0), usize::MAX, cluster.port(0)).expect("a proxy");
    let options = Options::new(format!("nats://roomlog:roomlog@127.0.0.1:{port}"));
    for allow_direct in [true, false] {
        let stream = context.get_stream("ROOMLOG_1_0").await.expect("the stream");
        let config = stream.cached_info().config.clone();
        context.update_stream(Config { allow_direct, ..config }).await.expect("a change");
        let other = open(&options).await.expect("a journal");
        let mut follow = other.follow(0, Mark::default());
        for n in 0..5 {
            assert_eq!(next(&mut follow).await.expect("a block").block, block(n));
        }
    }
}

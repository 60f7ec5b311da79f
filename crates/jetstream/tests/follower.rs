//! What a follower reads when servers hang, and when what they hold is not what it was.

mod common;

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use bytes::Bytes;
use common::{LONG, block, by_hand, next, open, propose, servers};
use roomlog_core::{
    block::stamp,
    journal::{Follow, Journal, Mark, Position, Proposed},
};
use roomlog_jetstream::{JetStreamJournal, Options, servers::Cluster};
use tokio::time::timeout;

/// A follower that has read five blocks.
async fn five_blocks_read(journal: &JetStreamJournal) -> Box<dyn Follow> {
    let mut follow = journal.follow(0, Mark::default());
    for n in 0..5 {
        propose(journal, n).await;
        assert_eq!(next(&mut follow).await.expect("a block").block, block(n));
    }
    follow
}

/// Makes the stream again, empty, as if all servers had lost it.
async fn make_again(cluster: &Cluster) {
    let context = by_hand(cluster).await;
    let stream = context.get_stream("ROOMLOG_1_0").await.expect("the stream");
    let config = stream.cached_info().config.clone();
    context.delete_stream("ROOMLOG_1_0").await.expect("a deletion");
    context.create_stream(config).await.expect("a stream");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_ends_when_the_stream_was_made_again_with_other_blocks() {
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
async fn a_follower_ends_when_what_it_read_stays_missing() {
    let cluster = servers(1);
    let journal = open(&Options::new(cluster.url())).await.expect("a journal");
    let mut follow = five_blocks_read(&journal).await;
    make_again(&cluster).await;
    propose(&journal, 0).await;
    let why = next(&mut follow).await.expect_err("an end").to_string();
    assert!(why.contains("has lost position 5"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_goes_on_over_a_server_that_hangs() {
    let cluster = servers(3);
    let journal = open(&Options::new(cluster.url())).await.expect("a journal");
    let mut follow = journal.follow(0, Mark::default());
    let (mut n, mut read) = (0, 0);
    for server in 0..3 {
        cluster.freeze(server);
        let until = tokio::time::Instant::now() + Duration::from_secs(12);
        while tokio::time::Instant::now() < until {
            // What gets no answer is proposed again; either way the follower is given it, and soon.
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

/// A way to a server on which a consumer gives another block than the one that is asked for by its position,
/// as when the leader of a stream has another than the server that a consumer reads from: a consumer gives
/// blocks as they are, and by its position one comes in base64. No consumer is made before two were asked
/// for by their positions.
fn way_on_which(block: Bytes, becomes: Bytes, port: u16) -> io::Result<u16> {
    let way = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let here = way.local_addr()?.port();
    thread::spawn(move || {
        for client in way.incoming() {
            let (client, server) = (client?, TcpStream::connect((Ipv4Addr::LOCALHOST, port))?);
            let (from, to) = (client.try_clone()?, server.try_clone()?);
            let (block, becomes) = (block.clone(), becomes.clone());
            thread::spawn(move || asks(from, to));
            thread::spawn(move || answers(server, client, &block, &becomes));
        }
        io::Result::Ok(())
    });
    Ok(here)
}

fn asks(from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let (mut from, mut read, mut held) = (BufReader::new(from), Vec::new(), Vec::new());
    let mut by_position = 0;
    while from.read_until(b'\n', &mut read)? > 0 {
        let line = String::from_utf8_lossy(&read).into_owned();
        if line.starts_with("PUB ") {
            // What is published follows on a line of its own.
            from.read_until(b'\n', &mut read)?;
        }
        if line.contains("$JS.API.CONSUMER.CREATE") && by_position < 2 {
            held.append(&mut read);
        }
        to.write_all(&read)?;
        by_position += usize::from(line.contains("$JS.API.STREAM.MSG.GET"));
        if by_position == 2 {
            to.write_all(&held)?;
            held.clear();
        }
        read.clear();
    }
    Ok(())
}

fn answers(from: TcpStream, mut to: TcpStream, block: &[u8], becomes: &[u8]) -> io::Result<()> {
    let (mut from, mut read) = (BufReader::new(from), Vec::new());
    while from.read_until(b'\n', &mut read)? > 0 {
        let line = read.trim_ascii_end();
        to.write_all(if line == block { becomes } else { line })?;
        to.write_all(b"\r\n")?;
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

    let port = way_on_which(block(4), block(7), cluster.port(0)).expect("a way");
    let options = Options::new(format!("nats://roomlog:roomlog@127.0.0.1:{port}"));
    let other = open(&options).await.expect("a journal");
    let why = next(&mut other.follow(0, mark)).await.expect_err("an end").to_string();
    assert!(why.contains("another block at position 5"), "{why}");
}

//! A batch over a journal that is full in the middle of it, which no disk does on cue.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::{
    Engines, Node, NodeSettings,
    journal::{Journal, Partition, Proposed},
};
use roomlog_server::Config;
use roomlog_testkit::{
    delegate_journal,
    life::identity,
    memory::{MemoryArchive, MemoryJournal},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

/// A journal that is full for its second block only: then somebody removed a file.
struct FullOnce {
    journal: MemoryJournal,
    proposed: AtomicU64,
}

impl Journal for FullOnce {
    delegate_journal!(journal: facts peers counts follow head first trim);

    fn propose(&self, partition: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        if self.proposed.fetch_add(1, Ordering::Relaxed) == 1 {
            return futures_util::future::ready(Proposed::Refused("no room".into())).boxed();
        }
        self.journal.propose(partition, block)
    }
}

/// Posts a batch of these ids and gives the outcomes.
async fn post(address: std::net::SocketAddr, ids: std::ops::Range<usize>) -> Vec<Value> {
    // A thousand are three blocks, two of them in flight concurrently.
    let append = |n| json!({"author": "ada", "id": format!("i-{n}"), "body": "x".repeat(1_200)});
    let line = |n| format!("{}\n", append(n));
    let body: String = ids.map(line).collect();
    let request = format!(
        "POST /v1/rooms/r/entries HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: application/x-ndjson\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    socket.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("read");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Lines that are no object are the head, or the size of a chunk.
    answer
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(Value::is_object)
        .collect()
}

#[tokio::test]
async fn nothing_in_flight_is_stored_after_a_line_that_finds_the_disk_full() {
    let journal =
        Arc::new(FullOnce { journal: MemoryJournal::new("log"), proposed: AtomicU64::new(0) });
    let archive = Arc::new(MemoryArchive::default());
    let engines =
        Engines { identity: identity(1, 1), journal: journal.clone(), archive, backup: None };
    let node = Arc::new(Node::start(engines, NodeSettings::default()).expect("a node"));
    assert!(node.caught_up().await);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let config = Config::default();
    let stopped = stopped.map(|_| ());
    let serving = tokio::spawn(roomlog_server::run(config, node.clone(), listener, None, stopped));

    let entry = |n: usize, line: &Value| {
        let entry = &line["entry"];
        assert_eq!((&entry["slot"], &entry["id"]), (&json!(n), &json!(format!("i-{n}"))), "{line}");
    };
    let done = post(address, 0..10).await;
    done.iter().enumerate().for_each(|(n, line)| entry(n, line));

    let done = post(address, 10..1_000).await;
    let codes: Vec<_> = done.iter().map(|line| line["error"]["code"].as_str()).collect();
    assert_eq!((codes.len(), codes[0]), (990, Some("storage_full")));
    assert!(codes[1..].iter().all(|code| *code == Some("out_of_order")), "{codes:?}");

    // Sent again, they are stored, with no gap.
    let done = post(address, 10..1_000).await;
    assert_eq!(done.len(), 990);
    done.iter().zip(10..).for_each(|(line, n)| entry(n, line));

    stop.send(()).expect("a server that runs");
    serving.await.expect("a task").expect("a drained server");
    node.stop().await.expect("a good end");
}

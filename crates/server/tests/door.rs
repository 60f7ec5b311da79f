//! The operators' door answers while the public has the runtime's blocking threads, which no client
//! of the binary takes on cue.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use roomlog_core::{Engines, Node, NodeSettings};
use roomlog_server::{Config, Door};
use roomlog_testkit::{
    life::identity,
    memory::{MemoryArchive, MemoryJournal},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// The answer to a request for the metrics.
async fn scrape(address: std::net::SocketAddr) -> String {
    let mut socket = TcpStream::connect(address).await.expect("a connection");
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    socket.write_all(request).await.expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.expect("read");
    answer
}

#[test]
fn metrics_are_served_while_every_blocking_thread_is_taken() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).max_blocking_threads(1).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let journal = Arc::new(MemoryJournal::new("log"));
        let archive = Arc::new(MemoryArchive::default());
        let engines = Engines { identity: identity(1, 1), journal, archive, backup: None };
        let node = Arc::new(Node::start(engines, NodeSettings::default()).expect("a node"));
        assert!(node.caught_up().await);
        let public = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let door = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = door.local_addr().expect("an address");
        let door = Some(Door::Tcp(door));
        let never = std::future::pending();
        let serving =
            tokio::spawn(roomlog_server::run(Config::default(), node, public, door, never));

        let (free, is_free) = mpsc::channel::<()>();
        let taken = tokio::task::spawn_blocking(move || is_free.recv());
        let answer = timeout(Duration::from_secs(10), scrape(address)).await;
        drop(free);
        let answer = answer.expect("an answer while the only blocking thread is taken");
        assert!(answer.contains("roomlog_sockets 0"), "{answer}");
        taken.await.expect("a thread").expect_err("nothing was sent");
        serving.abort();
    });
}

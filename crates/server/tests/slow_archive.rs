//! An archive on a disk that answers when the test says so: what waits for it makes nobody else wait.

use std::{
    collections::VecDeque,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::Duration,
};

use roomlog_core::{
    Engines, Node, NodeSettings,
    applied::Applied,
    archive::{Archive, ArchiveError, IdKey, Keep, Window},
    head::{Head, Known},
    journal::{Partition, Position},
    proposal::Stored,
};
use roomlog_protocol::{RoomName, RoomRange, Slot};
use roomlog_server::Config;
use roomlog_testkit::{
    life::identity,
    memory::{MemoryArchive, MemoryJournal},
};
use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(20);

/// Delays heads of rooms and lists of rooms until they are let go.
#[derive(Default)]
struct SlowArchive {
    archive: MemoryArchive,
    reads: Mutex<Reads>,
    changed: Condvar,
}

#[derive(Default)]
struct Reads {
    /// What began, in order.
    begun: Vec<String>,
    waiting: VecDeque<String>,
    /// The disk is fast again.
    is_fast: bool,
}

impl SlowArchive {
    fn until(&self, is: impl Fn(&Reads) -> bool) -> MutexGuard<'_, Reads> {
        let reads = self.reads.lock().expect("no panic");
        let (reads, waited) =
            self.changed.wait_timeout_while(reads, PATIENCE, |reads| !is(reads)).expect("no panic");
        assert!(!waited.timed_out(), "begun: {:?}", reads.begun);
        reads
    }

    fn wait(&self, what: String) {
        let mut reads = self.reads.lock().expect("no panic");
        reads.begun.push(what.clone());
        reads.waiting.push_back(what.clone());
        self.changed.notify_all();
        let is_slow = |reads: &mut Reads| !reads.is_fast && reads.waiting.contains(&what);
        drop(self.changed.wait_while(reads, is_slow));
    }

    /// Lets all go on, now and later.
    fn let_all_go(&self) {
        self.reads.lock().expect("no panic").is_fast = true;
        self.changed.notify_all();
    }

    /// Lets the oldest that waits go on.
    fn let_go(&self) {
        self.until(|reads| !reads.waiting.is_empty()).waiting.pop_front();
        self.changed.notify_all();
    }
}

impl Archive for SlowArchive {
    fn applied(&self, partition: Partition) -> Result<Applied, ArchiveError> {
        self.archive.applied(partition)
    }

    fn head(&self, room: &RoomName) -> Result<Option<Head>, ArchiveError> {
        self.wait(room.to_string());
        self.archive.head(room)
    }

    fn page(
        &self,
        room: &RoomName,
        first: Slot,
        end: Slot,
        bytes: usize,
        keep: Keep,
    ) -> Result<Vec<Stored>, ArchiveError> {
        self.archive.page(room, first, end, bytes, keep)
    }

    fn find(&self, keys: &[IdKey]) -> Result<Vec<Option<Known>>, ArchiveError> {
        self.archive.find(keys)
    }

    fn rooms(
        &self,
        range: &RoomRange,
        limit: usize,
    ) -> Result<Vec<(RoomName, Head)>, ArchiveError> {
        self.wait(range.from.trim_end_matches('\0').to_owned());
        self.archive.rooms(range, limit)
    }

    fn room_count(&self) -> Result<u64, ArchiveError> {
        self.archive.room_count()
    }

    fn fold(&self, window: &Window) -> Result<Option<u64>, ArchiveError> {
        self.archive.fold(window)
    }

    fn make_durable(&self, partition: Partition) -> Result<Position, ArchiveError> {
        self.archive.make_durable(partition)
    }

    fn wipe(&self) -> Result<bool, ArchiveError> {
        self.archive.wipe()
    }
}

/// Serves a node until the runtime ends.
async fn serve(archive: Arc<SlowArchive>) -> SocketAddr {
    let journal = Arc::new(MemoryJournal::new("log"));
    let engines = Engines { identity: identity(1, 1), journal, archive, backup: None };
    let node = Arc::new(Node::start(engines, NodeSettings::default()).expect("a node"));
    assert!(node.caught_up().await);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let never = std::future::pending();
    tokio::spawn(roomlog_server::run(Config::default(), node, listener, None, never));
    address
}

/// Sends a request from an address of its own. The thread of the test blocks: the server has others.
fn ask(server: SocketAddr, from: [u8; 4], path: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let from = SocketAddr::from((Ipv4Addr::from(from), 0));
    socket.bind(&from.into()).expect("an address of loopback");
    socket.connect(&server.into()).expect("a connection");
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).expect("sent");
    stream
}

fn answer(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

const MALLORY: [u8; 4] = [127, 0, 0, 2];
const ADA: [u8; 4] = [127, 0, 0, 3];

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn heads_that_wait_for_the_disk_delay_no_other_request() {
    let archive = Arc::new(SlowArchive::default());
    let server = serve(archive.clone()).await;
    let paths = ["", "/entries", "/entries?log=other", "/events?after=-1"];
    let path = |(n, path)| format!("/v1/rooms/r-{n}{path}");
    let slow: Vec<_> = paths.iter().enumerate().map(|it| ask(server, MALLORY, &path(it))).collect();
    drop(archive.until(|reads| reads.begun.len() == paths.len()));
    assert!(answer(ask(server, ADA, "/healthz")).ends_with("alive\n"));
    archive.let_all_go();
    drop(slow);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_address_that_asks_for_many_lists_makes_another_wait_for_one() {
    let archive = Arc::new(SlowArchive::default());
    let server = serve(archive.clone()).await;
    let list = |from, after: &str| ask(server, from, &format!("/v1/rooms?after={after}"));
    let first = list(MALLORY, "m-0");
    drop(archive.until(|reads| reads.begun == ["m-0"]));
    let others: Vec<_> = (1..10).map(|n| list(MALLORY, &format!("m-{n}"))).collect();
    // They have come, as what came later is answered.
    assert!(answer(ask(server, MALLORY, "/healthz")).ends_with("alive\n"));
    let of_ada = list(ADA, "a");
    assert!(answer(ask(server, ADA, "/healthz")).ends_with("alive\n"));
    archive.let_go();
    archive.let_go();
    assert!(answer(first).contains("200 OK"));
    let begun = archive.until(|reads| reads.begun.len() >= 3).begun.clone();
    assert!(begun[..3].contains(&"a".to_owned()), "{begun:?}");
    archive.let_all_go();
    assert!(answer(of_ada).contains("200 OK"));
    assert!(others.into_iter().all(|it| answer(it).contains("200 OK")));
}

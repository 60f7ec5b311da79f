//! Bytes to the server: any, or frames after a handshake, or a body over HTTP. It answers and goes on.
#![no_main]

use std::{
    cell::RefCell,
    io::{self, IoSlice},
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use libfuzzer_sys::fuzz_target;
use roomlog_core::{Engines, Node, NodeSettings, Threads};
use roomlog_server::{Config, Public, Transport, Transports};
use roomlog_testkit::{
    life::identity,
    memory::{MemoryArchive, MemoryJournal},
};
use tokio::{
    io::ReadBuf,
    runtime::Runtime,
    sync::{Mutex as AsyncMutex, Notify, mpsc},
    time::timeout,
};

/// After so many inputs, a new server: memory is bounded.
const INPUTS: u32 = 2_000;
/// A connection ends within this simulated time.
const LONG: Duration = Duration::from_secs(600);

const UPGRADE: &str = "GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// A socket whose bytes have all come.
struct Input {
    bytes: Vec<u8>,
    at: Mutex<usize>,
    is_shut: AtomicBool,
    closed: Arc<Notify>,
}

impl Transport for Input {
    fn poll_read(&self, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut at = self.at.lock().expect("not poisoned");
        let part = (self.bytes.len() - *at).min(buffer.remaining());
        buffer.put_slice(&self.bytes[*at..*at + part]);
        *at += part;
        Poll::Ready(Ok(()))
    }

    fn try_write(&self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        if self.is_shut.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn shutdown(&self) {
        self.is_shut.store(true, Ordering::Relaxed);
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.closed.notify_one();
    }
}

struct Listener(AsyncMutex<mpsc::Receiver<Arc<Input>>>);

impl Transports for Listener {
    fn accept(&self) -> BoxFuture<'_, io::Result<(Arc<dyn Transport>, IpAddr)>> {
        Box::pin(async {
            let Some(input) = self.0.lock().await.recv().await else {
                return std::future::pending().await;
            };
            let input: Arc<dyn Transport> = input;
            Ok((input, IpAddr::V4(Ipv4Addr::LOCALHOST)))
        })
    }
}

/// A server in memory, in simulated time.
struct Server {
    runtime: Runtime,
    inputs: mpsc::Sender<Arc<Input>>,
    served: u32,
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let (inputs, receiver) = mpsc::channel(1);
        runtime.block_on(async {
            let engines = Engines {
                identity: identity(1, 1),
                journal: Arc::new(MemoryJournal::new("log")),
                archive: Arc::new(MemoryArchive::default()),
                backup: None,
            };
            let settings = NodeSettings { threads: Threads::None, ..NodeSettings::default() };
            let node = Arc::new(Node::start(engines, settings).expect("a node"));
            assert!(node.caught_up().await);
            let public = Public::Transports(Box::new(Listener(AsyncMutex::new(receiver))));
            let run = roomlog_server::run(Config::default(), node, public, None, std::future::pending());
            tokio::spawn(run);
        });
        Self { runtime, inputs, served: 0 }
    }

    fn serve(&mut self, bytes: Vec<u8>) {
        let closed = Arc::new(Notify::new());
        let input = Input {
            bytes,
            at: Mutex::new(0),
            is_shut: AtomicBool::new(false),
            closed: closed.clone(),
        };
        self.inputs.try_send(Arc::new(input)).ok().expect("one at a time");
        let ended = self.runtime.block_on(async { timeout(LONG, closed.notified()).await });
        assert!(ended.is_ok(), "the connection does not end");
        self.served += 1;
    }
}

thread_local! {
    static SERVER: RefCell<Option<Server>> = const { RefCell::new(None) };
}

fuzz_target!(|input: &[u8]| {
    let Some((how, bytes)) = input.split_first() else { return };
    SERVER.with_borrow_mut(|server| {
        if server.as_ref().is_some_and(|server| server.served == INPUTS) {
            *server = None;
        }
        server.get_or_insert_with(Server::start).serve(sent(*how, bytes));
    });
});

/// What is sent.
fn sent(how: u8, bytes: &[u8]) -> Vec<u8> {
    let begun = |text: &str, bytes: &[u8]| [text.as_bytes(), bytes].concat();
    match how % 5 {
        0 => bytes.to_vec(),
        1 => begun(UPGRADE, bytes),
        2 => {
            let login = br#"{"type":"login","author":"ada"}"#.as_slice();
            let frames = [login].into_iter().chain(bytes.split(|byte| *byte == b'\n'));
            begun(UPGRADE, &frames.flat_map(frame).collect::<Vec<_>>())
        }
        3 => {
            let head = format!(
                "POST /v1/rooms/r/entries HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
                 Connection: close\r\nContent-Length: {}\r\n\r\n",
                bytes.len()
            );
            begun(&head, bytes)
        }
        _ => {
            let line: Vec<u8> = bytes.iter().copied().filter(|byte| *byte > 32).collect();
            let head = [b"GET /v1/rooms/".as_slice(), &line, b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"];
            head.concat()
        }
    }
}

/// A text frame whose mask is zero.
fn frame(text: &[u8]) -> Vec<u8> {
    let text = &text[..text.len().min(60_000)];
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(text);
    frame
}

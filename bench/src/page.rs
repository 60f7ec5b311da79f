//! A page of 50 over HTTP, beside nginx that serves the same bytes from a file.
//!
//! ```text
//!  newest page          ours: from the tail       nginx: one file
//!  pages at random      ours: from the archive    nginx: a file each, fetched from ours before
//! ```
//!
//! Enters: how many requests. Leaves: a table. Invariants: one connection a server, kept alive, one
//! request at a time; within a round each has its turn; both answer the same bytes of body.

use std::{
    fs, io,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    ServerArgs,
    process::{Server, cpu_seconds},
    receivers::body,
    table::{Table, median, quantile, say},
    ws::Socket,
};

const ROOM: &str = "pages";

/// Appends that are on their way together while the room is filled.
const FILL: u32 = 200;

/// How long nginx may take to listen.
const START: Duration = Duration::from_secs(10);

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
    /// Entries of the room, with bodies of 200 bytes; those before the newest 70,000 or so are read from
    /// the archive.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    entries: u32,
    /// Places at random, in the first third of the room.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    places: u32,
    /// Rounds; each measures every server once.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Requests in each round.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests: u32,
}

/// One server under measurement, and what is asked of it.
struct Lane {
    name: &'static str,
    pid: u32,
    http: Http,
    paths: Vec<String>,
    /// µs: of all requests, and the median of each round.
    all: Vec<f64>,
    p50: Vec<f64>,
    cpu: f64,
}

impl Lane {
    fn new(name: &'static str, pid: u32, addr: SocketAddr, paths: Vec<String>) -> io::Result<Self> {
        let (all, p50) = (Vec::new(), Vec::new());
        Ok(Self { name, pid, http: Http::connect(addr)?, paths, all, p50, cpu: 0.0 })
    }

    fn round(&mut self, requests: u32) -> io::Result<()> {
        let (mut times, cpu) = (Vec::new(), cpu_seconds(self.pid)?);
        for path in self.paths.iter().cycle().take(requests as usize) {
            let start = Instant::now();
            self.http.get(path)?;
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
        self.cpu += cpu_seconds(self.pid)? - cpu;
        self.p50.push(median(&times));
        self.all.extend(times);
        Ok(())
    }

    fn row(&self, what: &str, nginx: &Self) -> Vec<String> {
        let ratios: Vec<f64> = self.p50.iter().zip(&nginx.p50).map(|(a, b)| a / b).collect();
        vec![
            what.into(),
            self.name.into(),
            format!("{:.0}", median(&self.p50)),
            format!("{:.0}", quantile(&self.all, 0.99)),
            format!("{:.2}", median(&ratios)),
            format!("{:.0}", self.cpu * 1e6 / self.all.len() as f64),
        ]
    }
}

/// Measures and prints the table.
///
/// # Errors
/// When a server fails, or there is no nginx.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let dir = args.server.dir.make()?;
    let data = dir.path().join("data");
    let server = Server::roomlog(&args.server.binary, &data)?;
    fill(server.addr, args.entries)?;
    let newest = vec![format!("/v1/rooms/{ROOM}/entries?count=50")];
    // A fixed step that is prime to the span visits its places in no order.
    let span = u64::from(args.entries / 3);
    let upto = |n: u32| 50 + u64::from(n) * 7_919 % (span - 50);
    let path = |n| format!("/v1/rooms/{ROOM}/entries?count=50&upto={}", upto(n));
    let places: Vec<String> = (0..args.places).map(path).collect();
    let www = dir.path().join("www");
    fs::create_dir(&www)?;
    let mut http = Http::connect(server.addr)?;
    let mut copies = |paths: &[String], name: &str| -> io::Result<Vec<String>> {
        let copy = |(n, path): (usize, &String)| {
            fs::write(www.join(format!("{name}-{n}")), http.get(path)?)?;
            Ok(format!("/{name}-{n}"))
        };
        paths.iter().enumerate().map(copy).collect()
    };
    let files = [copies(&newest, "newest")?, copies(&places, "place")?];
    let nginx = Nginx::start(dir.path())?;
    let (pid, theirs) = (nginx.child.id(), nginx.addr);
    let [newest_files, place_files] = files;
    let mut lanes = [
        Lane::new("nginx, a file", pid, theirs, newest_files)?,
        Lane::new("roomlog, the tail", server.pid(), server.addr, newest)?,
        Lane::new("nginx, a file each", pid, theirs, place_files)?,
        Lane::new("roomlog, the archive", server.pid(), server.addr, places)?,
    ];
    for round in 0..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        for lane in &mut lanes {
            lane.round(args.requests)?;
            if round == 0 {
                // Warms up.
                (lane.all, lane.p50, lane.cpu) = (Vec::new(), Vec::new(), 0.0);
            }
        }
    }
    let mut table =
        Table::new(&["page of 50", "server", "p50, µs", "p99, µs", "of nginx", "CPU, µs"]);
    for (what, pair) in ["newest", "at random"].iter().zip(lanes.chunks_exact(2)) {
        pair.iter().for_each(|lane| table.row(lane.row(what, &pair[0])));
    }
    table.print();
    say("\nOne connection, kept alive, one request at a time. Bar: p50 at most 2 of nginx.");
    drop(lanes);
    server.stop().map(drop)
}

/// Fills the room.
fn fill(addr: SocketAddr, entries: u32) -> io::Result<()> {
    let mut author = Socket::login(addr, "ada")?;
    let body = body(200);
    let mut left = entries;
    while left > 0 {
        let count = left.min(FILL);
        let frames: Vec<_> = (0..count).map(|_| crate::append_frame(ROOM, &body, None)).collect();
        author.send(&frames)?;
        (0..count).try_for_each(|_| author.expect("appended").map(drop))?;
        left -= count;
    }
    Ok(())
}

/// A connection that is kept alive.
pub(crate) struct Http {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Http {
    /// Connects.
    ///
    /// # Errors
    /// When the server refuses.
    pub(crate) fn connect(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// The body of what is at a path.
    ///
    /// # Errors
    /// When the answer is not 200, or has no length.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<&[u8]> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n");
        self.stream.write_all(request.as_bytes())?;
        self.read.clear();
        let mut ends = None;
        loop {
            let mut bytes = [0; 65_536];
            let count = self.stream.read(&mut bytes)?;
            self.read.extend_from_slice(&bytes[..count]);
            if ends.is_none() {
                ends = ends_of(&self.read)?;
            }
            match ends {
                Some((begin, end)) if self.read.len() >= end => return Ok(&self.read[begin..end]),
                _ if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    }
}

/// Where the body of an answer begins and ends, once its head is there.
fn ends_of(read: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let Some(head) = read.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(None) };
    let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    let length =
        text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    match length {
        Some(length) if text.starts_with("http/1.1 200") => {
            let _: usize = length;
            Ok(Some((head + 4, head + 4 + length)))
        }
        _ => Err(io::Error::other(format!("got {text}"))),
    }
}

/// nginx, one process; it never outlives this.
struct Nginx {
    child: Child,
    addr: SocketAddr,
}

impl Nginx {
    fn start(dir: &Path) -> io::Result<Self> {
        // Freed again at once: the next to ask for a port gets another one, so it is ours.
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let at = fs::canonicalize(dir)?;
        let at = at.display();
        let config = format!(
            "daemon off; master_process off; pid {at}/nginx.pid; error_log {at}/nginx.log; \
             events {{ worker_connections 64; }} \
             http {{ access_log off; sendfile on; tcp_nodelay on; keepalive_requests 10000000; \
             open_file_cache max=20000; default_type application/json; \
             client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3; \
             uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5; \
             server {{ listen {addr}; root {at}/www; }} }}"
        );
        let file = dir.join("nginx.conf");
        fs::write(&file, config)?;
        let mut command = Command::new("nginx");
        command.arg("-c").arg(fs::canonicalize(file)?).stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| {
            io::Error::other(format!(
                "cannot start nginx ({error}); on Debian: apt-get install nginx-light"
            ))
        })?;
        let nginx = Self { child, addr };
        let begun = Instant::now();
        while TcpStream::connect(addr).is_err() {
            if begun.elapsed() > START {
                return Err(io::Error::other(format!("nginx does not listen on {addr}")));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _gone_already = self.child.kill();
        let _gone_already = self.child.wait();
    }
}

//! A page of 50 over HTTP, compared with nginx serving the same bytes from a file.
//!
//! ```text
//!  newest page          ours: from the tail       nginx: one file
//!  random pages         ours: from the archive    nginx: a file each, fetched from ours before
//! ```
//!
//! Enters: a number of requests. Leaves: a table. Invariants: one kept-alive connection per server,
//! one request at a time; each round measures every server; both send the same bodies.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::{
    args::ServerArgs,
    frame::{BODY, append_frame, body},
    http::Http,
    peer::Peer,
    process::cpu_seconds,
    table::{Table, say},
    times::{Rounds, Times},
    ws::Socket,
};

const ROOM: &str = "pages";

/// Appends in flight while the room is filled.
const FILL: u32 = 200;

/// Timeout of nginx's start.
const START: Duration = Duration::from_secs(10);

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct PageArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// Entries in the room, with bodies of 200 bytes; all but the newest 70,000 or so are read from
    /// the archive.
    #[arg(long, default_value_t = 200_000,
        value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    entries: u32,
    /// Random pages, all in the first third of the room.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    places: u32,
    /// Rounds; each measures every server once.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Requests in each round.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests: u32,
}

/// One server and what is requested from it.
struct Contestant {
    name: &'static str,
    pid: u32,
    http: Http,
    paths: Vec<String>,
    rounds: Rounds,
    /// CPU seconds of the server.
    cpu: f64,
}

impl Contestant {
    fn new<'a>(
        name: &'static str,
        pid: u32,
        peer: impl Into<Peer<'a>>,
        paths: Vec<String>,
    ) -> io::Result<Self> {
        let (http, rounds) = (Http::connect(peer)?, Rounds::default());
        Ok(Self { name, pid, http, paths, rounds, cpu: 0.0 })
    }

    fn round(&mut self, requests: u32) -> io::Result<()> {
        let (mut times, cpu) = (Times::default(), cpu_seconds(self.pid)?);
        for path in self.paths.iter().cycle().take(requests as usize) {
            let start = Instant::now();
            self.http.get(path)?;
            times.record(start.elapsed());
        }
        self.cpu += cpu_seconds(self.pid)? - cpu;
        self.rounds.push(&times);
        Ok(())
    }

    fn row(&self, what: &str, nginx: &Self) -> Vec<String> {
        vec![
            what.into(),
            self.name.into(),
            format!("{:.0}", self.rounds.p50_us()),
            format!("{:.0}", self.rounds.p99_us()),
            format!("{:.2}", self.rounds.p50_ratio(&nginx.rounds)),
            format!("{:.0}", self.cpu * 1e6 / self.rounds.len() as f64),
        ]
    }
}

/// Measures and prints the table.
pub(crate) fn run(args: &PageArgs) -> io::Result<()> {
    let dir = args.server.dir.make()?;
    let server = args.server.start(&dir.path().join("data"))?;
    fill(server.peer(), args.entries)?;
    let newest = vec![format!("/v1/rooms/{ROOM}/entries?count=50")];
    // A fixed prime step visits the places in an irregular order.
    let span = u64::from(args.entries / 3);
    let upto = |n: u32| 50 + u64::from(n) * 7_919 % (span - 50);
    let path = |n| format!("/v1/rooms/{ROOM}/entries?count=50&upto={}", upto(n));
    let random: Vec<String> = (0..args.places).map(path).collect();
    let www = dir.path().join("www");
    fs::create_dir(&www)?;
    let mut http = Http::connect(server.peer())?;
    let newest_files = copy(&mut http, &newest, &www, "newest")?;
    let random_files = copy(&mut http, &random, &www, "random")?;
    let nginx = Nginx::start(dir.path())?;
    let (pid, theirs) = (nginx.child.id(), nginx.addr);
    let mut contestants = [
        Contestant::new("nginx, a file", pid, theirs, newest_files)?,
        Contestant::new("roomlog, the tail", server.pid(), server.peer(), newest)?,
        Contestant::new("nginx, a file each", pid, theirs, random_files)?,
        Contestant::new("roomlog, the archive", server.pid(), server.peer(), random)?,
    ];
    for round in 0..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        for contestant in &mut contestants {
            contestant.round(args.requests)?;
            if round == 0 {
                // The warm-up does not count.
                (contestant.rounds, contestant.cpu) = (Rounds::default(), 0.0);
            }
        }
    }
    let mut table =
        Table::new(&["page of 50", "server", "p50, µs", "p99, µs", "of nginx", "CPU, µs"]);
    for (what, pair) in ["newest", "at random"].iter().zip(contestants.chunks_exact(2)) {
        pair.iter().for_each(|contestant| table.row(contestant.row(what, &pair[0])));
    }
    table.print();
    say("\nOne kept-alive connection, one request at a time. Bar: p50 at most 2 of nginx.");
    drop(contestants);
    server.stop().map(drop)
}

/// Copies the server's responses into files; returns their paths on nginx.
fn copy(http: &mut Http, paths: &[String], www: &Path, name: &str) -> io::Result<Vec<String>> {
    let one = |(n, path): (usize, &String)| {
        fs::write(www.join(format!("{name}-{n}")), http.get(path)?)?;
        Ok(format!("/{name}-{n}"))
    };
    paths.iter().enumerate().map(one).collect()
}

/// Fills the room.
fn fill(peer: Peer<'_>, entries: u32) -> io::Result<()> {
    let mut author = Socket::login(peer, "ada")?;
    let body = body(BODY);
    let mut left = entries;
    while left > 0 {
        let count = left.min(FILL);
        let frames: Vec<_> = (0..count).map(|_| append_frame(ROOM, &body, None)).collect();
        author.send(&frames)?;
        (0..count).try_for_each(|_| author.expect("appended"))?;
        left -= count;
    }
    Ok(())
}

/// nginx as a single process, which does not outlive this.
struct Nginx {
    child: Child,
    addr: SocketAddr,
}

impl Nginx {
    fn start(dir: &Path) -> io::Result<Self> {
        // Closed again at once; the system does not give the same port to the next who asks.
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
        // Both fail if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! What the benchmark of peers asks of a system: to start it, to append, to follow and to read.
//!
//! Enters: a directory for its data, rooms, bodies. Leaves: a running process, and bytes to exchange with it.
//! Invariants: a system runs as its documentation advises for durability, and says what its ack means; each
//! body has one pair of [`MARK`](crate::frame::MARK)s, so that entries are counted in whatever it sends.

use std::{
    fs, io,
    net::{SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// Timeout of a start.
const START: Duration = Duration::from_secs(30);

/// Timeout of a shutdown after SIGTERM.
const STOP: Duration = Duration::from_secs(20);

/// How often a start or a shutdown is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The answer to an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ack {
    /// To the append with this number.
    Place(usize),
    /// To the oldest append of the connection without an answer.
    Oldest,
}

/// A connection that appends.
pub(crate) trait Author {
    /// Puts an append into `out`. `place` is its number, lower than the most in flight; no other append in
    /// flight has it. `body` needs no escapes.
    fn append(&mut self, out: &mut Vec<u8>, room: u32, body: &str, place: usize);

    /// Takes the complete answers at the start of `input`, and returns how many bytes they have. What is to be
    /// sent because of them (a pong) goes into `out`.
    ///
    /// # Errors
    /// If an append was refused, or the answer is none that the system gives.
    fn answers(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        acks: &mut Vec<Ack>,
    ) -> io::Result<usize>;
}

/// A connected author.
pub(crate) type Connected = (TcpStream, Box<dyn Author>);

/// Reads the [`PAGE`] entries from a slot on.
pub(crate) type Pager = Box<dyn FnMut(u64) -> io::Result<()>>;

/// Reads what it was made for, once.
pub(crate) type Reader = Box<dyn FnOnce() -> io::Result<()>>;

/// How many entries a page has.
pub(crate) const PAGE: u64 = 50;

/// A system under measurement.
pub(crate) trait System {
    /// Its name in the tables.
    fn name(&self) -> &'static str;

    /// What an ack means, in a few words.
    fn ack(&self) -> &'static str;

    /// Starts it on a free port of the loopback interface, with its data in `dir`.
    ///
    /// # Errors
    /// If its program is missing or does not listen in time.
    fn start(&self, dir: &Path) -> io::Result<Running>;

    /// Makes what appends to the rooms with numbers up to `rooms` need.
    fn prepare(&self, _addr: SocketAddr, _rooms: u32) -> io::Result<()> {
        Ok(())
    }

    /// The most appends in flight that a connection can have.
    fn most_in_flight(&self) -> usize {
        usize::MAX
    }

    /// The most rooms that its authors can append to.
    fn most_rooms(&self) -> u32 {
        u32::MAX
    }

    /// Connects author `number`; everything that comes before the first answer has been read.
    fn author(&self, addr: SocketAddr, number: usize) -> io::Result<Connected>;

    /// The only author of a room that is read afterwards. It may choose keys that depend on the slot.
    fn loader(&self, addr: SocketAddr) -> io::Result<Connected> {
        self.author(addr, 0)
    }

    /// An author whose entries reach the followers of a room.
    fn teller(&self, addr: SocketAddr) -> io::Result<Connected> {
        self.author(addr, 0)
    }

    /// Connects a follower of a room. What it receives from then on are the new entries of the room, once
    /// each. `None` if the system has no followers.
    fn follower(&self, _addr: SocketAddr, _room: u32) -> io::Result<Option<TcpStream>> {
        Ok(None)
    }

    /// How many followers it can have at the most.
    fn most_followers(&self) -> usize {
        usize::MAX
    }

    /// Connects somebody who will read the entries of a room from slot `first` to its end, `count` of them, as
    /// clients do who were away. The room has one author, the [`System::loader`]. `None` if the system keeps no
    /// log, or none that is read here.
    fn reader(
        &self,
        _addr: SocketAddr,
        _room: u32,
        _first: u64,
        _count: u64,
    ) -> io::Result<Option<Reader>> {
        Ok(None)
    }

    /// A connection that reads pages of a room with one author, the [`System::loader`]; `None` if the system has
    /// no pages.
    fn pager(&self, _addr: SocketAddr, _room: u32) -> io::Result<Option<Pager>> {
        Ok(None)
    }
}

/// A running system. Its processes end with it.
pub(crate) struct Running {
    child: Child,
    pub(crate) addr: SocketAddr,
    stop: Signal,
}

impl Running {
    /// Starts a program that will listen on `addr`; what it prints goes into the file `log` of `dir`.
    ///
    /// # Errors
    /// If it cannot be started, ends, or does not listen in time: with the end of what it printed.
    pub(crate) fn start(command: &mut Command, addr: SocketAddr, dir: &Path) -> io::Result<Self> {
        let path = dir.join("log");
        let log = fs::File::create(&path)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn();
        let failed = |why: &str| io::Error::other(format!("{command:?}: {why}"));
        let child = child.map_err(|error| failed(&error.to_string()))?;
        let mut running = Self { child, addr, stop: Signal::TERM };
        let begun = Instant::now();
        while TcpStream::connect(addr).is_err() {
            let ended = running.child.try_wait()?.is_some();
            if ended || begun.elapsed() > START {
                let printed = fs::read_to_string(&path).unwrap_or_default();
                let end = printed.len().saturating_sub(2_000);
                let end = printed.get(end..).unwrap_or(&printed);
                return Err(failed(&format!("it does not listen on {addr}:\n{end}")));
            }
            thread::sleep(LOOK);
        }
        Ok(running)
    }

    /// It will be stopped by this signal instead of SIGTERM.
    pub(crate) fn stopped_by(mut self, stop: Signal) -> Self {
        self.stop = stop;
        self
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU seconds that its processes have used: this one, its children, and those that have ended.
    pub(crate) fn cpu_seconds(&self) -> io::Result<f64> {
        let mut ticks = 0;
        for process in fs::read_dir("/proc")? {
            let name = process?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // It may have ended meanwhile.
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            ticks += self.ticks_of(pid, &stat).unwrap_or(0);
        }
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// What a process counts; see proc_pid_stat(5): fields 14 to 17, and 4, its parent.
    fn ticks_of(&self, pid: u32, stat: &str) -> Option<u64> {
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |at: usize| fields.get(at - 3)?.parse::<u64>().ok();
        match pid == self.pid() {
            true => (14..=17).map(number).sum(),
            false if number(4)? == u64::from(self.pid()) => Some(number(14)? + number(15)?),
            false => None,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // These fail if it has ended, which is fine.
        let _ = kill_process(Pid::from_child(&self.child), self.stop);
        let begun = Instant::now();
        while begun.elapsed() < STOP {
            if let Ok(Some(_)) | Err(_) = self.child.try_wait() {
                return;
            }
            thread::sleep(LOOK);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An entry as JSON, with a new id; `body` must need no escapes.
pub(crate) fn entry(body: &str) -> String {
    let id = ulid::Ulid::generate();
    format!(r#"{{"author":"ada","id":"{id}","body":"{body}"}}"#)
}

/// The name of a room.
pub(crate) fn name(room: u32) -> String {
    format!("room-{room}")
}

/// An address of the loopback interface that is free now.
pub(crate) fn free_addr() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Connects, without Nagle's delay and with a timeout for answers.
pub(crate) fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(START))?;
    Ok(stream)
}

/// Whether as many entries came as a page has.
pub(crate) fn is_page(entries: u64) -> io::Result<()> {
    match entries {
        PAGE => Ok(()),
        _ => Err(io::Error::other(format!("a page of {entries} entries instead of {PAGE}"))),
    }
}

/// Reads `count` entries from slot `first` on, page by page: `page` reads one from a slot on, and returns how
/// many entries it has.
pub(crate) fn read_pages(
    first: u64,
    count: u64,
    mut page: impl FnMut(u64) -> io::Result<u64>,
) -> io::Result<()> {
    let mut found = 0;
    while found < count {
        match page(first + found)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            entries => found += entries,
        }
    }
    Ok(())
}

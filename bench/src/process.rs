//! A server as a child process, and what it costs by the kernel's count.
//!
//! Enters: a command that prints `listening on http://ADDRESS` to stderr when it is ready. Leaves:
//! its address, CPU time, memory, and what it printed until its end. Invariant: the child does not
//! outlive its [`Server`].

use std::{
    fs, io,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::peer::{Peer, Tokens};

/// Timeout of a start.
const START: Duration = Duration::from_secs(20);
/// Timeout of a shutdown after SIGTERM.
const STOP: Duration = Duration::from_secs(30);
/// How many of the last lines of stderr are kept.
const KEPT_LINES: usize = 50;

const LISTENING: &str = "listening on http://";
const OPERATORS: &str = "operators http://";

/// What the thread that reads the child's stderr reports.
enum ChildReport {
    Listening(String),
    Closed(Vec<String>),
}

/// A running child.
pub(crate) struct Server {
    child: Child,
    stderr: Receiver<ChildReport>,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    tokens: Option<Tokens>,
    /// Where the floor of `fanout` takes commands, and `roomlog serve` serves its metrics.
    pub(crate) control: Option<SocketAddr>,
}

/// The counts that `serve` prints when it ends.
#[derive(Debug, PartialEq)]
pub(crate) struct Stats {
    pub(crate) blocks: f64,
    pub(crate) entries: f64,
    pub(crate) busy: f64,
    pub(crate) fold_lag_max: f64,
}

impl Stats {
    /// Parses `roomlog: stats blocks=N entries=N busy=N fold_lag_max=N`.
    fn parse(line: &str) -> Option<Self> {
        let (_, fields) = line.split_once("stats ")?;
        let field = |name: &str| {
            let of = |field: &str| field.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
            fields.split_whitespace().find_map(of)
        };
        Some(Self {
            blocks: field("blocks")?,
            entries: field("entries")?,
            busy: field("busy")?,
            fold_lag_max: field("fold_lag_max")?,
        })
    }

    pub(crate) fn entries_per_block(&self) -> f64 {
        self.entries / self.blocks.max(1.0)
    }
}

impl Server {
    /// `roomlog serve` on a free port of the loopback interface, with its data in `data` and these
    /// extra flags, open or with `tokens`. It sends no pings, which the benchmarks' followers would not answer.
    ///
    /// # Errors
    /// If the binary cannot be started or does not listen in time.
    pub(crate) fn roomlog(
        binary: &Path,
        data: &Path,
        flags: &[&str],
        tokens: Option<Tokens>,
    ) -> io::Result<Self> {
        let mut command = Command::new(binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--ping-ms", "3600000"]);
        command.args(["--idle-ms", "7200000", "--data"]).arg(data).args(flags);
        command.args(tokens.iter().flat_map(Tokens::flags));
        let mut server = Self::start(&mut command)?;
        server.tokens = tokens;
        Ok(server)
    }

    /// Where clients connect to.
    pub(crate) fn peer(&self) -> Peer<'_> {
        Peer { addr: self.addr, tokens: self.tokens.as_ref() }
    }

    /// This program again, with one of its own subcommands.
    pub(crate) fn own(subcommand: &str) -> io::Result<Self> {
        Self::start(Command::new(std::env::current_exe()?).arg(subcommand))
    }

    fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::other(format!("cannot start {command:?}: {error}")))?;
        let pipe = child.stderr.take().ok_or_else(|| io::Error::other("no stderr"))?;
        let (report, stderr) = sync_channel(2);
        thread::spawn(move || read_stderr(pipe, &report));
        let line = match stderr.recv_timeout(START) {
            Ok(ChildReport::Listening(line)) => line,
            other => {
                child.kill()?;
                child.wait()?;
                let why = match other {
                    Ok(ChildReport::Closed(lines)) => lines.join("\n"),
                    _ => format!("it did not listen within {START:?}"),
                };
                return Err(io::Error::other(format!("{command:?} did not start: {why}")));
            }
        };
        let addr = addr_after(&line, LISTENING)
            .ok_or_else(|| io::Error::other(format!("no address in {line:?}")))?;
        let control = addr_after(&line, "control on ").or_else(|| addr_after(&line, OPERATORS));
        Ok(Self { child, stderr, addr, tokens: None, control })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits; returns the last lines of its stderr.
    ///
    /// # Errors
    /// If it does not end in time (then it is killed) or ends with another code than 0.
    pub(crate) fn stop(mut self) -> io::Result<Vec<String>> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let Ok(ChildReport::Closed(lines)) = self.stderr.recv_timeout(STOP) else {
            return Err(io::Error::other(format!("the server did not stop within {STOP:?}")));
        };
        let status = self.child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("the server ended with {status}: {lines:?}")));
        }
        Ok(lines)
    }

    /// As [`Server::stop`]; returns the counts that it printed.
    ///
    /// # Errors
    /// As [`Server::stop`], and if it printed none.
    pub(crate) fn stop_with_stats(self) -> io::Result<Stats> {
        let lines = self.stop()?;
        let stats = lines.iter().find_map(|line| Stats::parse(line));
        stats.ok_or_else(|| io::Error::other(format!("no stats in the last lines: {lines:?}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail after `stop`, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_stderr(pipe: ChildStderr, report: &SyncSender<ChildReport>) {
    let mut lines = Vec::new();
    let mut listening = false;
    for line in BufReader::new(pipe).lines().map_while(Result::ok) {
        if !listening && line.contains(LISTENING) {
            listening = true;
            if report.send(ChildReport::Listening(line)).is_err() {
                return;
            }
            continue;
        }
        if lines.len() == KEPT_LINES {
            lines.remove(0);
        }
        lines.push(line);
    }
    // Nobody receives this if the server was dropped, not stopped.
    let _ = report.send(ChildReport::Closed(lines));
}

/// The address after `mark` in `line`.
fn addr_after(line: &str, mark: &str) -> Option<SocketAddr> {
    let word = line.split_once(mark)?.1.split_whitespace().next()?;
    word.trim_end_matches(')').parse().ok()
}

/// CPU seconds, user and system, that process `pid` has used.
pub(crate) fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = cpu_ticks(&stat).ok_or_else(|| io::Error::other(format!("odd stat: {stat}")))?;
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Fields 14 and 15 of `/proc/PID/stat`; the name in field 2 may contain anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    Some(user + fields.next()?.parse::<u64>().ok()?)
}

/// Resident memory of a process, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    /// Shared pages count by their share.
    pub(crate) pss: u64,
}

/// Memory of process `pid`.
pub(crate) fn memory(pid: u32) -> io::Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(Memory { rss: bytes_of(&text, "Rss:")?, pss: bytes_of(&text, "Pss:")? })
}

/// Resident memory of a process, in bytes, by counters that the kernel keeps anyway.
pub(crate) struct Resident {
    pub(crate) now: u64,
    /// The maximum since its start.
    pub(crate) peak: u64,
    /// Without pages of files.
    pub(crate) anonymous: u64,
}

/// Resident memory of process `pid`.
pub(crate) fn resident(pid: u32) -> io::Result<Resident> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(Resident {
        now: bytes_of(&text, "VmRSS:")?,
        peak: bytes_of(&text, "VmHWM:")?,
        anonymous: bytes_of(&text, "RssAnon:")?,
    })
}

/// The field `name`, which the kernel prints in kB.
fn bytes_of(text: &str, name: &str) -> io::Result<u64> {
    let kib = text.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix("kB"));
    let kib: Option<u64> = kib.and_then(|kib| kib.trim().parse().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other(format!("no {name} in {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\troomlog\nVmHWM:\t    300 kB\nVmRSS:\t    200 kB\n";
        let read = ["VmHWM:", "VmRSS:"].map(|name| bytes_of(status, name).expect(name));
        assert_eq!(read, [307_200, 204_800]);
        bytes_of(status, "RssAnon:").expect_err("no such field");
    }

    #[test]
    fn cpu_is_read_after_a_name_with_spaces_and_brackets() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 2 0 0 0 31 11 9 9 20 0 1 0 5";
        assert_eq!(cpu_ticks(stat), Some(42));
    }

    #[test]
    fn addresses_are_read_from_the_line_of_a_ready_server() {
        let line = "roomlog: listening on http://127.0.0.1:81 control on 127.0.0.1:82";
        assert_eq!(addr_after(line, LISTENING), "127.0.0.1:81".parse().ok());
        assert_eq!(addr_after(line, "control on "), "127.0.0.1:82".parse().ok());
        assert_eq!(addr_after("roomlog: hello", LISTENING), None);
        let line = "roomlog: listening on http://127.0.0.1:81 (log L, operators http://[::1]:82)";
        assert_eq!(addr_after(line, OPERATORS), "[::1]:82".parse().ok());
    }

    #[test]
    fn stats_are_read_if_all_are_there() {
        let line = "roomlog: stats blocks=4 entries=32 busy=1 fold_lag_max=9";
        let stats = Stats { blocks: 4.0, entries: 32.0, busy: 1.0, fold_lag_max: 9.0 };
        assert_eq!(Stats::parse(line), Some(stats));
        assert_eq!(Stats::parse("roomlog: stats blocks=4 entries=32"), None);
    }
}

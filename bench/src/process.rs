//! A server as a child process, and what it costs by the kernel's count.
//!
//! Enters: a command that prints `listening on http://ADDRESS` on stderr when it is ready. Leaves:
//! its address, CPU time, memory, and its last words. Invariant: the child never outlives its
//! [`Server`].

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

/// How long a child may take to say where it listens.
const START: Duration = Duration::from_secs(20);
/// How long a child may take to stop after SIGTERM before it is killed.
const STOP: Duration = Duration::from_secs(30);
/// How many of the last lines of stderr are kept.
const KEPT_LINES: usize = 50;

/// What the thread that reads the child's stderr reports.
enum Heard {
    Listening(String),
    Closed(Vec<String>),
}

/// A running child.
pub(crate) struct Server {
    child: Child,
    heard: Receiver<Heard>,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// Where it takes commands: only the peers of this crate do.
    pub(crate) control: Option<SocketAddr>,
}

impl Server {
    /// `roomlog serve` on a free port of the loopback interface, with its data in `data`, and
    /// without pings, which receivers that only count would not answer.
    ///
    /// # Errors
    /// When the binary cannot be started or does not say where it listens.
    pub(crate) fn roomlog(binary: &Path, data: &Path) -> io::Result<Self> {
        Self::with(binary, data, &[])
    }

    /// As [`Server::roomlog`], with more flags.
    ///
    /// # Errors
    /// As [`Server::roomlog`].
    pub(crate) fn with(binary: &Path, data: &Path, flags: &[&str]) -> io::Result<Self> {
        let mut command = Command::new(binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--ping-ms", "3600000"]);
        command.args(["--idle-ms", "7200000", "--data"]).arg(data).args(flags);
        Self::start(&mut command)
    }

    /// This program again, as the fan-out server `kind`.
    ///
    /// # Errors
    /// As [`Server::roomlog`].
    pub(crate) fn peer(kind: &str) -> io::Result<Self> {
        Self::start(Command::new(std::env::current_exe()?).args(["peer", kind]))
    }

    fn start(command: &mut Command) -> io::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| io::Error::other(format!("cannot start {command:?}: {error}")))?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no stderr"))?;
        let (tell, heard) = sync_channel(2);
        thread::spawn(move || listen(stderr, &tell));
        let line = match heard.recv_timeout(START) {
            Ok(Heard::Listening(line)) => line,
            other => {
                child.kill()?;
                child.wait()?;
                let why = match other {
                    Ok(Heard::Closed(lines)) => lines.join("\n"),
                    _ => format!("it did not listen within {START:?}"),
                };
                return Err(io::Error::other(format!("{command:?} did not start: {why}")));
            }
        };
        let addr = after(&line, "listening on http://")
            .ok_or_else(|| io::Error::other(format!("no address in {line:?}")))?;
        Ok(Self { child, heard, addr, control: after(&line, "control on ") })
    }

    /// The process, to look it up in `/proc`.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGTERM, and what it said on stderr until it ended.
    ///
    /// # Errors
    /// When it had to be killed, or ended with another code than 0.
    pub(crate) fn stop(mut self) -> io::Result<Vec<String>> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let Ok(Heard::Closed(lines)) = self.heard.recv_timeout(STOP) else {
            return Err(io::Error::other(format!("the server did not stop within {STOP:?}")));
        };
        let status = self.child.wait()?;
        if !status.success() {
            return Err(io::Error::other(format!("the server ended with {status}: {lines:?}")));
        }
        Ok(lines)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // After `stop` both fail, which is what was wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen(stderr: ChildStderr, tell: &SyncSender<Heard>) {
    let mut lines = Vec::new();
    let mut listening = false;
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        if !listening && line.contains("listening on http://") {
            listening = true;
            if tell.send(Heard::Listening(line)).is_err() {
                return;
            }
            continue;
        }
        if lines.len() == KEPT_LINES {
            lines.remove(0);
        }
        lines.push(line);
    }
    // Nobody listens any more when the server was dropped, not stopped.
    let _ = tell.send(Heard::Closed(lines));
}

/// The address that follows `mark` in `line`.
fn after(line: &str, mark: &str) -> Option<SocketAddr> {
    line.split_once(mark)?.1.split_whitespace().next()?.parse().ok()
}

/// CPU seconds, user and system, that process `pid` has used.
///
/// # Errors
/// When the process is gone or `/proc` has another form.
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

/// Memory of a process, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// Resident.
    pub(crate) rss: u64,
    /// Resident, shared pages counted by their share.
    pub(crate) pss: u64,
}

/// Memory of process `pid`.
///
/// # Errors
/// When the process is gone or `/proc` has another form.
pub(crate) fn memory(pid: u32) -> io::Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
            .map(|kib: u64| kib * 1024)
            .ok_or_else(|| io::Error::other(format!("no {name} in smaps_rollup")))
    };
    Ok(Memory { rss: field("Rss:")?, pss: field("Pss:")? })
}

/// What of a process is in memory, in bytes, by a count that costs it nothing.
pub(crate) struct Resident {
    pub(crate) now: u64,
    /// The most since it began.
    pub(crate) peak: u64,
    /// Without pages of files.
    pub(crate) anonymous: u64,
}

/// What of process `pid` is in memory.
///
/// # Errors
/// When the process is gone or `/proc` has another form.
pub(crate) fn resident(pid: u32) -> io::Result<Resident> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    resident_in(&text).ok_or_else(|| io::Error::other(format!("odd status: {text}")))
}

fn resident_in(status: &str) -> Option<Resident> {
    let field = |name: &str| -> Option<u64> {
        let kib = status.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix(" kB"))?;
        Some(kib.trim().parse::<u64>().ok()? * 1024)
    };
    Some(Resident { now: field("VmRSS:")?, peak: field("VmHWM:")?, anonymous: field("RssAnon:")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let status = "Name:\troomlog\nVmHWM:\t    300 kB\nVmRSS:\t    200 kB\nRssAnon:\t 100 kB\n";
        let Resident { now, peak, anonymous } = resident_in(status).expect("all three");
        assert_eq!([now, peak, anonymous], [204_800, 307_200, 102_400]);
        assert!(resident_in("VmRSS:\t200 kB\n").is_none());
    }

    #[test]
    fn cpu_is_counted_behind_a_name_with_spaces_and_brackets() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 2 0 0 0 31 11 9 9 20 0 1 0 5";
        assert_eq!(cpu_ticks(stat), Some(42));
    }

    #[test]
    fn addresses_are_found_in_the_line_of_a_ready_server() {
        let line = "roomlog: listening on http://127.0.0.1:81 control on 127.0.0.1:82";
        assert_eq!(after(line, "listening on http://"), "127.0.0.1:81".parse().ok());
        assert_eq!(after(line, "control on "), "127.0.0.1:82".parse().ok());
        assert_eq!(after("roomlog: hello", "listening on http://"), None);
    }
}

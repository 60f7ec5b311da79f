//! What the program says on standard error: talk, warnings of the libraries, panics.
//!
//! ```text
//!  say!, tracing, the panic hook ──► a bounded queue ──► one thread ──► standard error
//! ```
//!
//! Enters: lines, from any thread. Leaves: the same lines in the same order. Invariant: nobody who says
//! something waits for standard error or fails with it. A line that cannot be written, because the disk is
//! full, the pipe is closed or its reader has stopped reading, is dropped and counted, and the count is
//! written once standard error takes lines again.
//!
//! Not `tracing-appender`: its guard uses `println!` when the queue is full at the end, which panics where
//! standard output is closed, and writes into data where it is not.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    fmt::Display,
    io::{self, IsTerminal, Write},
    panic,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use roomlog_terminal::text;

/// How many lines may wait to be written; what comes on top is dropped.
const WAITING: usize = 1_024;

/// The most bytes of a line that are written.
const LINE_BYTES: usize = 16 << 10;

/// How long the end of the program waits for standard error to take what was said.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the end of the program looks whether the queue has room.
const FULL_AGAIN: Duration = Duration::from_millis(5);

static QUEUE: OnceLock<Option<SyncSender<Said>>> = OnceLock::new();

/// Lines that were dropped and not yet reported.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines in the queue or being written.
static IN_FLIGHT: AtomicU64 = AtomicU64::new(0);

/// Standard error took nothing while [`settle`] waited, and has taken nothing since.
static STUCK: AtomicBool = AtomicBool::new(false);

enum Said {
    Line(Vec<u8>),
    /// Everything before it was written, or dropped.
    Mark(SyncSender<()>),
}

/// Says a line on standard error. It never waits and never fails.
macro_rules! say {
    ($($what:tt)*) => { $crate::say::line(format_args!($($what)*)) };
}
pub(crate) use say;

/// A line of the program's own. Whatever others wrote in it cannot command the terminal.
pub(crate) fn line(what: impl Display) {
    raw(format!("roomlog: {}", text::printed(&what.to_string())));
}

/// Lines that are written as they are.
pub(crate) fn raw(mut text: String) {
    if text.len() > LINE_BYTES {
        text.truncate(text.floor_char_boundary(LINE_BYTES));
        text.push('…');
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    drawn(text);
}

/// What a progress bar draws, which ends no line.
pub(crate) fn drawn(text: String) {
    let queue = QUEUE.get_or_init(start).as_ref();
    IN_FLIGHT.fetch_add(1, Ordering::Relaxed);
    if queue.is_none_or(|queue| queue.try_send(Said::Line(text.into_bytes())).is_err()) {
        IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets standard error have what was said before more is written to standard output: in a terminal, a line that
/// announces data must not come behind it. Waits as [`flush`] does, and not again while standard error is stuck.
pub(crate) fn settle() {
    if IN_FLIGHT.load(Ordering::Relaxed) > 0 && !STUCK.load(Ordering::Relaxed) {
        flush();
        STUCK.store(IN_FLIGHT.load(Ordering::Relaxed) > 0, Ordering::Relaxed);
    }
}

/// Waits, for a second at most, until standard error has what was said.
pub(crate) fn flush() {
    let Some(Some(queue)) = QUEUE.get() else { return };
    let (done, written) = sync_channel(1);
    let until = Instant::now() + PATIENCE;
    let mut mark = Said::Mark(done);
    // A full queue may be that of a slow reader.
    while let Err(TrySendError::Full(again)) = queue.try_send(mark) {
        if Instant::now() > until {
            return;
        }
        mark = again;
        thread::sleep(FULL_AGAIN);
    }
    let _written_or_given_up =
        written.recv_timeout(until.saturating_duration_since(Instant::now()));
}

/// Flushes when it is dropped, so also when `main` panics.
pub(crate) struct FlushAtEnd;

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        flush();
    }
}

/// Reports panics here too: the standard hook waits for standard error, and panics with it.
pub(crate) fn report_panics() {
    panic::set_hook(Box::new(|what| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed").to_owned();
        let backtrace = Backtrace::capture();
        line(format_args!("thread '{name}' {what}"));
        if backtrace.status() == BacktraceStatus::Captured {
            raw(backtrace.to_string());
        }
    }));
}

/// Whether standard error shows colours.
pub(crate) fn in_colour() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    io::stderr().is_terminal() && !plain
}

/// Where `tracing` writes its lines, one call for each.
pub(crate) struct Lines;

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        raw(if in_colour() { text::printed_in_colour(text) } else { text::printed(text) });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Nothing when the system gives no thread: then all lines are dropped.
fn start() -> Option<SyncSender<Said>> {
    let (queue, said) = sync_channel(WAITING);
    let writer = Writer { to: io::stderr(), torn: false };
    let started = thread::Builder::new().name("stderr".into()).spawn(move || writer.run(&said));
    started.is_ok().then_some(queue)
}

struct Writer<W> {
    to: W,
    /// The last line was cut: the next one begins a new line.
    torn: bool,
}

impl<W: Write> Writer<W> {
    fn run(mut self, said: &Receiver<Said>) {
        for said in said {
            match said {
                Said::Line(line) => {
                    if self.report_dropped() && self.put(&line) {
                        STUCK.store(false, Ordering::Relaxed);
                    } else {
                        DROPPED.fetch_add(1, Ordering::Relaxed);
                    }
                    IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
                }
                Said::Mark(done) => {
                    self.report_dropped();
                    let _gave_up = done.try_send(());
                }
            }
        }
    }

    /// Writes how many lines are missing. False: standard error still takes nothing.
    fn report_dropped(&mut self) -> bool {
        let dropped = DROPPED.load(Ordering::Relaxed);
        if dropped == 0 {
            return true;
        }
        let lines = if dropped == 1 { "line is" } else { "lines are" };
        let report = format!(
            "roomlog: {dropped} {lines} missing here: standard error could not be written to\n"
        );
        let written = self.put(report.as_bytes());
        if written {
            DROPPED.fetch_sub(dropped, Ordering::Relaxed);
        }
        written
    }

    fn put(&mut self, line: &[u8]) -> bool {
        if self.torn && self.to.write_all(b"\n").is_err() {
            return false;
        }
        self.torn = false;
        let mut left = line;
        while !left.is_empty() {
            match self.to.write(left) {
                Ok(0) => break,
                Ok(written) => left = &left[written..],
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        self.torn = !left.is_empty() && left.len() < line.len();
        left.is_empty()
    }
}

//! Messages on standard error: the program's own, warnings of libraries, panics.
//!
//! ```text
//!  message!, tracing, the panic hook ──► a bounded queue ──► one thread ──► standard error
//! ```
//!
//! Input: lines, from any thread. Output: the same lines in the same order. No caller blocks on
//! standard error or fails because of it. A line that cannot be written (full disk, closed pipe,
//! stalled reader) is dropped and counted; the count is written once standard error accepts lines
//! again.
//!
//! Not `tracing-appender`: its guard calls `println!` if the queue is full at the end, which panics
//! if standard output is closed, and otherwise writes into the data.

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

use crate::log_format::{self, Level, LogFormat};

/// The most queued lines; further ones are dropped.
const QUEUE_LINES: usize = 1_024;

/// The most bytes of a line that are written.
const LINE_BYTES: usize = 16 << 10;

const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How often [`flush`] retries while the queue is full.
const FULL_RETRY: Duration = Duration::from_millis(5);

static QUEUE: OnceLock<Option<SyncSender<Queued>>> = OnceLock::new();

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines in the queue or being written.
static IN_FLIGHT: AtomicU64 = AtomicU64::new(0);

/// Standard error accepted nothing while [`flush_before_data`] waited, and has accepted nothing since.
static STUCK: AtomicBool = AtomicBool::new(false);

enum Queued {
    Line(Vec<u8>),
    /// Answered when everything before it was written or dropped.
    Flush(SyncSender<()>),
}

/// Writes a line to standard error. It never blocks and never fails.
macro_rules! message {
    ($($what:tt)*) => {
        $crate::stderr::line($crate::log_format::Level::Info, format_args!($($what)*))
    };
}
pub(crate) use message;

/// Writes a warning.
macro_rules! warning {
    ($($what:tt)*) => {
        $crate::stderr::line($crate::log_format::Level::Warn, format_args!($($what)*))
    };
}
pub(crate) use warning;

/// A line of the program.
pub(crate) fn line(level: Level, what: impl Display) {
    let mut what = what.to_string();
    // In JSON a byte may take six.
    if what.len() > LINE_BYTES / 8 {
        what.truncate(what.floor_char_boundary(LINE_BYTES / 8));
        what.push('…');
    }
    raw(log_format::line(level, what));
}

/// Why a command failed.
pub(crate) fn error(why: &str) {
    line(Level::Error, why);
}

pub(crate) fn raw(mut text: String) {
    if text.len() > LINE_BYTES && LogFormat::current() == LogFormat::Json {
        // Cut, it would be no JSON.
        text =
            log_format::line(Level::Warn, format_args!("left out a line of {} bytes", text.len()));
    } else if text.len() > LINE_BYTES {
        text.truncate(text.floor_char_boundary(LINE_BYTES));
        text.push('…');
    }
    if !text.ends_with('\n') {
        text.push('\n');
    }
    push(text);
}

/// Output of a progress bar, which does not end a line.
pub(crate) fn push(text: String) {
    let queue = QUEUE.get_or_init(start).as_ref();
    IN_FLIGHT.fetch_add(1, Ordering::Relaxed);
    if queue.is_none_or(|queue| queue.try_send(Queued::Line(text.into_bytes())).is_err()) {
        IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// Flushes standard error before data goes to standard output: in a terminal, a line that announces
/// data must precede it. Waits like [`flush`], but not again while standard error is stuck.
pub(crate) fn flush_before_data() {
    if IN_FLIGHT.load(Ordering::Relaxed) > 0 && !STUCK.load(Ordering::Relaxed) {
        flush();
        STUCK.store(IN_FLIGHT.load(Ordering::Relaxed) > 0, Ordering::Relaxed);
    }
}

/// Waits, for [`FLUSH_TIMEOUT`] at most, until the queued lines were written.
pub(crate) fn flush() {
    let Some(Some(queue)) = QUEUE.get() else { return };
    let (done, written) = sync_channel(1);
    let until = Instant::now() + FLUSH_TIMEOUT;
    let mut flush = Queued::Flush(done);
    // The queue is also full while the reader is merely slow.
    while let Err(TrySendError::Full(again)) = queue.try_send(flush) {
        if Instant::now() > until {
            return;
        }
        flush = again;
        thread::sleep(FULL_RETRY);
    }
    let _written_or_timeout = written.recv_timeout(until.saturating_duration_since(Instant::now()));
}

/// Flushes when it is dropped, so also when `main` panics.
pub(crate) struct FlushAtEnd;

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        flush();
    }
}

/// Reports panics through the queue: the standard hook blocks on standard error.
pub(crate) fn report_panics() {
    panic::set_hook(Box::new(|what| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed").to_owned();
        let backtrace = Backtrace::capture();
        line(Level::Error, format_args!("thread '{name}' {what}"));
        if backtrace.status() == BacktraceStatus::Captured {
            match LogFormat::current() {
                LogFormat::Text => raw(backtrace.to_string()),
                LogFormat::Json => line(Level::Error, backtrace),
            }
        }
    }));
}

pub(crate) fn in_colour() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|set| !set.is_empty());
    io::stderr().is_terminal() && !plain
}

/// The writer of `tracing`, which calls it once per line.
pub(crate) struct TracingWriter;

impl Write for TracingWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.strip_suffix('\n').unwrap_or(&text);
        raw(match LogFormat::current() {
            LogFormat::Json => log_format::safe(text),
            LogFormat::Text if in_colour() => text::printed_in_colour(text),
            LogFormat::Text => text::printed(text),
        });
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `None` if the system provides no thread: then all lines are dropped.
fn start() -> Option<SyncSender<Queued>> {
    let (queue, messages) = sync_channel(QUEUE_LINES);
    let writer = StderrWriter { to: io::stderr(), torn: false };
    let run = move || writer.run(&messages);
    thread::Builder::new().name("stderr".into()).spawn(run).is_ok().then_some(queue)
}

struct StderrWriter<W> {
    to: W,
    /// The last line was written in part: the next one begins a new line.
    torn: bool,
}

impl<W: Write> StderrWriter<W> {
    fn run(mut self, messages: &Receiver<Queued>) {
        for message in messages {
            match message {
                Queued::Line(line) => {
                    if self.report_dropped() && self.put(&line) {
                        STUCK.store(false, Ordering::Relaxed);
                    } else {
                        DROPPED.fetch_add(1, Ordering::Relaxed);
                    }
                    IN_FLIGHT.fetch_sub(1, Ordering::Relaxed);
                }
                Queued::Flush(done) => {
                    self.report_dropped();
                    let _caller_timed_out = done.try_send(());
                }
            }
        }
    }

    /// Writes how many lines are missing; `false` if standard error still accepts nothing.
    fn report_dropped(&mut self) -> bool {
        let dropped = DROPPED.load(Ordering::Relaxed);
        if dropped == 0 {
            return true;
        }
        let lines = if dropped == 1 { "line is" } else { "lines are" };
        let report =
            format!("{dropped} {lines} missing here: standard error could not be written to");
        let report = log_format::line(Level::Info, report) + "\n";
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

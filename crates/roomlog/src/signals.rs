//! The signals that end a command: SIGINT, SIGTERM and SIGHUP.
//!
//! Enters: signals. Leaves: what they ask for. SIGHUP means that the terminal was closed, or that
//! somebody asks a daemon to read its files again. A process that had a terminal and has none any more
//! has lost it: the kernel takes it away before the signal arrives. Any other SIGHUP asks for a reload.

use std::fs::File;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// `None` if the process was started to outlive its terminal (`nohup`).
    hangup: Option<Signal>,
    had_terminal: bool,
}

/// What a signal asks of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Stop,
    Reload,
}

impl Signals {
    pub(crate) fn install() -> Result<Self, Failure> {
        let install = |kind| {
            signal(kind).map_err(|why| Failure::other(format!("cannot listen for signals: {why}")))
        };
        let hangup = (!ignores_hangup()).then(|| install(SignalKind::hangup()));
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
            hangup: hangup.transpose()?,
            had_terminal: has_terminal(),
        })
    }

    /// Waits for one of them.
    pub(crate) async fn received(&mut self) {
        self.asked().await;
    }

    /// Waits for one of them, and says what it asks of a server.
    pub(crate) async fn asked(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::Stop,
            Some(()) = async { self.hangup.as_mut()?.recv().await } => {
                if self.had_terminal && !has_terminal() { Asked::Stop } else { Asked::Reload }
            }
        }
    }
}

/// Whether the process has a controlling terminal.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Whether the process was started with SIGHUP ignored, as `nohup` does: installing a handler would
/// undo that.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal N is bit N - 1.
    ignored.is_some_and(|mask| mask & (1 << (SignalKind::hangup().as_raw_value() - 1)) != 0)
}

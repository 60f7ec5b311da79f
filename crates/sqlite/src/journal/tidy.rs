//! The thread that makes the next segment before it is needed, and retires the oldest ones.
//!
//! ```text
//!  a segment is begun ──► make the one after it, from zeros or from the blank one
//!  a trim is allowed  ──► while there are more than are kept: oldest ──► zeros ──► the blank one
//! ```
//!
//! So an append waits neither for zeros to be written nor for a file to be removed.

use std::{
    fs::File,
    io,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use super::{segment, shared::Shared};
use crate::files::segment_name;

/// A segment that was made and not begun.
pub(super) struct Spare {
    pub(super) file: File,
    pub(super) bytes: u64,
}

enum Errand {
    Make { number: u64, bytes: u64 },
    Trim,
}

/// How many errands wait at most: one to make a segment, and trims, which do all that there is to do.
const ERRANDS: usize = 4;

pub(super) struct Tidy {
    errands: mpsc::SyncSender<Errand>,
    made: mpsc::Receiver<io::Result<Spare>>,
    /// A segment is being made, or is made.
    is_asked: bool,
    thread: Option<JoinHandle<()>>,
}

/// Asks for a trim.
#[derive(Clone)]
pub(super) struct AskTrim(mpsc::SyncSender<Errand>);

impl AskTrim {
    pub(super) fn ask(&self) {
        let _or_one_is_waiting = self.0.try_send(Errand::Trim);
    }
}

impl Tidy {
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let (errands, asked) = mpsc::sync_channel(ERRANDS);
        let (tell, made) = mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            for errand in asked {
                match errand {
                    Errand::Make { number, bytes } => {
                        let _writer_has_ended = tell.send(make(&shared, number, bytes));
                    }
                    Errand::Trim => trim(&shared),
                }
            }
        });
        Self { errands, made, is_asked: false, thread: Some(thread) }
    }

    pub(super) fn ask_trim(&self) -> AskTrim {
        AskTrim(self.errands.clone())
    }

    /// Asks for a segment.
    pub(super) fn ask(&mut self, number: u64, bytes: u64) {
        self.is_asked |= self.errands.send(Errand::Make { number, bytes }).is_ok();
    }

    /// The segment that was asked for, once it is made; `None` if there is none, or it could not be made.
    pub(super) fn take(&mut self) -> Option<Spare> {
        if !std::mem::take(&mut self.is_asked) {
            return None;
        }
        self.made.recv().ok()?.ok()
    }

    /// Waits until the thread has ended; whoever could ask for a trim must have ended before.
    pub(super) fn end(&mut self) {
        // Without the other ends of its channels the thread returns.
        (self.errands, self.made) = (mpsc::sync_channel(1).0, mpsc::sync_channel(1).1);
        if let Some(thread) = self.thread.take() {
            let _ended_or_panicked = thread.join();
        }
    }
}

/// Makes a segment now.
pub(super) fn make(shared: &Shared, number: u64, bytes: u64) -> io::Result<Spare> {
    let _one = shared.files.lock();
    let file = segment::make(&shared.directory, number, bytes)?;
    Ok(Spare { file, bytes })
}

fn trim(shared: &Shared) {
    loop {
        let _one = shared.files.lock();
        let Some(oldest) = shared.surplus() else { return };
        shared.pop();
        if let Err(error) = segment::retire(&shared.directory, oldest.number, oldest.bytes) {
            let why = segment::failed(&segment_name(oldest.number), "cannot be trimmed", &error);
            let _first_reason = shared.failed.set(why.0);
            return;
        }
    }
}

//! The thread that makes the next segment before it is needed, and retires the oldest ones.
//!
//! ```text
//!  a segment is begun ──► make the one after it, from zeros or from the blank one
//!  a trim is allowed  ──► while there are more than are kept: oldest ──► zeros ──► the blank one
//! ```
//!
//! Enters: at most one segment to make, which comes first, and a wish to trim. Invariant: an append waits for
//! one segment at most, and then only if it is the one that it needs; whoever drops [`Tidy`] waits for what
//! the thread is doing, and no longer.

use std::{
    fs::File,
    io,
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use parking_lot::{Condvar, Mutex};

use super::{segment, shared::Shared};
use crate::{error::is_disk_full, files::segment_name};

/// A segment that was made and not begun.
pub(super) struct Spare {
    pub(super) file: File,
    pub(super) bytes: u64,
}

#[derive(Default)]
struct Wishes {
    /// The number and the length of a segment.
    make: Option<(u64, u64)>,
    trim: bool,
    end: bool,
}

#[derive(Default)]
struct Desk {
    wishes: Mutex<Wishes>,
    changed: Condvar,
}

impl Desk {
    fn wish(&self, change: impl FnOnce(&mut Wishes)) {
        change(&mut self.wishes.lock());
        self.changed.notify_one();
    }
}

pub(super) struct Tidy {
    desk: Arc<Desk>,
    made: mpsc::Receiver<io::Result<Spare>>,
    /// A segment is being made, or is made.
    is_asked: bool,
    thread: Option<JoinHandle<()>>,
}

/// Asks for a trim.
#[derive(Clone)]
pub(super) struct AskTrim(Arc<Desk>);

impl AskTrim {
    pub(super) fn ask(&self) {
        self.0.wish(|wishes| wishes.trim = true);
    }
}

impl Tidy {
    pub(super) fn start(shared: Arc<Shared>) -> Self {
        let desk = Arc::<Desk>::default();
        let (tell, made) = mpsc::sync_channel(1);
        let wishes = desk.clone();
        let thread = std::thread::spawn(move || run(&wishes, &shared, &tell));
        Self { desk, made, is_asked: false, thread: Some(thread) }
    }

    pub(super) fn ask_trim(&self) -> AskTrim {
        AskTrim(self.desk.clone())
    }

    /// Asks for a segment.
    pub(super) fn ask(&mut self, number: u64, bytes: u64) {
        self.is_asked = true;
        self.desk.wish(|wishes| wishes.make = Some((number, bytes)));
    }

    /// The segment that was asked for, once it is made; `None` if there is none, or it could not be made.
    pub(super) fn take(&mut self) -> Option<Spare> {
        if !std::mem::take(&mut self.is_asked) {
            return None;
        }
        self.made.recv().ok()?.ok()
    }
}

impl Drop for Tidy {
    fn drop(&mut self) {
        self.desk.wish(|wishes| wishes.end = true);
        if let Some(thread) = self.thread.take() {
            let _ended_or_panicked = thread.join();
        }
    }
}

fn run(desk: &Desk, shared: &Shared, tell: &mpsc::SyncSender<io::Result<Spare>>) {
    loop {
        let mut wishes = desk.wishes.lock();
        if wishes.end {
            return;
        }
        if let Some((number, bytes)) = wishes.make.take() {
            drop(wishes);
            let _writer_has_ended = tell.send(make(shared, number, bytes));
        } else if std::mem::take(&mut wishes.trim) {
            drop(wishes);
            if trim(shared) {
                desk.wish(|wishes| wishes.trim = true);
            }
        } else {
            desk.changed.wait(&mut wishes);
        }
    }
}

/// Makes a segment now.
pub(super) fn make(shared: &Shared, number: u64, bytes: u64) -> io::Result<Spare> {
    let mut blank = shared.files.lock();
    let file = segment::make(&shared.directory, &mut blank, number, bytes)?;
    Ok(Spare { file, bytes })
}

/// Retires the oldest segment, if there are more than are kept; whether there may be another one.
fn trim(shared: &Shared) -> bool {
    let mut blank = shared.files.lock();
    let Some(oldest) = shared.surplus() else { return false };
    match shared.retire(&mut blank, &oldest) {
        Ok(()) => return true,
        // It is tried again after the next fold.
        Err(error) if is_disk_full(&error) => {}
        Err(error) => {
            let why = segment::failed(&segment_name(oldest.number), "cannot be trimmed", &error);
            let _first_reason = shared.failed.set(why.0);
        }
    }
    false
}

//! parking_lot under Shuttle, with the condition variable that shuttle-parking_lot lacks.

use shuttle::thread::{self, Thread};
pub use shuttle_parking_lot::*;

/// As `parking_lot::Condvar`; a wait may end early.
#[derive(Default)]
pub struct Condvar {
    waiting: Mutex<Vec<Thread>>,
}

impl std::fmt::Debug for Condvar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

impl Condvar {
    /// Waits while `condition` is true.
    pub fn wait_while<T>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) {
        while condition(&mut *guard) {
            // Before the lock is free, so that a notice in between is not missed.
            self.waiting.lock().push(thread::current());
            MutexGuard::unlocked(guard, thread::park);
        }
    }

    /// Ends one wait.
    pub fn notify_one(&self) {
        if let Some(thread) = self.waiting.lock().pop() {
            thread.unpark();
        }
    }
}

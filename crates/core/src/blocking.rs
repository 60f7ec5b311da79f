//! Where work is done that waits for the disk; and short reads of it on the thread of the caller, for which its
//! other tasks do not wait.
//!
//! Enters: work that may wait for the disk. Leaves: its result. Invariant: at most [`AT_ONCE`] run
//! concurrently, so that they do not open more files than that; others wait, each on a thread that the
//! runtime has replaced.

use parking_lot::{Condvar, Mutex};
use tokio::runtime::{Handle, RuntimeFlavor};

/// How many reads run concurrently.
const AT_ONCE: usize = 16;

/// The threads that a node has beside those of its runtime.
#[derive(Debug, Clone, Copy)]
pub enum Threads {
    /// One for each fold, and the runtime's blocking threads for reads.
    Many {
        /// Called first on each thread that folds, to set its priority: nothing waits for a fold unless it
        /// is far behind.
        on_fold_thread: fn(),
    },
    /// None: everything is a task of the runtime, and waits in place. With a runtime of one thread, what
    /// happens depends on nothing but what enters.
    None,
}

impl Default for Threads {
    fn default() -> Self {
        Self::Many { on_fold_thread: || {} }
    }
}

/// Whether the runtime has other threads; most tests have not.
pub(crate) fn can_block_in_place() -> bool {
    Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread)
}

/// Runs reads in place.
#[derive(Debug, Default)]
pub(crate) struct InPlace {
    running: Mutex<usize>,
    ended: Condvar,
}

impl InPlace {
    /// Runs `work` on this thread. The runtime's other tasks go on, if it has other threads.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        if !can_block_in_place() {
            return work();
        }
        tokio::task::block_in_place(|| {
            let mut running = self.running.lock();
            self.ended.wait_while(&mut running, |running| *running >= AT_ONCE);
            *running += 1;
            drop(running);
            let _running = Running(self);
            work()
        })
    }
}

/// One that runs, until it is dropped: also if it panics.
struct Running<'a>(&'a InPlace);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.running.lock() -= 1;
        self.0.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn other_tasks_of_the_only_worker_go_on_meanwhile() {
        let (in_place, both) = (Arc::new(InPlace::default()), Arc::new(Barrier::new(2)));
        let waiting = {
            let (in_place, both) = (in_place.clone(), both.clone());
            tokio::spawn(async move { in_place.run(|| both.wait()) })
        };
        // Both wait for each other: on one thread they would for ever.
        let other = tokio::spawn(async move { in_place.run(|| both.wait()) });
        assert!(waiting.await.is_ok() && other.await.is_ok());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn no_more_run_at_once_than_may() {
        let in_place = Arc::new(InPlace::default());
        let running = |in_place: &InPlace| *in_place.running.lock();
        let tasks = (0..4 * AT_ONCE).map(|_| {
            let in_place = in_place.clone();
            tokio::spawn(async move { in_place.run(|| running(&in_place)) })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert!((1..=AT_ONCE).contains(&task.await.expect("a result")));
        }
        assert_eq!(running(&in_place), 0);
    }

    #[tokio::test]
    async fn on_a_runtime_of_one_thread_it_is_run_as_it_is() {
        assert_eq!(InPlace::default().run(|| 7), 7);
    }
}

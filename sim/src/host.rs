//! A host: a runtime of one thread whose clock stands still between ticks.
//!
//! Enters: a task, ticks. Leaves: what its tasks do in a millisecond. Invariant: when a host is dropped, none of
//! its tasks runs any more, wherever it waited.

use std::{io, time::Duration};

use tokio::{
    runtime::{Builder, Runtime},
    time::sleep,
};

/// How long a tick is.
pub(crate) const TICK: Duration = Duration::from_millis(1);

pub(crate) struct Host {
    runtime: Runtime,
}

impl Host {
    pub(crate) fn start(task: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
        runtime.spawn(task);
        Ok(Self { runtime })
    }

    /// Runs all tasks for one tick.
    pub(crate) fn tick(&self) {
        self.runtime.block_on(async { sleep(TICK).await });
    }
}

//! The append loop: a runtime with one thread, for the node and for the connections that mostly append.
//!
//! Its thread works in turns: it reads all sockets that have something, closes a block of what they
//! appended, applies it once it is durable, and writes to each socket once (docs/decisions/0013). Enters:
//! tasks, through its handle. Invariant: its tasks and its threads have ended when it is dropped.

use std::thread::JoinHandle;

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

use crate::failure::Failure;

/// How many tasks run before the sockets are asked again what they have. A turn is as long as that at
/// most, so more sockets than these do not share a block; fewer, and a turn would ask several times.
const TASKS_A_TURN: u32 = 1_024;

/// A thread that runs tasks, until this is dropped.
pub(crate) struct AppendLoop {
    handle: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl AppendLoop {
    /// Starts the thread; `on_thread` is called on it first.
    pub(crate) fn start(on_thread: fn()) -> Result<Self, Failure> {
        let not_started = |why| Failure::other(format!("cannot start the append loop: {why}"));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(TASKS_A_TURN)
            .build()
            .map_err(not_started)?;
        let (handle, (end, ended)) = (runtime.handle().clone(), oneshot::channel::<()>());
        let thread = std::thread::Builder::new().name("append-loop".into()).spawn(move || {
            on_thread();
            // An error says that the sender was dropped.
            let _ended = runtime.block_on(ended);
        });
        let thread = Some(thread.map_err(not_started)?);
        Ok(Self { handle, end: Some(end), thread })
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for AppendLoop {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ended_or_panicked = thread.join();
        }
    }
}

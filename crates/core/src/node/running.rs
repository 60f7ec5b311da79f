//! The tasks and threads of a node.
//!
//! Enters: the partitions of a node. Leaves: how they ended. A sequencer whose journal waits for the disk
//! has its own thread, as each fold has; everything else is a task on the caller's runtime, so that
//! whom the applier wakes is on the same thread. Invariant: all of them end when [`Running`] is dropped
//! or joined.

use std::thread::{self, JoinHandle};

use futures_util::FutureExt;
use tokio::{
    sync::oneshot,
    task::{JoinSet, spawn_blocking},
};
use tracing::error;

use super::{partition::Part, settings::NodeThread};
use crate::{append::task::SequencerTask, model::error::NodeError};

type OnThread = fn(NodeThread);

/// What runs of a node.
pub(super) struct Running {
    tasks: JoinSet<Result<(), NodeError>>,
    folds: Vec<JoinHandle<()>>,
    ended: Option<Result<(), NodeError>>,
}

impl Running {
    pub(super) fn start(parts: Vec<Part>, on_thread: OnThread) -> Result<Self, NodeError> {
        let (mut tasks, mut folds) = (JoinSet::new(), Vec::new());
        for Part { sequencer, applier, agreement, folder, .. } in parts {
            tasks.spawn(applier.run());
            if let Some(agreement) = agreement {
                tasks.spawn(agreement.run());
            }
            if sequencer.is_blocking() {
                tasks.spawn(on_a_thread_of_its_own(sequencer, on_thread)?);
            } else {
                tasks.spawn(sequencer.run());
            }
            folds.push(start_thread("fold", move || {
                on_thread(NodeThread::Fold);
                folder.run();
            })?);
        }
        Ok(Self { tasks, folds, ended: None })
    }

    /// Waits until all have ended. Gives the cause of a failure, not what followed from it.
    pub(super) async fn join(&mut self) -> Result<(), NodeError> {
        if let Some(ended) = &self.ended {
            return ended.clone();
        }
        let mut all = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            let ended = ended.unwrap_or_else(|_| Err(panicked()));
            let is_cause = matches!(ended, Err(NodeError::Disagrees { .. }));
            all = if is_cause { ended } else { all.and(ended) };
        }
        let folds = std::mem::take(&mut self.folds);
        let join = move || folds.into_iter().try_for_each(JoinHandle::join);
        let _folded_or_panicked = spawn_blocking(join).await;
        if let Err(problem) = &all {
            error!(%problem, "the node stopped");
        }
        self.ended = Some(all.clone());
        all
    }
}

fn panicked() -> NodeError {
    NodeError::Thread("a thread of the node panicked".into())
}

fn on_a_thread_of_its_own(
    sequencer: SequencerTask,
    on_thread: OnThread,
) -> Result<impl Future<Output = Result<(), NodeError>> + Send, NodeError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(no_thread)?;
    let (done, ended) = oneshot::channel();
    start_thread("sequencer", move || {
        on_thread(NodeThread::Sequencer);
        let _nobody_waits = done.send(runtime.block_on(sequencer.run()));
    })?;
    Ok(ended.map(|ended| ended.unwrap_or_else(|_| Err(panicked()))))
}

fn start_thread(
    name: &str,
    run: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, NodeError> {
    thread::Builder::new().name(name.into()).spawn(run).map_err(no_thread)
}

fn no_thread(why: std::io::Error) -> NodeError {
    NodeError::Thread(format!("cannot start a thread: {why}"))
}

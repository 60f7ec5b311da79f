//! The tasks and threads of a node.
//!
//! Enters: the parts of its partitions. Leaves: how they ended. Each fold has a thread, if there are threads;
//! everything else is a task on the caller's runtime, but for deliveries, which may have another. Invariants:
//! all tasks end when [`Running`] is dropped or joined, and threads follow them; deliveries end when it is
//! dropped.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::Builder,
    task::{JoinSet, spawn_blocking},
};
use tracing::error;

use super::{partition::PartitionParts, settings::NodeSettings};
use crate::{
    apply::fold::Folder, blocking::Threads, model::error::NodeError, read::delivery::Deliveries,
};

pub(super) struct Running {
    tasks: JoinSet<Result<(), NodeError>>,
    /// Delivers until it is dropped.
    _deliveries: JoinSet<()>,
    folds: Vec<JoinHandle<()>>,
    ended: Option<Result<(), NodeError>>,
}

impl Running {
    pub(super) fn start(
        parts: Vec<PartitionParts>,
        deliveries: Arc<Deliveries>,
        settings: &NodeSettings,
    ) -> Result<Self, NodeError> {
        let (mut tasks, mut folds) = (JoinSet::new(), Vec::new());
        let mut delivering = JoinSet::new();
        match &settings.deliver_on {
            Some(runtime) => delivering.spawn_on(deliveries.run(), runtime),
            None => delivering.spawn(deliveries.run()),
        };
        for PartitionParts { sequencer, applier, agreement, folder, .. } in parts {
            tasks.spawn(applier.run());
            if let Some(agreement) = agreement {
                tasks.spawn(agreement.run());
            }
            tasks.spawn(sequencer.run());
            match settings.threads {
                Threads::Many { on_fold_thread } => {
                    folds.push(start_fold_thread(folder, on_fold_thread)?);
                }
                Threads::None => {
                    tasks.spawn(async {
                        folder.run().await;
                        Ok(())
                    });
                }
            }
        }
        Ok(Self { tasks, _deliveries: delivering, folds, ended: None })
    }

    /// Waits until all have ended. Returns the cause of a failure, not its consequences.
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
        if !folds.is_empty() {
            let join = move || folds.into_iter().try_for_each(JoinHandle::join);
            let _folded_or_panicked = spawn_blocking(join).await;
        }
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

/// The thread of a fold, with a runtime of its own to wait with.
fn start_fold_thread(folder: Folder, on_fold_thread: fn()) -> Result<JoinHandle<()>, NodeError> {
    let runtime = Builder::new_current_thread().enable_time().build().map_err(no_thread)?;
    let fold = move || {
        on_fold_thread();
        runtime.block_on(folder.run());
    };
    thread::Builder::new().name("fold".into()).spawn(fold).map_err(no_thread)
}

fn no_thread(why: std::io::Error) -> NodeError {
    NodeError::Thread(format!("cannot start a thread: {why}"))
}

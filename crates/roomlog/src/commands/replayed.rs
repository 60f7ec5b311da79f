//! A node without clients: what a journal holds, applied.
//!
//! Enters: a journal and an archive. Leaves: heads and pages. Invariant: nothing is appended through it.

use std::{collections::BTreeMap, sync::Arc};

use roomlog_core::{
    Identity, Node, NodeError, NodeSettings,
    archive::Archive,
    head::Head,
    identity::NodeId,
    journal::{Journal, Position},
    proposal::Stored,
    read::reader::PageLimits,
};
use roomlog_protocol::{RoomName, Slot, Span, latest_of};
use tokio::task::JoinSet;

use super::verify_directory::{PAGE_ENTRIES, ROOMS};
use crate::failure::Failure;

/// The identity with which one node's journal is read: nothing is proposed with it.
pub(super) const NOBODY: Identity = Identity { node: NodeId([0; 16]), incarnation: 0 };

pub(super) fn said(why: impl ToString) -> Failure {
    Failure::said(why.to_string())
}

/// The journal, applied anew.
pub(super) struct Replayed {
    node: Node,
    tasks: JoinSet<Result<(), NodeError>>,
    folders: Vec<std::thread::JoinHandle<()>>,
}

impl Replayed {
    /// Applies what the journal has and this archive has not.
    pub(super) async fn new(
        identity: Identity,
        archive: Arc<dyn Archive>,
        journal: Arc<dyn Journal>,
    ) -> Result<Self, Failure> {
        let opened = Node::open(identity, journal, archive, NodeSettings::default());
        let (node, running) = opened.map_err(said)?;
        let (mut tasks, mut folders) = (JoinSet::new(), Vec::new());
        for (task, folder) in running.partitions {
            folders.push(std::thread::spawn(move || folder.run()));
            tasks.spawn(task.run());
        }
        let replayed = Self { node, tasks, folders };
        if replayed.node.caught_up().await { Ok(replayed) } else { Err(replayed.end().await) }
    }

    /// Waits until all that the journal holds is in the archive; up to which position that is.
    pub(super) async fn fold(&self) -> Result<Position, Failure> {
        self.node.fold_to_head().await.map_err(said)
    }

    /// The head of a room, as far as the journal was applied.
    pub(super) fn head(&self, room: &RoomName) -> Result<Head, Failure> {
        Ok(self.node.rooms.open(room).map_err(said)?.head())
    }

    /// Ends it, when nothing went wrong.
    pub(super) async fn finish(mut self) -> Result<(), Failure> {
        self.node.inbox.close();
        let mut all = Ok(());
        while let Some(ended) = self.tasks.join_next().await {
            all = all.and(ended.map_err(said).and_then(|ended| ended.map_err(said)));
        }
        let folders = self.folders;
        let join = move || folders.into_iter().try_for_each(std::thread::JoinHandle::join);
        let _folded_or_panicked = tokio::task::spawn_blocking(join).await;
        all
    }

    /// Ends it; why it failed, when it did.
    pub(super) async fn end(self) -> Failure {
        let ended = self.finish().await.err();
        ended.unwrap_or_else(|| Failure::said("the journal was not applied to its end"))
    }

    pub(super) fn rooms(
        &self,
        only: Option<&RoomName>,
    ) -> Result<BTreeMap<RoomName, Head>, Failure> {
        let mut rooms = BTreeMap::new();
        loop {
            let after = only.is_none().then(|| rooms.keys().next_back()).flatten();
            let names: Vec<RoomName> = match only {
                Some(room) => vec![room.clone()],
                None => {
                    let heads = self.node.room_heads(after, ROOMS).map_err(said)?;
                    heads.into_iter().map(|(room, _)| room).collect()
                }
            };
            let more = !names.is_empty();
            for room in names {
                let head = self.node.rooms.open(&room).map_err(said)?.head();
                rooms.insert(room, head);
            }
            if only.is_some() || !more {
                rooms.retain(|_, head| head.end > 0);
                return Ok(rooms);
            }
        }
    }

    /// Up to a page of entries from slot `first` on.
    pub(super) async fn page(&self, room: &RoomName, first: Slot) -> Result<Vec<Stored>, Failure> {
        let limits = PageLimits { entries: PAGE_ENTRIES, bytes: usize::MAX };
        let span = Span::After(latest_of(first));
        let page = self.node.reader.read(room, span, None, limits).await.map_err(said)?;
        Ok(page.entries)
    }
}

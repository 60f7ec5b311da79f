//! A node without clients: what a journal holds, applied.
//!
//! Enters: a journal and an archive. Leaves: heads and pages. Invariant: nothing is appended through it.

use std::{collections::BTreeMap, sync::Arc};

use roomlog_core::{
    Engines, Identity, Node, NodeSettings,
    archive::Archive,
    head::Head,
    identity::NodeId,
    journal::{Journal, Position},
    proposal::Stored,
    reader::PageLimits,
};
use roomlog_protocol::{RoomName, Slot, Span, latest_of};

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
}

impl Replayed {
    /// Applies what the journal has and this archive has not.
    pub(super) async fn new(
        identity: Identity,
        archive: Arc<dyn Archive>,
        journal: Arc<dyn Journal>,
    ) -> Result<Self, Failure> {
        let engines = Engines { identity, journal, archive, backup: None };
        let node = Node::start(engines, NodeSettings::default()).map_err(said)?;
        let replayed = Self { node };
        if replayed.node.caught_up().await { Ok(replayed) } else { Err(replayed.end().await) }
    }

    /// Waits until all that the journal holds is in the archive; up to which position that is.
    pub(super) async fn fold(&self) -> Result<Position, Failure> {
        self.node.fold_to_head().await.map_err(said)
    }

    /// The head of a room, as far as the journal was applied.
    pub(super) fn head(&self, room: &RoomName) -> Result<Head, Failure> {
        Ok(self.node.tail(room).map_err(said)?.head())
    }

    /// Ends it, when nothing went wrong.
    pub(super) async fn finish(self) -> Result<(), Failure> {
        self.node.stop().await.map_err(said)
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
                let head = self.node.tail(&room).map_err(said)?.head();
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
        let page = self.node.read(room, span, None, limits).await.map_err(said)?;
        Ok(page.entries)
    }
}

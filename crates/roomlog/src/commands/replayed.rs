//! A node without clients: applies what a journal holds, and reads the result.

use std::{collections::BTreeMap, sync::Arc};

use roomlog_core::{
    Engines, Identity, Node, NodeSettings,
    archive::{Archive, ArchiveError},
    head::Head,
    identity::NodeId,
    journal::{Journal, Position},
    proposal::Stored,
    reader::PageLimits,
};
use roomlog_protocol::{Latest, RoomName, RoomRange, Slot, Span};

use crate::failure::Failure;

pub(super) const PAGE_ENTRIES: u64 = 4_096;

const ROOMS: usize = 1_000;

/// The identity for reading the journal of one node: nothing is proposed with it.
pub(super) const NOBODY: Identity = Identity { node: NodeId([0; 16]), incarnation: 0 };

/// The pages of a room that ends at `end`: the first slot of each, and the slot after its last.
pub(super) fn pages(end: Slot) -> impl Iterator<Item = (Slot, Slot)> {
    let page = usize::try_from(PAGE_ENTRIES).unwrap_or(usize::MAX);
    (0..end).step_by(page).map(move |first| (first, (first + PAGE_ENTRIES).min(end)))
}

/// All rooms, [`ROOMS`] at a time from those after a room.
pub(super) fn all_rooms(
    next: impl Fn(&RoomRange, usize) -> Result<Vec<(RoomName, Head)>, ArchiveError>,
) -> Result<BTreeMap<RoomName, Head>, Failure> {
    let mut rooms = BTreeMap::new();
    loop {
        let more = next(&RoomRange::every().after(rooms.keys().next_back()), ROOMS)
            .map_err(Failure::other)?;
        if more.is_empty() {
            return Ok(rooms);
        }
        rooms.extend(more);
    }
}

pub(super) struct Replayed {
    node: Node,
}

impl Replayed {
    /// Applies what the journal has and the archive lacks.
    pub(super) async fn new(
        identity: Identity,
        archive: Arc<dyn Archive>,
        journal: Arc<dyn Journal>,
    ) -> Result<Self, Failure> {
        let engines = Engines { identity, journal, archive, backup: None };
        let node = Node::start(engines, NodeSettings::default()).map_err(Failure::other)?;
        let replayed = Self { node };
        if replayed.node.caught_up().await {
            return Ok(replayed);
        }
        let ended = replayed.finish().await.err();
        Err(ended.unwrap_or_else(|| Failure::other("the journal was not applied to its end")))
    }

    /// Waits until the archive has everything that the journal holds; up to which position that is.
    pub(super) async fn fold(&self) -> Result<Position, Failure> {
        self.node.fold_to_head().await.map_err(Failure::other)
    }

    /// Waits until every room has at least these entries, or the node has ended.
    pub(super) async fn reached(&self, rooms: &BTreeMap<RoomName, Head>) -> Result<(), Failure> {
        let all = async {
            for (room, head) in rooms {
                self.node.tail(room).map_err(Failure::other)?.reached(head.end).await;
            }
            Ok(())
        };
        tokio::select! {
            all = all => all,
            // The next wait says why.
            () = self.node.ended() => Ok(()),
        }
    }

    pub(super) fn head(&self, room: &RoomName) -> Result<Head, Failure> {
        Ok(self.node.tail(room).map_err(Failure::other)?.head())
    }

    /// Stops the node; fails if one of its tasks failed.
    pub(super) async fn finish(self) -> Result<(), Failure> {
        self.node.stop().await.map_err(Failure::other)
    }

    /// All rooms that have an entry, or only this one if it has.
    pub(super) fn rooms(
        &self,
        only: Option<&RoomName>,
    ) -> Result<BTreeMap<RoomName, Head>, Failure> {
        let Some(room) = only else {
            return all_rooms(|range, limit| self.node.room_heads(range, limit));
        };
        let head = self.head(room)?;
        Ok((head.end > 0).then(|| (room.clone(), head)).into_iter().collect())
    }

    /// Up to [`PAGE_ENTRIES`] entries from slot `first` on.
    pub(super) async fn page(&self, room: &RoomName, first: Slot) -> Result<Vec<Stored>, Failure> {
        let limits = PageLimits { entries: PAGE_ENTRIES, bytes: usize::MAX };
        let span = Span::After(Latest::before(first));
        let page = self.node.read(room, span, None, limits).await.map_err(Failure::other)?;
        Ok(page.entries)
    }
}

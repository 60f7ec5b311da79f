//! Jobs of a connection: what takes a while, one at a time.
//!
//! Enters: a [`Job`]. Leaves: a [`Done`] with its question. Meanwhile the client may ask something else
//! of the same room, or leave it; a result whose question is no longer open is dropped.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::{
    archive::ArchiveError,
    head::Head,
    reader::{Page, PageLimits, ReadError},
};
use roomlog_protocol::{ClientUpdate, RoomName, Span, limits::HEADS_PER_FRAME};

use super::out::BATCH_BYTES;
use crate::gateway::Gateway;

/// What a client asked. Each question of a connection has a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question(pub(crate) u64);

/// A job.
pub(crate) enum Job {
    /// The page of a read.
    Read(Question, u32, Box<ClientUpdate>),
    /// The next page for a follower that the tail has left behind.
    CatchUp(Question, u32, RoomName, Span),
    /// The next names for `watch`.
    List(Question, Option<RoomName>),
}

/// The result of a job.
pub(crate) enum Done {
    Read(Question, u32, Result<Page, ReadError>),
    CatchUp(Question, u32, Result<Page, ReadError>),
    List(Question, Result<Vec<(RoomName, Head)>, ArchiveError>),
}

impl Job {
    pub(crate) fn start(self, gateway: Arc<Gateway>) -> BoxFuture<'static, Done> {
        let limits = gateway.page_limits();
        match self {
            Self::Read(question, key, update) => async move {
                let ClientUpdate { room, span, digest, .. } = *update;
                Done::Read(question, key, gateway.page(&room, span, digest, limits).await)
            }
            .boxed(),
            Self::CatchUp(question, key, room, span) => async move {
                let limits = PageLimits { bytes: BATCH_BYTES, ..limits };
                Done::CatchUp(question, key, gateway.page(&room, span, None, limits).await)
            }
            .boxed(),
            Self::List(question, after) => async move {
                Done::List(question, gateway.room_heads(after, HEADS_PER_FRAME).await)
            }
            .boxed(),
        }
    }
}

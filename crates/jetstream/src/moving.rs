//! Moving a log to the streams and away from them.
//!
//! A log that is being moved to the streams is marked until it is complete there. A log that was
//! moved away leaves sealed streams, which are read to their ends: the head of a [`SealedJournal`]
//! is its end.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::stream;
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::journal::{
    Follow, Journal, JournalCounts, JournalError, JournalFacts, Mark, Partition, Peers, Position,
    Proposed, Wipe,
};

use crate::{
    check,
    error::{OpenError, with_causes},
    journal::{JetStreamJournal, PartitionStream},
};

/// How often a sealed stream is asked for its end, how many equal answers in a row are accepted as
/// the end, and the time between two questions.
const SEAL_ASKED: u32 = 60;
const SEAL_SAME: u32 = 3;
const SEAL_RETRY: Duration = Duration::from_millis(500);

impl JetStreamJournal {
    /// Ends a move to the streams: they may be served.
    ///
    /// # Errors
    /// JetStream refuses or does not answer.
    pub async fn moved_here(&self) -> Result<(), OpenError> {
        for stream in &self.streams {
            self.change(&stream.name, check::moved_here).await?;
        }
        Ok(())
    }

    /// Seals the streams for good; gives the end of each.
    async fn seal(&self, token: &str) -> Result<Vec<Position>, OpenError> {
        let mut heads = Vec::new();
        for stream in &self.streams {
            self.change(&stream.name, |config| check::moved_away(config, token)).await?;
            heads.push(self.end_of(stream).await?);
        }
        Ok(heads)
    }

    /// The end of a sealed stream. A single server may answer with a state from before the seal or
    /// from before the end; so a leader must report the seal, and the same end several times in a
    /// row.
    async fn end_of(&self, stream: &PartitionStream) -> Result<Position, OpenError> {
        let (mut same, mut last) = (0, 0);
        for _ in 0..SEAL_ASKED {
            let info = self.info(&stream.name).await?;
            let leads = info.cluster.as_ref().is_none_or(|cluster| cluster.leader.is_some());
            stream.head.note(info.state.last_sequence);
            let end = stream.head.get();
            let is_end = info.config.sealed && leads && info.state.last_sequence == end;
            same = if is_end && end == last { same + 1 } else { 0 };
            last = end;
            if same >= SEAL_SAME {
                return Ok(Position(end));
            }
            tokio::time::sleep(SEAL_RETRY).await;
        }
        let why = "the servers do not agree where it ends; run the move again".to_owned();
        Err(OpenError::JetStream { name: stream.name.clone(), why })
    }

    async fn info(&self, name: &str) -> Result<stream::Info, OpenError> {
        let stream = self
            .context
            .get_stream(name)
            .await
            .map_err(|why| OpenError::JetStream { name: name.into(), why: with_causes(&why) })?;
        Ok(stream.cached_info().clone())
    }

    async fn change(
        &self,
        name: &str,
        change: impl FnOnce(stream::Config) -> stream::Config,
    ) -> Result<(), OpenError> {
        let config = self.info(name).await?.config;
        let wanted = change(config.clone());
        if wanted != config {
            let changed = self.context.update_stream(wanted).await;
            let failed = |why| OpenError::JetStream { name: name.into(), why: with_causes(&why) };
            changed.map_err(failed)?;
        }
        Ok(())
    }
}

/// A journal whose log was moved away: it is only read.
pub struct SealedJournal {
    facts: JournalFacts,
    journal: JetStreamJournal,
    heads: Vec<Position>,
}

impl SealedJournal {
    /// Seals the streams of a journal for the move of this name.
    ///
    /// # Errors
    /// JetStream refuses or does not answer.
    pub async fn seal(journal: JetStreamJournal, token: &str) -> Result<Self, OpenError> {
        let heads = journal.seal(token).await?;
        let facts = JournalFacts { head_is_exact: true, ..journal.facts().clone() };
        Ok(Self { facts, journal, heads })
    }
}

impl Journal for SealedJournal {
    fn facts(&self) -> &JournalFacts {
        &self.facts
    }

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        None
    }

    fn counts(&self) -> Option<JournalCounts> {
        None
    }

    fn propose(&self, _: Partition, _: Bytes) -> BoxFuture<'static, Proposed> {
        std::future::ready(Proposed::Refused("the journal is sealed".into())).boxed()
    }

    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow> {
        self.journal.follow(partition, after)
    }

    fn head(&self, partition: Partition) -> Result<Position, JournalError> {
        let head = usize::try_from(partition).ok().and_then(|index| self.heads.get(index));
        head.copied().ok_or_else(|| JournalError(format!("there is no partition {partition}")))
    }

    fn first(&self, partition: Partition) -> Result<Position, JournalError> {
        self.journal.first(partition)
    }

    fn has_surplus(&self, _: Partition) -> bool {
        false
    }

    fn trim(&self, _: Partition, _: Position) {}

    // Nothing may be written to a sealed stream; it is deleted after the move.
    fn wipe(&self, _: Partition, _: &Wipe) -> Result<bool, JournalError> {
        Ok(true)
    }
}

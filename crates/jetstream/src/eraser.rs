//! The eraser of a partition: removes texts from its stream (docs/decisions/0008-redaction-in-the-stream.md).
//!
//! ```text
//!  p: a block with a text ─► its replacement without it, published as replaced.p ─► p is deleted
//!  r: replaced.p, with another such text ─► replaced.p again; replaced.r, empty; r is deleted
//! ```
//!
//! Enters: the stream from a time up to a position, and which texts are removed. Leaves: replacements.
//! Invariants: a message is deleted only behind the ack of its replacement, so that a reader who misses it
//! finds that; a replacement is published only after the last one that this eraser saw, so that of several
//! erasers none brings a text back; whoever does it again changes nothing.

use std::{sync::Arc, time::Duration};

use async_nats::{
    datetime::DateTime,
    jetstream::{
        Context, Message,
        consumer::{AckPolicy, DeliverPolicy, pull},
        context::PublishErrorKind,
        message::{PublishMessage, StreamMessage},
        stream::{LastRawMessageErrorKind, RawMessageErrorKind, Stream},
    },
};
use bytes::Bytes;
use futures_util::StreamExt;
use roomlog_core::{
    block::{self, Replacement},
    journal::{AreRemoved, Position, Stamp, Wipe},
    proposal::Proposal,
    rules::Rules,
};

use crate::{check::replaced, error::with_causes, reader::ms};

/// How much earlier than the entry its text may stand in the stream, in ms: in a copy that had no effect,
/// as a node sends a block again that was stored out of turn, and a client an append that was refused.
const COPIES_MS: u64 = 60 * 60 * 1_000;

/// How many messages are read at once.
const BATCH: usize = 32;

/// How long a batch may take.
const BATCH_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the server keeps an unused consumer.
const CONSUMER_IDLE: Duration = Duration::from_secs(300);

/// How often an eraser that finds another one's replacement looks again at what is left.
const TRIES: usize = 5;

/// The eraser of a partition.
pub(crate) struct Eraser {
    pub(crate) context: Context,
    pub(crate) stream: String,
    /// The subject of its blocks.
    pub(crate) subject: String,
}

/// What is left of a block without the removed texts, and what it was.
struct Left {
    of: Position,
    time: u64,
    stamp: Stamp,
    block: Bytes,
}

impl Left {
    fn encode(&self) -> Bytes {
        let Self { of, time, stamp, block } = self;
        Replacement { of: *of, time: *time, stamp: *stamp, block }.encode()
    }
}

impl Eraser {
    /// Erases the texts that are removed. Fails with what JetStream or the archive says.
    pub(crate) async fn run(self, wipe: Wipe) -> Result<(), String> {
        let stream = self.context.get_stream(&self.stream).await.map_err(|it| with_causes(&it))?;
        // To the end: what is replaced meanwhile may have texts whose removal comes later, and so may copies
        // of blocks that nodes send again.
        let last = stream.cached_info().state.last_sequence;
        if last < wipe.upto.0 {
            return Err(format!("it is at {last}, and was at {} before", wipe.upto));
        }
        let since = wipe.since.saturating_sub(COPIES_MS);
        if self.read(&stream, since, last, &wipe.are_removed).await? {
            return Ok(());
        }
        // Nothing is as new, or the server did not say so yet.
        match self.read(&stream, 0, last, &wipe.are_removed).await? {
            true => Ok(()),
            false => Err("nothing was read of it".into()),
        }
    }

    /// Looks at the messages from a time up to a position; `false` if there are none.
    async fn read(
        &self,
        stream: &Stream,
        since: u64,
        last: u64,
        are_removed: &Arc<AreRemoved>,
    ) -> Result<bool, String> {
        let start_time = i64::try_from(since / 1_000)
            .ok()
            .and_then(|since| DateTime::from_unix_timestamp(since).ok());
        let deliver_policy = match start_time.filter(|_| since > 0) {
            Some(start_time) => DeliverPolicy::ByStartTime { start_time },
            None => DeliverPolicy::All,
        };
        let config = pull::Config {
            deliver_policy,
            ack_policy: AckPolicy::None,
            inactive_threshold: CONSUMER_IDLE,
            num_replicas: 1,
            memory_storage: true,
            ..pull::Config::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(|why| with_causes(&why))?;
        let mut read = 0;
        loop {
            let batch = consumer.fetch().max_messages(BATCH).expires(BATCH_TIMEOUT);
            let mut batch = batch.messages().await.map_err(|why| with_causes(&why))?;
            // All of it first: a batch has a deadline, behind which it drops messages silently.
            let mut messages = Vec::with_capacity(BATCH);
            while let Some(message) = batch.next().await {
                messages.push(message.map_err(|why| why.to_string())?);
            }
            let mut at = None;
            for message in &messages {
                let info = message.info().map_err(|why| why.to_string())?;
                read += 1;
                if info.consumer_sequence != read {
                    return Err(format!("{read} messages of it were not read"));
                }
                let position = info.stream_sequence;
                if position > last {
                    return Ok(true);
                }
                let time = ms(info.published.unix_timestamp_nanos());
                self.look_at(stream, message, (position, time), are_removed).await?;
                at = Some(position);
            }
            match at {
                Some(at) if at >= last => return Ok(true),
                Some(_) => {}
                None if read == 0 => return Ok(false),
                // A server that is behind gives no more, but that is not the end.
                None => return Err(format!("it was not read up to {last}")),
            }
        }
    }

    /// Replaces a message, if it has a text that is removed.
    async fn look_at(
        &self,
        stream: &Stream,
        message: &Message,
        (position, time): (u64, u64),
        are_removed: &Arc<AreRemoved>,
    ) -> Result<(), String> {
        let payload = &message.payload;
        let Some(there) = block::replacement(payload) else {
            let Some(block) = left_of(payload.clone(), are_removed).await? else { return Ok(()) };
            let (of, stamp) = (Position(position), block::stamp(payload));
            self.replace(stream, Left { of, time, stamp, block }, are_removed).await?;
            return self.delete(stream, position).await;
        };
        if there.block.is_empty() {
            return Ok(());
        }
        let newest = self.newest(stream, there.of).await?.map_or(0, |newest| newest.sequence);
        if newest > position {
            // An eraser ended before it deleted this.
            return self.discard(stream, position, there.stamp).await;
        }
        let left = left_of(payload.slice_ref(there.block), are_removed).await?;
        let Some(block) = left.filter(|_| newest == position) else { return Ok(()) };
        let Replacement { of, time, stamp, .. } = there;
        self.replace(stream, Left { of, time, stamp, block }, are_removed).await
    }

    /// Publishes a replacement, unless there is one that has none of the removed texts; discards the one
    /// before it.
    async fn replace(
        &self,
        stream: &Stream,
        mut left: Left,
        are_removed: &Arc<AreRemoved>,
    ) -> Result<(), String> {
        for _ in 0..TRIES {
            let newest = self.newest(stream, left.of).await?;
            // What others wrote there is replaced like any other: readers take the last one.
            if let Some(newest) = &newest
                && let Some(there) = block::replacement(&newest.payload)
                && there.of == left.of
            {
                match left_of(newest.payload.slice_ref(there.block), are_removed).await? {
                    Some(block) => left.block = block,
                    None => return Ok(()),
                }
            }
            let sequence = newest.as_ref().map_or(0, |newest| newest.sequence);
            if self.publish(&left, sequence).await? {
                if let Some(newest) = newest {
                    let stamp = block::stamp(&newest.payload);
                    self.discard(stream, sequence, stamp).await?;
                }
                return Ok(());
            }
        }
        Err("others replace the same block again and again".into())
    }

    /// Deletes a replacement that has a newer one. Where it is it has no effect, but a node may have read
    /// it last: what takes its place has its stamp.
    async fn discard(&self, stream: &Stream, position: u64, stamp: Stamp) -> Result<(), String> {
        let (of, time, block) = (Position(position), 0, Bytes::new());
        let _or_it_is_there = self.publish(&Left { of, time, stamp, block }, 0).await?;
        self.delete(stream, position).await
    }

    /// Publishes a replacement after the message at `newest`; `false` if there is a newer one.
    async fn publish(&self, left: &Left, newest: u64) -> Result<bool, String> {
        let publish = PublishMessage::build()
            .payload(left.encode())
            .expected_stream(&self.stream)
            .expected_last_subject_sequence(newest);
        let sent = self.context.send_publish(replaced(&self.subject, left.of), publish).await;
        let acked = match sent {
            Ok(ack) => ack.await,
            Err(why) => Err(why),
        };
        match acked {
            Ok(_) => Ok(true),
            Err(why) if why.kind() == PublishErrorKind::WrongLastSequence => Ok(false),
            Err(why) => Err(with_causes(&why)),
        }
    }

    /// The newest replacement of a block, as the leader has it: another server may be behind.
    async fn newest(&self, stream: &Stream, of: Position) -> Result<Option<StreamMessage>, String> {
        let subject = replaced(&self.subject, of);
        match stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => Ok(Some(message)),
            Err(why) if why.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(why) => Err(with_causes(&why)),
        }
    }

    /// Deletes a message; the servers overwrite it.
    async fn delete(&self, stream: &Stream, position: u64) -> Result<(), String> {
        let why = match stream.delete_message(position).await {
            Ok(true) => return Ok(()),
            Ok(false) => "it was not".to_owned(),
            Err(why) => with_causes(&why),
        };
        let there = stream.get_raw_message(position).await;
        // Another eraser was first.
        if there.is_err_and(|why| why.kind() == RawMessageErrorKind::NoMessageFound) {
            return Ok(());
        }
        Err(format!(
            "position {position} of {} cannot be deleted: {why}; the node's user needs the right to \
             delete messages of the stream (docs/CLUSTER.md)",
            self.stream
        ))
    }
}

/// A block without the texts that are removed; `None` if it has none of them, or Roomlog did not write it.
async fn left_of(bytes: Bytes, are_removed: &Arc<AreRemoved>) -> Result<Option<Bytes>, String> {
    let Ok(mut block) = block::decode(&bytes, Rules::NEWEST) else { return Ok(None) };
    let are_removed = are_removed.clone();
    let left = tokio::task::spawn_blocking(move || {
        let mut proposals = block.proposals_mut();
        proposals.retain(|proposal| !proposal.content.is_redacted());
        let asked: Vec<Proposal> = proposals.iter().map(|proposal| (**proposal).clone()).collect();
        let removed = are_removed(&asked)?;
        for (proposal, _) in proposals.iter_mut().zip(&removed).filter(|(_, removed)| **removed) {
            proposal.redact();
        }
        Ok(removed.contains(&true).then(|| block.encode()))
    });
    left.await.map_err(|_| "the archive's read was cut off".to_owned())?
}

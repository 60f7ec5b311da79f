//! The reader of a partition: the stream's blocks in order, without a gap.
//!
//! ```text
//!        … │ the last block given │ next │ …     a consumer begins at the last block given:
//!            └ compared by its stamp             another block there: the stream was set back
//! ```
//!
//! Enters: the stream, through consumers, which are replaced if silent, behind or broken. Leaves:
//! each block once. Invariants: a block is given only directly after the one before it; if a block
//! that was given is another one now, or missing for [`MISSING_TIMEOUT`], the reader ends with an
//! error, because nothing that was derived from it may continue.

use std::{pin::pin, sync::Arc, time::Duration};

use async_nats::{
    Client,
    jetstream::{
        Context,
        consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull},
        message::StreamMessage,
        stream::{DirectGetErrorKind, State, Stream},
    },
};
use futures_util::StreamExt;
use roomlog_core::{
    block::{self, Replacement},
    journal::{Durable, JournalError, Mark, Position},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{debug, warn};

use crate::{
    check::replaced,
    error::with_causes,
    shared::{Counts, KnownHead},
};

/// How many blocks are read ahead of the follower.
pub(crate) const READ_AHEAD: usize = 32;

/// How many blocks are requested of a consumer at once.
const BATCH: usize = 64;

/// The interval of a consumer's heartbeats; after twice that it counts as silent.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How long the reader waits for a block before it compares its position with the known head.
const QUIET_PERIOD: Duration = Duration::from_millis(200);

/// How many such periods in a row lead to a request for the state of the stream.
const QUIET_PER_STATE: u32 = 4;

/// The timeout of a request for the stream or for one block.
const STATE_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the server keeps an unused consumer.
const CONSUMER_IDLE: Duration = Duration::from_secs(10);

/// The timeout of creating a consumer; meanwhile blocks are read one by one.
const CREATE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The interval of requests for a single block that is not available yet.
const DIRECT_GET_EVERY: Duration = Duration::from_millis(50);

/// The delay before another consumer is tried.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// How many consumers in a row are replaced before a warning is logged.
const REPLACED_BEFORE_WARNING: u32 = 10;

/// How long a block that was read may be missing: a server that was away catches up in that time.
const MISSING_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a consumer is no longer read.
enum Stop {
    /// It is replaced.
    Replace(String),
    /// The stream lost or changed a block: the reader ends.
    Freeze(String),
    /// The follower was dropped.
    Dropped,
}

/// The reader of a partition.
pub(crate) struct Reader {
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) stream: String,
    /// The subject of its blocks.
    pub(crate) subject: String,
    pub(crate) head: Arc<KnownHead>,
    pub(crate) counts: Arc<Counts>,
    /// The last block that was given.
    pub(crate) mark: Mark,
    pub(crate) output: mpsc::Sender<Result<Durable, JournalError>>,
    /// The last known leader of the stream.
    pub(crate) leader: Option<String>,
    /// Since when the last block, or the next one, is missing.
    pub(crate) missing: Option<Instant>,
    /// In the last quiet period the consumer was behind the known head at this position.
    pub(crate) behind_at: Option<Position>,
    /// How many consumers were replaced since the last block.
    pub(crate) replaced: u32,
}

impl Reader {
    /// Reads until the follower is dropped, or the stream lost or changed a block.
    pub(crate) async fn run(mut self) {
        loop {
            match self.read().await {
                Stop::Replace(why) => {
                    self.replaced += 1;
                    if self.replaced == REPLACED_BEFORE_WARNING {
                        warn!(stream = self.stream, why, "the journal cannot be read: retrying");
                    }
                    debug!(stream = self.stream, why, "a consumer is replaced");
                    Counts::count(&self.counts.readers_replaced);
                    sleep(RETRY_AFTER).await;
                }
                Stop::Freeze(why) => {
                    let _given_or_dropped = self.output.send(Err(JournalError(why))).await;
                    return;
                }
                Stop::Dropped => return,
            }
        }
    }

    /// Reads one consumer.
    async fn read(&mut self) -> Stop {
        // The last block that was given comes first, to be compared.
        let mut compared = self.mark.position.0 == 0;
        self.behind_at = None;
        let consumer = match self.consumer(&mut compared).await {
            Ok(consumer) => consumer,
            Err(stop) => return stop,
        };
        let messages = consumer.stream().max_messages_per_batch(BATCH).heartbeat(HEARTBEAT);
        let mut messages = match messages.messages().await {
            Ok(messages) => messages,
            Err(why) => return Stop::Replace(with_causes(&why)),
        };
        // A consumer that gave a new block is replaced soon if it stops; the first block may take
        // long, as it comes from the disk.
        let mut has_given = false;
        let mut quiet = 0;
        loop {
            let message = match timeout(QUIET_PERIOD, messages.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(why))) => return self.check_exists(with_causes(&why)).await,
                Ok(None) => return Stop::Replace("the consumer ended".into()),
                Err(_) => {
                    quiet += 1;
                    let stop = if quiet % QUIET_PER_STATE == 0 {
                        self.check_while_quiet(compared).await
                    } else if has_given {
                        self.check_behind(compared)
                    } else {
                        None
                    };
                    match stop {
                        Some(stop) => return stop,
                        None => continue,
                    }
                }
            };
            quiet = 0;
            let durable = match read_message(&message) {
                Ok(durable) => durable,
                Err(why) => return Stop::Replace(why),
            };
            let before = self.mark.position;
            if let Err(stop) = self.got(durable, &mut compared).await {
                return stop;
            }
            has_given |= self.mark.position > before;
        }
    }

    /// Creates a consumer, for which the servers need a leader of the cluster. The stream may work
    /// without one, so its blocks are read one by one meanwhile.
    async fn consumer(&mut self, compared: &mut bool) -> Result<PullConsumer, Stop> {
        let (context, stream) = (self.context.clone(), self.stream.clone());
        let mut created = pin!(create_consumer(context, stream, self.mark.position));
        loop {
            let wanted = self.mark.position.0 + u64::from(*compared);
            let durable = tokio::select! {
                biased;
                created = &mut created => return match created {
                    Ok(consumer) => Ok(consumer),
                    Err(why) => Err(self.check_exists(why).await),
                },
                durable = self.get_directly(wanted) => durable,
            };
            self.got(durable, compared).await?;
        }
    }

    /// Takes a block, and before it the replacements of those that were removed from the stream.
    async fn got(&mut self, durable: Durable, compared: &mut bool) -> Result<(), Stop> {
        loop {
            let wanted = self.mark.position.0 + u64::from(*compared);
            if wanted >= durable.position.0 {
                break;
            }
            let Some(replacement) = self.replacement(wanted).await else { break };
            self.compare_or_take(replacement, compared).await?;
        }
        self.compare_or_take(durable, compared).await
    }

    /// Compares a block with the last one given, or gives it on.
    async fn compare_or_take(&mut self, durable: Durable, compared: &mut bool) -> Result<(), Stop> {
        // Compared per consumer: each reads the store of one server.
        if durable.position == self.mark.position {
            self.compare(&durable)?;
            *compared = true;
            return Ok(());
        }
        self.take(durable, *compared).await
    }

    /// Whether the block at the last position is the one that was given.
    fn compare(&mut self, durable: &Durable) -> Result<(), Stop> {
        let found = block::stamp(&durable.block);
        match self.mark.stamp {
            Some(stamp) if stamp != found => Err(Stop::Freeze(format!(
                "stream {} holds another block at position {} than the one that was read there: \
                 it was set back, or is another log's. The node stops here: bring the servers' \
                 previous stores back; if they are lost for good, docs/CLUSTER.md says how the \
                 archive that has most becomes a new log",
                self.stream, self.mark.position
            ))),
            _ => {
                self.mark.stamp = Some(found);
                self.missing = None;
                Ok(())
            }
        }
    }

    /// Gives a block if it is the next one.
    async fn take(&mut self, durable: Durable, compared: bool) -> Result<(), Stop> {
        let next = self.mark.position.0 + 1;
        if !compared || durable.position.0 > next {
            let missing = if compared { next } else { self.mark.position.0 };
            return Err(self.is_missing(missing, durable.position.0));
        }
        if durable.position.0 < next {
            return Ok(());
        }
        self.missing = None;
        self.behind_at = None;
        self.replaced = 0;
        self.mark = Mark { position: durable.position, stamp: Some(block::stamp(&durable.block)) };
        self.head.note(durable.position.0);
        self.output.send(Ok(durable)).await.map_err(|_| Stop::Dropped)
    }

    /// A block that must exist is missing on this server; another one may still have it.
    fn is_missing(&mut self, position: u64, head: u64) -> Stop {
        if self.missing.is_none() {
            warn!(
                stream = self.stream,
                position, head, "a block is missing; other servers are asked"
            );
        }
        let since = *self.missing.get_or_insert_with(Instant::now);
        if since.elapsed() < MISSING_TIMEOUT {
            return Stop::Replace(format!("position {position} is missing"));
        }
        Stop::Freeze(format!(
            "stream {} has lost position {position}: it is at {head}, and nothing should be \
             removed; it was purged, set back or recreated. The node stops here: bring the \
             servers' previous stores back",
            self.stream
        ))
    }

    /// After some quiet periods: asks the stream for blocks that the consumer does not give.
    async fn check_while_quiet(&mut self, compared: bool) -> Option<Stop> {
        let Position(last) = self.mark.position;
        let state = self.state().await;
        if let Some(State { first_sequence, last_sequence, .. }) = state {
            self.head.note(last_sequence);
            let is_outside = last > 0 && !(first_sequence..=last_sequence).contains(&last);
            if is_outside && self.replacement(last).await.is_none() {
                return Some(self.is_missing(last, last_sequence));
            }
        }
        // Without a state, no server says that the block is missing.
        if compared || state.is_none() {
            self.missing = None;
        }
        self.check_behind(compared)
    }

    /// Replaces the consumer if it is behind the known head for the second time.
    fn check_behind(&mut self, compared: bool) -> Option<Stop> {
        let position = self.mark.position;
        let is_behind = self.head.get() > position.0 || !compared;
        let was_behind = self.behind_at == Some(position);
        self.behind_at = (is_behind && !was_behind).then_some(position);
        (is_behind && was_behind).then(|| Stop::Replace("the consumer is behind the stream".into()))
    }

    /// After a consumer failed: whether the stream was deleted.
    async fn check_exists(&mut self, why: String) -> Stop {
        if self.mark.position.0 > 0 && self.is_deleted().await {
            return self.is_missing(self.mark.position.0, 0);
        }
        self.missing = None;
        Stop::Replace(why)
    }

    /// Waits for a block, without a consumer.
    async fn get_directly(&self, position: u64) -> Durable {
        loop {
            if let Ok(stream) = self.context.get_stream_no_info(&self.stream).await
                && let Some(message) = get_message(&stream, position).await
            {
                let (position, block) = (Position(message.sequence), message.payload);
                return Durable { position, time: ms(message.time.unix_timestamp_nanos()), block };
            }
            if let Some(replacement) = self.replacement(position).await {
                return replacement;
            }
            sleep(DIRECT_GET_EVERY).await;
        }
    }

    /// The replacement of the block at a position, as that block; `None` if this server has none.
    async fn replacement(&self, position: u64) -> Option<Durable> {
        let stream = self.context.get_stream_no_info(&self.stream).await.ok()?;
        let subject = replaced(&self.subject, Position(position));
        let found = timeout(STATE_TIMEOUT, stream.direct_get_last_for_subject(&subject)).await;
        let block = match found.ok()? {
            Ok(message) => message.payload,
            Err(why) if why.kind() == DirectGetErrorKind::NotFound => return None,
            Err(_) => {
                let asked = stream.get_last_raw_message_by_subject(&subject);
                timeout(STATE_TIMEOUT, asked).await.ok()?.ok()?.payload
            }
        };
        let Replacement { of, time, .. } = block::replacement(&block)?;
        (of.0 == position).then(|| Durable { position: of, time, block: block.clone() })
    }

    async fn state(&mut self) -> Option<State> {
        let asked = timeout(STATE_TIMEOUT, self.context.get_stream(&self.stream)).await;
        let stream = asked.ok()?.ok()?;
        let info = stream.cached_info();
        let leader = info.cluster.as_ref().and_then(|cluster| cluster.leader.clone());
        if leader.is_some() && leader != self.leader {
            if self.leader.is_some() {
                Counts::count(&self.counts.leader_changes);
            }
            self.leader = leader;
        }
        Some(info.state.clone())
    }

    /// Whether JetStream says that there is no such stream, which it may also say without a leader.
    async fn is_deleted(&self) -> bool {
        use async_nats::jetstream::{ErrorCode, context::GetStreamErrorKind};
        let asked = timeout(STATE_TIMEOUT, self.context.get_stream(&self.stream)).await;
        let connected = self.client.connection_state() == async_nats::connection::State::Connected;
        match asked {
            Ok(Err(why)) if connected => matches!(
                why.kind(),
                GetStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NOT_FOUND
            ),
            _ => false,
        }
    }
}

/// Retries until [`CREATE_TIMEOUT`]; then gives the last error.
async fn create_consumer(
    context: Context,
    stream: String,
    Position(last): Position,
) -> Result<PullConsumer, String> {
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: last.max(1) },
        ack_policy: AckPolicy::None,
        inactive_threshold: CONSUMER_IDLE,
        num_replicas: 1,
        memory_storage: true,
        ..pull::Config::default()
    };
    let until = Instant::now() + CREATE_TIMEOUT;
    loop {
        let created = context.create_consumer_on_stream(config.clone(), stream.clone());
        match timeout_at(until, created).await {
            Ok(Ok(consumer)) => return Ok(consumer),
            Ok(Err(why)) if Instant::now() + RETRY_AFTER >= until => return Err(with_causes(&why)),
            Ok(Err(_)) => sleep(RETRY_AFTER).await,
            Err(_) => return Err("no consumer in time".into()),
        }
    }
}

/// A message from any replica of the stream; if the stream does not allow that, from its leader,
/// which answers only while the cluster has a leader.
async fn get_message(stream: &Stream<()>, position: u64) -> Option<StreamMessage> {
    match timeout(STATE_TIMEOUT, stream.direct_get(position)).await.ok()? {
        Ok(message) => Some(message),
        Err(why) if why.kind() == DirectGetErrorKind::NotFound => None,
        Err(_) => timeout(STATE_TIMEOUT, stream.get_raw_message(position)).await.ok()?.ok(),
    }
}

/// A time of a message, in ms since the epoch.
pub(crate) fn ms(nanoseconds: i128) -> u64 {
    u64::try_from(nanoseconds / 1_000_000).unwrap_or(0)
}

fn read_message(message: &async_nats::jetstream::Message) -> Result<Durable, String> {
    let info = message.info().map_err(|why| format!("a message without its position: {why}"))?;
    Ok(Durable {
        position: Position(info.stream_sequence),
        time: ms(info.published.unix_timestamp_nanos()),
        block: message.payload.clone(),
    })
}

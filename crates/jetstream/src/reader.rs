//! The reader of a partition: the stream's blocks in their order, without a gap, for ever.
//!
//! ```text
//!        … │ the last one given │ next │ …          a consumer begins at the last one given:
//!            └ compared by its stamp                 another block there means that the stream was set back
//! ```
//!
//! Enters: the stream, by consumers that are replaced when one is silent, behind or broken. Leaves: each
//! block once. Invariants: a block is given only directly after the one before it; what was given and is
//! not there any more, as another block, or missing for [`MISSING_FOR`], ends the reader with the reason:
//! nothing that was built on it may go on.

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
    block,
    journal::{Durable, JournalError, Mark, Position},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{debug, warn};

use crate::{
    journal::{Counts, Seen},
    open::said,
};

/// How many blocks are read ahead of whoever applies them.
pub(crate) const READ_AHEAD: usize = 32;

/// How many blocks a consumer is asked for at once.
const BATCH: usize = 64;

/// A consumer that has nothing to give says so this often; after twice that it counts as silent.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How long nothing comes until the reader compares itself with what the publisher knows.
const GLANCE: Duration = Duration::from_millis(200);

/// After so many glances at nothing the stream is asked how far it is.
const GLANCES_BEFORE_ASKING: u32 = 4;

/// How long the stream has to say that.
const SAYS_WITHIN: Duration = Duration::from_millis(500);

/// A consumer that nobody asks is let go of by the server after this time.
const CONSUMER_KEPT: Duration = Duration::from_secs(10);

/// How long a consumer may be in the making; meanwhile blocks are read by hand.
const MADE_WITHIN: Duration = Duration::from_millis(1_500);

/// How long it is until a block that is not there is asked for again by hand.
const BY_HAND_EVERY: Duration = Duration::from_millis(50);

/// How long it is until another consumer is tried.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// So many readers in a row are replaced before that is said.
const REPLACED_BEFORE_A_WORD: u32 = 10;

/// How long what was read may be missing: a server that was away catches up in that time.
const MISSING_FOR: Duration = Duration::from_secs(30);

/// Why a consumer is not read any more.
enum Stop {
    /// It is replaced.
    Replace(String),
    /// The stream is not what it was: the reader ends.
    Freeze(String),
    /// Nobody takes what is read.
    Gone,
}

/// The reader of a partition.
pub(crate) struct Reader {
    client: Client,
    context: Context,
    stream: String,
    seen: Arc<Seen>,
    counts: Arc<Counts>,
    /// The server that was seen to lead the stream last.
    leader: Option<String>,
    mark: Mark,
    give: mpsc::Sender<Result<Durable, JournalError>>,
    /// Since when what was read, or the next, is missing.
    missing: Option<Instant>,
    /// How often it was replaced since the last block.
    replaced: u32,
    /// This consumer's last glance found more to be there than this position, which was the last.
    behind_at: Option<Position>,
}

impl Reader {
    pub(crate) fn new(
        client: Client,
        context: Context,
        stream: String,
        seen: Arc<Seen>,
        counts: Arc<Counts>,
        mark: Mark,
        give: mpsc::Sender<Result<Durable, JournalError>>,
    ) -> Self {
        let (leader, missing, behind_at) = (None, None, None);
        Self {
            client,
            context,
            stream,
            seen,
            counts,
            leader,
            mark,
            give,
            missing,
            behind_at,
            replaced: 0,
        }
    }

    /// Reads until nobody takes it, or the stream is not what it was.
    pub(crate) async fn run(mut self) {
        loop {
            match self.read().await {
                Stop::Replace(why) => {
                    self.replaced += 1;
                    if self.replaced == REPLACED_BEFORE_A_WORD {
                        warn!(
                            stream = self.stream,
                            why, "the journal cannot be read, and is tried again"
                        );
                    }
                    debug!(stream = self.stream, why, "the reader is replaced");
                    Counts::count(&self.counts.readers_replaced);
                    sleep(AGAIN_AFTER).await;
                }
                Stop::Freeze(why) => {
                    let _nobody_waits = self.give.send(Err(JournalError(why))).await;
                    return;
                }
                Stop::Gone => return,
            }
        }
    }

    /// Reads one consumer for as long as it is good.
    async fn read(&mut self) -> Stop {
        // The last block that was given comes once more, to be compared.
        let mut compared = self.mark.position.0 == 0;
        self.behind_at = None;
        let consumer = match self.consumer(&mut compared).await {
            Ok(consumer) => consumer,
            Err(stop) => return stop,
        };
        let messages = consumer.stream().max_messages_per_batch(BATCH).heartbeat(HEARTBEAT);
        let mut messages = match messages.messages().await {
            Ok(messages) => messages,
            Err(why) => return Stop::Replace(said(&why)),
        };
        // One that gave something new is left soon when it stops; a first block may be long in coming from the disk.
        let mut has_given = false;
        let mut glances = 0;
        loop {
            let message = match timeout(GLANCE, messages.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(why))) => return self.look(said(&why)).await,
                Ok(None) => return Stop::Replace("the consumer ended".into()),
                Err(_) => {
                    glances += 1;
                    let stop = if glances % GLANCES_BEFORE_ASKING == 0 {
                        self.look_while_quiet(compared).await
                    } else if has_given {
                        self.glance(compared)
                    } else {
                        None
                    };
                    match stop {
                        Some(stop) => return stop,
                        None => continue,
                    }
                }
            };
            glances = 0;
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

    /// Makes a consumer, which the servers do only while they all have a leader in common. The stream may be
    /// well without one, so that its blocks are read one by one meanwhile.
    async fn consumer(&mut self, compared: &mut bool) -> Result<PullConsumer, Stop> {
        let (context, stream) = (self.context.clone(), self.stream.clone());
        let mut made = pin!(make_consumer(context, stream, self.mark.position));
        loop {
            let wanted = self.mark.position.0 + u64::from(*compared);
            let durable = tokio::select! {
                biased;
                made = &mut made => return match made {
                    Ok(consumer) => Ok(consumer),
                    Err(why) => Err(self.look(why).await),
                },
                durable = by_hand(&self.context, &self.stream, wanted) => durable,
            };
            self.got(durable, compared).await?;
        }
    }

    /// Takes a block that came, by a consumer or by hand.
    async fn got(&mut self, durable: Durable, compared: &mut bool) -> Result<(), Stop> {
        // Each of both reads one server's store, and seldom the same: what one holds says nothing of another.
        if durable.position == self.mark.position {
            self.compare(&durable)?;
            *compared = true;
            return Ok(());
        }
        self.take(durable, *compared).await
    }

    /// Whether the block at the last position is the one that was given.
    fn compare(&mut self, durable: &Durable) -> Result<(), Stop> {
        let there = block::stamp(&durable.block);
        match self.mark.stamp {
            Some(stamp) if stamp != there => Err(Stop::Freeze(format!(
                "stream {} holds another block at position {} than the one that was read there: it was set \
                 back, or is another log's. Nothing is continued: bring the servers' stores of before back; when \
                 they are gone for good, docs/CLUSTER.md says how the archive that has most becomes a new log",
                self.stream, self.mark.position
            ))),
            _ => {
                self.mark.stamp = Some(there);
                self.missing = None;
                Ok(())
            }
        }
    }

    /// Gives a block on, when it is the next.
    async fn take(&mut self, durable: Durable, compared: bool) -> Result<(), Stop> {
        let Position(next) = Position(self.mark.position.0 + 1);
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
        self.seen.note(durable.position.0);
        self.give.send(Ok(durable)).await.map_err(|_| Stop::Gone)
    }

    /// A position that must be there is not; another server may still have it.
    fn is_missing(&mut self, position: u64, there: u64) -> Stop {
        if self.missing.is_none() {
            warn!(
                stream = self.stream,
                position, there, "a block is missing; other servers are asked"
            );
        }
        let since = *self.missing.get_or_insert_with(Instant::now);
        if since.elapsed() < MISSING_FOR {
            return Stop::Replace(format!("position {position} is missing"));
        }
        Stop::Freeze(format!(
            "stream {} has lost position {position}: it is at {there}, and nothing was to be removed; it was \
             purged, set back or made again. Nothing is continued: bring the servers' stores of before back",
            self.stream
        ))
    }

    /// Nothing came for a while: is there something? Then this consumer does not give it.
    async fn look_while_quiet(&mut self, compared: bool) -> Option<Stop> {
        let Mark { position, .. } = self.mark;
        let state = self.state().await;
        if state.is_none() {
            // Nobody says that it is missing.
            self.missing = None;
        }
        if let Some(state) = state {
            self.seen.note(state.last_sequence);
            let has_it =
                state.last_sequence >= position.0 && state.first_sequence <= position.0.max(1);
            if position.0 > 0 && !has_it {
                return Some(self.is_missing(position.0, state.last_sequence));
            }
            if compared {
                self.missing = None;
            }
        }
        self.glance(compared)
    }

    /// The second time that it is behind what is known to be there, the consumer is replaced.
    fn glance(&mut self, compared: bool) -> Option<Stop> {
        let Mark { position, .. } = self.mark;
        let behind = self.seen.head() > position.0 || !compared;
        let was_behind = self.behind_at.replace(position) == Some(position);
        if !behind {
            self.behind_at = None;
            return None;
        }
        was_behind.then(|| {
            self.behind_at = None;
            Stop::Replace("it does not give what is there".into())
        })
    }

    /// A consumer cannot be had or has failed; the stream may be gone for good.
    async fn look(&mut self, why: String) -> Stop {
        if self.mark.position.0 > 0 && self.is_gone().await {
            return self.is_missing(self.mark.position.0, 0);
        }
        self.missing = None;
        Stop::Replace(why)
    }

    async fn state(&mut self) -> Option<State> {
        let asked = timeout(SAYS_WITHIN, self.context.get_stream(&self.stream)).await;
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

    /// Whether JetStream says that there is no such stream. One without a leader may say so too.
    async fn is_gone(&self) -> bool {
        use async_nats::jetstream::{ErrorCode, context::GetStreamErrorKind};
        let asked = timeout(SAYS_WITHIN, self.context.get_stream(&self.stream)).await;
        let connected = self.client.connection_state() == async_nats::connection::State::Connected;
        match asked {
            Ok(Err(why)) if connected => matches!(
                why.kind(),
                GetStreamErrorKind::JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND
            ),
            _ => false,
        }
    }
}

/// Tries until [`MADE_WITHIN`] is over; then the reason is the last one.
async fn make_consumer(
    context: Context,
    stream: String,
    Position(last): Position,
) -> Result<PullConsumer, String> {
    let config = pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: last.max(1) },
        ack_policy: AckPolicy::None,
        inactive_threshold: CONSUMER_KEPT,
        num_replicas: 1,
        memory_storage: true,
        ..pull::Config::default()
    };
    let until = Instant::now() + MADE_WITHIN;
    loop {
        let made = context.create_consumer_on_stream(config.clone(), stream.clone());
        match timeout_at(until, made).await {
            Ok(Ok(consumer)) => return Ok(consumer),
            Ok(Err(why)) if Instant::now() + AGAIN_AFTER >= until => return Err(said(&why)),
            Ok(Err(_)) => sleep(AGAIN_AFTER).await,
            Err(_) => return Err("no consumer in time".into()),
        }
    }
}

/// A block, when a server has it that is asked; until then it is asked for again and again.
async fn by_hand(context: &Context, stream: &str, position: u64) -> Durable {
    loop {
        if let Ok(stream) = context.get_stream_no_info(stream).await
            && let Some(message) = one_message(&stream, position).await
        {
            let (position, block) = (Position(message.sequence), message.payload);
            return Durable { position, time: ms(message.time.unix_timestamp_nanos()), block };
        }
        sleep(BY_HAND_EVERY).await;
    }
}

/// A message of any server that keeps the stream. Where the stream does not allow that, of its leader, which
/// answers only while the servers have a leader in common.
async fn one_message(stream: &Stream<()>, position: u64) -> Option<StreamMessage> {
    match timeout(SAYS_WITHIN, stream.direct_get(position)).await.ok()? {
        Ok(message) => Some(message),
        Err(why) if why.kind() == DirectGetErrorKind::NotFound => None,
        Err(_) => timeout(SAYS_WITHIN, stream.get_raw_message(position)).await.ok()?.ok(),
    }
}

fn ms(nanoseconds: i128) -> u64 {
    u64::try_from(nanoseconds / 1_000_000).unwrap_or(0)
}

fn read_message(message: &async_nats::jetstream::Message) -> Result<Durable, String> {
    let info = message.info().map_err(|why| format!("a message without its place: {why}"))?;
    Ok(Durable {
        position: Position(info.stream_sequence),
        time: ms(info.published.unix_timestamp_nanos()),
        block: message.payload.clone(),
    })
}

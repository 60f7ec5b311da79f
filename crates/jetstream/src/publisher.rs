//! The publisher of a partition: publishes blocks in the order in which they were proposed.
//!
//! Enters: blocks, at most [`PUBLISH_QUEUE`] at once. Leaves: an outcome for each: durable at a
//! position, or unanswered. Invariant: a block is never refused. A publish that timed out may be
//! stored later, even through a connection that recovers, so the same bytes are proposed again
//! until they are read.

use std::{sync::Arc, time::Duration};

use async_nats::{
    Client,
    connection::State,
    jetstream::{
        Context,
        context::{PublishAckFuture, PublishError},
        message::PublishMessage,
        publish::PublishAck,
    },
};
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use roomlog_core::journal::{Position, Proposed};
use tokio::sync::{mpsc, oneshot};

use crate::{error::with_causes, shared::KnownHead};

/// How many blocks may be queued: all unanswered ones, twice if they are proposed again.
pub(crate) const PUBLISH_QUEUE: usize = 256;

/// How long a block waits for a lost connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// A block to be published.
pub(crate) struct Request {
    pub(crate) block: Bytes,
    pub(crate) answer: oneshot::Sender<Proposed>,
}

/// The publisher of a partition.
pub(crate) struct Publisher {
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) stream: String,
    pub(crate) subject: String,
    pub(crate) head: Arc<KnownHead>,
}

/// A publish without its ack.
type Acking = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Publisher {
    /// Publishes blocks until the journal is dropped.
    pub(crate) async fn run(self, mut requests: mpsc::Receiver<Request>) {
        let mut acking: FuturesUnordered<Acking> = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(()) = acking.next() => {}
                request = requests.recv() => {
                    let Some(Request { block, answer }) = request else { return };
                    match self.publish(block).await {
                        Ok(ack) => acking.push(Box::pin(settle(ack, answer, self.head.clone()))),
                        Err(why) => unanswered(answer, why),
                    }
                }
            }
        }
    }

    async fn publish(&self, block: Bytes) -> Result<PublishAckFuture, String> {
        self.connected().await?;
        // Another stream that takes this subject must not store the block.
        let publish = PublishMessage::build().payload(block).expected_stream(&self.stream);
        let sent = self.context.send_publish(self.subject.clone(), publish).await;
        sent.map_err(|why| with_causes(&why))
    }

    /// Waits briefly for a connection: without one, the client would keep what is published for an
    /// unknown time and send it all at once.
    async fn connected(&self) -> Result<(), String> {
        if self.client.connection_state() == State::Connected {
            return Ok(());
        }
        // A flush ends once there is a connection.
        let flushed = tokio::time::timeout(CONNECTION_TIMEOUT, self.client.flush());
        match flushed.await {
            Ok(Ok(())) if self.client.connection_state() == State::Connected => Ok(()),
            _ => Err("there is no connection to NATS".into()),
        }
    }
}

async fn settle(ack: PublishAckFuture, answer: oneshot::Sender<Proposed>, head: Arc<KnownHead>) {
    let acked: Result<PublishAck, PublishError> = ack.await;
    match acked {
        Ok(ack) => {
            head.note(ack.sequence);
            let _answered_or_dropped = answer.send(Proposed::Durable(Position(ack.sequence)));
        }
        Err(why) => unanswered(answer, with_causes(&why)),
    }
}

fn unanswered(answer: oneshot::Sender<Proposed>, why: String) {
    let _answered_or_dropped = answer.send(Proposed::Unanswered(why));
}

//! The publisher of a partition: blocks go out in the order they were proposed, and each gets its answer.
//!
//! Enters: blocks, at most [`WAITING`]. Leaves: an outcome for each: durable at a position, or no answer.
//! Invariant: nothing is ever said to be refused. A publish that timed out may be stored later, even by a
//! connection that comes back, so the same bytes are proposed again until they are read.

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

use crate::{journal::Seen, open::said};

/// How many blocks may wait to be published: all that are under way, proposed again while their first
/// copies are.
pub(crate) const WAITING: usize = 256;

/// How long a block waits for a connection that is away.
const CONNECTED_WITHIN: Duration = Duration::from_secs(1);

/// A block to be published.
pub(crate) struct Ask {
    pub(crate) block: Bytes,
    pub(crate) answer: oneshot::Sender<Proposed>,
}

/// The publisher of a partition.
pub(crate) struct Publisher {
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) stream: String,
    pub(crate) subject: String,
    pub(crate) seen: Arc<Seen>,
}

/// A publish whose ack has not come.
type Acking = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl Publisher {
    /// Publishes what is asked until nobody can ask any more.
    pub(crate) async fn run(self, mut asks: mpsc::Receiver<Ask>) {
        let mut acking: FuturesUnordered<Acking> = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(()) = acking.next() => {}
                ask = asks.recv() => {
                    let Some(Ask { block, answer }) = ask else { return };
                    match self.publish(block).await {
                        Ok(ack) => acking.push(Box::pin(settle(ack, answer, self.seen.clone()))),
                        Err(why) => unanswered(answer, why),
                    }
                }
            }
        }
    }

    async fn publish(&self, block: Bytes) -> Result<PublishAckFuture, String> {
        self.connected().await?;
        // A stream of another name that takes this subject must not get it.
        let publish = PublishMessage::build().payload(block).expected_stream(&self.stream);
        self.context.send_publish(self.subject.clone(), publish).await.map_err(|why| said(&why))
    }

    /// Waits a moment for a connection: what is published without one is kept by the client for who knows
    /// how long, and goes out all at once.
    async fn connected(&self) -> Result<(), String> {
        if self.client.connection_state() == State::Connected {
            return Ok(());
        }
        // A flush is answered over a connection.
        let flushed = tokio::time::timeout(CONNECTED_WITHIN, self.client.flush());
        match flushed.await {
            Ok(Ok(())) if self.client.connection_state() == State::Connected => Ok(()),
            _ => Err("there is no connection to NATS".into()),
        }
    }
}

async fn settle(ack: PublishAckFuture, answer: oneshot::Sender<Proposed>, seen: Arc<Seen>) {
    let acked: Result<PublishAck, PublishError> = ack.await;
    match acked {
        Ok(ack) => {
            seen.note(ack.sequence);
            let _gone_or_told = answer.send(Proposed::Durable(Position(ack.sequence)));
        }
        Err(why) => unanswered(answer, said(&why)),
    }
}

fn unanswered(answer: oneshot::Sender<Proposed>, why: String) {
    let _gone_or_told = answer.send(Proposed::Unanswered(why));
}

//! The publisher of a partition: sends blocks to its stream.
//!
//! Enters: blocks, in order. Leaves: an ack to come for each. Invariant: JetStream never refuses a
//! block. A publish that timed out may be stored later, even through a connection that recovers, so
//! the [`resender`](crate::resender) sends the same bytes until they are read.

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
use futures_util::{FutureExt, future::BoxFuture};
use roomlog_core::journal::Position;

use crate::{
    error::with_causes,
    resender::{Ack, Publish},
    shared::KnownHead,
};

/// How long a block waits for a lost connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(1);

/// The publisher of a partition.
pub(crate) struct Publisher {
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) stream: String,
    pub(crate) subject: String,
    pub(crate) head: Arc<KnownHead>,
}

impl Publish for Publisher {
    fn publish(&self, block: Bytes) -> BoxFuture<'_, Result<Ack, String>> {
        async {
            let ack = self.send(block).await?;
            Ok(position(ack, self.head.clone()).boxed())
        }
        .boxed()
    }
}

impl Publisher {
    async fn send(&self, block: Bytes) -> Result<PublishAckFuture, String> {
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

async fn position(ack: PublishAckFuture, head: Arc<KnownHead>) -> Result<Position, String> {
    let acked: Result<PublishAck, PublishError> = ack.await;
    let ack = acked.map_err(|why| with_causes(&why))?;
    head.note(ack.sequence);
    Ok(Position(ack.sequence))
}

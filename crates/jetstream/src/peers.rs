//! Messages between nodes, which no stream keeps; they are lost while NATS is unreachable.

use async_nats::{Client, Subscriber, connection::State};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use roomlog_core::journal::{PeerMessages, Peers};

pub(crate) struct JetStreamPeers {
    pub(crate) client: Client,
    pub(crate) subject: String,
}

impl Peers for JetStreamPeers {
    fn broadcast(&self, message: Bytes) -> BoxFuture<'_, ()> {
        async {
            // Without a connection the client would keep the message, and send it late.
            if self.client.connection_state() == State::Connected {
                let _sent_or_lost = self.client.publish(self.subject.clone(), message).await;
            }
        }
        .boxed()
    }

    fn subscribe(&self) -> BoxFuture<'_, Box<dyn PeerMessages>> {
        async {
            let messages = self.client.subscribe(self.subject.clone()).await.ok();
            Box::new(JetStreamSubscription(messages)) as Box<dyn PeerMessages>
        }
        .boxed()
    }
}

struct JetStreamSubscription(Option<Subscriber>);

impl PeerMessages for JetStreamSubscription {
    fn next(&mut self) -> BoxFuture<'_, Bytes> {
        async {
            if let Some(messages) = &mut self.0
                && let Some(message) = messages.next().await
            {
                return message.payload;
            }
            std::future::pending().await
        }
        .boxed()
    }
}

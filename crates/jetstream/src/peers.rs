//! How nodes speak to each other: messages that no stream keeps.
//!
//! Enters: what a node says. Leaves: what all say. Invariant: nothing waits for it; while NATS is away
//! nothing is said and nothing heard.

use async_nats::{Client, Subscriber, connection::State};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::BoxFuture};
use roomlog_core::journal::{Hear, Peers};

pub(crate) struct JetStreamPeers {
    pub(crate) client: Client,
    pub(crate) subject: String,
}

impl Peers for JetStreamPeers {
    fn tell(&self, said: Bytes) -> BoxFuture<'_, ()> {
        async {
            // What is said without a connection would be kept, and said when it is of yesterday.
            if self.client.connection_state() == State::Connected {
                let _said_or_lost = self.client.publish(self.subject.clone(), said).await;
            }
        }
        .boxed()
    }

    fn hear(&self) -> BoxFuture<'_, Box<dyn Hear>> {
        async {
            let heard = self.client.subscribe(self.subject.clone()).await.ok();
            Box::new(JetStreamHear(heard)) as Box<dyn Hear>
        }
        .boxed()
    }
}

struct JetStreamHear(Option<Subscriber>);

impl Hear for JetStreamHear {
    fn next(&mut self) -> BoxFuture<'_, Bytes> {
        async {
            if let Some(heard) = &mut self.0
                && let Some(message) = heard.next().await
            {
                return message.payload;
            }
            std::future::pending().await
        }
        .boxed()
    }
}

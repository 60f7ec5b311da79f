//! The floor of `cluster`: clients that publish blocks to a stream and wait for the acks, and
//! nothing else; or that also read every block, as each node of a cluster must.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{
    Client, ConnectOptions,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, pull},
        stream,
    },
};
use bytes::Bytes;
use futures_util::StreamExt;
use roomlog_testkit::nats::Cluster;
use tokio::{
    runtime::Runtime,
    sync::{Semaphore, watch},
    task::JoinSet,
};

use crate::times::Times;

const STREAM: &str = "BARE";

/// Blocks that a reader requests at once, as a node does.
const READ_BATCH: usize = 64;

/// Timeout of an ack.
const ACK_TIMEOUT: Duration = Duration::from_secs(20);

/// Clients, and a stream configured as the journal's.
pub(super) struct BareClients {
    runtime: Runtime,
    clients: Vec<Client>,
}

/// What was published.
#[derive(Default)]
pub(super) struct Published {
    pub(super) per_s: f64,
    pub(super) ack: Times,
}

fn failed(why: impl ToString) -> io::Error {
    io::Error::other(why.to_string())
}

impl BareClients {
    /// Connects this many clients.
    pub(super) fn connect(nats: &Cluster, clients: usize) -> io::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let connect = async {
            let mut connected = Vec::new();
            for number in 0..clients {
                let login =
                    ConnectOptions::with_user_and_password("roomlog".into(), "roomlog".into());
                let url = nats.url_of(number % nats.len());
                connected.push(login.connect(url).await.map_err(failed)?);
            }
            let config = stream::Config {
                name: STREAM.into(),
                subjects: vec![STREAM.into()],
                num_replicas: nats.len(),
                ..stream::Config::default()
            };
            let context = jetstream::new(connected[0].clone());
            context.get_or_create_stream(config).await.map_err(failed)?;
            Ok::<_, io::Error>(connected)
        };
        let clients = runtime.block_on(connect)?;
        Ok(Self { runtime, clients })
    }

    /// Publishes blocks of `bytes` for `time`, each client `depth` of them concurrently.
    pub(super) fn publish(
        &self,
        bytes: usize,
        depth: usize,
        time: Duration,
    ) -> io::Result<Published> {
        let block = Bytes::from(vec![b'x'; bytes]);
        let begun = Instant::now();
        let all = async {
            let mut tasks = JoinSet::new();
            for client in &self.clients {
                tasks.spawn(publisher(client.clone(), block.clone(), depth, time));
            }
            let mut all = Times::default();
            while let Some(done) = tasks.join_next().await {
                all.add(&done.map_err(failed)??);
            }
            Ok::<_, io::Error>(all)
        };
        let ack = self.runtime.block_on(all)?;
        Ok(Published { per_s: ack.len() as f64 / begun.elapsed().as_secs_f64(), ack })
    }

    /// Publishes as [`BareClients::publish`] does while each client reads all blocks; returns how
    /// many per second all have read.
    pub(super) fn publish_and_read(
        &self,
        bytes: usize,
        depth: usize,
        time: Duration,
    ) -> io::Result<f64> {
        let mut readers = JoinSet::new();
        let (end, ends_at) = watch::channel(None);
        for client in &self.clients {
            readers.spawn_on(reader(client.clone(), ends_at.clone()), self.runtime.handle());
        }
        let begun = Instant::now();
        let published = self.publish(bytes, depth, time)?.ack.len();
        self.runtime.block_on(async {
            let stream = jetstream::new(self.clients[0].clone()).get_stream(STREAM).await;
            end.send_replace(Some(stream.map_err(failed)?.cached_info().state.last_sequence));
            while let Some(done) = readers.join_next().await {
                done.map_err(failed)??;
            }
            Ok::<_, io::Error>(())
        })?;
        Ok(published as f64 / begun.elapsed().as_secs_f64())
    }
}

/// Reads new blocks until it has the last one that was published.
async fn reader(client: Client, mut ends_at: watch::Receiver<Option<u64>>) -> io::Result<()> {
    let config = pull::Config {
        deliver_policy: DeliverPolicy::New,
        ack_policy: AckPolicy::None,
        num_replicas: 1,
        memory_storage: true,
        ..pull::Config::default()
    };
    let consumer = jetstream::new(client).create_consumer_on_stream(config, STREAM).await;
    let consumer = consumer.map_err(failed)?;
    let batches = consumer.stream().max_messages_per_batch(READ_BATCH);
    let mut messages = batches.messages().await.map_err(failed)?;
    let mut read = 0;
    while ends_at.borrow().is_none_or(|end| read < end) {
        let message = tokio::select! {
            message = messages.next() => message,
            _ = ends_at.changed() => continue,
        };
        let Some(message) = message else { break };
        read = message.map_err(failed)?.info().map_err(failed)?.stream_sequence;
    }
    Ok(())
}

async fn publisher(
    client: Client,
    block: Bytes,
    depth: usize,
    time: Duration,
) -> io::Result<Times> {
    let context = jetstream::context::ContextBuilder::new().ack_timeout(ACK_TIMEOUT).build(client);
    let places = Arc::new(Semaphore::new(depth));
    let end = Instant::now() + time;
    let mut acks = JoinSet::new();
    let mut times = Times::default();
    while Instant::now() < end {
        let place = places.clone().acquire_owned().await.map_err(failed)?;
        let sent = Instant::now();
        let ack = context.publish(STREAM, block.clone()).await.map_err(failed)?;
        acks.spawn(async move {
            let acked = ack.await.map_err(failed);
            drop(place);
            acked.map(|_| sent.elapsed())
        });
        while let Some(done) = acks.try_join_next() {
            times.record(done.map_err(failed)??);
        }
    }
    while let Some(done) = acks.join_next().await {
        times.record(done.map_err(failed)??);
    }
    Ok(times)
}

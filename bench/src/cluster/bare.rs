//! Bare clients: they publish blocks to a stream of their own and wait for the acks, and nothing else.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{
    Client, ConnectOptions,
    jetstream::{self, stream},
};
use bytes::Bytes;
use roomlog_jetstream::servers::Cluster;
use tokio::{runtime::Runtime, sync::Semaphore, task::JoinSet};

const STREAM: &str = "BARE";

/// How long an ack may take.
const ACK_WITHIN: Duration = Duration::from_secs(20);

/// Some clients, and a stream as the journal's are.
pub(super) struct Bare {
    runtime: Runtime,
    clients: Vec<Client>,
}

fn failed(why: impl ToString) -> io::Error {
    io::Error::other(why.to_string())
}

impl Bare {
    /// Connects so many clients.
    ///
    /// # Errors
    /// When a server refuses.
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

    /// Publishes for some time, each client so many at once; publishes a second of all, and the time of
    /// each in µs.
    ///
    /// # Errors
    /// When a publish is not acked.
    pub(super) fn publish(
        &self,
        bytes: usize,
        depth: usize,
        time: Duration,
    ) -> io::Result<(f64, Vec<f64>)> {
        let block = Bytes::from(vec![b'x'; bytes]);
        let begun = Instant::now();
        let all = async {
            let mut tasks = JoinSet::new();
            for client in &self.clients {
                tasks.spawn(publisher(client.clone(), block.clone(), depth, time));
            }
            let mut us = Vec::new();
            while let Some(done) = tasks.join_next().await {
                us.extend(done.map_err(failed)??);
            }
            Ok::<_, io::Error>(us)
        };
        let us = self.runtime.block_on(all)?;
        Ok((us.len() as f64 / begun.elapsed().as_secs_f64(), us))
    }
}

async fn publisher(
    client: Client,
    block: Bytes,
    depth: usize,
    time: Duration,
) -> io::Result<Vec<f64>> {
    let context = jetstream::context::ContextBuilder::new().ack_timeout(ACK_WITHIN).build(client);
    let places = Arc::new(Semaphore::new(depth));
    let end = Instant::now() + time;
    let mut acks = JoinSet::new();
    let mut us = Vec::new();
    while Instant::now() < end {
        let place = places.clone().acquire_owned().await.map_err(failed)?;
        let sent = Instant::now();
        let ack = context.publish(STREAM, block.clone()).await.map_err(failed)?;
        acks.spawn(async move {
            let acked = ack.await.map_err(failed);
            drop(place);
            acked.map(|_| sent.elapsed().as_secs_f64() * 1e6)
        });
        while let Some(done) = acks.try_join_next() {
            us.push(done.map_err(failed)??);
        }
    }
    while let Some(done) = acks.join_next().await {
        us.push(done.map_err(failed)??);
    }
    Ok(us)
}

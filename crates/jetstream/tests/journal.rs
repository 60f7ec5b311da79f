//! The journal on real servers: the contract's suite, and what the servers do to it.

use std::{
    future::Future,
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use roomlog_core::{
    journal::{Durable, Follow, Journal, JournalError, Mark, Position, Proposed},
    suites::journal::{self as suite, Bench},
};
use roomlog_jetstream::{
    JetStreamJournal, OpenError, Options, Promise,
    servers::{Cluster, Setup},
};
use tokio::{runtime::Handle, task::block_in_place, time::timeout};

const LONG: Duration = Duration::from_secs(60);

fn servers(servers: usize) -> Cluster {
    Cluster::start(&Setup { servers, ..Setup::default() }).expect("servers")
}

async fn open(options: &Options) -> Result<JetStreamJournal, OpenError> {
    timeout(LONG, JetStreamJournal::open(options)).await.expect("an answer in time")
}

/// Streams of its own on servers that others use too.
struct Streams {
    options: Options,
}

impl Bench for Streams {
    fn open(&self) -> Arc<dyn Journal> {
        Arc::new(wait(open(&self.options)).expect("a journal"))
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn is_trimmed(&self) -> bool {
        false
    }
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    block_in_place(|| Handle::current().block_on(future))
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_on_one_server() {
    keeps_the_contract(&servers(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_contract_on_three() {
    keeps_the_contract(&servers(3)).await;
}

async fn keeps_the_contract(cluster: &Cluster) {
    let next = AtomicUsize::new(0);
    suite::run(|| {
        let mut options = Options::new(cluster.url());
        options.prefix = format!("SUITE{}", next.fetch_add(1, Ordering::Relaxed));
        Box::new(Streams { options })
    })
    .await;
}

//! A node of the simulation: its host, and what survives a crash.
//!
//! Enters: starts and crashes. Leaves: a gateway on the network. Invariant: the archive and the number of starts
//! survive, and nothing else.

use std::{io, sync::Arc, time::Duration};

use parking_lot::Mutex;
use roomlog_core::{Engines, Node, NodeSettings, Threads, archive::Archive, rules::Rules};
use roomlog_server::{Config, Public};
use roomlog_testkit::{life::identity, memory::MemoryArchive};

use crate::{host::Host, journal::Stream, network::Network, tokens};

/// What a node is started with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Build {
    /// The newest rules that it knows.
    pub(crate) knows: Rules,
    /// It takes tokens.
    pub(crate) has_tokens: bool,
}

/// Small, so that folds are frequent and little is in memory.
fn settings(knows: Rules) -> NodeSettings {
    NodeSettings {
        knows,
        append_bytes: 1 << 20,
        unfolded_bytes: 1 << 20,
        tail_bytes: 16 << 10,
        fold_entries: 48,
        fold_wait: Duration::from_millis(40),
        threads: Threads::None,
        ..NodeSettings::default()
    }
}

pub(crate) struct SimNode {
    number: usize,
    starts: u64,
    archive: Arc<MemoryArchive>,
    host: Option<Host>,
    /// Why it ended by itself.
    ended: Arc<Mutex<Option<String>>>,
    /// By how much its clock is wrong, in ms.
    pub(crate) skew: i64,
    pub(crate) build: Build,
}

impl SimNode {
    pub(crate) fn new(number: usize, build: Build) -> Self {
        let (archive, ended) = (Arc::default(), Arc::default());
        Self { number, starts: 0, archive, host: None, ended, skew: 0, build }
    }

    /// How far its archive is.
    pub(crate) fn folded(&self) -> u64 {
        self.archive.applied(0).map_or(0, |applied| applied.position.0)
    }

    pub(crate) fn is_up(&self) -> bool {
        self.host.is_some()
    }

    pub(crate) fn start(&mut self, stream: &Stream, network: &Network) -> io::Result<()> {
        self.starts += 1;
        self.archive.crash_after_rows(None);
        let number = u8::try_from(self.number + 1).map_err(io::Error::other)?;
        let engines = Engines {
            identity: identity(number, self.starts),
            journal: Arc::new(stream.engine(self.number)),
            archive: self.archive.clone(),
            backup: None,
        };
        let (ended, network, place) = (self.ended.clone(), network.clone(), self.number);
        let build = self.build;
        self.host = Some(Host::start(async move {
            let why = serve(engines, build, &network, place).await;
            *ended.lock() = Some(why);
        })?);
        Ok(())
    }

    /// Loses what is in memory.
    pub(crate) fn crash(&mut self, network: &Network) {
        self.host = None;
        network.crash(self.number);
    }

    /// The next fold that writes more rows than this fails, as in a crash.
    pub(crate) fn crash_in_fold(&self, rows: usize) {
        self.archive.crash_after_rows(Some(rows));
    }

    /// Loses the archive too.
    pub(crate) fn lose_archive(&mut self) {
        self.archive = Arc::default();
    }

    pub(crate) fn tick(&self) {
        if let Some(host) = &self.host {
            host.tick();
        }
    }

    /// Why it ended by itself since the last call.
    pub(crate) fn take_ended(&mut self) -> Option<String> {
        self.ended.lock().take()
    }
}

/// Serves until the node ends; why it did.
async fn serve(engines: Engines, build: Build, network: &Network, place: usize) -> String {
    let tokens = match tokens::taken().await {
        Ok(tokens) => build.has_tokens.then_some(tokens),
        Err(why) => return why,
    };
    let node = match Node::start(engines, settings(build.knows)) {
        Ok(node) => Arc::new(node),
        Err(why) => return format!("it does not start: {why}"),
    };
    if !node.caught_up().await {
        return format!("it does not catch up: {:?}", node.stop().await);
    }
    let listener = Public::Transports(Box::new(network.listen(place)));
    let config = Config { durability: "quorum", tokens, ..Config::default() };
    tokio::select! {
        ended = roomlog_server::run(config, node.clone(), listener, None, std::future::pending()) => {
            format!("its gateway ended: {ended:?}")
        }
        () = node.ended() => format!("{:?}", node.stop().await),
    }
}

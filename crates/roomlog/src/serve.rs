//! `roomlog serve`: opens the engines, puts a node and a gateway on them, and runs until it is told to
//! stop.
//!
//! ```text
//!  SIGTERM, SIGINT ─┐
//!  the node fails ──┴─► gateway drains ──► node ends ──► engines close ──► exit 0, or 1
//! ```
//!
//! Invariant: it listens only when the node has caught up, and says so in one line; it ends only when
//! what was taken is answered, or its socket was cut.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, thread};

use clap::Args;
use roomlog_core::{Node, NodeError, Running};
use roomlog_sqlite::Directory;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{failure::Failure, settings::Settings};

/// Descriptors besides those of sockets: files, threads' event queues, standard streams.
const OTHER_DESCRIPTORS: u64 = 256;

#[derive(Debug, Args)]
#[command(
    after_help = "Every setting is also an environment variable, and a line of the file that --config names:

  listen = \"127.0.0.1:7400\"
  data = \"/var/lib/roomlog\"
  ahead_ms = 5000

Examples:
  roomlog serve
  roomlog serve --listen 127.0.0.1:7401 --data /var/lib/roomlog

SIGTERM or Ctrl-C: what was taken is committed and answered, sockets are closed, exit 0.
RUST_LOG=debug says more on standard error."
)]
pub(crate) struct ServeArgs {
    /// A TOML file with settings, such as `ahead_ms = 5000`.
    #[arg(long, env = "ROOMLOG_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// Why it cannot run, or had to stop.
pub(crate) async fn run(args: ServeArgs) -> Result<ExitCode, Failure> {
    talk();
    let settings = args.settings.over_file(args.config.as_ref())?;
    let (listen, config, node_settings) =
        (settings.listen()?, settings.gateway()?, settings.node()?);
    allow_descriptors(config.sockets as u64);
    let stop = Stop::install()?;
    // First of all, so that an address in use is said before a directory is touched.
    let listener = bind(listen).await?;
    let data = settings.data();
    let directory = Directory::open(&data).map_err(|why| Failure::said(why.to_string()))?;
    let engines = (directory.journal.clone(), directory.archive.clone());
    let opened = Node::open(directory.identity, engines.0, engines.1, node_settings);
    let (node, running) = opened.map_err(|why| Failure::said(why.to_string()))?;
    let (node, mut threads) = (Arc::new(node), Threads::start(running)?);

    if node.caught_up().await {
        let address = listener.local_addr().unwrap_or(listen);
        eprintln!(
            "roomlog: listening on http://{address} (log {}, data {})",
            node.log(),
            data.display()
        );
        let stop = async {
            tokio::select! {
                () = stop.asked() => eprintln!("roomlog: stopping"),
                () = threads.node_ended() => {}
            }
        };
        roomlog_server::run(config, node.clone(), listener, stop).await;
    }
    node.inbox.close();
    let ended = threads.join().await;
    let stats = &node.stats;
    eprintln!(
        "roomlog: stats blocks={} entries={} busy={} fold_lag_max={}",
        stats.blocks(),
        stats.entries(),
        stats.busy_answers(),
        stats.unfolded_max()
    );
    drop((node, directory));
    ended.map(|()| ExitCode::SUCCESS).map_err(|why| Failure::said(why.to_string()))
}

fn talk() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

async fn bind(listen: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).await.map_err(|why| {
        Failure::said(format!(
            "cannot listen on {listen}: {why}; is a server running there already? another \
             address is given with --listen"
        ))
    })
}

/// Lets the process have a descriptor per socket, as far as the system allows.
fn allow_descriptors(sockets: u64) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = sockets + OTHER_DESCRIPTORS;
    let Some(now) = current.filter(|current| *current < wanted) else { return };
    let allowed = maximum.map_or(wanted, |maximum| wanted.min(maximum));
    let set = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum });
    if set.is_err() || allowed < wanted {
        let have = if set.is_ok() { allowed } else { now };
        tracing::info!(have, wanted, "fewer descriptors than sockets: more wait to be accepted");
    }
}

/// The signals that end the server.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn install() -> Result<Self, Failure> {
        let install = |kind| {
            signal(kind).map_err(|why| Failure::said(format!("cannot listen for signals: {why}")))
        };
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
        })
    }

    async fn asked(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The threads of a node: its partition's task has one of its own, so that a thousand followers that
/// wake at once do not stand before the next commit.
struct Threads {
    partition: Option<thread::JoinHandle<Result<(), NodeError>>>,
    folder: Option<thread::JoinHandle<()>>,
    ended: Option<oneshot::Receiver<()>>,
}

impl Threads {
    fn start(running: Running) -> Result<Self, Failure> {
        let Running { task, folder } = running;
        let failed = |why: std::io::Error| Failure::said(format!("cannot start a thread: {why}"));
        let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
        let (tell, ended) = oneshot::channel();
        let partition = thread::Builder::new().name("partition".into()).spawn(move || {
            let result = runtime.block_on(task.run());
            let _nobody_waits = tell.send(());
            result
        });
        let folder = thread::Builder::new().name("fold".into()).spawn(move || folder.run());
        Ok(Self {
            partition: Some(partition.map_err(failed)?),
            folder: Some(folder.map_err(failed)?),
            ended: Some(ended),
        })
    }

    /// Done when the node has ended by itself: it failed.
    async fn node_ended(&mut self) {
        if let Some(ended) = &mut self.ended {
            let _ended_either_way = ended.await;
        }
    }

    /// Waits until both have ended.
    async fn join(mut self) -> Result<(), NodeError> {
        let (partition, folder) = (self.partition.take(), self.folder.take());
        let joined = tokio::task::spawn_blocking(move || {
            let result = partition.map(thread::JoinHandle::join);
            let folded = folder.map(thread::JoinHandle::join);
            (result, folded)
        });
        match joined.await {
            Ok((Some(Ok(result)), _)) => result,
            // A panic was printed where it happened.
            _ => {
                Err(roomlog_core::journal::JournalError("the node's thread panicked".into()).into())
            }
        }
    }
}

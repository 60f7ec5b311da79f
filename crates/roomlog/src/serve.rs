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

use std::{future::Future, net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, thread};

use clap::Args;
use roomlog_core::{Node, NodeError, Running, journal::JournalError, partition};
use roomlog_sqlite::Directory;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::{failure::Failure, settings::Settings};

/// The nice value of the thread that writes the journal: everyone who appends waits for it, and it
/// mostly waits for the disk. On two cores that were all in use it doubled the blocks a second.
const GO_FIRST: i32 = -10;

/// The nice value of the thread that folds: nobody waits for it until it is far behind.
const GO_LAST: i32 = 5;

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

/// The threads of a node. Sequencing waits for the disk and applying must not wait behind a thousand
/// followers that wake at once, so neither shares a thread with the sockets.
struct Threads {
    sequencing: thread::JoinHandle<Result<(), NodeError>>,
    applying: thread::JoinHandle<Result<(), NodeError>>,
    folder: thread::JoinHandle<()>,
    ended: mpsc::Receiver<()>,
}

impl Threads {
    fn start(running: Running) -> Result<Self, Failure> {
        let Running { task, folder } = running;
        let (tell, ended) = mpsc::channel(2);
        let failed = |why: std::io::Error| Failure::said(format!("cannot start a thread: {why}"));
        let folder = thread::Builder::new().name("fold".into()).spawn(move || {
            take_place(GO_LAST);
            folder.run();
        });
        Ok(Self {
            sequencing: on_a_thread("sequencing", GO_FIRST, tell.clone(), task.sequencing.run())?,
            applying: on_a_thread("applying", 0, tell, task.applying.run())?,
            folder: folder.map_err(failed)?,
            ended,
        })
    }

    /// Done when a task of the node has ended: without being asked to, it failed.
    async fn node_ended(&mut self) {
        let _word_or_gone = self.ended.recv().await;
    }

    /// Waits until all have ended.
    async fn join(self) -> Result<(), NodeError> {
        let Self { sequencing, applying, folder, .. } = self;
        let joined = tokio::task::spawn_blocking(move || {
            let ended = (sequencing.join(), applying.join());
            let _folded_or_panicked = folder.join();
            ended
        });
        match joined.await {
            Ok((Ok(sequenced), Ok(applied))) => partition::ended(sequenced, applied),
            // A panic was printed where it happened.
            _ => Err(JournalError("a thread of the node panicked".into()).into()),
        }
    }
}

/// Gives the calling thread its place among the others; where the system does not let a process go
/// before others (root, or `LimitNICE` of systemd, does), it stays where it is.
fn take_place(nice: i32) {
    let thread = Some(rustix::thread::gettid());
    if let Err(error) = rustix::process::setpriority_process(thread, nice) {
        tracing::debug!(%error, nice, "the thread keeps its priority");
    }
}

/// Runs a task of the node on a thread of its own, and tells when it ends.
fn on_a_thread(
    name: &str,
    nice: i32,
    tell: mpsc::Sender<()>,
    task: impl Future<Output = Result<(), NodeError>> + Send + 'static,
) -> Result<thread::JoinHandle<Result<(), NodeError>>, Failure> {
    let failed = |why: std::io::Error| Failure::said(format!("cannot start a thread: {why}"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().map_err(failed)?;
    let run = move || {
        take_place(nice);
        let ended = runtime.block_on(task);
        let _nobody_waits = tell.try_send(());
        ended
    };
    thread::Builder::new().name(name.into()).spawn(run).map_err(failed)
}

//! `roomlog serve`: opens the engines, puts a node and a gateway on them, and runs until it is told to
//! stop.
//!
//! ```text
//!  SIGTERM, SIGINT, SIGHUP ─┐
//!  the node fails ──────────┴─► gateway drains ──► node ends ──► engines close ──► exit 0, or 1
//! ```
//!
//! Invariant: it serves only when the node has caught up, and says so in one line; it ends only when
//! what was taken is answered, or its socket was cut.

use std::{
    convert::Infallible,
    io::{ErrorKind, IsTerminal},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use roomlog_core::{Engines, Node, NodeError, NodeSettings, NodeThread};
use roomlog_sqlite::directory::FILES;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
};

use crate::{address::DEFAULT_SERVER, engines::Storage, failure::Failure, say, settings::Settings};

/// The nice value of the thread that writes the journal: everyone who appends waits for it, and it
/// mostly waits for the disk. On two cores that were all in use it doubled the blocks a second.
const SEQUENCER_NICE: i32 = -10;

/// The nice value of the thread that folds: nobody waits for it until it is far behind.
const FOLD_NICE: i32 = 5;

/// How often a start that takes long says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Descriptors besides those of sockets: files, threads' event queues, standard streams.
const OTHER_DESCRIPTORS: u64 = 256;

#[derive(Debug, Args)]
#[command(
    after_help = "Every setting is also an environment variable, and a line of the file that --config names:

  listen = \"127.0.0.1:7400\"
  data = \"/var/lib/roomlog\"
  ahead_ms = 5000

A flag overrides the environment, and the environment the file. `roomlog config` prints what is set, and where.

Examples:
  roomlog serve
  roomlog serve --listen 127.0.0.1:7401 --data /var/lib/roomlog
  roomlog serve --journal nats://a:4222,b:4222,c:4222

SIGTERM, SIGHUP or Ctrl-C: what was taken is committed and answered, sockets are closed, exit 0.
RUST_LOG=debug says more on standard error."
)]
pub(crate) struct ServeArgs {
    /// A TOML file with settings, such as `ahead_ms = 5000`.
    #[arg(long, env = "ROOMLOG_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// Why it cannot run, or had to stop.
pub(crate) async fn run(args: ServeArgs) -> Result<ExitCode, Failure> {
    talk();
    let settings = args.settings.over_file(args.config.as_ref())?;
    let (data, listen) = (settings.data()?, settings.listen()?);
    let (mut config, node_settings) = (settings.gateway()?, settings.node()?);
    let (journal_bytes, cluster) = (settings.journal_bytes()?, settings.cluster()?);
    allow_descriptors(config.sockets as u64);
    let mut stop = Stop::install()?;
    // First of all, so that an address in use is said before a directory is touched.
    let listener = bind(listen).await?;
    let storage = match &cluster {
        None => Storage::of_one_node(&data, journal_bytes)?,
        // Servers that elect are waited for.
        Some(options) => tokio::select! {
            storage = Storage::of_a_cluster(&data, options) => storage?,
            () = stop.asked() => return Ok(ExitCode::SUCCESS),
        },
    };
    config.durability = storage.durability;
    config.files = FILES.iter().map(|name| storage.data.join(name)).collect();
    let node_settings = NodeSettings { on_thread: set_priority, ..node_settings };
    let timed = config.metrics.time_journal(storage.engines.journal.clone());
    let node = Node::start(Engines { journal: timed, ..storage.engines.clone() }, node_settings);
    let node = Arc::new(node.map_err(|why| Failure::said(why.to_string()))?);

    let is_up = tokio::select! {
        // On a full disk that may not come.
        is_up = node.caught_up() => is_up,
        () = stop.asked() => false,
        never = tell_progress(&node) => match never {},
    };
    if is_up {
        let address = listener.local_addr().unwrap_or(listen);
        say!("listening on http://{address} (log {}, data {})", node.log(), storage.data.display());
        if std::io::stderr().is_terminal() {
            say!("{}", way_in(address));
        }
        let stop = async {
            tokio::select! {
                () = stop.asked() => {}
                () = node.ended() => {}
            }
            // Before the sockets are: they wait for it.
            node.drain();
        };
        roomlog_server::run(config, node.clone(), listener, stop).await;
    }
    let ended = node.stop().await;
    let stats = node.stats();
    say!(
        "stats blocks={} entries={} busy={} fold_lag_max={}",
        stats.blocks,
        stats.entries,
        stats.busy,
        stats.unfolded_max
    );
    if let Err(why @ NodeError::Disagrees { .. }) = &ended {
        storage.freeze(&why.to_string());
    }
    drop((node, storage));
    ended.map(|()| ExitCode::SUCCESS).map_err(|why| Failure::said(why.to_string()))
}

/// Says now and then how far a start is that takes long.
async fn tell_progress(node: &Node) -> Infallible {
    let begun = Instant::now();
    loop {
        tokio::time::sleep(TELL_EVERY).await;
        let (mut at, mut of) = (0, 0);
        let stats = node.stats();
        for (position, head) in &stats.positions {
            at += position.0;
            of += head.map_or(0, |head| head.0).max(position.0);
        }
        let (entries, seconds) = (stats.entries, begun.elapsed().as_secs());
        say!("catching up with the journal: block {at} of {of}, {entries} entries in {seconds} s");
    }
}

fn talk() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let talk = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(say::in_colour());
    talk.with_writer(|| say::Lines).init();
}

/// What a person at the terminal can do next.
fn way_in(listens: SocketAddr) -> String {
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("http://{}", SocketAddr::new(ip, listens.port()));
    let server = if url == DEFAULT_SERVER { String::new() } else { format!(" --server {url}") };
    format!("open {url} in a browser, or run `roomlog tail general{server}`")
}

async fn bind(listen: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).await.map_err(|why| {
        let way_out = match why.kind() {
            ErrorKind::AddrInUse => {
                "is a server running there already? Give another address with --listen"
            }
            ErrorKind::PermissionDenied => {
                "ports below 1024 need root or CAP_NET_BIND_SERVICE; give a higher port with --listen, such as \
                 127.0.0.1:7400"
            }
            ErrorKind::AddrNotAvailable => {
                "no interface of this machine has this address; give another with --listen"
            }
            _ => "give another address with --listen",
        };
        Failure::said(format!("cannot listen on {listen}: {why}; {way_out}"))
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
    terminate: Signal,
    interrupt: Signal,
    /// The terminal was closed; `None` if the process was started to outlive it (`nohup`).
    hangup: Option<Signal>,
}

impl Stop {
    fn install() -> Result<Self, Failure> {
        let install = |kind| {
            signal(kind).map_err(|why| Failure::said(format!("cannot listen for signals: {why}")))
        };
        let hangup = (!ignores_hangup()).then(|| install(SignalKind::hangup()));
        Ok(Self {
            terminate: install(SignalKind::terminate())?,
            interrupt: install(SignalKind::interrupt())?,
            hangup: hangup.transpose()?,
        })
    }

    /// Done when one has come.
    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            Some(()) = async { self.hangup.as_mut()?.recv().await } => {}
        }
        say!("stopping");
    }
}

/// Whether the process was started with SIGHUP ignored, as `nohup` does: installing a handler would
/// undo that.
pub(crate) fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal N is bit N - 1.
    ignored.is_some_and(|mask| mask & (1 << (SignalKind::hangup().as_raw_value() - 1)) != 0)
}

/// Sets the priority of the calling thread. Where the system does not allow a higher one (it allows it
/// to root, and with `LimitNICE` of systemd), the priority stays as it is.
fn set_priority(role: NodeThread) {
    let nice = match role {
        NodeThread::Sequencer => SEQUENCER_NICE,
        NodeThread::Fold => FOLD_NICE,
    };
    let thread = Some(rustix::thread::gettid());
    if let Err(error) = rustix::process::setpriority_process(thread, nice) {
        tracing::debug!(%error, nice, "the thread keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_in_can_be_pasted() {
        let said = |listens: &str| way_in(listens.parse().expect("an address"));
        assert_eq!(
            said("127.0.0.1:7400"),
            "open http://127.0.0.1:7400 in a browser, or run `roomlog tail general`"
        );
        for (listens, url) in [
            ("0.0.0.0:7400", "http://127.0.0.1:7400"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:80", "http://[::1]:80"),
        ] {
            assert!(said(listens).contains(&format!("open {url} in")), "{}", said(listens));
        }
        let said = said("[::1]:80");
        assert!(said.ends_with("`roomlog tail general --server http://[::1]:80`"), "{said}");
    }
}

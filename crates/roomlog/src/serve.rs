//! `roomlog serve`: opens the engines, starts a node and a gateway on them, and runs until a signal.
//!
//! ```text
//!  SIGTERM, SIGINT, a closed terminal ─┐
//!  the node fails ─────────────────────┴─► gateway drains ──► node stops ──► engines close ──► exit 0, or 1
//! ```
//!
//! It listens for clients only after the node has caught up, and prints one line then. It exits
//! only after every accepted append is answered or its socket is closed.

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
use roomlog_core::{Engines, Node, NodeError, NodeSettings, Threads};
use roomlog_server::Tokens;
use roomlog_sqlite::directory::file_sizes;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{net::TcpListener, runtime::Handle, sync::watch};

use crate::{
    address::DEFAULT_SERVER,
    append_loop::AppendLoop,
    clock, disk,
    door::{AdminListen, OpenDoor},
    engines::Storage,
    failure::Failure,
    log_format::LogFormat,
    reload::{LoadedFiles, LoadedSettings},
    settings::Settings,
    signals::{Asked, Signals},
    stderr::{self, message, warning},
    supervisor, tls,
};

/// The nice value of the append loop, which all appends wait for.
const APPEND_LOOP_NICE: i32 = -10;

/// The nice value of the thread that folds: nothing waits for it until it is far behind.
const FOLD_NICE: i32 = 5;

/// How often a long start reports its progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// Descriptors besides those of sockets: files, threads' event queues, standard streams, and sockets
/// that are open to be refused.
pub(crate) const OTHER_DESCRIPTORS: u64 = 320;

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

SIGTERM, Ctrl-C or a closed terminal: what was taken is committed and answered, sockets are closed, exit 0.
SIGHUP: limits of the settings file, the TLS certificate and the keys of tokens are read again.
RUST_LOG=debug says more on standard error."
)]
pub(crate) struct ServeArgs {
    /// A TOML file with settings, such as `ahead_ms = 5000`.
    #[arg(long, env = "ROOMLOG_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// The tokens that the server takes; `None` if it is open.
async fn tokens(settings: &Settings, listen: SocketAddr) -> Result<Option<Arc<Tokens>>, Failure> {
    let Some(files) = settings.access.tokens()? else { return Ok(None) };
    for exposed in files.exposed() {
        warning!("{exposed}");
    }
    if !listen.ip().is_loopback() && settings.tls_cert.is_none() {
        warning!("tokens reach {listen} unencrypted unless a proxy in front of it has TLS");
    }
    // A file that is wrong stays wrong. A set of keys at a URL may come later: the next start asks again.
    files.read().map_err(Failure::usage)?;
    let tokens = Tokens::new(Arc::new(files)).await.map_err(Failure::other)?;
    Ok(Some(Arc::new(tokens)))
}

/// Runs the server until a signal or a failure of the node; fails with why it cannot run.
pub(crate) async fn run(args: ServeArgs) -> Result<ExitCode, Failure> {
    // Also for what is wrong with the file.
    args.settings.log_format.unwrap_or_default().apply();
    let settings = args.settings.clone().over_file(args.config.as_ref())?;
    log_to_stderr(settings.log_format.unwrap_or_default());
    let (data, listen, admin) = (settings.data()?, settings.listen()?, settings.admin_listen()?);
    let (mut config, node_settings) = (settings.gateway()?, settings.node()?);
    let (journal_bytes, cluster) = (settings.journal_bytes()?, settings.cluster()?);
    let (disk_reserve, retention) = (settings.disk_reserve()?, settings.retention()?);
    config.tokens = tokens(&settings, listen).await?;
    config.tls = settings.tls()?.map(Arc::new);
    let limits = watch::channel(config.limits.clone());
    config.new_limits = limits.1;
    let mut files = LoadedFiles {
        certificate: config.tls.clone(),
        tokens: config.tokens.clone(),
        settings: LoadedSettings::new(args.config, args.settings, &settings, limits.0)?,
    };
    let certificate = config.tls.clone();
    let sockets = allow_descriptors(config.sockets);
    config = config.with_sockets(sockets);
    let mut signals = Signals::install()?;
    // First, so that an address in use is reported before a directory is touched.
    let listener = bind(listen, "--listen").await?;
    let admin_tcp = match admin {
        AdminListen::Tcp(address) => Some(bind(address, "--admin-listen").await?),
        AdminListen::Socket | AdminListen::Off => None,
    };
    let storage = match &cluster {
        None => Storage::of_one_node(&data, journal_bytes)?,
        // Waits while the servers elect a leader.
        Some(options) => tokio::select! {
            storage = Storage::of_a_cluster(&data, options) => storage?,
            () = stopping(&mut signals, &mut files) => return Ok(ExitCode::SUCCESS),
        },
    };
    let OpenDoor { door, shown: door_shown, socket: door_socket } =
        OpenDoor::open(admin, admin_tcp, &storage.data)?;
    config.durability = storage.durability;
    config.data.clone_from(&storage.data);
    config.file_sizes = |data| file_sizes(data).unwrap_or_default();
    let node_settings = NodeSettings {
        threads: Threads::Many { on_fold_thread: || set_nice(FOLD_NICE) },
        deliver_on: Some(Handle::current()),
        ..node_settings
    };
    let append_loop = AppendLoop::start(|| set_nice(APPEND_LOOP_NICE))?;
    config.append_loop = Some(append_loop.handle().clone());
    let timed = config.metrics.time_journal(storage.engines.journal.clone());
    let node = {
        let _there = append_loop.handle().enter();
        Node::start(Engines { journal: timed, ..storage.engines.clone() }, node_settings)
    };
    let node = Arc::new(node.map_err(Failure::other)?);

    let is_up = tokio::select! {
        // Never completes while the disk is full.
        is_up = node.caught_up() => is_up,
        () = stopping(&mut signals, &mut files) => false,
        never = report_progress(&node) => match never {},
    };
    if is_up {
        let address = listener.local_addr().unwrap_or(listen);
        let (log, data) = (node.log(), storage.data.display());
        let scheme = if certificate.is_some() { "https" } else { "http" };
        announce(scheme, address, &format!("log {log}, data {data}{door_shown}"));
        supervisor::ready();
        let stop = async {
            tokio::select! {
                () = stopping(&mut signals, &mut files) => {}
                () = node.ended() => {}
            }
            // Before the sockets, which wait for it.
            node.drain();
        };
        let metrics = config.metrics.clone();
        tokio::select! {
            served = roomlog_server::run(config, node.clone(), listener, door, stop) => {
                served.map_err(Failure::other)?;
            }
            never = disk::watch(&node, &storage.data, disk_reserve, &metrics) => match never {},
            never = retention.run(&node) => match never {},
            never = clock::watch(&node, &metrics) => match never {},
            never = tls::watch(certificate.as_ref()) => match never {},
        }
    }
    let ended = node.stop().await;
    let stats = node.stats();
    message!(
        "stats blocks={} entries={} busy={} fold_lag_max={}",
        stats.blocks,
        stats.entries,
        stats.busy,
        stats.unfolded_max
    );
    if let Err(why @ NodeError::Disagrees { .. }) = &ended {
        storage.freeze(&why.to_string());
    }
    // The socket before the lock: the next server makes its own.
    drop((node, append_loop, door_socket, storage));
    ended.map(|()| ExitCode::SUCCESS).map_err(Failure::other)
}

/// Waits for a signal to stop, and reports it. Does what other signals ask for meanwhile.
async fn stopping(signals: &mut Signals, files: &mut LoadedFiles) {
    while signals.asked().await == Asked::Reload {
        files.reload().await;
    }
    message!("stopping");
    supervisor::stopping();
}

/// Reports the progress of a long start every [`PROGRESS_INTERVAL`].
async fn report_progress(node: &Node) -> Infallible {
    let begun = Instant::now();
    loop {
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        let (mut at, mut of) = (0, 0);
        let stats = node.stats();
        for (position, head) in &stats.positions {
            at += position.0;
            of += head.map_or(0, |head| head.0).max(position.0);
        }
        let progress = format!(
            "catching up with the journal: block {at} of {of}, {} entries in {} s",
            stats.entries,
            begun.elapsed().as_secs()
        );
        supervisor::starting(&progress);
        message!("{progress}");
    }
}

fn log_to_stderr(format: LogFormat) {
    format.apply();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter);
    match format {
        LogFormat::Text => {
            log.with_ansi(stderr::in_colour()).with_writer(|| stderr::TracingWriter).init();
        }
        LogFormat::Json => {
            let log = log.with_writer(|| stderr::TracingWriter).json().flatten_event(true);
            log.with_current_span(false).with_span_list(false).init();
        }
    }
}

/// Says that the server listens, and to a user at a terminal what to do next.
fn announce(scheme: &str, listens: SocketAddr, details: &str) {
    message!("listening on {scheme}://{listens} ({details})");
    if std::io::stderr().is_terminal() {
        message!("{}", next_steps(scheme, listens));
    }
}

/// What the user at the terminal can do next.
fn next_steps(scheme: &str, listens: SocketAddr) -> String {
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let url = format!("{scheme}://{}", SocketAddr::new(ip, listens.port()));
    let server = if url == DEFAULT_SERVER { String::new() } else { format!(" --server {url}") };
    format!("open {url} in a browser, or run `roomlog tail general{server}`")
}

/// Listens on the address that a flag has named.
async fn bind(address: SocketAddr, flag: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|why| {
        let advice = match why.kind() {
            ErrorKind::AddrInUse => {
                format!("is a server running there already? Give another address with {flag}")
            }
            ErrorKind::PermissionDenied => format!(
                "ports below 1024 need root or CAP_NET_BIND_SERVICE; give a higher port with \
                 {flag}, such as 127.0.0.1:7400"
            ),
            ErrorKind::AddrNotAvailable => {
                format!("no interface of this machine has this address; give another with {flag}")
            }
            _ => format!("give another address with {flag}"),
        };
        Failure::other(format!("cannot listen on {address}: {why}; {advice}"))
    })
}

/// Raises the limit of descriptors to one per socket, as far as the system allows. Returns how many
/// sockets that is: more would take the descriptors of the files and of the operators' door.
fn allow_descriptors(sockets: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = sockets as u64 + OTHER_DESCRIPTORS;
    let Some(now) = current.filter(|current| *current < wanted) else { return sockets };
    let allowed = maximum.map_or(wanted, |maximum| wanted.min(maximum));
    let set = setrlimit(Resource::Nofile, Rlimit { current: Some(allowed), maximum });
    let have = if set.is_ok() { allowed } else { now };
    if have == wanted {
        return sockets;
    }
    tracing::info!(have, wanted, "fewer descriptors than sockets: more are refused");
    usize::try_from(have.saturating_sub(OTHER_DESCRIPTORS)).unwrap_or(sockets).max(1)
}

/// Sets the nice value of the calling thread. It stays as it is where the system does not allow a
/// higher one, which needs root or `LimitNICE` of systemd.
fn set_nice(nice: i32) {
    let thread = Some(rustix::thread::gettid());
    if let Err(error) = rustix::process::setpriority_process(thread, nice) {
        tracing::debug!(%error, nice, "the thread keeps its priority");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_steps_name_an_address_that_can_be_opened() {
        let steps = |listens: &str| next_steps("http", listens.parse().expect("an address"));
        assert_eq!(
            steps("127.0.0.1:7400"),
            "open http://127.0.0.1:7400 in a browser, or run `roomlog tail general`"
        );
        for (listens, url) in [
            ("0.0.0.0:7400", "http://127.0.0.1:7400"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:80", "http://[::1]:80"),
        ] {
            assert!(steps(listens).contains(&format!("open {url} in")), "{}", steps(listens));
        }
        let steps = steps("[::1]:80");
        assert!(steps.ends_with("`roomlog tail general --server http://[::1]:80`"), "{steps}");
    }
}

//! Real NATS servers on loopback for tests and benchmarks, configured as `deploy/nats/` does,
//! except for their ports; they are killed when the [`Cluster`] is dropped.
//!
//! The program is `nats-server` in `PATH`, or the one that `ROOMLOG_NATS_SERVER` names;
//! `script/test` installs it.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A server must listen within this time.
const LISTENS_WITHIN: Duration = Duration::from_secs(20);

/// A server must end within this time of a signal.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Replicas must be current within this time.
const CURRENT_WITHIN: Duration = Duration::from_secs(30);

/// A server of a cluster.
struct Server {
    name: String,
    port: u16,
    config: PathBuf,
    store: PathBuf,
    /// The environment variables that the configuration reads.
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
}

/// Servers that form a cluster.
pub struct Cluster {
    servers: Vec<Server>,
    directory: TempDir,
}

/// Maps the servers' route ports to the port at which each of them (the row) reaches each (the
/// column).
pub type Links = Box<dyn Fn(&[u16]) -> Vec<Vec<u16>>>;

/// The setup of a cluster.
pub struct Setup {
    /// How many servers.
    pub servers: usize,
    /// How many start at once; the others by [`Cluster::restart`].
    pub first: usize,
    /// Whether each is configured with the first one only, and discovers the others.
    pub by_seed: bool,
    /// `sync_interval: always`.
    pub synced: bool,
    /// Whether the roomlog account may query that.
    pub exported: bool,
    /// The ports at which servers reach each other, if not their own; then none advertises others.
    pub links: Option<Links>,
    /// A configuration to use instead, which reads the differences from the environment, as
    /// `deploy/nats/nats.conf` does.
    pub config: Option<PathBuf>,
    /// The store of each server; by default in a temporary directory.
    pub stores: Option<Vec<PathBuf>>,
    /// More lines of the configuration.
    pub more: String,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            servers: 3,
            first: usize::MAX,
            by_seed: false,
            synced: true,
            exported: true,
            links: None,
            config: None,
            stores: None,
            more: String::new(),
        }
    }
}

impl Cluster {
    /// Starts servers and waits until each listens.
    ///
    /// # Errors
    /// If there is no `nats-server`, or one does not listen.
    pub fn start(setup: &Setup) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let ports = free_ports(2 * setup.servers)?;
        let (clients, routes) = ports.split_at(setup.servers);
        let configured = if setup.by_seed { &routes[..1] } else { routes };
        let links = match &setup.links {
            Some(links) => links(routes),
            None => vec![configured.to_vec(); setup.servers],
        };
        let mut servers = Vec::new();
        for (index, &port) in clients.iter().enumerate() {
            let name = format!("n{index}");
            let own = || directory.path().join(&name);
            let given = setup.stores.as_ref().and_then(|stores| stores.get(index)).cloned();
            let store = given.unwrap_or_else(own);
            let config = directory.path().join(format!("{name}.conf"));
            let text = config_text(setup, &name, port, routes[index], &links[index], &store);
            fs::write(&config, text)?;
            let config = setup.config.clone().unwrap_or(config);
            let environment = environment(&name, port, routes[index], routes, &store);
            servers.push(Server { name, port, config, store, environment, child: None });
        }
        let mut cluster = Self { servers, directory };
        let first = 0..setup.servers.min(setup.first);
        for index in first.clone() {
            cluster.spawn(index)?;
        }
        for index in first {
            cluster.wait(index)?;
        }
        Ok(cluster)
    }

    /// The addresses of all, in the format of `serve --journal`.
    #[must_use]
    pub fn url(&self) -> String {
        let address = |server: &Server| format!("nats://roomlog:roomlog@127.0.0.1:{}", server.port);
        self.servers.iter().map(address).collect::<Vec<_>>().join(",")
    }

    /// The address of one.
    #[must_use]
    pub fn url_of(&self, index: usize) -> String {
        format!("nats://roomlog:roomlog@127.0.0.1:{}", self.servers[index].port)
    }

    /// How many servers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// Kills one with SIGKILL.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.servers[index].child.take() {
            let _already_ended = child.kill();
            let _reaped = child.wait();
        }
    }

    /// Restarts one on its store.
    ///
    /// # Errors
    /// If it does not listen.
    pub fn restart(&mut self, index: usize) -> io::Result<()> {
        self.kill(index);
        self.spawn(index)?;
        self.wait(index)
    }

    /// Restarts one gracefully, as `deploy/nats/nats.service` does: it transfers its leaderships,
    /// closes its clients and ends; then it is restarted, and all replicas of these streams must
    /// become current.
    ///
    /// # Errors
    /// If it does not end, does not listen, or does not catch up.
    pub fn restart_gracefully(&mut self, index: usize, streams: &[&str]) -> io::Result<()> {
        self.signal(index, Signal::USR2);
        let begun = Instant::now();
        while let Some(child) = &mut self.servers[index].child
            && child.try_wait()?.is_none()
        {
            if begun.elapsed() > ENDS_WITHIN {
                return Err(io::Error::other("nats-server does not end"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.restart(index)?;
        let begun = Instant::now();
        while !streams.iter().all(|stream| self.is_current(index, stream)) {
            if begun.elapsed() > CURRENT_WITHIN {
                return Err(io::Error::other("a stream does not become current again"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Whether a stream has a leader and all its replicas are current, according to this server.
    fn is_current(&self, index: usize, stream: &str) -> bool {
        self.stream_info(index, stream).is_ok_and(|info| {
            info.contains("\"leader\"")
                && !info.contains("\"offline\":true")
                && !info.contains("\"current\":false")
        })
    }

    /// Suspends one with SIGSTOP.
    pub fn freeze(&self, index: usize) {
        self.signal(index, Signal::STOP);
    }

    /// Resumes a suspended one.
    pub fn thaw(&self, index: usize) {
        self.signal(index, Signal::CONT);
    }

    /// Its client port.
    #[must_use]
    pub fn port(&self, index: usize) -> u16 {
        self.servers[index].port
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self, index: usize) -> Option<u32> {
        self.servers[index].child.as_ref().map(Child::id)
    }

    /// The leader of a stream, according to the first server that answers.
    #[must_use]
    pub fn leader(&self, stream: &str) -> Option<usize> {
        let info = (0..self.len()).find_map(|index| self.stream_info(index, stream).ok())?;
        let leader = info.split_once("\"leader\":\"")?.1.split_once('"')?.0;
        self.servers.iter().position(|server| server.name == leader)
    }

    /// Whether there is a stream of this name.
    #[must_use]
    pub fn has_stream(&self, stream: &str) -> bool {
        (0..self.len()).any(|index| self.stream_info(index, stream).is_ok())
    }

    /// The number of messages in a stream, according to the first server that answers; 0 if it does
    /// not exist.
    #[must_use]
    pub fn messages(&self, stream: &str) -> u64 {
        let info = (0..self.len()).find_map(|index| self.stream_info(index, stream).ok());
        let after = info.as_deref().and_then(|info| info.split_once("\"messages\":"));
        let digits = after.and_then(|(_, rest)| rest.split_once(|it: char| !it.is_ascii_digit()));
        digits.and_then(|(digits, _)| digits.parse().ok()).unwrap_or(0)
    }

    fn stream_info(&self, index: usize, stream: &str) -> io::Result<String> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.servers[index].port))?;
        socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        let login = r#"{"verbose":false,"user":"roomlog","pass":"roomlog"}"#;
        let ask = format!("$JS.API.STREAM.INFO.{stream}");
        write!(
            socket,
            "CONNECT {login}\r\nSUB _INBOX.leader 1\r\nPUB {ask} _INBOX.leader 0\r\n\r\n"
        )?;
        let mut answer = String::new();
        for line in BufReader::new(socket).lines() {
            answer.push_str(&line?);
            if answer.contains("\"created\"") {
                return Ok(answer);
            }
            if answer.contains("\"error\"") {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    }

    /// Its store directory.
    #[must_use]
    pub fn store(&self, index: usize) -> &Path {
        &self.servers[index].store
    }

    /// Its log, for a test that failed.
    #[must_use]
    pub fn log(&self, index: usize) -> String {
        let path = self.directory.path().join(format!("{}.log", self.servers[index].name));
        fs::read_to_string(path).unwrap_or_default()
    }

    fn signal(&self, index: usize, signal: Signal) {
        let pid = self.servers[index].child.as_ref().map(Pid::from_child);
        if let Some(pid) = pid {
            let _already_ended = kill_process(pid, signal);
        }
    }

    fn spawn(&mut self, index: usize) -> io::Result<()> {
        let program = env::var_os("ROOMLOG_NATS_SERVER").unwrap_or_else(|| "nats-server".into());
        let path = self.directory.path().join(format!("{}.log", self.servers[index].name));
        let log = fs::File::options().create(true).append(true).open(path)?;
        let child = Command::new(&program)
            .arg("-c")
            .arg(&self.servers[index].config)
            .envs(self.servers[index].environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|why| {
                io::Error::other(format!(
                    "{} cannot be run: {why}; script/test installs it",
                    program.to_string_lossy()
                ))
            })?;
        self.servers[index].child = Some(child);
        Ok(())
    }

    fn wait(&mut self, index: usize) -> io::Result<()> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.servers[index].port));
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            let server = &mut self.servers[index];
            let ended = server.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if ended.is_some() || begun.elapsed() > LISTENS_WITHIN {
                let log = self.log(index);
                return Err(io::Error::other(format!("nats-server does not listen: {log}")));
            }
            // There is no event for a port that opens.
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for index in 0..self.servers.len() {
            self.kill(index);
        }
    }
}

/// Ports that are free now.
fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    let bind = |_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let held: Vec<TcpListener> = (0..count).map(bind).collect::<Result<_, _>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// The environment that `deploy/nats/nats.conf` reads.
fn environment(
    name: &str,
    port: u16,
    route: u16,
    routes: &[u16],
    store: &Path,
) -> Vec<(&'static str, String)> {
    let routes = routes.iter().map(|port| format!("\"nats-route://127.0.0.1:{port}\""));
    vec![
        ("NATS_NAME", name.to_owned()),
        ("NATS_LISTEN", format!("127.0.0.1:{port}")),
        ("NATS_CLUSTER", format!("127.0.0.1:{route}")),
        ("NATS_ROUTES", format!("[{}]", routes.collect::<Vec<_>>().join(","))),
        ("NATS_STORE", store.display().to_string()),
        ("ROOMLOG_PASSWORD", "roomlog".to_owned()),
        ("SYS_PASSWORD", "sys".to_owned()),
    ]
}

fn config_text(
    setup: &Setup,
    name: &str,
    port: u16,
    route: u16,
    routes: &[u16],
    store: &Path,
) -> String {
    let routes = routes.iter().map(|port| format!("nats-route://127.0.0.1:{port}"));
    let routes = routes.collect::<Vec<_>>().join(", ");
    // If advertised, a server would be reached without its links; nobody listens on port 1.
    let alone = match setup.links {
        Some(_) => ", no_advertise: true, advertise: \"127.0.0.1:1\"",
        None => "",
    };
    let cluster = match setup.servers {
        1 => String::new(),
        _ => format!(
            "cluster {{ name: roomlog, listen: \"127.0.0.1:{route}\", routes: [{routes}]{alone} }}\n"
        ),
    };
    let sync = if setup.synced { "sync_interval: always" } else { "sync_interval: \"2m\"" };
    let (export, import) = match setup.exported {
        true => (
            "exports: [{ service: \"$SYS.REQ.SERVER.PING.JSZ\", response_type: stream }]",
            "imports: [{ service: { account: SYS, subject: \"$SYS.REQ.SERVER.PING.JSZ\" } }]",
        ),
        false => ("", ""),
    };
    format!(
        "server_name: {name}
listen: \"127.0.0.1:{port}\"
lame_duck_duration: \"30s\"
lame_duck_grace_period: \"1s\"
{cluster}jetstream {{ store_dir: {store:?}, {sync} }}
accounts {{
  SYS {{ users: [{{ user: sys, password: sys }}], {export} }}
  ROOMLOG {{ jetstream: enabled, users: [{{ user: roomlog, password: roomlog }}], {import} }}
}}
system_account: SYS
{}
",
        setup.more
    )
}

//! The settings of `serve`: each is a flag, an environment variable and a key of a TOML file.
//!
//! Input: the command line, the environment, `--config FILE`. Output: checked settings. A flag wins
//! over the environment, the environment over the file, the file over the default. A value out of
//! range and an unknown key are rejected before anything is opened.
//!
//! The tables below and in [`access`] are the only list of settings: flags, variables, keys of the
//! file, help and `roomlog config` come from them. A test compares them with the tables of the manual.

use std::{fmt::Display, fs, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use roomlog_core::NodeSettings;
use roomlog_protocol::Limits;
use roomlog_server::Config;
use roomlog_sqlite::JOURNAL_BYTES;
use serde::{Deserialize, Serialize};

use crate::{
    address::{self, Listen},
    door::AdminListen,
    failure::Failure,
    log_format::LogFormat,
    machine, names,
};

const LISTEN: &str = "127.0.0.1:7400";
/// An address for `admin_listen` in messages.
const ADMIN_LISTEN: &str = "127.0.0.1:7401";
/// The data directory of `serve`, and where `backup` looks for a server.
pub(crate) const DATA: &str = "./roomlog-data";
/// The least `memory`, in bytes.
const LEAST_MEMORY: usize = 1 << 20;

/// The most bytes of appends that are not yet in the archive: a start replays them.
const APPEND_BYTES: usize = 512 << 20;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// Room for the tables of a SQLite file and a block or two.
const LEAST_JOURNAL_BYTES: u64 = 64 << 10;

macro_rules! settings {
    ($(#[$of:meta])* $settings:ident $(with $($part:ident: $parts:ty),+)? {
        $($(#[$meta:meta])* $name:ident: $type:ty, $env:literal, $value:literal;)*
    }) => {
        #[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
        $(#[$of])*
        pub(crate) struct $settings {
            $($(#[$meta])*
            #[arg(long, env = $env, value_name = $value)]
            #[serde(skip_serializing_if = "Option::is_none")]
            pub(crate) $name: Option<$type>,)*
            $($(#[command(flatten)] #[serde(skip)] pub(crate) $part: $parts,)+)?
        }

        impl $settings {
            pub(super) const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// Takes each unset setting from `file`.
            pub(super) fn or(self, file: Self) -> Self {
                Self {
                    $($name: self.$name.or(file.$name),)*
                    $($($part: self.$part.or(file.$part),)+)?
                }
            }
        }
    };
}

mod access;

pub(crate) use access::AccessSettings;

settings! {
    /// What was set; `None` means the default.
    Settings with cluster: ClusterSettings, access: AccessSettings {
        /// The address to listen on [default: 127.0.0.1:7400]
        listen: Listen, "ROOMLOG_LISTEN", "IP:PORT";
        /// The directory that holds the log [default: ./roomlog-data]
        data: PathBuf, "ROOMLOG_DATA", "DIR";
        /// Where operators reach metrics and backups: `socket`, which is admin.sock in the data
        /// directory, IP:PORT or `off` [default: socket]
        admin_listen: AdminListen, "ROOMLOG_ADMIN_LISTEN", "socket|IP:PORT|off";
        /// Allow addresses that other machines can reach, although everyone may read and write;
        /// `=false` overrides the environment and the settings file [default: false]
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        #[arg(value_parser = yes_or_no)]
        insecure_open: bool, "ROOMLOG_INSECURE_OPEN", "BOOL";
        /// The form of lines on standard error: `text` or `json` [default: text]
        log_format: LogFormat, "ROOMLOG_LOG_FORMAT", "text|json";
        /// A browser origin, such as https://chat.example.org, whose pages may use this server;
        /// repeatable. Flags replace the environment's list, and that the file's
        #[arg(value_delimiter = ',')]
        allow_origin: Vec<String>, "ROOMLOG_ALLOW_ORIGIN", "URL";
        /// A file with the certificate of this server and its issuers', in PEM: clients are served
        /// over TLS only. Read again when it changes, and at SIGHUP
        tls_cert: PathBuf, "ROOMLOG_TLS_CERT", "FILE";
        /// The private key of that certificate, in PEM
        tls_key: PathBuf, "ROOMLOG_TLS_KEY", "FILE";
        /// A proxy, such as 10.0.0.7 or 10.0.0.0/8, whose X-Forwarded-For or Forwarded says who the
        /// client is; repeatable. Flags replace the environment's list, and that the file's
        #[arg(value_delimiter = ',')]
        trust_proxy: Vec<String>, "ROOMLOG_TRUST_PROXY", "CIDR";
        /// How long the texts of rooms are kept, such as 'team-*=30d' or 'legal=forever'; then they are
        /// erased. A room's own name counts before the beginning of names, a longer one before a
        /// shorter; repeatable. Flags replace the environment's list, and that the file's [default: for ever]
        #[arg(value_delimiter = ',')]
        retention: Vec<String>, "ROOMLOG_RETENTION", "ROOMS=AGE";
        /// How long a socket may take to read its last answers at shutdown [default: 10000]
        drain_ms: u64, "ROOMLOG_DRAIN_MS", "MS";
        /// Concurrent sockets; more are refused [default: 20000]
        sockets: usize, "ROOMLOG_SOCKETS", "N";
        /// Interval between comments in Server-Sent Events [default: 15000]
        event_comment_ms: u64, "ROOMLOG_EVENT_COMMENT_MS", "MS";
        /// The longest batch of appends over HTTP [default: 16777216]
        batch_bytes: usize, "ROOMLOG_BATCH_BYTES", "BYTES";
        /// What clients may make the server hold, in bytes [default: a quarter of the machine's
        /// memory]
        memory: usize, "ROOMLOG_MEMORY", "BYTES";
        /// Newest entries kept in memory for followers, in bytes [default: 67108864]
        tail_bytes: usize, "ROOMLOG_TAIL_BYTES", "BYTES";
        /// The most entries folded into the archive together [default: 65536]
        fold_entries: usize, "ROOMLOG_FOLD_ENTRIES", "N";
        /// How long an entry waits to be folded with others [default: 1000]
        fold_ms: u64, "ROOMLOG_FOLD_MS", "MS";
        /// Newest folded blocks kept in the journal file, in bytes [default: 268435456]
        journal_bytes: u64, "ROOMLOG_JOURNAL_BYTES", "BYTES";
        /// Free disk space at which appends are refused, so that the server's own work and backups
        /// have some [default: 268435456, or 2 % of a smaller file system]
        disk_reserve_bytes: u64, "ROOMLOG_DISK_RESERVE_BYTES", "BYTES";
        /// The longest body [default: 16384]
        body_bytes: u64, "ROOMLOG_BODY_BYTES", "BYTES";
        /// The longest meta [default: 4096]
        meta_bytes: u64, "ROOMLOG_META_BYTES", "BYTES";
        /// The longest frame from a client [default: 131072]
        frame_bytes: u64, "ROOMLOG_FRAME_BYTES", "BYTES";
        /// The most entries in a reply or ack [default: 500]
        page_entries: u64, "ROOMLOG_PAGE_ENTRIES", "N";
        /// The most JSON in a reply or ack of several entries [default: 1048576]
        page_bytes: u64, "ROOMLOG_PAGE_BYTES", "BYTES";
        /// The longest room name [default: 128]
        room_bytes: u64, "ROOMLOG_ROOM_BYTES", "BYTES";
        /// The longest author [default: 64]
        author_bytes: u64, "ROOMLOG_AUTHOR_BYTES", "BYTES";
        /// The longest id [default: 64]
        id_bytes: u64, "ROOMLOG_ID_BYTES", "BYTES";
        /// The longest kind [default: 32]
        kind_bytes: u64, "ROOMLOG_KIND_BYTES", "BYTES";
        /// Appends per connection and room that may wait for an earlier `seq` [default: 64]
        seq_wait: u64, "ROOMLOG_SEQ_WAIT", "N";
        /// How long they wait [default: 10000]
        seq_wait_ms: u64, "ROOMLOG_SEQ_WAIT_MS", "MS";
        /// How long `after`, `seen` and `ref` wait for the log [default: 5000]
        ahead_ms: u64, "ROOMLOG_AHEAD_MS", "MS";
        /// How long an append may stay unanswered [default: 30000]
        append_ms: u64, "ROOMLOG_APPEND_MS", "MS";
        /// How long a connection may stay without `login` [default: 10000]
        login_ms: u64, "ROOMLOG_LOGIN_MS", "MS";
        /// How long a connection may be silent before it is pinged [default: 20000]
        ping_ms: u64, "ROOMLOG_PING_MS", "MS";
        /// How long a connection may be silent before it is closed [default: 60000]
        idle_ms: u64, "ROOMLOG_IDLE_MS", "MS";
        /// Rooms per connection that it may follow or number its appends in [default: 1000]
        rooms_per_connection: u64, "ROOMLOG_ROOMS_PER_CONNECTION", "N";
        /// Unanswered appends, and unanswered reads, per connection [default: 256]
        appends_in_flight: u64, "ROOMLOG_APPENDS_IN_FLIGHT", "N";
        /// Connections per address [default: 10000]
        connections_per_principal: u64, "ROOMLOG_CONNECTIONS_PER_PRINCIPAL", "N";
        /// Frames and HTTP requests per second and address; 1000000000 is no limit
        /// [default: 1000000000]
        frames_per_second: u64, "ROOMLOG_FRAMES_PER_SECOND", "N";
        /// Appends per second and address; 1000000000 is no limit [default: 1000000000]
        entries_per_second: u64, "ROOMLOG_ENTRIES_PER_SECOND", "N";
        /// Bytes of frames and HTTP bodies per second and address; 1000000000 is no limit
        /// [default: 1000000000]
        bytes_per_second: u64, "ROOMLOG_BYTES_PER_SECOND", "BYTES";
        /// New rooms per second and address; 1000000000 is no limit [default: 1000]
        rooms_per_second: u64, "ROOMLOG_ROOMS_PER_SECOND", "N";
        /// How much of its rates an address that was quiet may use at once, as a time
        /// [default: 10000]
        burst_ms: u64, "ROOMLOG_BURST_MS", "MS";
        /// Rooms of the log [default: 1000000]
        rooms: u64, "ROOMLOG_ROOMS", "N";
        /// Connections without a first request, or a WebSocket without `login`; beyond that the
        /// oldest of them is cut [default: 10000]
        pending_logins: u64, "ROOMLOG_PENDING_LOGINS", "N";
        /// How long the head of a request may take [default: 10000]
        handshake_ms: u64, "ROOMLOG_HANDSHAKE_MS", "MS";
        /// The longest head of a request [default: 16384]
        header_bytes: u64, "ROOMLOG_HEADER_BYTES", "BYTES";
        /// How long the body of a POST may take [default: 120000]
        body_ms: u64, "ROOMLOG_BODY_MS", "MS";
        /// The NATS servers whose JetStream is the journal of a cluster, such as
        /// nats://a:4222,b:4222,c:4222 [default: a file in the data directory]
        #[arg(help_heading = CLUSTER)]
        journal: String, "ROOMLOG_JOURNAL", "URLS";
        /// Trust that every NATS server has `sync_interval: always` where the servers do not show
        /// it; clients see `declared` as the durability; `=false` overrides the environment and the
        /// settings file [default: false]
        #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        #[arg(value_parser = yes_or_no, help_heading = CLUSTER)]
        journal_declared: bool, "ROOMLOG_JOURNAL_DECLARED", "BOOL";
    }
}

const CLUSTER: &str = "Options of a cluster";

settings! {
    /// The settings of a journal on NATS that `serve` and `move` share.
    #[command(next_help_heading = CLUSTER)]
    ClusterSettings {
        /// The first part of the names of its streams [default: ROOMLOG]
        journal_prefix: String, "ROOMLOG_JOURNAL_PREFIX", "NAME";
        /// How many streams a new log is spread over, by room; fixed from then on [default: 1]
        journal_partitions: u32, "ROOMLOG_JOURNAL_PARTITIONS", "N";
        /// How many servers keep each stream [default: 3, or 1 where there are fewer servers]
        journal_replicas: usize, "ROOMLOG_JOURNAL_REPLICAS", "N";
        /// The most bytes of a new stream [default: what the servers allow]
        journal_max_bytes: u64, "ROOMLOG_JOURNAL_MAX_BYTES", "BYTES";
        /// A file of NATS credentials, as nsc writes it
        journal_credentials: PathBuf, "ROOMLOG_JOURNAL_CREDENTIALS", "FILE";
        /// CA certificates for NATS, in PEM, in addition to the system's
        journal_ca: PathBuf, "ROOMLOG_JOURNAL_CA", "FILE";
        /// This node's certificate for NATS, in PEM
        journal_certificate: PathBuf, "ROOMLOG_JOURNAL_CERTIFICATE", "FILE";
        /// The key of that certificate, in PEM
        journal_key: PathBuf, "ROOMLOG_JOURNAL_KEY", "FILE";
    }
}

impl Settings {
    /// Takes each unset setting from a TOML file; fails if it is not TOML, or has an unknown key or
    /// a value of another type.
    pub(crate) fn over_file(self, file: Option<&PathBuf>) -> Result<Self, Failure> {
        let Some(path) = file else { return Ok(self) };
        let text = fs::read_to_string(path).map_err(|why| {
            Failure::usage(format!(
                "cannot read the settings file {} (from --config or ROOMLOG_CONFIG): {why}",
                path.display()
            ))
        })?;
        Self::parse(&text).map(|file| self.or(file)).map_err(|why| {
            Failure::usage(format!("{} is not a settings file: {why}", path.display()))
        })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: toml::de::Error| {
            let before = text.get(..why.span().map_or(0, |span| span.start)).unwrap_or_default();
            format!("line {}: {}", before.matches('\n').count() + 1, why.message())
        };
        let table: toml::Table = toml::from_str(text).map_err(wrong)?;
        let known = Self::names();
        if let Some(name) = table.keys().find(|name| !known.contains(&name.as_str())) {
            let hint = names::did_you_mean(name, known.iter().copied());
            return Err(format!("{name:?} is not a setting{hint}"));
        }
        // One by one, as `serde(flatten)` would lose the lines of errors.
        let cluster = toml::from_str(text).map_err(wrong)?;
        let access = toml::from_str(text).map_err(wrong)?;
        Ok(Self { cluster, access, ..toml::from_str(text).map_err(wrong)? })
    }

    /// The names of all settings.
    pub(crate) fn names() -> Vec<&'static str> {
        [Self::NAMES, ClusterSettings::NAMES, AccessSettings::NAMES].concat()
    }

    /// Each setting that was set, by name.
    pub(crate) fn table(&self) -> Result<toml::Table, Failure> {
        let table = |of: Result<toml::Table, toml::ser::Error>| {
            of.map_err(|why| Failure::other(format!("a setting has no TOML form: {why}")))
        };
        let mut all = table(toml::Table::try_from(self))?;
        all.extend(table(toml::Table::try_from(&self.cluster))?);
        all.extend(table(toml::Table::try_from(&self.access))?);
        Ok(all)
    }

    /// Rejects what `serve` would reject before it opens anything.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.data()?;
        self.listen()?;
        self.admin_listen()?;
        self.gateway()?;
        self.node()?;
        self.journal_bytes()?;
        self.disk_reserve()?;
        self.retention()?;
        self.cluster()?;
        self.access.tokens()?;
        self.tls_files()?;
        Ok(())
    }

    /// Rejects certificates and keys that `serve` would reject. A set of keys at a URL is not asked for.
    pub(crate) fn check_files(&self) -> Result<(), Failure> {
        self.tls()?;
        match self.access.tokens()? {
            Some(files) => files.read().map(drop).map_err(Failure::usage),
            None => Ok(()),
        }
    }

    /// Where to listen: on loopback unless it takes tokens, or `insecure_open`.
    pub(crate) fn listen(&self) -> Result<SocketAddr, Failure> {
        let default = || LISTEN.parse().map_err(|_| Failure::other("no address to listen on"));
        let listen = self.listen.map_or_else(default, |listen| Ok(listen.0))?;
        if self.is_allowed(listen) {
            return Ok(listen);
        }
        Err(Failure::usage(format!(
            "other machines can reach {listen}, and this server has no access control: whoever \
             reaches it may read and write everything; require tokens with --jwt-key and \
             --jwt-audience, or add --insecure-open if you want that, or listen on {LISTEN}"
        )))
    }

    /// Where operators are served: on loopback unless it takes tokens, or `insecure_open`.
    pub(crate) fn admin_listen(&self) -> Result<AdminListen, Failure> {
        match self.admin_listen.unwrap_or_default() {
            AdminListen::Tcp(address) if !self.is_allowed(address) => Err(Failure::usage(format!(
                "other machines can reach the admin_listen {address}, and it has no access \
                     control: whoever reaches it may take a backup of everything; require tokens \
                     with --jwt-key and --jwt-audience, or add --insecure-open if you want that, or set --admin-listen to {ADMIN_LISTEN} or \
                     socket"
            ))),
            listen => Ok(listen),
        }
    }

    fn is_allowed(&self, address: SocketAddr) -> bool {
        let is_local = address.ip().is_loopback();
        is_local || self.access.are_set() || self.insecure_open == Some(true)
    }

    pub(crate) fn data(&self) -> Result<PathBuf, Failure> {
        match &self.data {
            Some(data) if data.as_os_str().is_empty() => {
                Err(Failure::usage("data is empty, but must name a directory"))
            }
            data => Ok(data.clone().unwrap_or_else(|| DATA.into())),
        }
    }

    /// What clients may make the server hold, in bytes: a quarter for appends until they are in the
    /// archive, half for all else. The rest is left for caches, which have bounds of their own.
    pub(crate) fn memory(&self) -> Result<usize, Failure> {
        at_least(LEAST_MEMORY, "memory", self.memory.unwrap_or_else(machine::memory_share))
    }

    /// The settings of the node. No bound may be 0: nothing could be written.
    pub(crate) fn node(&self) -> Result<NodeSettings, Failure> {
        let default = NodeSettings::default();
        let or = |name, set: Option<usize>, default| at_least(1, name, set.unwrap_or(default));
        let append_bytes = (self.memory()? / 4).min(APPEND_BYTES);
        Ok(NodeSettings {
            append_bytes,
            unfolded_bytes: append_bytes,
            tail_bytes: self.tail_bytes.unwrap_or(default.tail_bytes),
            fold_entries: or("fold_entries", self.fold_entries, default.fold_entries)?,
            fold_wait: self.fold_ms.map_or(default.fold_wait, Duration::from_millis),
            ..default
        })
    }

    /// How much of the journal's file is kept, in bytes.
    pub(crate) fn journal_bytes(&self) -> Result<u64, Failure> {
        let bytes = self.journal_bytes.unwrap_or(JOURNAL_BYTES);
        at_least(LEAST_JOURNAL_BYTES, "journal_bytes", bytes)
    }

    /// How much disk space is kept free of appends, in bytes; `None` means the default.
    pub(crate) fn disk_reserve(&self) -> Result<Option<u64>, Failure> {
        self.disk_reserve_bytes.map(|bytes| at_least(1, "disk_reserve_bytes", bytes)).transpose()
    }

    /// The settings of the gateway.
    pub(crate) fn gateway(&self) -> Result<Config, Failure> {
        let default = Config::default();
        let limits = self.limits()?;
        let sockets = at_least(1, "sockets", self.sockets.unwrap_or(default.sockets))?;
        let batch_bytes = self.batch_bytes.unwrap_or(default.batch_bytes);
        let batch_bytes = at_least(1, "batch_bytes", batch_bytes)?;
        let event_comment = self.event_comment_ms.map(|ms| match ms {
            1..=DAY_MS => Ok(Duration::from_millis(ms)),
            _ => Err(Failure::usage(format!(
                "event_comment_ms is {ms}, but must be from 1 to {DAY_MS}"
            ))),
        });
        // An empty environment variable is an empty list.
        let listed = self.allow_origin.iter().flatten().filter(|typed| !typed.is_empty());
        let origins = listed.map(|typed| address::origin(typed)).collect::<Result<_, _>>();
        Ok(Config {
            limits,
            origins: origins.map_err(Failure::usage)?,
            proxies: self.proxies()?,
            drain: self.drain_ms.map_or(default.drain, Duration::from_millis),
            sockets,
            event_comment: event_comment.transpose()?.unwrap_or(default.event_comment),
            batch_bytes,
            memory_bytes: self.memory()? / 2,
            ..default
        })
    }

    /// The limits of the protocol. Each has the name of its setting, and `Limits` has a default for
    /// each that is absent.
    fn limits(&self) -> Result<Limits, Failure> {
        // A path may not be UTF-8, and so have no form in JSON.
        let set = serde_json::to_value(Self {
            data: None,
            tls_cert: None,
            tls_key: None,
            ..self.clone()
        });
        let limits = set.and_then(serde_json::from_value::<Limits>);
        let limits =
            limits.map_err(|why| Failure::usage(format!("the limits are wrong: {why}")))?;
        limits.check().map_err(Failure::usage)?;
        Ok(limits)
    }
}

fn at_least<T: PartialOrd + Display>(least: T, name: &str, value: T) -> Result<T, Failure> {
    if value >= least {
        return Ok(value);
    }
    Err(Failure::usage(format!("{name} is {value}, but must be at least {least}")))
}

/// A boolean as people write it in an environment.
fn yes_or_no(typed: &str) -> Result<bool, String> {
    match typed.trim().to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" | "" => Ok(false),
        _ => Err("write 1, yes or true, or 0, no or false".into()),
    }
}

mod cluster;
mod public;
mod retention;

#[cfg(test)]
mod tests;

//! The settings of `serve`: a flag, an environment variable and a line of a TOML file each.
//!
//! Enters: the command line, the environment, `--config FILE`. Leaves: checked settings. Invariant: a
//! flag wins over the environment, the environment over the file, the file over the default; a value
//! out of its range, and a name in the file that is no setting, is refused before anything is opened.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;
use roomlog_core::NodeSettings;
use roomlog_jetstream::Options;
use roomlog_protocol::Limits;
use roomlog_server::Config;
use roomlog_sqlite::JOURNAL_BYTES;
use serde::{Deserialize, Serialize};

use crate::{
    address::{self, Listen},
    failure::Failure,
    names,
};

const LISTEN: &str = "127.0.0.1:7400";
const DATA: &str = "./roomlog-data";
const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A file with its tables and a block or two.
const LEAST_JOURNAL_BYTES: u64 = 64 << 10;

macro_rules! settings {
    ($($(#[$meta:meta])* $name:ident: $type:ty, $env:literal, $value:literal;)*) => {
        /// What was set; `None` where nothing was.
        #[derive(Debug, Clone, Default, Args, Deserialize, Serialize)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct Settings {
            $($(#[$meta])* #[arg(long, env = $env, value_name = $value)] pub(crate) $name: Option<$type>,)*
        }

        /// The settings by their names in the file.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];

        impl Settings {
            /// These settings; where one is not set, that of a file.
            fn or(mut self, file: Self) -> Self {
                $(self.$name = self.$name.or(file.$name);)*
                self
            }
        }
    };
}

settings! {
    /// The address to listen on [default: 127.0.0.1:7400]
    listen: Listen, "ROOMLOG_LISTEN", "IP:PORT";
    /// The directory that holds the log [default: ./roomlog-data]
    data: PathBuf, "ROOMLOG_DATA", "DIR";
    /// Listen on an address that others can reach, although everyone may read and write; `=false` overrides
    /// the environment and the settings file [default: false]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = yes_or_no)]
    insecure_open: bool, "ROOMLOG_INSECURE_OPEN", "BOOL";
    /// A browser origin, such as https://chat.example.org, whose pages may use this server; repeatable.
    /// The flags replace the list of the environment, and that the list of the file
    #[arg(value_delimiter = ',')]
    allow_origin: Vec<String>, "ROOMLOG_ALLOW_ORIGIN", "URL";
    /// The NATS servers whose JetStream is the journal of a cluster, such as
    /// nats://a:4222,b:4222,c:4222 [default: a file in the data directory]
    journal: String, "ROOMLOG_JOURNAL", "URLS";
    /// The first part of the names of its streams [default: ROOMLOG]
    journal_prefix: String, "ROOMLOG_JOURNAL_PREFIX", "NAME";
    /// How many streams a new log is spread over, by rooms; fixed from then on [default: 1]
    journal_partitions: u32, "ROOMLOG_JOURNAL_PARTITIONS", "N";
    /// How many servers keep each stream [default: 3, or 1 where there are fewer servers]
    journal_replicas: usize, "ROOMLOG_JOURNAL_REPLICAS", "N";
    /// The most bytes of a new stream [default: what the servers allow]
    journal_max_bytes: u64, "ROOMLOG_JOURNAL_MAX_BYTES", "BYTES";
    /// A file of NATS credentials, as nsc writes it
    journal_credentials: PathBuf, "ROOMLOG_JOURNAL_CREDENTIALS", "FILE";
    /// Certificates of authorities for NATS, in PEM, beside the system's
    journal_ca: PathBuf, "ROOMLOG_JOURNAL_CA", "FILE";
    /// This node's certificate for NATS, in PEM
    journal_certificate: PathBuf, "ROOMLOG_JOURNAL_CERTIFICATE", "FILE";
    /// The key of that certificate, in PEM
    journal_key: PathBuf, "ROOMLOG_JOURNAL_KEY", "FILE";
    /// Trust that every NATS server has `sync_interval: always` where the servers do not show it; clients
    /// see `declared` as the durability; `=false` overrides the environment and the settings file
    /// [default: false]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = yes_or_no)]
    journal_declared: bool, "ROOMLOG_JOURNAL_DECLARED", "BOOL";
    /// How long a socket may take its last answers when the server stops [default: 10000]
    drain_ms: u64, "ROOMLOG_DRAIN_MS", "MS";
    /// Sockets served at once; more wait to be accepted [default: 20000]
    sockets: usize, "ROOMLOG_SOCKETS", "N";
    /// How often a comment is sent among Server-Sent Events [default: 15000]
    event_comment_ms: u64, "ROOMLOG_EVENT_COMMENT_MS", "MS";
    /// The longest batch of appends over HTTP [default: 16777216]
    batch_bytes: usize, "ROOMLOG_BATCH_BYTES", "BYTES";
    /// Batches that are held at once, in bytes, before more are `busy` [default: 67108864]
    batches_bytes: usize, "ROOMLOG_BATCHES_BYTES", "BYTES";
    /// Appends without an outcome, in bytes, before new ones are `busy` [default: 67108864]
    waiting_bytes: usize, "ROOMLOG_WAITING_BYTES", "BYTES";
    /// Entries not yet in the archive before new appends are `busy` [default: 400000]
    unfolded_entries: usize, "ROOMLOG_UNFOLDED_ENTRIES", "N";
    /// What such entries take of memory, in bytes, before new appends are `busy` [default: 536870912]
    unfolded_bytes: usize, "ROOMLOG_UNFOLDED_BYTES", "BYTES";
    /// Newest entries kept in memory for followers, in bytes [default: 67108864]
    tail_bytes: usize, "ROOMLOG_TAIL_BYTES", "BYTES";
    /// Entries that go into the archive together [default: 65536]
    fold_entries: usize, "ROOMLOG_FOLD_ENTRIES", "N";
    /// How long an entry waits to go into the archive with others [default: 1000]
    fold_ms: u64, "ROOMLOG_FOLD_MS", "MS";
    /// Newest blocks kept in the journal although the archive has them, in bytes of its file
    /// [default: 268435456]
    journal_bytes: u64, "ROOMLOG_JOURNAL_BYTES", "BYTES";
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
    /// Appends of a connection and room that may wait for an earlier `seq` [default: 64]
    seq_wait: u64, "ROOMLOG_SEQ_WAIT", "N";
    /// How long they wait [default: 10000]
    seq_wait_ms: u64, "ROOMLOG_SEQ_WAIT_MS", "MS";
    /// How long `after`, `seen` and `ref` wait for the log [default: 5000]
    ahead_ms: u64, "ROOMLOG_AHEAD_MS", "MS";
    /// How long an append may stay unanswered [default: 30000]
    append_ms: u64, "ROOMLOG_APPEND_MS", "MS";
    /// How long a connection may stay without `login` [default: 10000]
    login_ms: u64, "ROOMLOG_LOGIN_MS", "MS";
    /// How often a silent connection is pinged [default: 20000]
    ping_ms: u64, "ROOMLOG_PING_MS", "MS";
    /// How long a connection may be silent [default: 60000]
    idle_ms: u64, "ROOMLOG_IDLE_MS", "MS";
    /// Rooms that a connection may follow or number its appends in [default: 1000]
    rooms_per_connection: u64, "ROOMLOG_ROOMS_PER_CONNECTION", "N";
    /// Appends, and reads, of a connection that may be unanswered [default: 256]
    appends_in_flight: u64, "ROOMLOG_APPENDS_IN_FLIGHT", "N";
}

impl Settings {
    /// These settings; where one is not set, that of the file.
    ///
    /// # Errors
    /// When the file cannot be read, is not TOML, or has a name or a value that is no setting's.
    pub(crate) fn over_file(self, file: Option<&PathBuf>) -> Result<Self, Failure> {
        let Some(path) = file else { return Ok(self) };
        let text = fs::read_to_string(path).map_err(|why| {
            Failure::usage(format!(
                "cannot read the settings file {}, which --config or ROOMLOG_CONFIG names: {why}",
                path.display()
            ))
        })?;
        let wrong = |why: String| {
            Failure::usage(format!("{} is not a settings file: {why}", path.display()))
        };
        let of_toml = |why: toml::de::Error| {
            let before = text.get(..why.span().map_or(0, |span| span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            wrong(format!("line {line}: {}", why.message()))
        };
        let table: toml::Table = toml::from_str(&text).map_err(of_toml)?;
        if let Some(name) = table.keys().find(|name| !NAMES.contains(&name.as_str())) {
            let hint = names::did_you_mean(name, NAMES.iter().copied());
            return Err(wrong(format!("{name:?} is not a setting{hint}")));
        }
        let file = toml::from_str(&text).map_err(of_toml)?;
        Ok(self.or(file))
    }

    /// Checks every setting, as `serve` does before it opens anything.
    ///
    /// # Errors
    /// The first setting that `serve` would refuse.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.data()?;
        self.listen()?;
        self.gateway()?;
        self.node()?;
        self.journal_bytes()?;
        self.cluster()?;
        Ok(())
    }

    /// Where to listen.
    ///
    /// # Errors
    /// When others could reach the address and that was not asked for.
    pub(crate) fn listen(&self) -> Result<SocketAddr, Failure> {
        let default = || LISTEN.parse().map_err(|_| Failure::said("no address to listen on"));
        let listen = self.listen.map_or_else(default, |listen| Ok(listen.0))?;
        if listen.ip().is_loopback() || self.insecure_open == Some(true) {
            return Ok(listen);
        }
        Err(Failure::usage(format!(
            "{listen} can be reached by others, and this server has no tokens: whoever reaches it \
             may read and write everything; add --insecure-open if that is meant, or listen on \
             {LISTEN}"
        )))
    }

    /// The data directory.
    ///
    /// # Errors
    /// When it is an empty path.
    pub(crate) fn data(&self) -> Result<PathBuf, Failure> {
        match &self.data {
            Some(data) if data.as_os_str().is_empty() => {
                Err(Failure::usage("data is empty, but must name a directory"))
            }
            data => Ok(data.clone().unwrap_or_else(|| DATA.into())),
        }
    }

    /// The settings of the node.
    ///
    /// # Errors
    /// When a bound is 0: nothing could be written then.
    pub(crate) fn node(&self) -> Result<NodeSettings, Failure> {
        let default = NodeSettings::default();
        let settings = NodeSettings {
            waiting_bytes: self.waiting_bytes.unwrap_or(default.waiting_bytes),
            unfolded_entries: self.unfolded_entries.unwrap_or(default.unfolded_entries),
            unfolded_bytes: self.unfolded_bytes.unwrap_or(default.unfolded_bytes),
            tail_bytes: self.tail_bytes.unwrap_or(default.tail_bytes),
            fold_entries: self.fold_entries.unwrap_or(default.fold_entries),
            fold_wait: self.fold_ms.map_or(default.fold_wait, Duration::from_millis),
            ..default
        };
        at_least_one("waiting_bytes", settings.waiting_bytes)?;
        at_least_one("unfolded_entries", settings.unfolded_entries)?;
        at_least_one("unfolded_bytes", settings.unfolded_bytes)?;
        at_least_one("fold_entries", settings.fold_entries)?;
        Ok(settings)
    }

    /// The journal of a cluster, where one is named.
    ///
    /// # Errors
    /// When what is said of it does not fit together.
    pub(crate) fn cluster(&self) -> Result<Option<Options>, Failure> {
        let Some(servers) = self.journal.as_ref().filter(|servers| !servers.trim().is_empty())
        else {
            return self.no_cluster().map(|()| None);
        };
        let mut options = Options::new(servers.trim());
        if let Some(prefix) = &self.journal_prefix {
            options.prefix.clone_from(prefix);
        }
        options.partitions = self.journal_partitions;
        options.replicas = self.journal_replicas;
        options.max_bytes = self.journal_max_bytes;
        options.declared = self.journal_declared == Some(true);
        options.credentials.clone_from(&self.journal_credentials);
        options.ca.clone_from(&self.journal_ca);
        options.certificate = match (&self.journal_certificate, &self.journal_key) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => {
                return Err(Failure::usage(
                    "journal_certificate and journal_key go together: name both, or none",
                ));
            }
        };
        options.check().map_err(Failure::usage)?;
        Ok(Some(options))
    }

    /// Nothing is said of a journal that is not named.
    fn no_cluster(&self) -> Result<(), Failure> {
        let said = [
            ("journal_prefix", self.journal_prefix.is_some()),
            ("journal_partitions", self.journal_partitions.is_some()),
            ("journal_replicas", self.journal_replicas.is_some()),
            ("journal_max_bytes", self.journal_max_bytes.is_some()),
            ("journal_credentials", self.journal_credentials.is_some()),
            ("journal_ca", self.journal_ca.is_some()),
            ("journal_certificate", self.journal_certificate.is_some()),
            ("journal_key", self.journal_key.is_some()),
            ("journal_declared", self.journal_declared == Some(true)),
        ];
        match said.iter().find(|(_, said)| *said) {
            Some((name, _)) => Err(Failure::usage(format!(
                "{name} is of a journal on NATS, and none is named: add --journal nats://…, or leave it out"
            ))),
            None => Ok(()),
        }
    }

    /// How much of the journal's file is kept.
    ///
    /// # Errors
    /// When it is less than a file needs to be one.
    pub(crate) fn journal_bytes(&self) -> Result<u64, Failure> {
        match self.journal_bytes.unwrap_or(JOURNAL_BYTES) {
            bytes if bytes >= LEAST_JOURNAL_BYTES => Ok(bytes),
            bytes => Err(Failure::usage(format!(
                "journal_bytes is {bytes}, but must be at least {LEAST_JOURNAL_BYTES}"
            ))),
        }
    }

    /// The settings of the gateway.
    ///
    /// # Errors
    /// When a limit is out of its range, or an origin has no browser's form.
    pub(crate) fn gateway(&self) -> Result<Config, Failure> {
        let default = Config::default();
        let limits = self.limits();
        limits.check().map_err(Failure::usage)?;
        let sockets = self.sockets.unwrap_or(default.sockets);
        at_least_one("sockets", sockets)?;
        let batch_bytes = self.batch_bytes.unwrap_or(default.batch_bytes);
        at_least_one("batch_bytes", batch_bytes)?;
        let batches_bytes = self.batches_bytes.unwrap_or(default.batches_bytes);
        if batches_bytes < batch_bytes {
            return Err(Failure::usage(format!(
                "batches_bytes is {batches_bytes}, but must be at least batch_bytes ({batch_bytes})"
            )));
        }
        // An empty environment variable is an empty list.
        let listed = self.allow_origin.iter().flatten().filter(|typed| !typed.is_empty());
        let origins = listed.map(|typed| address::origin(typed)).collect::<Result<_, _>>();
        Ok(Config {
            limits,
            origins: origins.map_err(Failure::usage)?,
            drain: self.drain_ms.map_or(default.drain, Duration::from_millis),
            sockets,
            event_comment: self.event_comment()?,
            batch_bytes,
            batches_bytes,
            ..default
        })
    }

    fn event_comment(&self) -> Result<Duration, Failure> {
        let Some(ms) = self.event_comment_ms else { return Ok(Config::default().event_comment) };
        if (1..=DAY_MS).contains(&ms) {
            return Ok(Duration::from_millis(ms));
        }
        let range = format!("from 1 to {DAY_MS}");
        Err(Failure::usage(format!("event_comment_ms is {ms}, but must be {range}")))
    }

    fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            body_bytes: self.body_bytes.unwrap_or(default.body_bytes),
            meta_bytes: self.meta_bytes.unwrap_or(default.meta_bytes),
            frame_bytes: self.frame_bytes.unwrap_or(default.frame_bytes),
            page_entries: self.page_entries.unwrap_or(default.page_entries),
            page_bytes: self.page_bytes.unwrap_or(default.page_bytes),
            room_bytes: self.room_bytes.unwrap_or(default.room_bytes),
            author_bytes: self.author_bytes.unwrap_or(default.author_bytes),
            id_bytes: self.id_bytes.unwrap_or(default.id_bytes),
            kind_bytes: self.kind_bytes.unwrap_or(default.kind_bytes),
            seq_wait: self.seq_wait.unwrap_or(default.seq_wait),
            seq_wait_ms: self.seq_wait_ms.unwrap_or(default.seq_wait_ms),
            ahead_ms: self.ahead_ms.unwrap_or(default.ahead_ms),
            append_ms: self.append_ms.unwrap_or(default.append_ms),
            login_ms: self.login_ms.unwrap_or(default.login_ms),
            ping_ms: self.ping_ms.unwrap_or(default.ping_ms),
            idle_ms: self.idle_ms.unwrap_or(default.idle_ms),
            rooms_per_connection: self.rooms_per_connection.unwrap_or(default.rooms_per_connection),
            appends_in_flight: self.appends_in_flight.unwrap_or(default.appends_in_flight),
        }
    }
}

fn at_least_one(name: &str, value: usize) -> Result<(), Failure> {
    match value {
        0 => Err(Failure::usage(format!("{name} is 0, but must be at least 1"))),
        _ => Ok(()),
    }
}

/// A switch as people write it in an environment.
fn yes_or_no(typed: &str) -> Result<bool, String> {
    match typed.trim().to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" | "" => Ok(false),
        _ => Err("write 1, yes or true, or 0, no or false".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file: Settings = toml::from_str("ahead_ms = 7\nping_ms = 8\n").expect("settings");
        let flags = Settings { ahead_ms: Some(9), ..Settings::default() };
        let limits = flags.or(file).limits();
        assert_eq!((limits.ahead_ms, limits.ping_ms, limits.idle_ms), (9, 8, 60_000));
    }

    #[test]
    fn a_name_in_the_file_that_is_no_setting_is_refused() {
        assert!(toml::from_str::<Settings>("ahed_ms = 7").is_err());
    }

    #[test]
    fn an_open_server_listens_on_loopback_unless_told_otherwise() {
        let at = |listen: &str, insecure_open| {
            let listen = Some(listen.parse().expect("an address"));
            Settings { listen, insecure_open: Some(insecure_open), ..Settings::default() }.listen()
        };
        assert!(at("127.0.0.1:0", false).is_ok() && at("[::1]:7400", false).is_ok());
        let said = at("0.0.0.0:7400", false).expect_err("it can be reached").to_string();
        assert!(said.contains("--insecure-open"), "{said}");
        assert!(at("0.0.0.0:7400", true).is_ok());
    }
}

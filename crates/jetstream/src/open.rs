//! Opening: a connection, servers that can be trusted, streams that are as they must be.
//!
//! Enters: what the operator says. Leaves: a connection and the log's name, or what to change and where.
//! Invariant: nothing is made before the servers were found good, and what is there is never changed.

use std::{io, mem, sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectOptions, Event, ServerAddr,
    jetstream::{
        self, Context, ErrorCode,
        context::CreateStreamErrorKind,
        stream::{self, Info},
    },
};
use roomlog_core::{block::BLOCK_BYTES, episode::Episode};
use thiserror::Error;
use tracing::{info, warn};
use ulid::Ulid;

use crate::{
    check,
    journal::Counts,
    options::{Options, Purpose},
    sync::{self, Server},
};

/// How long servers that are electing are waited for at the start.
const OPEN_WITHIN: Duration = Duration::from_secs(30);

/// How long a stream that must be there is looked for: one without a leader seems not to be there.
const FOUND_WITHIN: Duration = Duration::from_secs(10);

/// How long it is until they are asked again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// How long a question to JetStream may take.
const API_WITHIN: Duration = Duration::from_secs(5);

/// How long a publish waits for its ack: longer than most elections would only keep appends waiting.
const ACK_WITHIN: Duration = Duration::from_secs(5);

/// How often a connection is asked whether it lives; the third question in a row without an answer ends it,
/// so a server that hangs is left within some two seconds.
const PING_EVERY: Duration = Duration::from_millis(700);

/// How long a server has to greet: one that hangs takes connections and says nothing.
const GREETS_WITHIN: Duration = Duration::from_secs(2);

/// The smallest `max_payload` of the servers: twice the largest block.
const LEAST_PAYLOAD: usize = 2 * BLOCK_BYTES;

/// Why the journal was not opened. Nothing was changed, but for streams that may have been made.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Nobody answers there.
    #[error(
        "no NATS server answers at {servers}: {why}; check the addresses, that the servers run, and \
         what they let in"
    )]
    NoServer {
        /// Where they were looked for.
        servers: String,
        /// What was said last.
        why: String,
    },
    /// A file of credentials or certificates cannot be read.
    #[error("cannot read the credentials for NATS: {0}")]
    Credentials(#[from] io::Error),
    /// A server would ack before it fsyncs.
    #[error(
        "NATS server {0} acks before it fsyncs, and a power cut would lose what was acked; put \
         `sync_interval: always` into its `jetstream {{ }}` block and restart it. The setting is for \
         the whole server: deploy/nats/ has a configuration"
    )]
    NotSynced(String),
    /// A server is too old.
    #[error(
        "NATS server {name} is {version}, which can lose what it acked; 2.12.14 or newer of 2.12, or \
         2.14.4 or newer, is needed"
    )]
    TooOld {
        /// Its name, or its address.
        name: String,
        /// Its version.
        version: String,
    },
    /// Nothing says whether the servers fsync.
    #[error(
        "it cannot be seen whether the NATS servers fsync before they ack ({0}): let the system account \
         export `$SYS.REQ.SERVER.PING.JSZ` to this one, as deploy/nats/ does; or, when every server has \
         `sync_interval: always`, say so with --journal-declared, and clients are told that it is declared"
    )]
    NotSeen(String),
    /// A block would not fit.
    #[error(
        "the NATS servers take messages of {there} bytes, and blocks need {LEAST_PAYLOAD}: set `max_payload: 1MB`"
    )]
    Payload {
        /// What they take.
        there: usize,
    },
    /// A stream is there and is not as it must be.
    #[error(
        "stream {name} is not as a journal must be: {}; change it (`nats stream edit {name}`), or name \
         other streams with --journal-prefix; nothing was changed",
        lines.join("; ")
    )]
    Stream {
        /// Its name.
        name: String,
        /// What differs.
        lines: Vec<String>,
    },
    /// A move to the streams was not finished.
    #[error(
        "a log is being moved to stream {0}, and is not whole there: run that `roomlog move` to its end (it goes \
         on where it stopped), then start this node"
    )]
    Moving(String),
    /// The log was moved away.
    #[error(
        "the log of stream {0} was moved away, and nothing is added to it any more: serve it where it is now"
    )]
    Sealed(String),
    /// The log was moved to another directory.
    #[error(
        "the log of stream {0} was moved to another directory already: one log is served in one place. To finish \
         a move that was cut off, name the directory that it began in"
    )]
    GoneElsewhere(String),
    /// The stream is of another log than the one that is to be moved to it.
    #[error(
        "stream {name} holds log {there}, and log {log} is to be moved to it: name other streams with \
         --journal-prefix"
    )]
    OtherLog {
        /// The stream.
        name: String,
        /// The log that it holds.
        there: String,
        /// The log that is to be moved.
        log: String,
    },
    /// The log is there already.
    #[error("log {log} is in stream {name} already, and is served there")]
    Served {
        /// The stream.
        name: String,
        /// The log.
        log: String,
    },
    /// JetStream refused or did not answer.
    #[error("JetStream cannot give stream {name}: {why}")]
    JetStream {
        /// The stream.
        name: String,
        /// What it said.
        why: String,
    },
}

/// What was opened.
pub(crate) struct Opened {
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) log: String,
    /// Of each partition, in their order.
    pub(crate) streams: Vec<Info>,
    /// Whether every server was seen to fsync.
    pub(crate) seen: bool,
}

/// Opens the streams of a log, making them where they are not there.
pub(crate) async fn open(options: &Options, counts: &Arc<Counts>) -> Result<Opened, OpenError> {
    let client = connect(options, counts).await?;
    let there = client.server_info();
    if there.max_payload < LEAST_PAYLOAD {
        return Err(OpenError::Payload { there: there.max_payload });
    }
    if !sync::is_good(&there.version) {
        return Err(OpenError::TooOld { name: there.server_name, version: there.version });
    }
    let servers =
        if options.declared { Vec::new() } else { sync::ask_most(&client, OPEN_WITHIN).await };
    if !options.declared {
        judge(&servers)?;
    }
    let context = jetstream::context::ContextBuilder::new()
        .timeout(API_WITHIN)
        .ack_timeout(ACK_WITHIN)
        .build(client.clone());
    // How many servers there are now says nothing: of those that start together, one may join last.
    let is_alone = !servers.is_empty() && servers.iter().all(|server| server.is_alone);
    let replicas = options.replicas.unwrap_or(if is_alone { 1 } else { 3 });
    let mut log = match &options.purpose {
        Purpose::MoveHere { log } => log.clone(),
        Purpose::Serve | Purpose::MoveAway { .. } => Ulid::generate().to_string(),
    };
    let mut partitions = options.partitions.unwrap_or(1);
    let mut streams: Vec<Info> = Vec::new();
    while streams.len() < partitions as usize {
        let partition = u32::try_from(streams.len()).unwrap_or(u32::MAX);
        let wanted = check::wanted(options, partition, &log, partitions, replicas);
        // A partition is made before anything is in the first one, or was lost.
        let must_be_there = options.purpose.takes_away()
            || streams.first().is_some_and(|first| first.state.last_sequence > 0);
        let info = stream(&context, wanted, must_be_there).await?;
        may_be_opened(options, &info.config)?;
        let said = &info.config.metadata;
        if partition == 0 {
            // What is there says which log it is, and how it was cut into partitions.
            if let Some(there) = check::log_of(said) {
                there.clone_into(&mut log);
            }
            let there = check::partitions_of(said).filter(|_| options.partitions.is_none());
            partitions = there.unwrap_or(partitions);
        }
        let wanted = check::wanted(options, partition, &log, partitions, replicas);
        let lines = check::differences(&info.config, &wanted, options.replicas);
        if !lines.is_empty() {
            return Err(OpenError::Stream { name: info.config.name, lines });
        }
        if !is_alone && options.replicas.is_none() && info.config.num_replicas == 1 {
            warn!(
                stream = info.config.name,
                "one server alone keeps this stream, and its disk is all there is: `nats stream edit {} --replicas 3`",
                info.config.name
            );
        }
        streams.push(info);
    }
    Ok(Opened { client, context, log, streams, seen: !options.declared })
}

/// Whether a stream may be opened for this purpose.
fn may_be_opened(options: &Options, config: &stream::Config) -> Result<(), OpenError> {
    let (name, is_moving) = (config.name.clone(), check::is_moving(config));
    match &options.purpose {
        Purpose::Serve if config.sealed => Err(OpenError::Sealed(name)),
        Purpose::Serve | Purpose::MoveAway { .. } if is_moving => Err(OpenError::Moving(name)),
        Purpose::MoveAway { token } if !check::may_go_to(config, token) => {
            Err(OpenError::GoneElsewhere(name))
        }
        Purpose::MoveHere { log } => {
            let there = check::log_of(&config.metadata).unwrap_or_default();
            match (there == log, is_moving) {
                (true, true) => Ok(()),
                (true, false) => Err(OpenError::Served { name, log: log.clone() }),
                (false, _) => {
                    Err(OpenError::OtherLog { name, there: there.into(), log: log.clone() })
                }
            }
        }
        _ => Ok(()),
    }
}

/// Says what became of the connection. While servers are away, each attempt is an event: the first is said.
fn say(event: &Event, lost: &Episode) {
    match event {
        Event::Connected => {
            if let Some(events) = lost.ends() {
                info!(events, "connected to NATS again");
            }
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            info!(%event, "the connection to NATS");
        }
        _ if lost.begins() => info!(%event, "the connection to NATS"),
        _ => {}
    }
}

async fn connect(options: &Options, counts: &Arc<Counts>) -> Result<Client, OpenError> {
    let (counts, lost) = (counts.clone(), Episode::default());
    let mut connecting = ConnectOptions::new()
        .name("roomlog")
        .ping_interval(PING_EVERY)
        .connection_timeout(GREETS_WITHIN)
        .reconnect_delay_callback(|attempts| {
            // Quick at first, and never so slow that servers which are back wait for us.
            Duration::from_millis((50 * attempts as u64).min(1_000))
        })
        .event_callback(move |event| {
            say(&event, &lost);
            if event == Event::Connected {
                Counts::count(&counts.connections);
            }
            std::future::ready(())
        });
    if let Some(path) = &options.credentials {
        connecting = connecting.credentials_file(path).await?;
    }
    if let Some(path) = &options.ca {
        connecting = connecting.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &options.certificate {
        connecting = connecting.add_client_certificate(certificate.clone(), key.clone());
    }
    let no_server = |why: String| OpenError::NoServer { servers: options.shown(), why };
    let mut addresses = Vec::new();
    for address in options.addresses() {
        addresses.push(address.parse::<ServerAddr>().map_err(|why| no_server(why.to_string()))?);
    }
    // A name and a password in one address are for all of them: the client takes none from there.
    if let Some(address) = addresses.iter().find(|address| address.has_user_pass()) {
        let name = address.username().unwrap_or_default().to_owned();
        connecting = match address.password() {
            Some(password) => connecting.user_and_password(name, password.to_owned()),
            None => connecting.token(name),
        };
    }
    connecting.connect(addresses).await.map_err(|why| no_server(said(&why)))
}

/// An error with what caused it.
pub(crate) fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_said = cause.to_string();
        if !text.contains(&cause_said) {
            text = format!("{text}: {cause_said}");
        }
        source = cause.source();
    }
    text
}

/// Whether servers can be trusted with what they ack.
fn judge(servers: &[Server]) -> Result<(), OpenError> {
    for Server { name, version, sync_always, .. } in servers {
        if !sync::is_good(version) {
            return Err(OpenError::TooOld { name: name.clone(), version: version.clone() });
        }
        if !sync_always {
            return Err(OpenError::NotSynced(name.clone()));
        }
    }
    let cluster = servers.iter().map(|server| server.cluster).max();
    match cluster {
        None => Err(OpenError::NotSeen("no server answers that".into())),
        // A quorum that fsyncs is what an ack needs; those that are away are asked when they are back.
        Some(cluster) if !sync::are_most(servers) => {
            Err(OpenError::NotSeen(format!("{} of {cluster} servers answered", servers.len())))
        }
        Some(_) => Ok(()),
    }
}

/// A partition's stream, made when it is not there. Servers that elect are waited for.
async fn stream(
    context: &Context,
    wanted: stream::Config,
    must_be_there: bool,
) -> Result<Info, OpenError> {
    let name = wanted.name.clone();
    let (begun, mut is_told) = (tokio::time::Instant::now(), false);
    loop {
        let why = match get_or_make(context, &name, &wanted, must_be_there).await {
            Ok(info) => return Ok(info),
            Err(why) => why,
        };
        let within = if must_be_there { FOUND_WITHIN } else { OPEN_WITHIN };
        if begun.elapsed() > within || why.is_final {
            return Err(OpenError::JetStream { name, why: why.said });
        }
        if !mem::replace(&mut is_told, true) {
            info!(
                stream = name,
                why = why.said,
                "JetStream cannot give the stream yet: it is asked again"
            );
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

struct Trouble {
    said: String,
    /// Asking again would not help.
    is_final: bool,
}

async fn get_or_make(
    context: &Context,
    name: &str,
    wanted: &jetstream::stream::Config,
    must_be_there: bool,
) -> Result<Info, Trouble> {
    use async_nats::jetstream::context::GetStreamErrorKind;
    let passing = |said: String| Trouble { said, is_final: false };
    match context.get_stream(name).await {
        Ok(stream) => return Ok(stream.cached_info().clone()),
        Err(why) => match why.kind() {
            GetStreamErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
            GetStreamErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT =>
            {
                return Err(Trouble { said: said(&why), is_final: true });
            }
            _ => return Err(passing(said(&why))),
        },
    }
    if must_be_there {
        return Err(passing(
            "it is not there: it was deleted, or never made under this prefix, or the number of partitions was \
             changed, which is fixed"
                .into(),
        ));
    }
    match context.create_stream(wanted.clone()).await {
        Ok(stream) => Ok(stream.cached_info().clone()),
        Err(why) => Err(match why.kind() {
            // Another node was first: the next round finds it.
            CreateStreamErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::STREAM_NAME_EXIST =>
            {
                passing(said(&why))
            }
            CreateStreamErrorKind::JetStream(error) => Trouble {
                // Those that start together come one after the other.
                is_final: error.code() != 503 && error.error_code() != ErrorCode::CLUSTER_NO_PEERS,
                said: format!(
                    "{error}; with fewer than {} servers, say --journal-replicas 1",
                    wanted.num_replicas.max(2)
                ),
            },
            _ => passing(said(&why)),
        }),
    }
}

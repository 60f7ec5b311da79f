//! Opening: a connection, servers that can be trusted, and streams that are configured correctly.
//!
//! Enters: the operator's options. Leaves: a connection and the log, or what to change and where.
//! Invariant: nothing is created before the servers were found good; what exists is never changed.

use std::{mem, sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectOptions, Event, ServerAddr,
    jetstream::{
        self, Context, ErrorCode,
        context::{CreateStreamErrorKind, GetStreamErrorKind},
        stream::{self, Info},
    },
};
use roomlog_core::episode::Episode;
use tokio::time::Instant;
use tracing::{info, warn};
use ulid::Ulid;

use crate::{
    check,
    error::{OpenError, with_causes},
    options::{LEAST_PAYLOAD, Options, Purpose},
    shared::Counts,
    sync::{self, Server},
};

/// How long a start waits for servers to join their cluster.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a start waits while JetStream has no leader. An election takes 4 to 9 s, and as long
/// again whenever its votes are split.
const ELECTION_TIMEOUT: Duration = Duration::from_secs(120);

/// How long a start looks for a stream that must exist: without a leader it seems missing.
const FIND_TIMEOUT: Duration = Duration::from_secs(10);

const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The timeout of a JetStream request.
const API_TIMEOUT: Duration = Duration::from_secs(5);

/// The timeout of a publish's ack: as long as most elections; a longer one only delays appends.
const ACK_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval of pings; the third one without an answer closes the connection, so a server that
/// hangs is left after some two seconds.
const PING_EVERY: Duration = Duration::from_millis(700);

/// The timeout of a server's greeting: one that hangs accepts connections and sends nothing.
const GREETING_TIMEOUT: Duration = Duration::from_secs(2);

/// The opened streams of a log.
pub(crate) struct Opened {
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) log: String,
    /// One per partition.
    pub(crate) streams: Vec<Info>,
    /// Whether a quorum of servers was seen to fsync; else the operator declared it.
    pub(crate) seen: bool,
}

/// Connects, and checks the servers as a start does; creates nothing. How many servers answered: 0 if the
/// operator declared what they do.
///
/// # Errors
/// [`OpenError`] says what is wrong with them and what to do.
pub async fn probe(options: &Options) -> Result<usize, OpenError> {
    let (_client, servers) = reach(options, &Arc::default()).await?;
    Ok(servers.len())
}

/// A connection to servers that were found good, and what they are; none if the operator declared it.
async fn reach(
    options: &Options,
    counts: &Arc<Counts>,
) -> Result<(Client, Vec<Server>), OpenError> {
    let client = connect(options, counts).await?;
    let server = client.server_info();
    if server.max_payload < LEAST_PAYLOAD {
        return Err(OpenError::Payload { limit: server.max_payload });
    }
    if !sync::is_good(&server.version) {
        return Err(OpenError::TooOld { name: server.server_name, version: server.version });
    }
    let servers =
        if options.declared { Vec::new() } else { sync::ask_most(&client, OPEN_TIMEOUT).await };
    if !options.declared {
        check_servers(&servers)?;
    }
    Ok((client, servers))
}

/// Opens the streams of a log, and creates those that are missing.
pub(crate) async fn open(options: &Options, counts: &Arc<Counts>) -> Result<Opened, OpenError> {
    let (client, servers) = reach(options, counts).await?;
    let context = jetstream::context::ContextBuilder::new()
        .timeout(API_TIMEOUT)
        .ack_timeout(ACK_TIMEOUT)
        .build(client.clone());
    // The current number of servers proves nothing: of those that start together one may join late.
    let is_alone = !servers.is_empty() && servers.iter().all(|server| server.is_alone);
    let replicas = options.replicas.unwrap_or(if is_alone { 1 } else { 3 });
    let streams = open_streams(options, &context, replicas).await?;
    let log = streams.first().and_then(|first| check::log_of(&first.config.metadata));
    let log = log.unwrap_or_default().to_owned();
    if !is_alone && options.replicas.is_none() {
        for name in
            streams.iter().filter(|it| it.config.num_replicas == 1).map(|it| &it.config.name)
        {
            warn!(
                stream = name,
                "a single server keeps this stream on its disk: `nats stream edit {name} \
                 --replicas 3`"
            );
        }
    }
    Ok(Opened { client, context, log, streams, seen: !options.declared })
}

async fn open_streams(
    options: &Options,
    context: &Context,
    replicas: usize,
) -> Result<Vec<Info>, OpenError> {
    let mut log = match &options.purpose {
        Purpose::MoveHere { log } => log.clone(),
        Purpose::Serve | Purpose::MoveAway { .. } => Ulid::generate().to_string(),
    };
    let mut partitions = options.partitions.unwrap_or(1);
    let mut streams: Vec<Info> = Vec::new();
    while streams.len() < partitions as usize {
        let partition = u32::try_from(streams.len()).unwrap_or(u32::MAX);
        let wanted = check::wanted(options, partition, &log, partitions, replicas);
        // All partitions are created before the first one holds a block.
        let must_exist = options.purpose.takes_away()
            || streams.first().is_some_and(|first| first.state.last_sequence > 0);
        let info = stream(context, wanted, must_exist).await?;
        may_be_opened(options, &info.config)?;
        if partition == 0 {
            // An existing stream names its log and the number of partitions.
            let metadata = &info.config.metadata;
            if let Some(found) = check::log_of(metadata) {
                found.clone_into(&mut log);
            }
            let found = check::partitions_of(metadata).filter(|_| options.partitions.is_none());
            partitions = found.unwrap_or(partitions);
        }
        let wanted = check::wanted(options, partition, &log, partitions, replicas);
        let lines = check::differences(&info.config, &wanted, options.replicas);
        if !lines.is_empty() {
            return Err(OpenError::Stream { name: info.config.name, lines });
        }
        streams.push(info);
    }
    Ok(streams)
}

/// Whether a stream may be opened for this purpose.
fn may_be_opened(options: &Options, config: &stream::Config) -> Result<(), OpenError> {
    let (name, is_moving) = (config.name.clone(), check::is_moving(config));
    match &options.purpose {
        Purpose::Serve if config.sealed => Err(OpenError::Sealed(name)),
        Purpose::Serve | Purpose::MoveAway { .. } if is_moving => Err(OpenError::Moving(name)),
        Purpose::MoveAway { token } if !check::may_move_away(config, token) => {
            Err(OpenError::MovedElsewhere(name))
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

/// Logs an event of the connection; of a series of failed attempts only the first.
fn log_event(event: &Event, lost: &Episode) {
    match event {
        Event::Connected => {
            if let Some(events) = lost.note_success() {
                info!(events, "connected to NATS again");
            }
        }
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            info!(%event, "the connection to NATS");
        }
        _ if lost.note_failure() => info!(%event, "the connection to NATS"),
        _ => {}
    }
}

async fn connect(options: &Options, counts: &Arc<Counts>) -> Result<Client, OpenError> {
    let (counts, lost) = (counts.clone(), Episode::default());
    let mut connecting = ConnectOptions::new()
        .name("roomlog")
        .ping_interval(PING_EVERY)
        .connection_timeout(GREETING_TIMEOUT)
        .reconnect_delay_callback(|attempts| {
            Duration::from_millis((50 * attempts as u64).min(1_000))
        })
        .event_callback(move |event| {
            log_event(&event, &lost);
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
    // The client ignores credentials in addresses; those of one address are used for all.
    if let Some(address) = addresses.iter().find(|address| address.has_user_pass()) {
        let name = address.username().unwrap_or_default().to_owned();
        connecting = match address.password() {
            Some(password) => connecting.user_and_password(name, password.to_owned()),
            None => connecting.token(name),
        };
    }
    connecting.connect(addresses).await.map_err(|why| no_server(with_causes(&why)))
}

/// Whether these servers keep what they ack.
fn check_servers(servers: &[Server]) -> Result<(), OpenError> {
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
        // An ack needs a quorum that fsyncs; the other servers are asked when they are back.
        Some(cluster) if !sync::are_most(servers) => {
            Err(OpenError::NotSeen(format!("{} of {cluster} servers answered", servers.len())))
        }
        Some(_) => Ok(()),
    }
}

/// A partition's stream, created if it is missing. Waits for elections.
async fn stream(
    context: &Context,
    wanted: stream::Config,
    must_exist: bool,
) -> Result<Info, OpenError> {
    let name = wanted.name.clone();
    let begun = Instant::now();
    // When JetStream last had no leader: the shorter timeouts count from then on.
    let (mut since, mut is_logged) = (begun, false);
    loop {
        let StreamError { why, retry_for } =
            match get_or_create(context, &name, &wanted, must_exist).await {
                Ok(info) => return Ok(info),
                Err(error) => error,
            };
        let is_over = if retry_for == ELECTION_TIMEOUT {
            since = Instant::now();
            begun.elapsed() >= retry_for
        } else {
            since.elapsed() >= retry_for
        };
        if is_over {
            return Err(OpenError::JetStream { name, why });
        }
        if !mem::replace(&mut is_logged, true) {
            info!(stream = name, why, "JetStream cannot give the stream yet: retrying");
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

struct StreamError {
    why: String,
    /// Since the first attempt; zero if a retry would not help.
    retry_for: Duration,
}

async fn get_or_create(
    context: &Context,
    name: &str,
    wanted: &stream::Config,
    must_exist: bool,
) -> Result<Info, StreamError> {
    match context.get_stream(name).await {
        Ok(stream) => return Ok(stream.cached_info().clone()),
        Err(why) => match why.kind() {
            GetStreamErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
            kind => {
                let find_for = if must_exist { FIND_TIMEOUT } else { OPEN_TIMEOUT };
                let retry_for = match kind {
                    GetStreamErrorKind::JetStream(error) => retry_for(&error, find_for),
                    _ => find_for,
                };
                return Err(StreamError { why: with_causes(&why), retry_for });
            }
        },
    }
    if must_exist {
        let why = "it is missing: it was deleted, or never made under this prefix, or the number \
                   of partitions was changed, which is fixed";
        return Err(StreamError { why: why.into(), retry_for: FIND_TIMEOUT });
    }
    match context.create_stream(wanted.clone()).await {
        Ok(stream) => Ok(stream.cached_info().clone()),
        Err(why) => Err(match why.kind() {
            CreateStreamErrorKind::JetStream(error) => StreamError {
                retry_for: retry_for(&error, Duration::ZERO),
                why: explain(&error, wanted),
            },
            _ => StreamError { why: with_causes(&why), retry_for: OPEN_TIMEOUT },
        }),
    }
}

/// How long retrying may help against this error of JetStream; `otherwise`, if nothing is known of it.
fn retry_for(error: &jetstream::Error, otherwise: Duration) -> Duration {
    match error.error_code() {
        ErrorCode::CLUSTER_NOT_AVAILABLE => ELECTION_TIMEOUT,
        ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => Duration::ZERO,
        // Servers that start together join one after the other; a stream that another node just
        // created is found next.
        ErrorCode::CLUSTER_NO_PEERS | ErrorCode::STREAM_NAME_EXIST => OPEN_TIMEOUT,
        _ if error.code() == 503 => OPEN_TIMEOUT,
        _ => otherwise,
    }
}

fn explain(error: &jetstream::Error, wanted: &stream::Config) -> String {
    match error.error_code() {
        ErrorCode::CLUSTER_NOT_AVAILABLE | ErrorCode::STREAM_NAME_EXIST => error.to_string(),
        _ => format!(
            "{error}; with fewer than {} servers, say --journal-replicas 1",
            wanted.num_replicas.max(2)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(json: &str) -> jetstream::Error {
        serde_json::from_str(json).expect("an error of JetStream")
    }

    #[test]
    fn an_election_is_waited_for_longer_than_a_server_and_a_refusal_not_at_all() {
        let electing = error(r#"{"code":503,"err_code":10008,"description":"unavailable"}"#);
        let too_few = error(r#"{"code":400,"err_code":10005,"description":"no suitable peers"}"#);
        let disabled = error(r#"{"code":503,"err_code":10039,"description":"not enabled"}"#);
        let denied = error(r#"{"code":400,"err_code":10052,"description":"invalid config"}"#);
        let offline = error(r#"{"code":500,"err_code":10118,"description":"stream is offline"}"#);
        assert_eq!(retry_for(&electing, FIND_TIMEOUT), ELECTION_TIMEOUT);
        assert_eq!(retry_for(&too_few, FIND_TIMEOUT), OPEN_TIMEOUT);
        assert_eq!(retry_for(&disabled, FIND_TIMEOUT), Duration::ZERO);
        assert_eq!(retry_for(&offline, FIND_TIMEOUT), FIND_TIMEOUT);
        assert_eq!(retry_for(&denied, Duration::ZERO), Duration::ZERO);
    }
}

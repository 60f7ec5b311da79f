//! How a stream must be configured, and how an existing one differs from that.
//!
//! Enters: the options; the configuration of an existing stream. Leaves: the configuration of a new
//! one, or each difference. Invariant: a stream that could lose a block is not used.

use std::{collections::HashMap, fmt::Display};

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use roomlog_core::journal::Partition;

use crate::options::{Options, Purpose};

/// The generation of a log's streams; a move to another number of partitions makes the next.
pub(crate) const GENERATION: u32 = 1;

const LOG: &str = "roomlog.log";
const PARTITIONS: &str = "roomlog.partitions";
const FORMAT: &str = "roomlog.format";
/// If the log was moved away: the name of the move.
const MOVED_AWAY: &str = "roomlog.gone";
/// While a log is moved to the streams.
const MOVING: &str = "roomlog.moving";

/// The format of the streams that this version no longer reads.
const FORMAT_BEFORE: &str = "1";

/// The format of streams, subjects and metadata of this version, and of the blocks in them.
const FORMAT_HERE: &str = "2";

fn stream_name(options: &Options, partition: Partition) -> String {
    format!("{}_{GENERATION}_{partition}", options.prefix)
}

/// The subject of a partition's blocks.
pub(crate) fn subject(options: &Options, partition: Partition) -> String {
    format!("{}.{GENERATION}.{partition}", options.prefix)
}

/// The subject of the replacements of the block at a position of a partition with this subject.
pub(crate) fn replaced(subject: &str, at: impl Display) -> String {
    format!("{subject}.replaced.{at}")
}

/// Whether a log is being moved to the stream.
pub(crate) fn is_moving(config: &Config) -> bool {
    config.metadata.contains_key(MOVING)
}

/// Whether the log may be moved away by the move of this name: no other move did so before.
pub(crate) fn may_move_away(config: &Config, token: &str) -> bool {
    config.metadata.get(MOVED_AWAY).is_none_or(|claimed| claimed == token)
}

/// The configuration after the log was moved away.
pub(crate) fn moved_away(mut config: Config, token: &str) -> Config {
    config.metadata.insert(MOVED_AWAY.to_owned(), token.to_owned());
    Config { sealed: true, ..config }
}

/// The configuration after a log was moved to the stream.
pub(crate) fn moved_here(mut config: Config) -> Config {
    config.metadata.remove(MOVING);
    config
}

/// The subject of messages between nodes; no stream has it.
pub(crate) fn peers_subject(options: &Options) -> String {
    format!("{}.{GENERATION}.peers", options.prefix)
}

/// The configuration of a new stream.
pub(crate) fn wanted(
    options: &Options,
    partition: Partition,
    log: &str,
    partitions: u32,
    replicas: usize,
) -> Config {
    let mut marks = vec![
        (LOG, log.to_owned()),
        (PARTITIONS, partitions.to_string()),
        (FORMAT, FORMAT_HERE.to_owned()),
    ];
    if matches!(options.purpose, Purpose::MoveHere { .. }) {
        marks.push((MOVING, "yes".to_owned()));
    }
    Config {
        name: stream_name(options, partition),
        description: Some("the journal of a Roomlog log: only roomlog writes to it".into()),
        // The second is for blocks that replace earlier ones.
        subjects: vec![subject(options, partition), replaced(&subject(options, partition), "*")],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        max_bytes: options.max_bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1),
        max_messages: -1,
        max_messages_per_subject: -1,
        // A reader without a consumer needs it. Not required of existing streams.
        allow_direct: true,
        num_replicas: replicas,
        deny_purge: true,
        metadata: marks.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ..Config::default()
    }
}

/// The log of a stream.
pub(crate) fn log_of(metadata: &HashMap<String, String>) -> Option<&str> {
    metadata.get(LOG).map(String::as_str)
}

/// The number of partitions of a stream's log.
pub(crate) fn partitions_of(metadata: &HashMap<String, String>) -> Option<u32> {
    metadata.get(PARTITIONS)?.parse().ok().filter(|partitions| *partitions > 0)
}

/// How a stream differs from how it must be, one line per difference.
pub(crate) fn differences(
    actual: &Config,
    wanted: &Config,
    replicas: Option<usize>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, actual: String, wanted: String| {
        if actual != wanted {
            lines.push(format!("{what} is {actual} and must be {wanted}"));
        }
    };
    compare("subjects", format!("{:?}", actual.subjects), format!("{:?}", wanted.subjects));
    compare("storage", format!("{:?}", actual.storage), format!("{:?}", wanted.storage));
    compare("retention", format!("{:?}", actual.retention), format!("{:?}", wanted.retention));
    compare("discard", format!("{:?}", actual.discard), format!("{:?}", wanted.discard));
    compare("max_age", format!("{:?}", actual.max_age), format!("{:?}", wanted.max_age));
    compare("max_msgs", no_limit(actual.max_messages), no_limit(-1));
    compare(
        "max_msgs_per_subject",
        no_limit(actual.max_messages_per_subject),
        no_limit(wanted.max_messages_per_subject),
    );
    compare("deny_purge", actual.deny_purge.to_string(), wanted.deny_purge.to_string());
    compare("max_msg_size", no_limit(actual.max_message_size.into()), no_limit(-1));
    compare("allow_rollup_hdrs", actual.allow_rollup.to_string(), false.to_string());
    compare("subject_transform", actual.subject_transform.is_some().to_string(), false.to_string());
    compare("republish", actual.republish.is_some().to_string(), false.to_string());
    compare("no_ack", actual.no_ack.to_string(), wanted.no_ack.to_string());
    compare("mirror", actual.mirror.is_some().to_string(), false.to_string());
    compare("sources", actual.sources.is_some().to_string(), false.to_string());
    if let Some(replicas) = replicas {
        compare("num_replicas", actual.num_replicas.to_string(), replicas.to_string());
    }
    for key in [LOG, PARTITIONS, FORMAT] {
        let value = |config: &Config| match config.metadata.get(key) {
            Some(value) => format!("{value:?}"),
            None => "missing".to_owned(),
        };
        compare(&format!("metadata {key}"), value(actual), value(wanted));
    }
    if actual.metadata.get(FORMAT).is_some_and(|format| format == FORMAT_BEFORE) {
        lines.push(
            "an older version made it, from before the first release: serve it with that version, \
             `roomlog export` its rooms, and `roomlog import` them into new streams"
                .into(),
        );
    }
    lines
}

fn no_limit(limit: i64) -> String {
    if limit <= 0 { "without limit".into() } else { limit.to_string() }
}

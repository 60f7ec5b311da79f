//! How a stream has to be, and in what one that is there differs from that.
//!
//! Enters: what the operator asked for; the configuration of a stream that is there. Leaves: the
//! configuration to make, or every line that is wrong. Invariant: a stream that would let a block go, or
//! ack one before a quorum has it, is not used.

use std::collections::HashMap;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use roomlog_core::journal::Partition;

use crate::options::{Options, Purpose};

/// Which set of streams a log is in; a log that is moved to another number of partitions gets the next.
pub(crate) const GENERATION: u32 = 1;

const LOG: &str = "roomlog.log";
const PARTITIONS: &str = "roomlog.partitions";
const FORMAT: &str = "roomlog.format";
/// There when the log was moved away: the name of that move.
const GONE: &str = "roomlog.gone";
/// There while a log is moved to the streams.
const MOVING: &str = "roomlog.moving";

/// What of streams, subjects and marks in them this version writes and reads.
const FORMAT_HERE: &str = "1";

/// The name of a partition's stream.
pub(crate) fn stream_name(options: &Options, partition: Partition) -> String {
    format!("{}_{GENERATION}_{partition}", options.prefix)
}

/// The subject that its blocks are published on.
pub(crate) fn subject(options: &Options, partition: Partition) -> String {
    format!("{}.{GENERATION}.{partition}", options.prefix)
}

/// The subjects of blocks that take the place of earlier ones, by their positions.
fn replaced(options: &Options, partition: Partition) -> String {
    format!("{}.replaced.*", subject(options, partition))
}

/// Whether a log is being moved to a stream.
pub(crate) fn is_moving(config: &Config) -> bool {
    config.metadata.contains_key(MOVING)
}

/// Whether a log may be moved away by a move of this name: no other was before.
pub(crate) fn may_go_to(config: &Config, token: &str) -> bool {
    config.metadata.get(GONE).is_none_or(|there| there == token)
}

/// The same stream, when its log is moved away.
pub(crate) fn gone(mut config: Config, token: &str) -> Config {
    config.metadata.insert(GONE.to_owned(), token.to_owned());
    Config { sealed: true, ..config }
}

/// The same stream, when a log was moved to it.
pub(crate) fn moved_here(mut config: Config) -> Config {
    config.metadata.remove(MOVING);
    config
}

/// The subject that nodes speak to each other on; no stream has it.
pub(crate) fn peers_subject(options: &Options) -> String {
    format!("{}.{GENERATION}.peers", options.prefix)
}

/// How a partition's stream is made.
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
        // The second is kept for blocks that take the place of earlier ones.
        subjects: vec![subject(options, partition), replaced(options, partition)],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        max_bytes: options.max_bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1),
        max_messages: -1,
        max_messages_per_subject: -1,
        // Blocks can then be asked for one by one of any server that keeps them; a reader does so while no
        // consumer is made. A stream that is not so is only read less well.
        allow_direct: true,
        num_replicas: replicas,
        deny_purge: true,
        metadata: marks.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        ..Config::default()
    }
}

/// The log that a stream says it is of.
pub(crate) fn log_of(metadata: &HashMap<String, String>) -> Option<&str> {
    metadata.get(LOG).map(String::as_str)
}

/// How many partitions the log of a stream has.
pub(crate) fn partitions_of(metadata: &HashMap<String, String>) -> Option<u32> {
    metadata.get(PARTITIONS)?.parse().ok().filter(|partitions| *partitions > 0)
}

/// In what a stream differs from how it must be, a line each: what it says, and what it should.
pub(crate) fn differences(there: &Config, wanted: &Config, replicas: Option<usize>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, there: String, wanted: String| {
        if there != wanted {
            lines.push(format!("{what} is {there} and must be {wanted}"));
        }
    };
    compare("subjects", format!("{:?}", there.subjects), format!("{:?}", wanted.subjects));
    compare("storage", format!("{:?}", there.storage), format!("{:?}", wanted.storage));
    compare("retention", format!("{:?}", there.retention), format!("{:?}", wanted.retention));
    compare("discard", format!("{:?}", there.discard), format!("{:?}", wanted.discard));
    compare("max_age", format!("{:?}", there.max_age), format!("{:?}", wanted.max_age));
    compare("max_msgs", no_limit(there.max_messages), no_limit(-1));
    compare(
        "max_msgs_per_subject",
        no_limit(there.max_messages_per_subject),
        no_limit(wanted.max_messages_per_subject),
    );
    compare("deny_purge", there.deny_purge.to_string(), wanted.deny_purge.to_string());
    compare("max_msg_size", no_limit(there.max_message_size.into()), no_limit(-1));
    compare("allow_rollup_hdrs", there.allow_rollup.to_string(), false.to_string());
    compare("subject_transform", there.subject_transform.is_some().to_string(), false.to_string());
    compare("republish", there.republish.is_some().to_string(), false.to_string());
    compare("no_ack", there.no_ack.to_string(), wanted.no_ack.to_string());
    compare("mirror", there.mirror.is_some().to_string(), false.to_string());
    compare("sources", there.sources.is_some().to_string(), false.to_string());
    if let Some(replicas) = replicas {
        compare("num_replicas", there.num_replicas.to_string(), replicas.to_string());
    }
    for key in [LOG, PARTITIONS, FORMAT] {
        let said = |config: &Config| match config.metadata.get(key) {
            Some(value) => format!("{value:?}"),
            None => "not there".to_owned(),
        };
        compare(&format!("metadata {key}"), said(there), said(wanted));
    }
    lines
}

fn no_limit(limit: i64) -> String {
    if limit <= 0 { "without limit".into() } else { limit.to_string() }
}

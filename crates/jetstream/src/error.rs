//! Why the journal was not opened, each with a remedy.

use std::{error::Error, io};

use thiserror::Error;

use crate::options::LEAST_PAYLOAD;

/// Why the journal was not opened. Nothing was changed, except that streams may have been created.
/// `name` is the stream, `log` the log that is being moved to it.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the fields are named above, or by their sentence")]
pub enum OpenError {
    /// No server could be reached.
    #[error(
        "no NATS server answers at {servers}: {why}; check the addresses, that the servers run, \
         and that they accept this client"
    )]
    NoServer { servers: String, why: String },
    /// A file of credentials or certificates cannot be read.
    #[error("cannot read the credentials for NATS: {0}")]
    Credentials(#[from] io::Error),
    /// The named server acks before it fsyncs.
    #[error(
        "NATS server {0} acks before it fsyncs, and a power cut would lose what was acked; put \
         `sync_interval: always` into its `jetstream {{ }}` block and restart it. The setting is \
         for the whole server: deploy/nats/ has a configuration"
    )]
    NotSynced(String),
    /// The named server has known bugs that lose data.
    #[error(
        "NATS server {name} is {version}, which can lose what it acked; 2.12.14 or newer of 2.12, \
         or 2.14.4 or newer, is needed"
    )]
    TooOld { name: String, version: String },
    /// The servers did not report whether they fsync.
    #[error(
        "it cannot be seen whether the NATS servers fsync before they ack ({0}): let the system \
         account export `$SYS.REQ.SERVER.PING.JSZ` to this one, as deploy/nats/ does; or, if every \
         server has `sync_interval: always`, declare it with --journal-declared, which clients are \
         shown"
    )]
    NotSeen(String),
    /// Messages may not be long enough for a block.
    #[error(
        "the NATS servers take messages of {limit} bytes, and blocks need {LEAST_PAYLOAD}: set \
         `max_payload: 1MB`"
    )]
    Payload { limit: usize },
    /// A stream exists, and its configuration differs in these `lines`.
    #[error(
        "stream {name} is not as a journal must be: {}; change it (`nats stream edit {name}`), or \
         name other streams with --journal-prefix; nothing was changed",
        lines.join("; ")
    )]
    Stream { name: String, lines: Vec<String> },
    /// A move to the stream is not complete.
    #[error(
        "a log is being moved to stream {0} and is incomplete there: run that `roomlog move` \
         again, which continues where it stopped, then start this node"
    )]
    Moving(String),
    /// The log of the stream was moved to a directory.
    #[error(
        "the log of stream {0} was moved away, and the stream takes no more entries: serve the log \
         where it is now"
    )]
    Sealed(String),
    /// As [`OpenError::Sealed`], to another directory than that of this move.
    #[error(
        "the log of stream {0} was moved to another directory already: a log is served in one \
         place. To finish an interrupted move, name the directory that it began with"
    )]
    MovedElsewhere(String),
    /// The stream holds another log, `there`.
    #[error(
        "stream {name} holds log {there}, and log {log} is to be moved to it: name other streams \
         with --journal-prefix"
    )]
    OtherLog { name: String, there: String, log: String },
    /// The log was moved to the stream already.
    #[error("log {log} is in stream {name} already, and is served there")]
    Served { name: String, log: String },
    /// JetStream refused or did not answer.
    #[error("JetStream cannot give stream {name}: {why}")]
    JetStream { name: String, why: String },
}

/// An error with its causes.
pub(crate) fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

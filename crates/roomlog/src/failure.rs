//! Why a command failed, as one sentence for a person.

use std::{io, path::PathBuf};

use roomlog_client::{AppendError, ClientError};
use roomlog_protocol::{ErrorCode, ErrorFrame, RoomName};
use roomlog_terminal::ChatError;
use thiserror::Error;

/// The exit code of `verify` when it found a difference.
pub(crate) const DIFFERS: u8 = 3;

/// The exit code when the command line or a setting is wrong; `clap` has the same.
pub(crate) const USAGE: u8 = 2;

/// The exit code when the reader of standard output went away first: what a shell reports of other
/// commands, which SIGPIPE ends.
pub(crate) const UNREAD: u8 = 141;

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The server, or the way to it.
    #[error("{}", client(.0))]
    Client(#[from] ClientError),
    /// An append.
    #[error("{}", append(.0))]
    Append(#[from] AppendError),
    /// The chat in the terminal.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// Standard output cannot be written to.
    #[error("cannot write to standard output: {0}")]
    Stdout(#[from] io::Error),
    /// A file or directory cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// A setting is wrong: it is this, and must be that.
    #[error("{0}")]
    Usage(String),
    /// A sentence that says it all.
    #[error("{0}")]
    Said(String),
}

impl Failure {
    pub(crate) fn said(what: impl Into<String>) -> Self {
        Self::Said(what.into())
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::Usage(what.into())
    }

    /// A room that was asked for by its name and has no entry.
    pub(crate) fn never_written(room: &RoomName) -> Self {
        Self::said(format!(
            "nothing was ever written to {room}; `roomlog rooms` lists the rooms that have entries"
        ))
    }

    pub(crate) fn file(path: impl Into<PathBuf>, why: io::Error) -> Self {
        Self::File { path: path.into(), why }
    }

    /// Whether the reader of standard output went away: that is how `| head` ends a command.
    pub(crate) fn is_closed_stdout(&self) -> bool {
        matches!(self, Self::Stdout(why) if why.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<serde_json::Error> for Failure {
    /// Entries always are JSON, so what fails is the writing of it.
    fn from(error: serde_json::Error) -> Self {
        Self::Stdout(error.into())
    }
}

fn append(error: &AppendError) -> String {
    match error {
        AppendError::Refused(error) => refused(error),
        other => other.to_string(),
    }
}

fn client(error: &ClientError) -> String {
    match error {
        ClientError::Refused(error) => refused(error),
        other => format!("{other}{}", advice(other)),
    }
}

/// A refusal, for one who typed a command.
pub(crate) fn refused(error: &ErrorFrame) -> String {
    match (error.code, &error.room, error.latest) {
        (ErrorCode::Ahead, Some(room), Some(latest)) if latest < 0 => {
            format!("{room} has no entry yet; ask with --after -1")
        }
        (ErrorCode::Ahead, Some(room), Some(latest)) => {
            format!("{room} ends at slot {latest}; ask with --after {latest} or less")
        }
        _ => format!("{}: {}", error.code, error.message),
    }
}

/// What the caller can do about it.
fn advice(error: &ClientError) -> &'static str {
    match error {
        ClientError::Unreachable { .. } => {
            "; start a server with `roomlog serve`, or name another with --server URL"
        }
        ClientError::Unusable { .. } => "; name another server with --server URL",
        ClientError::Lost { .. } => "; run the command again when the server is back",
        ClientError::Refused(_)
        | ClientError::Hole { .. }
        | ClientError::NewLog
        | ClientError::Replaced { .. }
        | ClientError::Closed => "",
    }
}

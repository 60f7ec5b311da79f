//! Why a command failed, as one sentence for a person.

use std::{io, path::PathBuf};

use roomlog_client::{AppendError, ClientError};
use thiserror::Error;

/// The exit code of `verify` when it found a difference.
pub(crate) const DIFFERS: u8 = 3;

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The server, or the way to it.
    #[error("{error}{advice}", error = .0, advice = advice(.0))]
    Client(#[from] ClientError),
    /// An append.
    #[error("{0}")]
    Append(#[from] AppendError),
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
    /// A sentence that says it all.
    #[error("{0}")]
    Said(String),
}

impl Failure {
    pub(crate) fn said(what: impl Into<String>) -> Self {
        Self::Said(what.into())
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

/// What the caller can do about it.
fn advice(error: &ClientError) -> &'static str {
    match error {
        ClientError::Unreachable { .. } => {
            "; start a server with `roomlog serve`, or name another with --server URL"
        }
        ClientError::Unusable { .. } => "; name another server with --server URL",
        ClientError::Lost { .. } => "; run the command again when the server is back",
        ClientError::Refused(_) | ClientError::Hole { .. } | ClientError::Closed => "",
    }
}

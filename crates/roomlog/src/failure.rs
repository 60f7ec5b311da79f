//! Why a command failed, as one sentence for the user, and the exit codes.

use std::{fmt::Display, io, path::PathBuf};

use roomlog_client::{AppendError, ClientError, TlsProblem};
use roomlog_protocol::{ErrorCode, ErrorFrame, Latest, RoomName};
use roomlog_terminal::ChatError;
use thiserror::Error;

/// `verify` found a difference, or `check` a broken promise.
pub(crate) const DIFFERS: u8 = 3;

/// The command line or a setting is wrong; `clap` uses the same.
pub(crate) const USAGE: u8 = 2;

/// The reader of standard output closed it: what a shell reports of a process that SIGPIPE ended.
pub(crate) const UNREAD: u8 = 141;

#[derive(Debug, Error)]
pub(crate) enum Failure {
    #[error("{}", client(.0))]
    Client(#[from] ClientError),
    #[error("{}", append(.0))]
    Append(#[from] AppendError),
    #[error(transparent)]
    Chat(#[from] ChatError),
    #[error("cannot write to standard output: {0}")]
    Stdout(#[from] io::Error),
    /// A file or directory cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    File { path: PathBuf, why: io::Error },
    /// The command line or a setting is wrong.
    #[error("{0}")]
    Usage(String),
    /// Any other reason, as a complete sentence.
    #[error("{0}")]
    Other(String),
}

impl Failure {
    pub(crate) fn other(why: impl Display) -> Self {
        Self::Other(why.to_string())
    }

    pub(crate) fn usage(why: impl Display) -> Self {
        Self::Usage(why.to_string())
    }

    /// A room that was named and has no entry.
    pub(crate) fn never_written(room: &RoomName) -> Self {
        Self::other(format!("room {room} has no entries; `roomlog rooms` lists the rooms that do"))
    }

    /// For `map_err`: a file or directory cannot be read.
    pub(crate) fn reading(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        move |why| Self::File { path: path.into(), why }
    }

    pub(crate) fn is_closed_stdout(&self) -> bool {
        matches!(self, Self::Stdout(why) if why.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<serde_json::Error> for Failure {
    /// Entries always have a JSON form, so what fails is writing it.
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
    let advice = match error {
        ClientError::Refused(error) => return refused(error),
        ClientError::Unreachable { .. } => {
            "; start a server with `roomlog serve`, or name another with --server URL"
        }
        ClientError::TokenNeeded { .. } => {
            "; name a file that holds one with --token-file, or set ROOMLOG_TOKEN"
        }
        ClientError::Unusable { .. } => "; name another server with --server URL",
        ClientError::Tls { problem, .. } => tls_advice(problem),
        ClientError::Lost { .. } => "; run the command again when the server is back",
        ClientError::Hole { .. }
        | ClientError::NewLog
        | ClientError::Replaced { .. }
        | ClientError::Closed => "",
    };
    format!("{error}{advice}")
}

fn tls_advice(problem: &TlsProblem) -> &'static str {
    match problem {
        TlsProblem::UnknownIssuer => {
            "; if you trust it, name the file of its issuer's certificate with --ca FILE"
        }
        TlsProblem::WrongName(_) => "; name the server with --server as its certificate does",
        TlsProblem::Expired => "; the server needs a new one",
        TlsProblem::NotYetValid => "; compare the clocks of the two machines",
        TlsProblem::Issuer => "; the server needs one that was made with CA:FALSE",
        TlsProblem::NoTls => "; if it serves plain HTTP, write http:// instead of https://",
        TlsProblem::Other(_) => "",
    }
}

/// An error of the server, in terms of the command line.
pub(crate) fn refused(error: &ErrorFrame) -> String {
    match (error.code, &error.room, error.latest) {
        (ErrorCode::Ahead, Some(room), Some(latest)) if latest == Latest::EMPTY => {
            format!("{room} has no entry yet; use --after -1")
        }
        (ErrorCode::Ahead, Some(room), Some(latest)) => {
            format!("{room} ends at slot {latest}; use --after {latest} or less")
        }
        _ => format!("{}: {}", error.code, error.message),
    }
}

//! The arguments of `token` and `revoke`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use roomlog_auth::Operation;
use roomlog_protocol::{Author, Namespace};

use super::server::{DoorArgs, TokenFile};
use crate::tokens::{AUTHOR_CLAIM, Life, RoomGrant};

#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token and print it.
    New(NewTokenArgs),
    /// Print what a token says; its signature is not checked.
    Inspect(InspectArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "For tests and scripts; an application makes tokens for its users itself, with any JWT library.

Examples:
  (umask 077; openssl rand -hex 32 > jwt.key)
  roomlog serve --jwt-key jwt.key --jwt-audience chat
  roomlog token new --key jwt.key --audience chat --author ada --rooms 'team-*=read,append,create'
  roomlog token new --key jwt.key --audience chat --author cron --ops backup --life 24h

The rights are read, append, create (the first entry of a room), redact and admin."
)]
pub(crate) struct NewTokenArgs {
    /// The key: a PEM private key (Ed25519, P-256 or RSA), or the secret that the server has.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// The server's --jwt-audience.
    #[arg(long, value_name = "NAME")]
    pub(crate) audience: String,
    /// Who it is for.
    #[arg(long, value_name = "NAME")]
    pub(crate) author: Author,
    /// Rights to a room, or to all whose names begin so; repeatable.
    #[arg(long, value_name = "ROOM[*]=RIGHT,…")]
    pub(crate) rooms: Vec<RoomGrant>,
    /// Another author that it may write as, or `*`; repeatable.
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) others: Vec<String>,
    /// What it may do at the operators' address: backup, erase, metrics, revoke.
    #[arg(long, value_name = "OPERATION", value_delimiter = ',', value_parser = operation)]
    pub(crate) ops: Vec<Operation>,
    /// The namespace of its rooms.
    #[arg(long, value_name = "NAME", value_parser = Namespace::new)]
    pub(crate) namespace: Option<Namespace>,
    /// How long it is valid: seconds, or with s, m, h or d.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub(crate) life: Life,
    /// The server's --author-claim.
    #[arg(long, value_name = "NAME", default_value = AUTHOR_CLAIM)]
    pub(crate) author_claim: String,
}

fn operation(typed: &str) -> Result<Operation, String> {
    serde_json::from_value(typed.into())
        .map_err(|_| format!("{typed:?} is none of backup, erase, metrics and revoke"))
}

#[derive(Debug, Args)]
#[command(after_help = "Without --token-file the token is read from standard input.

Example:
  roomlog token inspect < token")]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    pub(crate) token: TokenFile,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Every node refuses these tokens from now on, and ends what they have opened. That is kept in the
log, so a restart, a move or a restore does not undo it.
The server is found by admin.sock in its data directory, which only its user may use.

Examples:
  roomlog revoke --jti 01M8J0QSH6RTDFBRJP3RRM2CYV
  roomlog revoke --author ada                       what was issued until now
  roomlog revoke --author ada --issued-before 2026-11-28T09:30:00Z
  roomlog revoke --everybody                        all tokens that were issued until now"
)]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["jti", "author", "everybody"]))]
pub(crate) struct RevokeArgs {
    /// The `jti` of one token.
    #[arg(long, value_name = "ID", conflicts_with_all = ["issued_before", "namespace"])]
    pub(crate) jti: Option<String>,
    /// The author whose tokens to revoke.
    #[arg(long, value_name = "NAME")]
    pub(crate) author: Option<Author>,
    /// The tokens of all authors.
    #[arg(long, conflicts_with = "namespace")]
    pub(crate) everybody: bool,
    /// The namespace of the author's tokens, if they have one.
    #[arg(long, value_name = "NAME", value_parser = Namespace::new)]
    pub(crate) namespace: Option<Namespace>,
    /// Only tokens that were issued before this time, as RFC 3339 or in seconds since 1970 [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) issued_before: Option<String>,
    #[command(flatten)]
    pub(crate) door: DoorArgs,
}

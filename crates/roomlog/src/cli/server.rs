//! The arguments of every command that talks to a server.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use clap::Args;
use roomlog_auth::token::TOKEN_BYTES;
use roomlog_client::{Address, Options, TokenSource, Trust};
use roomlog_protocol::Author;

use crate::{address::DEFAULT_SERVER, failure::Failure, names::TOKEN_VARIABLE};

/// Which server, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// The address of the server.
    #[arg(long, value_name = "URL", env = "ROOMLOG_SERVER")]
    #[arg(default_value = DEFAULT_SERVER)]
    pub(crate) server: Address,
    /// Certificates to trust besides the system's, in PEM, for a server at https://.
    #[arg(long, value_name = "FILE", env = "ROOMLOG_CA")]
    ca: Option<PathBuf>,
    /// Your name [default: your user name; with a token, its author].
    #[arg(long, value_name = "NAME", env = "ROOMLOG_AUTHOR")]
    pub(crate) author: Option<Author>,
    #[command(flatten)]
    pub(crate) token: TokenFile,
}

/// Where a server serves operators, and with which token.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct DoorArgs {
    /// The data directory of the running server [default: ./roomlog-data]
    #[arg(long, env = "ROOMLOG_DATA", value_name = "DATA")]
    pub(crate) data: Option<PathBuf>,
    /// The address of its --admin-listen, if that is not the socket in --data.
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<Address>,
    #[command(flatten)]
    pub(crate) token: TokenFile,
}

/// Where the token is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct TokenFile {
    /// A file with your token, which only you may read; the environment variable ROOMLOG_TOKEN may hold
    /// the token itself.
    #[arg(long, value_name = "FILE", env = "ROOMLOG_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

impl ServerArgs {
    /// `--author`, else the user's name if that is a valid author, else `anonymous`.
    pub(crate) fn author(&self) -> Author {
        let of_user = || std::env::var("USER").ok().and_then(|name| Author::new(&name).ok());
        let given = self.author.clone().or_else(of_user);
        given.unwrap_or_else(|| match Author::new("anonymous") {
            Ok(author) => author,
            Err(_) => unreachable!("`anonymous` is a valid author"),
        })
    }

    /// What a client is made with. Fails if the file of `--ca` or the token is wrong.
    pub(crate) fn options(&self) -> Result<Options, Failure> {
        // An empty variable is none.
        let ca = self.ca.as_deref().filter(|file| !file.as_os_str().is_empty());
        let trust = ca.map(Trust::with_ca).transpose();
        let trust =
            trust.map_err(|why| Failure::usage(format!("--ca: {why}")))?.unwrap_or_default();
        let mut options = Options { trust, ..Options::new(self.server.clone(), self.author()) };
        let file = self.token.clone();
        if file.read()?.is_some() {
            // It is read again for each login: whoever renews it writes the file.
            options.token = Some(TokenSource::new(move || {
                let token = file.read().map_err(|why| why.to_string());
                std::future::ready(token.map(Option::unwrap_or_default))
            }));
        }
        Ok(options)
    }
}

impl TokenFile {
    /// The token; `None` if there is none. Fails if its file cannot be read, or others may read it.
    pub(crate) fn read(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.token_file else {
            let token = std::env::var(TOKEN_VARIABLE).ok().map(|token| token.trim().to_owned());
            return Ok(token.filter(|token| !token.is_empty()));
        };
        let shown = path.display();
        let wrong = |why: String| Failure::usage(format!("the token file {shown} {why}"));
        let unread = |why: std::io::Error| wrong(format!("cannot be read: {why}"));
        let file = fs::metadata(path).map_err(unread)?;
        if file.permissions().mode() & 0o077 != 0 {
            return Err(wrong(format!("can be read by others; run: chmod 600 {shown}")));
        }
        if file.len() > TOKEN_BYTES as u64 + 2 {
            return Err(wrong(format!("has more than {TOKEN_BYTES} bytes")));
        }
        let token = fs::read_to_string(path).map_err(unread)?.trim().to_owned();
        if token.is_empty() { Err(wrong("is empty".into())) } else { Ok(Some(token)) }
    }
}

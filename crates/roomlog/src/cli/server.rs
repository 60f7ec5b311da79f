//! The arguments of every command that talks to a server.

use clap::Args;
use roomlog_client::Address;
use roomlog_protocol::Author;

use crate::address::DEFAULT_SERVER;

/// Which server, and as whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// The address of the server.
    #[arg(long, value_name = "URL", env = "ROOMLOG_SERVER")]
    #[arg(default_value = DEFAULT_SERVER)]
    pub(crate) server: Address,
    /// Your name [default: your user name].
    #[arg(long, value_name = "NAME", env = "ROOMLOG_AUTHOR")]
    pub(crate) author: Option<Author>,
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
}

//! The arguments of `erase`.

use clap::Args;
use roomlog_protocol::RoomRange;

use super::server::DoorArgs;

#[derive(Debug, Args)]
#[command(
    after_help = "Bodies and metas are gone from what the server sends at once, and from its files within seconds.
Slots, authors, ids and times stay, and the digests still hold. It cannot be undone; only a backup
that was taken before has the texts.
The server is found by admin.sock in its data directory, which only its user may use.

Examples:
  roomlog erase general --author ada        what ada wrote in general
  roomlog erase '/*' --author ada           what ada wrote in any room, of any namespace
  roomlog erase '*' --author ada            in any room that has no namespace
  roomlog erase general --everybody         all that was written in general
  roomlog erase '/acme/team-*' --everybody  in rooms of the namespace acme"
)]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["author", "everybody"]))]
pub(crate) struct EraseArgs {
    /// The room, or the beginning of names and `*`; `/*` for all rooms of all namespaces.
    #[arg(value_parser = pattern)]
    pub(crate) rooms: String,
    /// The author whose texts to erase.
    #[arg(long, value_name = "NAME")]
    pub(crate) author: Option<String>,
    /// The texts of all authors.
    #[arg(long)]
    pub(crate) everybody: bool,
    #[command(flatten)]
    pub(crate) door: DoorArgs,
}

fn pattern(typed: &str) -> Result<String, String> {
    RoomRange::of_pattern(typed).map(|_| typed.into()).map_err(|why| why.to_string())
}

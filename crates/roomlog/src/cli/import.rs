//! The command line of `import`.

use std::path::PathBuf;

use clap::Args;
use encoding_rs::Encoding;
use jiff::{fmt::temporal::DateTimeParser, tz::TimeZone};
use roomlog_protocol::RoomName;

use super::server::ServerArgs;
use crate::import::Format;

#[derive(Debug, Args)]
#[command(
    after_help = "The format is detected from the first lines of a file, which may be compressed
with gzip; an ambiguous file is rejected. docs/IMPORT.md lists what is kept of each format.

  irc       one file per day, with the date in its name (2015-12-24.log, tea_20151224.log) and lines
            such as [10:59] <ada> hello; written by ZNC, energymech and eggdrop
  irssi     10:59 < ada> hello, after --- Log opened
  weechat   2015-12-24 10:59:07, a tab, ada, a tab, hello
  slack     an unpacked export; --channel selects one of several channels
  discord   a channel exported by DiscordChatExporter, as JSON
  telegram  result.json of a chat exported by Telegram Desktop
  jsonl     one entry per line, as `export` prints it

Importing again adds nothing, and an interrupted import continues when it is run again. Imported
entries cannot be removed: start with --dry-run.

Examples:
  roomlog import perl6 logs/2015/ --dry-run        what would be imported; needs no server
  roomlog import perl6 logs/2015/
  roomlog import tea tea.log.gz --timezone Europe/Berlin --encoding cp1252
  roomlog import general slack-export/ --channel general
  roomlog import copy general.jsonl"
)]
pub(crate) struct ImportArgs {
    /// The room to import into.
    pub(crate) room: RoomName,
    /// Files, or directories of files.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// The format of the files.
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub(crate) format: Format,
    /// Also import joins, parts and other notices, as kinds `join`, `part`, `nick`, `mode`,
    /// `topic`, `kick` and `notice`.
    #[arg(long)]
    pub(crate) joins: bool,
    /// The time zone of times without one: Europe/Berlin, or +02:00.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub(crate) timezone: TimeZone,
    /// The encoding of text that is not UTF-8: cp1252, iso-8859-15, koi8-r, shift_jis.
    #[arg(long, value_name = "NAME", value_parser = encoding)]
    pub(crate) encoding: Option<&'static Encoding>,
    /// The channel of a Slack export.
    #[arg(long, value_name = "NAME")]
    pub(crate) channel: Option<String>,
    /// Read the files and print what would be imported, without a server.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    let zone = DateTimeParser::new().parse_time_zone(name);
    zone.map_err(|_| "not a time zone such as Europe/Berlin, or an offset such as +02:00".into())
}

fn encoding(name: &str) -> Result<&'static Encoding, String> {
    // A usual name on Windows that the WHATWG list lacks in this spelling.
    let label = if name.eq_ignore_ascii_case("latin-1") { "latin1" } else { name };
    Encoding::for_label(label.as_bytes())
        .ok_or_else(|| "not an encoding such as cp1252, iso-8859-15 or utf-16le".into())
}

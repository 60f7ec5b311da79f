//! The command line of `import`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use encoding_rs::Encoding;
use jiff::{fmt::temporal::DateTimeParser, tz::TimeZone};
use roomlog_protocol::RoomName;

use super::ServerArgs;

#[derive(Debug, Args)]
#[command(
    after_help = "A file is recognised by its first lines, gzip or not; what is not certain is refused. docs/IMPORT.md has
what is kept of each format.

  irc       a file a day, named by its date (2015-12-24.log, tea_20151224.log), with lines such as
            [10:59] <ada> hello; so write ZNC, energymech and eggdrop
  irssi     10:59 < ada> hello, with --- Log opened at its beginning
  weechat   2015-12-24 10:59:07, a tab, ada, a tab, hello
  slack     an unpacked export, with --channel where it has several
  discord   a channel by DiscordChatExporter, as JSON
  telegram  result.json of a chat, by Telegram Desktop
  jsonl     one entry a line, as `export` prints it

Importing again adds nothing, and an import that was interrupted goes on when it is run again. What is in
stays for ever: begin with --dry-run.

Examples:
  roomlog import perl6 logs/2015/ --dry-run        what would be taken; needs no server
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
    /// What the files are.
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub(crate) format: Format,
    /// Also import joins, parts and other notices, as kinds `join`, `part`, `nick`, `mode`, `topic`,
    /// `kick` and `notice`.
    #[arg(long)]
    pub(crate) joins: bool,
    /// The zone of times that name none: Europe/Berlin, or +02:00.
    #[arg(long, value_name = "ZONE", default_value = "UTC", value_parser = zone)]
    pub(crate) timezone: TimeZone,
    /// The encoding of text that is not UTF-8: cp1252, iso-8859-15, koi8-r, shift_jis.
    #[arg(long, value_name = "NAME", value_parser = encoding)]
    pub(crate) encoding: Option<&'static Encoding>,
    /// The channel of a Slack export.
    #[arg(long, value_name = "NAME")]
    pub(crate) channel: Option<String>,
    /// Read the files, print what would be taken, and stop there.
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

fn zone(name: &str) -> Result<TimeZone, String> {
    let zone = DateTimeParser::new().parse_time_zone(name);
    zone.map_err(|_| "it is no zone as Europe/Berlin, and no offset as +02:00".into())
}

fn encoding(name: &str) -> Result<&'static Encoding, String> {
    // The usual name on Windows, which the list of the web lacks in this spelling.
    let label = if name.eq_ignore_ascii_case("latin-1") { "latin1" } else { name };
    Encoding::for_label(label.as_bytes())
        .ok_or_else(|| "it is no encoding, such as cp1252, iso-8859-15 or utf-16le".into())
}

/// What a file to import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// By its first lines.
    Auto,
    /// IRC logs of a day with times in brackets; also of ZNC, energymech and eggdrop.
    #[value(aliases = ["znc", "energymech", "eggdrop"])]
    Irc,
    /// Logs of irssi.
    Irssi,
    /// Logs of weechat.
    Weechat,
    /// An export of Slack.
    Slack,
    /// A channel of Discord, by DiscordChatExporter in JSON.
    Discord,
    /// A chat of Telegram, by Telegram Desktop in JSON.
    Telegram,
    /// JSON, one entry a line.
    Jsonl,
}

//! The formats of files to import, as the command line names them.

use clap::ValueEnum;

/// The format of a file to import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Detected from the first lines.
    Auto,
    /// IRC logs of one day with times in brackets; also of ZNC, energymech and eggdrop.
    #[value(aliases = ["znc", "energymech", "eggdrop"])]
    Irc,
    /// Logs of irssi.
    Irssi,
    /// Logs of weechat.
    Weechat,
    /// An export of Slack.
    Slack,
    /// A channel of Discord, exported by DiscordChatExporter as JSON.
    Discord,
    /// A chat of Telegram, exported by Telegram Desktop as JSON.
    Telegram,
    /// JSON, one entry per line.
    Jsonl,
}

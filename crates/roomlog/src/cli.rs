//! The command line as `clap` parses it, with its help.

mod erase;
mod import;
mod server;
mod token;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use roomlog_protocol::{EntryId, Kind, RoomName};

pub(crate) use self::{
    erase::EraseArgs,
    import::ImportArgs,
    server::{DoorArgs, ServerArgs},
    token::{InspectArgs, NewTokenArgs, RevokeArgs, TokenArgs, TokenCommand},
};
use crate::{serve::ServeArgs, settings::ClusterSettings};

const EXIT_CODES: &str = "Exit codes:
  0    done
  1    failed; standard error gives the reason and what to do
  2    the command line or a setting is wrong
  3    `verify` found a difference, or a room that cannot be read; `check` a broken promise
  141  the reader of standard output closed it before everything was printed (`| head`)

Ctrl-C is the normal end of `serve`, `chat` and `tail`. Any other command that a signal ends does
not exit with 0.

Try it with one command in each of three terminals:
  roomlog serve
  roomlog tail general
  roomlog append general 'hello'";

/// A durable, totally ordered log for every chat room.
///
/// `serve` runs the server; the other commands talk to one. Data goes to standard output,
/// everything else to standard error.
#[derive(Debug, Parser)]
#[command(name = "roomlog", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Run the server.
    Serve(Box<ServeArgs>),
    /// Print the settings that `serve` would use, and where each was set.
    Config(Box<ConfigArgs>),
    /// Check the machine, the data directory and the settings for `serve`.
    #[command(
        after_help = "Takes the flags of `serve`. Changes nothing, and may run beside the server. Each line is `ok`, a
`warning` of what may become a problem, or a `problem`: then the exit code is 1.

Examples:
  roomlog doctor
  sudo -u roomlog roomlog doctor --config /etc/roomlog.toml"
    )]
    Doctor(Box<ServeArgs>),
    /// Chat in this terminal.
    Chat(ChatArgs),
    /// Append entries to a room and print their slots.
    Append(AppendArgs),
    /// Print entries of a room.
    #[command(mut_arg("author", |author| author.hide(true)))]
    Read(ReadArgs),
    /// Print a room's newest entries, then each new one as it arrives, until Ctrl-C.
    #[command(mut_arg("author", |author| author.hide(true)))]
    Tail(TailArgs),
    /// Print all rooms with their latest slots.
    #[command(mut_arg("author", |author| author.hide(true)))]
    Rooms(RoomsArgs),
    /// Print a room's entire log as JSON, one entry per line.
    #[command(mut_arg("author", |author| author.hide(true)))]
    Export(ExportArgs),
    /// Recompute the digests from the entries and compare them with the server's.
    #[command(mut_arg("author", |author| author.hide(true)))]
    Verify(VerifyArgs),
    /// Check a record of frames against the promises of the protocol.
    Check(CheckArgs),
    /// Import the history of another chat into a room.
    Import(ImportArgs),
    /// Copy all data of a running server into a directory.
    Backup(BackupArgs),
    /// Create a data directory for `serve` from a backup.
    Restore(RestoreArgs),
    /// Move a log from a directory to a cluster, or back.
    Move(Box<MoveArgs>),
    /// Make tokens, and read them.
    Token(TokenArgs),
    /// Erase the texts of rooms, or those of one author.
    Erase(EraseArgs),
    /// Revoke tokens before they expire.
    Revoke(RevokeArgs),
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
    /// Print the manual page of `roomlog`, or of one of its commands.
    Man(ManArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Takes the flags of `serve`. A setting that was not set is a comment with its default.
What `serve` would reject is rejected here too, with exit code 2. Without --check no file but that
of --config is read.

Examples:
  roomlog config
  roomlog config --check --config /etc/roomlog.toml"
)]
pub(crate) struct ConfigArgs {
    /// Print nothing, and read certificates and keys too; the exit code is 2 if `serve` would reject
    /// something.
    #[arg(long)]
    pub(crate) check: bool,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  roomlog completions bash > /etc/bash_completion.d/roomlog
  roomlog completions zsh > ~/.zfunc/_roomlog
  roomlog completions fish > ~/.config/fish/completions/roomlog.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: Shell,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  roomlog man serve | man -l -
  roomlog man > /usr/local/share/man/man1/roomlog.1
  roomlog man serve > /usr/local/share/man/man1/roomlog-serve.1")]
pub(crate) struct ManArgs {
    /// The command.
    pub(crate) command: Option<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "While the server is down, what you send is queued. /help or F1 lists the commands.
How far you have read is stored in $XDG_STATE_HOME/roomlog/read.json (by default below
~/.local/state).

Examples:
  roomlog chat
  roomlog chat random --author ada"
)]
pub(crate) struct ChatArgs {
    /// The room to open first.
    #[arg(default_value = "general")]
    pub(crate) room: RoomName,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  roomlog append general 'hello'
  roomlog append general 'hello' --id greeting-1     sent twice, stored once
  printf 'one\\ntwo\\n' | roomlog append general       one entry per line, in that order
  roomlog append general 'me too' --ref 1040         a reply to the entry at slot 1040
  roomlog append general -- '-x'                     a text that begins with a dash

Exits with 0 only if every line is in the log. Continues when the reader of the slots exits
(`| head`).")]
pub(crate) struct AppendArgs {
    /// The room.
    pub(crate) room: RoomName,
    /// The text; without it, each line of standard input becomes an entry.
    pub(crate) text: Option<String>,
    /// Words that were not quoted, so that the error can show how to quote them.
    #[arg(hide = true)]
    pub(crate) rest: Vec<String>,
    /// The entry's id. Sending the same id and text again returns the slot of the existing entry.
    #[arg(long, requires = "text")]
    pub(crate) id: Option<EntryId>,
    /// The kind, such as `action`.
    #[arg(long, default_value = Kind::TEXT)]
    pub(crate) kind: Kind,
    /// The last slot you have seen; the entry gets a later one.
    #[arg(long, value_name = "SLOT", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i64).range(-1..))]
    pub(crate) after: Option<i64>,
    /// The slot of the entry that this one refers to.
    #[arg(long = "ref", value_name = "SLOT")]
    pub(crate) reference: Option<u64>,
    /// Print the server's answers as JSON instead of slots.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  roomlog read general                          the newest 50
  roomlog read general --count 10 --upto 99     slots 90 to 99
  roomlog read general --after 99 --json        everything since slot 99, as JSON")]
pub(crate) struct ReadArgs {
    /// The room.
    pub(crate) room: RoomName,
    /// How many entries.
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) count: u64,
    /// The last slot to print [default: the latest]
    #[arg(long, value_name = "SLOT")]
    pub(crate) upto: Option<u64>,
    /// Print everything after this slot; -1 prints from the first entry.
    #[arg(long, value_name = "SLOT", allow_negative_numbers = true)]
    #[arg(value_parser = clap::value_parser!(i64).range(-1..))]
    #[arg(conflicts_with_all = ["count", "upto"])]
    pub(crate) after: Option<i64>,
    /// Print complete entries as JSON, one per line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "When the connection is lost, `tail` reconnects and continues where it stopped.

Examples:
  roomlog tail general
  roomlog tail general --after -1 --json        the entire log, then each new entry"
)]
pub(crate) struct TailArgs {
    /// The room.
    pub(crate) room: RoomName,
    /// How many entries to print first.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) count: u64,
    /// Start after this slot; -1 starts with the first entry.
    #[arg(long, value_name = "SLOT", allow_negative_numbers = true, conflicts_with = "count")]
    #[arg(value_parser = clap::value_parser!(i64).range(-1..))]
    pub(crate) after: Option<i64>,
    /// Print complete entries as JSON, one per line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Prints one room per line: its name, a tab, its latest slot.")]
pub(crate) struct RoomsArgs {
    /// Print JSON, one object per line.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Stops at the slot that is the latest when it starts.

Example:
  roomlog export general > general.jsonl
  roomlog import copy general.jsonl")]
pub(crate) struct ExportArgs {
    /// The room.
    pub(crate) room: RoomName,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  roomlog verify                      all rooms of a server
  roomlog verify general              one room
  roomlog verify --data roomlog-data  the directory of a stopped server; it is not changed

Exits with 3 if something differs, and prints the first wrong slot.")]
pub(crate) struct VerifyArgs {
    /// The room [default: all rooms]
    pub(crate) room: Option<RoomName>,
    /// The directory of a stopped server, instead of a running server.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "HISTORY has a line for each frame, in the order of one clock, and after them the
complete log of each node, in `reply` frames:
  7 > {\"type\":\"login\",\"author\":\"ada\"}     sent over connection 7
  7 < {\"type\":\"welcome\",\"author\":\"ada\"}   received over it
  7 .                                     it ended
  node-0 = {\"type\":\"reply\",...}         of the log of node-0

Record a frame before it is sent and after it is received. Exits with 3 if a
promise is broken.

Example:
  roomlog check history.txt"
)]
pub(crate) struct CheckArgs {
    /// The record; `-` reads standard input.
    #[arg(value_name = "HISTORY")]
    pub(crate) history: PathBuf,
}

#[derive(Debug, Args)]
#[command(after_help = "The server keeps running. DIR gets archive.db and manifest.json.
The server is found by admin.sock in its data directory, which only its user may use.

Examples:
  roomlog backup backups/2026-11-24
  roomlog backup backups/2026-11-24 --data /var/lib/roomlog
  roomlog backup backups/2026-11-24 --server http://127.0.0.1:7401     with --admin-listen
  roomlog verify --data backups/2026-11-24     every entry and digest of it, without a server
  roomlog restore backups/2026-11-24 new-data  a directory for `roomlog serve --data new-data`")]
pub(crate) struct BackupArgs {
    /// The directory; created if it does not exist, rejected if it is not empty.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) door: DoorArgs,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The backup is not changed, and every byte of it is checked against its manifest.
Later entries are missing, so the log gets a new name, and clients drop what they hold.

Example:
  roomlog restore backups/2026-11-24 new-data
  roomlog serve --data new-data"
)]
pub(crate) struct RestoreArgs {
    /// The backup: a directory that `roomlog backup` created.
    #[arg(value_name = "BACKUP")]
    pub(crate) backup: PathBuf,
    /// The new directory; an existing one must be empty.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The log keeps its name, and each entry its slot, time, id and digest; clients
keep what they have.
To a cluster: stop the server of DIR first. DIR is not changed, except for a mark that keeps servers
from starting on it again. No node of the cluster starts before the complete log is there and every
room has been compared.
To a directory: the streams are sealed, so running nodes reject appends from then on. DIR is then
served like any other. Run an interrupted move again: it continues where it stopped.

Examples:
  roomlog move --data /var/lib/roomlog --to nats://a:4222,b:4222,c:4222
  roomlog move --journal nats://a:4222,b:4222,c:4222 --to /var/lib/roomlog-one"
)]
pub(crate) struct MoveArgs {
    /// The destination: NATS servers, or a directory.
    #[arg(long, value_name = "URLS|DIR")]
    pub(crate) to: String,
    /// The directory that holds the log [default: ./roomlog-data]
    #[arg(long, env = "ROOMLOG_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The NATS servers whose JetStream holds the log.
    #[arg(long, value_name = "URLS")]
    pub(crate) journal: Option<String>,
    /// Trust that every NATS server has `sync_interval: always` where the servers do not show it.
    #[arg(long)]
    pub(crate) journal_declared: bool,
    #[command(flatten)]
    pub(crate) cluster: ClusterSettings,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn clap_accepts_the_definition() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_author_is_shown_where_entries_get_one() {
        for (name, shown) in
            [("append", true), ("read", false), ("rooms", false), ("verify", false)]
        {
            let mut cli = Cli::command();
            let help = cli.find_subcommand_mut(name).expect("a command").render_long_help();
            assert_eq!(help.to_string().contains("--author"), shown, "{name}");
            let typed = Cli::try_parse_from(["roomlog", name, "general", "--author", "ada"]);
            assert_eq!(typed.is_ok(), name != "rooms", "{name}");
        }
    }

    #[test]
    fn conflicting_and_malformed_arguments_are_rejected() {
        for wrong in [
            "roomlog read general --after 3 --count 2",
            "roomlog append general --id x",
            "roomlog append general text --after -2",
            "roomlog append -general text",
            "roomlog rooms --server nowhere",
            "roomlog import general",
        ] {
            assert!(Cli::try_parse_from(wrong.split(' ')).is_err(), "{wrong}");
        }
        for right in ["roomlog tail general --after -1", "roomlog read general --after -1"] {
            assert!(Cli::try_parse_from(right.split(' ')).is_ok(), "{right}");
        }
    }
}

//! The binary: `serve` and the command line.
//!
//! Enters: arguments, environment, standard input. Leaves: data on standard output, talk on standard
//! error, an exit code. Invariant: standard output carries nothing but what was asked for, and exit code 0
//! says that all of it was done; a reader that goes away (`| head`) ends a command quietly with another.

mod address;
mod cli;
mod commands;
mod config;
mod engines;
mod failure;
mod import;
mod names;
mod progress;
mod say;
mod serve;
mod settings;
mod show;

use std::process::ExitCode;

use clap::{
    ArgMatches, CommandFactory, FromArgMatches,
    error::{ContextKind, ContextValue},
};

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use cli::{Cli, Command};
use failure::Failure;
use roomlog_terminal::text::printed_in_colour;
use say::say;

/// Entries are made on one thread and let go of on another, all day long: glibc's allocator spends an
/// eighth of the server's time on that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    say::report_panics();
    let _flush = say::FlushAtEnd;
    let matches = match Cli::command().try_get_matches() {
        Ok(matches) => matches,
        Err(answer) => return told(&answer),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(answer) => return told(&answer),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return said(&format!("cannot start the runtime: {why}")),
    };
    let ended = runtime.block_on(async {
        bear_size_limits();
        run(cli.command, &matches).await
    });
    // A thread that still waits for standard input must not hold up the end.
    runtime.shutdown_background();
    match ended {
        Ok(code) => code,
        // Quietly, as `| head` is meant; but not everything that was asked for was done.
        Err(failure) if failure.is_closed_stdout() => ExitCode::from(failure::UNREAD),
        Err(failure @ Failure::Usage(_)) => {
            said(&failure.to_string());
            ExitCode::from(failure::USAGE)
        }
        Err(failure) => said(&failure.to_string()),
    }
}

/// Makes a write to a file that has its allowed size (`ulimit -f`) fail as on a full disk: without a handler
/// its signal ends the process, be the file no more than the log of a server.
fn bear_size_limits() {
    // Where it cannot be installed, the signal does what it does.
    let _installed = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
}

fn said(what: &str) -> ExitCode {
    say!("{what}");
    ExitCode::FAILURE
}

/// What `clap` answers instead of a command: help, the version, or what is wrong with the command line.
fn told(answer: &clap::Error) -> ExitCode {
    if answer.use_stderr() {
        let text = answer.render();
        // It repeats what was typed, which may be somebody else's text.
        let text = if say::in_colour() { text.ansi().to_string() } else { text.to_string() };
        for line in text.lines() {
            say::raw(printed_in_colour(line));
        }
        if let Some(variable) = variable_of(answer) {
            say!("the value comes from the environment variable {variable}");
        }
        return ExitCode::from(failure::USAGE);
    }
    match answer.print() {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => {
            said(&Failure::Stdout(why).to_string())
        }
        _ => ExitCode::SUCCESS,
    }
}

async fn run(command: Command, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    names::check_environment(&Cli::command(), std::env::vars_os())?;
    match command {
        Command::Serve(args) => serve::run(*args).await,
        Command::Config(args) => config::run(*args, matches),
        Command::Chat(args) => commands::chat::run(args).await,
        Command::Append(args) => commands::append::run(args).await,
        Command::Read(args) => commands::read::run(args).await,
        Command::Tail(args) => commands::tail::run(args).await,
        Command::Rooms(args) => commands::rooms::run(args).await,
        Command::Export(args) => commands::export::run(args).await,
        Command::Verify(args) => commands::verify::run(args).await,
        Command::Backup(args) => commands::backup::run(args).await,
        Command::Restore(args) => commands::restore::run(args).await,
        Command::Move(args) => commands::moving::run(*args).await,
        Command::Import(args) => commands::import::run(args).await,
    }
}

/// The environment variable that holds the wrong value, where the command line does not.
fn variable_of(answer: &clap::Error) -> Option<String> {
    let ContextValue::String(argument) = answer.get(ContextKind::InvalidArg)? else { return None };
    let flag = argument.split_whitespace().next()?;
    let typed = |word: String| word.split('=').next() == Some(flag);
    let is_typed = std::env::args_os().any(|word| word.into_string().is_ok_and(typed));
    let name = flag.strip_prefix("--")?.replace('-', "_").to_uppercase();
    let variable = format!("ROOMLOG_{name}");
    (!is_typed && std::env::var_os(&variable).is_some()).then_some(variable)
}

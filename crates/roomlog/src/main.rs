//! The binary: `serve` and the command line.
//!
//! Input: arguments, environment, standard input. Output: data on standard output, messages on
//! standard error, an exit code. Standard output carries only the data that was asked for. Exit
//! code 0 means that everything was done; a closed reader (`| head`) ends a command silently with
//! another code.

mod address;
mod append_loop;
mod cli;
mod clock;
mod commands;
mod disk;
mod door;
mod engines;
mod failure;
mod import;
mod json_text;
mod log_format;
mod machine;
mod names;
mod progress;
mod reload;
mod serve;
mod settings;
mod show;
mod signals;
mod stderr;
mod supervisor;
mod tls;
mod tokens;

use std::process::ExitCode;

use clap::{ArgMatches, CommandFactory, FromArgMatches};
use rustix::{fs::Mode, process::Signal};
use tokio::signal::unix::{SignalKind, signal};

use cli::{Cli, CliCommand};
use failure::Failure;
use roomlog_terminal::text::printed_in_colour;
use stderr::message;

/// Entries are allocated on one thread and freed on another: with glibc's allocator that took an
/// eighth of the server's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Whatever is written belongs to this user alone.
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    stderr::report_panics();
    let _flush = stderr::FlushAtEnd;
    let matches = Cli::command().try_get_matches();
    let parsed = matches.and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(answer) => return print_answer(&answer),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => return fail(&format!("cannot start the runtime: {why}")),
    };
    let ended = runtime.block_on(async {
        ignore_file_size_signal();
        run(cli.command, &matches).await
    });
    // A thread that still reads standard input must not delay the exit.
    runtime.shutdown_background();
    match ended {
        Ok(code) => code,
        Err(failure) if failure.is_closed_stdout() => ExitCode::from(failure::UNREAD),
        Err(failure @ Failure::Usage(_)) => {
            fail(&failure.to_string());
            ExitCode::from(failure::USAGE)
        }
        Err(failure) => fail(&failure.to_string()),
    }
}

/// Makes a write over `ulimit -f` fail like one to a full disk: without a handler SIGXFSZ ends the
/// process, even if the file is only a log of standard error.
fn ignore_file_size_signal() {
    let _ignored_if_it_cannot_be_installed = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()));
}

fn fail(why: &str) -> ExitCode {
    stderr::error(why);
    ExitCode::FAILURE
}

/// Prints what `clap` answers instead of a command: help, the version, or a wrong command line.
fn print_answer(answer: &clap::Error) -> ExitCode {
    if answer.use_stderr() {
        let text = answer.render();
        // It repeats what was typed, which may come from someone else.
        let text = if stderr::in_colour() { text.ansi().to_string() } else { text.to_string() };
        for line in text.lines() {
            stderr::raw(printed_in_colour(line));
        }
        if let Some(variable) = names::variable_of(answer) {
            message!("the value comes from the environment variable {variable}");
        }
        return ExitCode::from(failure::USAGE);
    }
    match answer.print() {
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => {
            fail(&Failure::Stdout(why).to_string())
        }
        _ => ExitCode::SUCCESS,
    }
}

async fn run(command: CliCommand, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    names::check_environment(&Cli::command(), std::env::vars_os())?;
    match command {
        CliCommand::Serve(args) => return serve::run(*args).await,
        CliCommand::Verify(args) => return commands::verify::run(args).await,
        CliCommand::Check(args) => return commands::check::run(&args),
        CliCommand::Doctor(args) => return commands::doctor::run(*args).await,
        CliCommand::Config(args) => commands::config::run(*args, matches),
        CliCommand::Completions(args) => commands::manual::completions(&args),
        CliCommand::Man(args) => commands::manual::page(&args),
        CliCommand::Chat(args) => commands::chat(args).await,
        CliCommand::Append(args) => commands::append::run(args).await,
        CliCommand::Read(args) => commands::read::read(args).await,
        CliCommand::Tail(args) => commands::tail::run(args).await,
        CliCommand::Rooms(args) => commands::read::rooms(args).await,
        CliCommand::Export(args) => commands::read::export(args).await,
        CliCommand::Backup(args) => commands::backup::create(args).await,
        CliCommand::Restore(args) => commands::backup::restore(args).await,
        CliCommand::Move(args) => commands::relocate::run(*args).await,
        CliCommand::Import(args) => commands::import::run(args).await,
        CliCommand::Token(args) => commands::token::run(args),
        CliCommand::Erase(args) => commands::erase::run(args).await,
        CliCommand::Revoke(args) => commands::revoke::run(args).await,
    }
    .map(|()| ExitCode::SUCCESS)
}

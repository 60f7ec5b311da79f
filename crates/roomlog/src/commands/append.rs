//! `roomlog append`: one text, or every line of standard input.
//!
//! Enters: a text or lines. Leaves: a slot for each, in that order. Invariant: lines enter the log in
//! their order, many on their way at once; each once, also over a lost connection. All lines are appended,
//! whether or not somebody reads the slots.

use std::{
    io::{BufRead, IsTerminal, stdin},
    process::ExitCode,
};

use roomlog_client::{AppendError, Client, Committed, Outcome, draft};
use roomlog_protocol::{Appended, ClientAppend};
use tokio::sync::mpsc;

use super::{connect, output::Output, window::Window};
use crate::{
    cli::AppendArgs,
    failure::{Failure, refused},
    say,
};

/// How many lines are read ahead.
const LINES: usize = 64;

const NOT_UTF_8: &str = "not UTF-8, so it was not appended; convert the input, for example with \
                         `iconv -f WINDOWS-1252 -t UTF-8`";

pub(crate) async fn run(args: AppendArgs) -> Result<ExitCode, Failure> {
    if let (Some(first), false) = (&args.text, args.rest.is_empty()) {
        let words = quoted(&format!("{first} {}", args.rest.join(" ")));
        return Err(Failure::usage(format!(
            "the text is one argument: quote it, as in `roomlog append {} {words}`",
            args.room
        )));
    }
    // A slot that the log has not reached was mistyped: that is said, not waited for.
    let client = connect(&args.server, |options| options.wait_when_ahead = false).await?;
    let mut output = Output::of_work(args.json);
    if let Some(text) = &args.text {
        let outcome = client.append(entry(&args, text.clone())).await?.await;
        print(&mut output, &args, outcome?)?;
        client.close().await;
        output.finish()?;
        return Ok(ExitCode::SUCCESS);
    }
    let (mut lines, mut state) = (lines(), client.state());
    let mut log = Log::of(&client);
    let mut window = Window::new();
    let (mut number, mut failed, mut reading) = (0_u64, 0_u64, true);
    while reading || !window.is_empty() {
        tokio::select! {
            line = lines.recv(), if reading && window.has_space() => match line {
                Some(line) => {
                    number += 1;
                    match text(line?) {
                        Some(text) => window.push(number, client.append(entry(&args, text)).await?),
                        None => {
                            failed += 1;
                            say!("line {number}: {NOT_UTF_8}");
                        }
                    }
                }
                None => reading = false,
            },
            Ok(()) = state.changed() => log.look(&client),
            (number, outcome) = window.next() => {
                log.look(&client);
                failed += u64::from(!take(&mut output, &args, number, outcome)?);
            }
        }
    }
    log.look(&client);
    client.close().await;
    if log.changed {
        return Err(Failure::said(
            "the server has another log than at the beginning: of the lines whose slots were printed before \
             that, it may lack some",
        ));
    }
    if failed > 0 {
        return Err(Failure::said(format!("{failed} of {number} lines are not in the log")));
    }
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the server still has the log whose slots are printed.
struct Log {
    name: String,
    changed: bool,
}

impl Log {
    fn of(client: &Client) -> Self {
        Self { name: client.hello().log.clone(), changed: false }
    }

    /// Says it once when the log is another one.
    fn look(&mut self, client: &Client) {
        if !self.changed && client.hello().log != self.name {
            self.changed = true;
            say!("the server now has another log: the slots that follow are slots of it");
        }
    }
}

fn entry(args: &AppendArgs, text: String) -> ClientAppend {
    let made = draft(args.room.clone(), text);
    ClientAppend {
        id: args.id.clone().or(made.id),
        kind: args.kind.clone(),
        after: args.after,
        reference: args.reference,
        ..made
    }
}

/// Prints what became of a line. False: it is not in the log.
fn take(
    output: &mut Output,
    args: &AppendArgs,
    number: u64,
    outcome: Outcome,
) -> Result<bool, Failure> {
    match outcome {
        Ok(committed) => print(output, args, committed).map(|()| true),
        Err(AppendError::Refused(error)) => {
            say!("line {number}: {}", refused(&error));
            Ok(false)
        }
        Err(error) => Err(Failure::said(format!("line {number}: {error}"))),
    }
}

fn print(output: &mut Output, args: &AppendArgs, committed: Committed) -> Result<(), Failure> {
    let appended = committed.appended;
    // Of an id that we made ourselves it says only that the answer was lost on the way once.
    if appended.repeat == Some(true) && args.id.is_some() {
        say!("{} (already there)", appended.slot);
    }
    if args.json {
        output.json(&Appended { seq: None, req: None, ..appended })?;
    } else {
        output.line(appended.slot)?;
    }
    output.flush()
}

/// The lines of standard input, read by a thread of its own: reading a terminal cannot be awaited.
fn lines() -> mpsc::Receiver<Result<Vec<u8>, Failure>> {
    let (sender, receiver) = mpsc::channel(LINES);
    if stdin().is_terminal() {
        say!("each line you type becomes an entry; press Ctrl-D to finish");
    }
    std::thread::spawn(move || {
        for line in stdin().lock().split(b'\n') {
            let line = line.map_err(|why| Failure::file("standard input", why));
            if sender.blocking_send(line).is_err() {
                return; // The command has ended.
            }
        }
    });
    receiver
}

/// A line without its end; nothing when it is not UTF-8.
fn text(mut line: Vec<u8>) -> Option<String> {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    String::from_utf8(line).ok()
}

/// The form in which a shell gives words as one text.
fn quoted(words: &str) -> String {
    format!("'{}'", words.replace('\'', r"'\''"))
}

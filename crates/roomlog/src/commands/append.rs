//! `roomlog append`: one text, or every line of standard input.
//!
//! Input: a text or lines. Output: one slot per line, in order. Lines enter the log in order and
//! exactly once, many in flight and across lost connections, whether or not anyone reads the slots.

use std::io::{BufRead, IsTerminal, stdin};

use futures_util::{StreamExt, stream::FuturesOrdered};
use roomlog_client::{AppendError, Client, Committed, Outcome, draft};
use roomlog_protocol::{Appended, Author, ClientAppend, Latest};
use tokio::sync::mpsc;

use super::{connect, printer::Printer};
use crate::{
    cli::AppendArgs,
    failure::{Failure, refused},
    stderr::message,
};

const LINES: usize = 64;

/// The most appends in flight: what the client's outbox and its channel hold.
const IN_FLIGHT: usize = 1_024;

const NOT_UTF_8: &str = "not UTF-8, so it was not appended; convert the input, for example with \
                         `iconv -f WINDOWS-1252 -t UTF-8`";

pub(crate) async fn run(args: AppendArgs) -> Result<(), Failure> {
    if let (Some(first), false) = (&args.text, args.rest.is_empty()) {
        let words = format!("{first} {}", args.rest.join(" "));
        return Err(Failure::usage(format!(
            "the text is one argument: quote it, as in `roomlog append {} '{}'`",
            args.room,
            words.replace('\'', r"'\''")
        )));
    }
    // A slot that the log has not reached is a typing error, so do not wait for it.
    let client = connect(&args.server, |options| options.wait_when_ahead = false).await?;
    let author = args.server.author.clone().filter(|author| author != client.author());
    let mut printer = Printer::of_work(args.json);
    if let Some(text) = &args.text {
        let outcome = client.append(entry(&args, author, text.clone())).await?.await;
        print(&mut printer, &args, outcome?)?;
        client.close().await;
    } else {
        append_lines(&args, client, author, &mut printer).await?;
    }
    printer.finish()
}

async fn append_lines(
    args: &AppendArgs,
    client: Client,
    author: Option<Author>,
    printer: &mut Printer,
) -> Result<(), Failure> {
    let (mut lines, mut state) = (lines(), client.state());
    let (log, mut changed) = (client.hello().log.clone(), false);
    let mut in_flight = FuturesOrdered::new();
    let (mut number, mut failed, mut reading) = (0_u64, 0_u64, true);
    while reading || !in_flight.is_empty() {
        tokio::select! {
            line = lines.recv(), if reading && in_flight.len() < IN_FLIGHT => match line {
                Some(line) => {
                    number += 1;
                    match text(line?) {
                        Some(text) => {
                            let pending = client.append(entry(args, author.clone(), text)).await?;
                            in_flight.push_back(async move { (number, pending.await) });
                        }
                        None => {
                            failed += 1;
                            message!("line {number}: {NOT_UTF_8}");
                        }
                    }
                }
                None => reading = false,
            },
            Ok(()) = state.changed() => check_log(&client, &log, &mut changed),
            Some((number, outcome)) = in_flight.next() => {
                check_log(&client, &log, &mut changed);
                failed += u64::from(!take(printer, args, number, outcome)?);
            }
        }
    }
    check_log(&client, &log, &mut changed);
    client.close().await;
    if changed {
        return Err(Failure::other(
            "the server changed to another log, which may lack some of the lines whose slots were \
             printed before that",
        ));
    }
    if failed > 0 {
        return Err(Failure::other(format!("{failed} of {number} lines are not in the log")));
    }
    Ok(())
}

/// Warns once if the server no longer has the log whose slots are printed.
fn check_log(client: &Client, log: &str, changed: &mut bool) {
    if !*changed && client.hello().log != log {
        *changed = true;
        message!("the server now has another log: the following slots are of that log");
    }
}

/// `author` is another one than that of the token, which has to allow it.
fn entry(args: &AppendArgs, author: Option<Author>, text: String) -> ClientAppend {
    let draft = draft(args.room.clone(), text);
    ClientAppend {
        id: args.id.clone().or(draft.id),
        author,
        kind: args.kind.clone(),
        after: args.after.map(Latest),
        reference: args.reference,
        ..draft
    }
}

/// Prints the outcome of a line; whether it is in the log.
fn take(
    printer: &mut Printer,
    args: &AppendArgs,
    number: u64,
    outcome: Outcome,
) -> Result<bool, Failure> {
    match outcome {
        Ok(committed) => print(printer, args, committed).map(|()| true),
        Err(AppendError::Refused(error)) => {
            message!("line {number}: {}", refused(&error));
            Ok(false)
        }
        Err(error) => Err(Failure::other(format!("line {number}: {error}"))),
    }
}

fn print(printer: &mut Printer, args: &AppendArgs, committed: Committed) -> Result<(), Failure> {
    let appended = committed.appended;
    // With a generated id, a repeat only means that an answer was lost.
    if appended.repeat == Some(true) && args.id.is_some() {
        message!("{} (already there)", appended.slot);
    }
    if args.json {
        printer.json(&Appended { seq: None, req: None, ..appended })?;
    } else {
        printer.line(appended.slot)?;
    }
    printer.flush()
}

/// The lines of standard input, read by a thread: reading a terminal blocks.
fn lines() -> mpsc::Receiver<Result<Vec<u8>, Failure>> {
    let (sender, receiver) = mpsc::channel(LINES);
    if stdin().is_terminal() {
        message!("each line you type becomes an entry; press Ctrl-D to finish");
    }
    std::thread::spawn(move || {
        for line in stdin().lock().split(b'\n') {
            let line = line.map_err(Failure::reading("standard input"));
            if sender.blocking_send(line).is_err() {
                return; // The command has ended.
            }
        }
    });
    receiver
}

/// A line without its line ending; `None` if it is not UTF-8.
fn text(mut line: Vec<u8>) -> Option<String> {
    line.pop_if(|last| *last == b'\r');
    String::from_utf8(line).ok()
}

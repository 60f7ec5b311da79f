//! `roomlog import`: the history of another chat, into a room.
//!
//! Enters: items of the reader. Leaves: entries in the order of the files, and the end summary.
//! Invariant: an entry has the same id at every run, so an import may be interrupted, run again, and
//! go on over a server that is killed, and every entry is there once. Where the server comes back with
//! another log, which may lack what was taken before, it begins again by itself.
//!
//! It goes over the WebSocket, whose client keeps order, comes back after a loss and sends again by
//! itself. Batches over HTTP would be faster: 20,000 lines in twenty of them, one at a time, took the
//! server half the CPU time and a tenth of the fsyncs (debug builds, one machine: 0.7 to 1.1 s of
//! waiting against 1.6 to 2.7 s). Before they are used here, they need all that this client does.

use std::{collections::HashMap, process::ExitCode, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use roomlog_client::{AppendError, Client, Outcome, State, draft};
use roomlog_protocol::{ClientAppend, Slot};
use tokio::{sync::mpsc, time::Instant};

use super::{connect, output::Output, window::Window};
use crate::{
    cli::ImportArgs,
    failure::Failure,
    import::{Item, Line, Place, Told, files, read, tally::Tally},
};

/// How long a server may be away before an import ends.
const PATIENCE: Duration = Duration::from_secs(60);

type Items = mpsc::Receiver<Result<Item, Failure>>;

pub(crate) async fn run(args: ImportArgs) -> Result<ExitCode, Failure> {
    let (import, ended) = if args.dry_run {
        let (mut import, items) = begin(&args, String::new())?;
        let ended = import.count(items).await;
        (import, ended)
    } else {
        let client = connect(&args.server, |options| {
            options.patience = Some(PATIENCE);
            // Lines are sent to another log in their order, from the first on.
            options.append_to_new_log = false;
        });
        let client = client.await?;
        let started = Instant::now();
        let (mut import, ended) = send_all(&client, &args).await?;
        import.tally.took = Some(started.elapsed());
        (import, ended)
    };
    import.bar.finish_and_clear();
    let mut output = Output::new(false);
    output.line(&import.tally)?;
    output.flush()?;
    ended?;
    match import.tally.missing() {
        0 => Ok(ExitCode::SUCCESS),
        missing => Err(Failure::said(format!("{missing} lines were not taken, as said above"))),
    }
}

/// Begins with the first line.
fn begin(args: &ImportArgs, log: String) -> Result<(Import, Items), Failure> {
    let sources = files::find(&args.files, args.format)?;
    let bytes = sources.iter().map(|source| source.bytes).sum();
    let import = Import {
        tally: Tally::of(sources.len()),
        slots: Slots::default(),
        window: Window::new(),
        bar: bar(bytes),
        log,
    };
    Ok((import, read(sources, args.joins)))
}

/// Sends everything, and everything again for as long as the server changes its log meanwhile.
async fn send_all(
    client: &Client,
    args: &ImportArgs,
) -> Result<(Import, Result<(), Failure>), Failure> {
    loop {
        let (mut import, items) = begin(args, client.hello().log.clone())?;
        match import.send(client, args, items).await {
            Ok(Sending::Done) => return Ok((import, Ok(()))),
            Err(failure) => return Ok((import, Err(failure))),
            Ok(Sending::NewLog) => import.bar.suspend(|| {
                eprintln!(
                    "roomlog: the server now has another log, which may lack what was taken before: beginning \
                     again with the first line"
                );
            }),
        }
        import.bar.finish_and_clear();
    }
}

/// How far the sending of all lines came.
enum Sending {
    Done,
    /// The server has another log than at the first line.
    NewLog,
}

/// What an import knows of an entry on its way.
struct Sent {
    place: Place,
    source_slot: Option<Slot>,
    bytes: u64,
}

struct Import {
    tally: Tally,
    slots: Slots,
    window: Window<Sent>,
    bar: ProgressBar,
    /// The log that the server had at the first line: all slots are of it.
    log: String,
}

impl Import {
    /// Reads everything and sends nothing.
    async fn count(&mut self, mut items: Items) -> Result<(), Failure> {
        while let Some(item) = items.recv().await {
            let item = item?;
            self.look_at(&item);
            self.bar.set_position(item.bytes);
        }
        Ok(())
    }

    async fn send(
        &mut self,
        client: &Client,
        args: &ImportArgs,
        mut items: Items,
    ) -> Result<Sending, Failure> {
        let mut state = client.state();
        let mut reading = true;
        while reading || !self.window.is_empty() {
            if client.hello().log != self.log {
                return Ok(Sending::NewLog);
            }
            tokio::select! {
                item = items.recv(), if reading && self.window.has_space() => match item {
                    Some(item) => self.send_one(client, args, item?).await?,
                    None => reading = false,
                },
                (sent, outcome) = self.window.next() => self.take(&sent, outcome)?,
                Ok(()) = state.changed() => self.tell_state(&state.borrow_and_update()),
                _ = tokio::signal::ctrl_c() => {
                    return Err(Failure::said("interrupted; run it again and it goes on"));
                }
            }
        }
        Ok(if client.hello().log == self.log { Sending::Done } else { Sending::NewLog })
    }

    async fn send_one(
        &mut self,
        client: &Client,
        args: &ImportArgs,
        item: Item,
    ) -> Result<(), Failure> {
        self.look_at(&item);
        let Item { place, line: Line::Entry(told), bytes, .. } = item else { return Ok(()) };
        if told.reference.is_some() {
            // Where the entry that it is about went is known when that one is answered.
            while !self.window.is_empty() {
                let (sent, outcome) = self.window.next().await;
                self.take(&sent, outcome)?;
            }
            if client.hello().log != self.log {
                return Ok(()); // The slots are of a log that is gone: all is sent again.
            }
        }
        let reference = match told.reference.map(|slot| self.slots.find(slot).ok_or(slot)) {
            None => None,
            Some(Ok(slot)) => Some(slot),
            Some(Err(slot)) => {
                self.tell(
                    &place,
                    &format!("its ref, slot {slot}, is not among the imported lines"),
                );
                self.tally.refused();
                return Ok(());
            }
        };
        let source_slot = told.slot;
        let pending = client.append_of(&self.log, entry(args, *told, reference)).await?;
        self.window.push(Sent { place, source_slot, bytes }, pending);
        Ok(())
    }

    fn take(&mut self, sent: &Sent, outcome: Outcome) -> Result<(), Failure> {
        match outcome {
            Ok(committed) => {
                self.tally.committed(&committed);
                if let Some(source_slot) = sent.source_slot {
                    self.slots.add(source_slot, committed.appended.slot);
                }
            }
            // All is sent again, this one too.
            Err(AppendError::NewLog) => return Ok(()),
            Err(AppendError::Refused(error)) if error.code.is_final() => {
                self.tell(&sent.place, &format!("{}: {}", error.code, error.message));
                self.tally.refused();
            }
            Err(error) => {
                return Err(Failure::said(format!(
                    "{}: {error}; what is in stays in, run it again and it goes on",
                    sent.place
                )));
            }
        }
        self.bar.set_position(sent.bytes);
        self.bar.set_message(format!("{} entries", self.tally.there()));
        Ok(())
    }

    fn look_at(&mut self, item: &Item) {
        self.tally.item(item);
        if item.mended {
            self.tell(&item.place, "not UTF-8: kept with replacement characters");
        }
        if let Line::Unreadable(why) = &item.line {
            self.tell(&item.place, &format!("not taken: {why}"));
        }
    }

    fn tell(&self, place: &Place, what: &str) {
        self.bar.suspend(|| eprintln!("roomlog: {place}: {what}"));
    }

    fn tell_state(&self, state: &State) {
        self.bar.suspend(|| match state {
            State::Connected => eprintln!("roomlog: connected again, going on"),
            State::Reconnecting(why) => {
                eprintln!("roomlog: not connected ({why}); trying for {} s", PATIENCE.as_secs());
            }
        });
    }
}

/// Where entries of the log that is imported went in the log they are imported into.
#[derive(Default)]
struct Slots(HashMap<Slot, Slot>);

impl Slots {
    fn find(&self, source: Slot) -> Option<Slot> {
        self.0.get(&source).copied()
    }

    /// A slot that comes again begins another log.
    fn add(&mut self, source: Slot, here: Slot) {
        if self.0.contains_key(&source) {
            self.0.clear();
        }
        self.0.insert(source, here);
    }
}

fn entry(args: &ImportArgs, told: Told, reference: Option<Slot>) -> ClientAppend {
    ClientAppend {
        id: Some(told.id),
        author: Some(told.author),
        kind: told.kind,
        meta: told.meta,
        sent_at: told.sent_at,
        reference,
        ..draft(args.room.clone(), told.body)
    }
}

fn bar(bytes: u64) -> ProgressBar {
    let template = "{bar:30} {percent:>3}%  {msg}  {elapsed} (left: {eta})";
    // The template is a constant; were it wrong, the plain bar would do.
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(bytes).with_style(style)
}

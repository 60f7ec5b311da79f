//! `roomlog import`: the history of another chat, into a room.
//!
//! Enters: items of the reader. Leaves: entries in the order of the files, and the end summary.
//! Invariant: an entry has the same id at every run, so an import may be interrupted, run again, and
//! go on over a server that is killed, and every entry is there once. Where the server comes back with
//! another log, which may lack what was taken before, it begins again by itself.
//!
//! It goes as batches over HTTP, and the next one is read while one is on its way. Measured against the
//! WebSocket (docs/OPERATIONS.md, "Import"), that is 1.8 times the entries a second, and 0.6 of the
//! server's CPU time for each.

use std::{collections::HashMap, process::ExitCode, time::Duration};

use indicatif::ProgressBar;
use roomlog_client::{AppendError, Batches, Options, Outcome, State, draft};
use roomlog_protocol::{ClientAppend, Slot, limits::BATCH_APPENDS};
use tokio::{sync::mpsc, time::Instant};

use super::output::Output;
use crate::{
    cli::ImportArgs,
    failure::Failure,
    import::{Item, Line, Place, Told, files, read, tally::Tally},
    progress, say,
};

/// How long a server may be away before an import ends.
const PATIENCE: Duration = Duration::from_secs(60);

type Items = mpsc::Receiver<Result<Item, Failure>>;

pub(crate) async fn run(args: ImportArgs) -> Result<ExitCode, Failure> {
    let (import, ended) = if args.dry_run {
        let (mut import, items) = begin(&args)?;
        let ended = import.count(items).await;
        (import, ended)
    } else {
        let options = Options {
            patience: Some(PATIENCE),
            ..Options::new(args.server.server.clone(), args.server.author())
        };
        let mut client = Batches::connect(options, args.room.clone()).await?;
        let started = Instant::now();
        let (mut import, ended) = send_all(&mut client, &args).await?;
        import.tally.took = Some(started.elapsed());
        (import, ended)
    };
    import.bar.finish_and_clear();
    // What a dry run is for is its summary; else the entries are.
    let mut output = if args.dry_run { Output::new(false) } else { Output::of_work(false) };
    import.tally.to_string().lines().try_for_each(|line| output.line(line))?;
    output.flush()?;
    ended?;
    output.finish()?;
    match import.tally.missing() {
        0 => Ok(ExitCode::SUCCESS),
        missing => Err(Failure::said(format!("{missing} lines were not taken, as said above"))),
    }
}

/// Begins with the first line.
fn begin(args: &ImportArgs) -> Result<(Import, Items), Failure> {
    let sources = files::find(&args.files, args.format)?;
    let bytes = sources.iter().map(|source| source.bytes).sum();
    let import = Import {
        tally: Tally::of(sources.len()),
        slots: Slots::default(),
        held_back: None,
        bar: bar(bytes),
    };
    Ok((import, read(sources, args.joins)))
}

/// Sends everything, and everything again for as long as the server changes its log meanwhile.
async fn send_all(
    client: &mut Batches,
    args: &ImportArgs,
) -> Result<(Import, Result<(), Failure>), Failure> {
    loop {
        let (mut import, items) = begin(args)?;
        match import.send(client, args, items).await {
            Ok(Sending::Done) => return Ok((import, Ok(()))),
            Err(failure) => return Ok((import, Err(failure))),
            Ok(Sending::NewLog) => import.bar.suspend(|| {
                say!(
                    "the server now has another log, which may lack what was taken before: beginning \
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

/// Entries to send together.
#[derive(Default)]
struct Batch {
    appends: Vec<ClientAppend>,
    sent: Vec<Sent>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.appends.is_empty()
    }

    fn has_space(&self) -> bool {
        self.appends.len() < BATCH_APPENDS
    }
}

struct Import {
    tally: Tally,
    slots: Slots,
    /// A line that names a slot: where that one went is known when all before are answered.
    held_back: Option<Item>,
    bar: ProgressBar,
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
        client: &mut Batches,
        args: &ImportArgs,
        mut items: Items,
    ) -> Result<Sending, Failure> {
        let (mut batch, bar) = (Batch::default(), self.bar.clone());
        loop {
            if batch.is_empty() {
                self.release(args, &mut batch);
                self.fill(args, &mut items, &mut batch).await?;
            }
            if batch.is_empty() && self.held_back.is_none() {
                return Ok(Sending::Done);
            }
            let mut next = Batch::default();
            let filling = self.fill(args, &mut items, &mut next);
            let (outcomes, filled) = exchange(client, &batch.appends, filling, &bar).await?;
            for (sent, outcome) in batch.sent.iter().zip(outcomes) {
                if matches!(outcome, Err(AppendError::NewLog)) {
                    return Ok(Sending::NewLog);
                }
                self.take(sent, outcome)?;
            }
            self.bar.set_message(format!("{} entries", self.tally.there()));
            filled?;
            batch = next;
        }
    }

    /// Reads entries into a batch, until it is full, or one names a slot, or there are no more.
    async fn fill(
        &mut self,
        args: &ImportArgs,
        items: &mut Items,
        batch: &mut Batch,
    ) -> Result<(), Failure> {
        while self.held_back.is_none() && batch.has_space() {
            let Some(item) = items.recv().await else { break };
            let item = item?;
            self.look_at(&item);
            match item {
                Item { line: Line::Entry(told), .. } if told.reference.is_some() => {
                    self.held_back = Some(Item { line: Line::Entry(told), ..item });
                }
                Item { line: Line::Entry(told), place, bytes, .. } => {
                    put(args, batch, (place, bytes), *told, None);
                }
                Item { .. } => {}
            }
        }
        Ok(())
    }

    /// Begins a batch with the line that was held back; all before it are answered.
    fn release(&mut self, args: &ImportArgs, batch: &mut Batch) {
        let Some(Item { place, line: Line::Entry(told), bytes, .. }) = self.held_back.take() else {
            return;
        };
        let Some(source) = told.reference else { return };
        match self.slots.find(source) {
            Some(slot) => put(args, batch, (place, bytes), *told, Some(slot)),
            None => {
                self.tell(
                    &place,
                    &format!("its ref, slot {source}, is not among the imported lines"),
                );
                self.tally.refused();
            }
        }
    }

    fn take(&mut self, sent: &Sent, outcome: Outcome) -> Result<(), Failure> {
        match outcome {
            Ok(committed) => {
                self.tally.committed(&committed);
                if let Some(source_slot) = sent.source_slot {
                    self.slots.add(source_slot, committed.appended.slot);
                }
            }
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
        self.bar.suspend(|| say!("{place}: {what}"));
    }
}

/// Appends while the next batch is filled; the outcomes, and how the filling went.
async fn exchange(
    client: &mut Batches,
    appends: &[ClientAppend],
    filling: impl Future<Output = Result<(), Failure>>,
    bar: &ProgressBar,
) -> Result<(Vec<Outcome>, Result<(), Failure>), Failure> {
    let mut state = client.state();
    let both = async { tokio::join!(client.append(appends), filling) };
    tokio::pin!(both);
    loop {
        tokio::select! {
            biased;
            Ok(()) = state.changed() => tell_state(bar, &state.borrow_and_update()),
            both = &mut both => return Ok(both),
            _ = tokio::signal::ctrl_c() => {
                return Err(Failure::said("interrupted; run it again and it goes on"));
            }
        }
    }
}

/// Puts an entry behind those of a batch.
fn put(
    args: &ImportArgs,
    batch: &mut Batch,
    (place, bytes): (Place, u64),
    told: Told,
    reference: Option<Slot>,
) {
    batch.sent.push(Sent { place, source_slot: told.slot, bytes });
    batch.appends.push(entry(args, told, reference));
}

fn tell_state(bar: &ProgressBar, state: &State) {
    bar.suspend(|| match state {
        State::Connected => say!("connected again, going on"),
        State::Reconnecting(why) => {
            say!("not connected ({why}); trying for {} s", PATIENCE.as_secs());
        }
    });
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
    progress::bar(bytes, "{bar:30} {percent:>3}%  {msg}  {elapsed} (left: {eta})")
}

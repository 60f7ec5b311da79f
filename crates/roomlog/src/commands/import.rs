//! `roomlog import`: the history of another chat, into a room.
//!
//! Input: items of the reader. Output: entries in the order of the files, and a summary. An entry
//! has the same id at every run, so an import may be interrupted, run again, and continue over a
//! killed server; every entry is stored once. If the server comes back with another log, which may
//! lack entries, the import starts over by itself.
//!
//! Entries go as batches over HTTP, and the next batch is read while one is in flight. Compared
//! with the WebSocket (docs/OPERATIONS.md, "Import"), that is 1.8 times the entries per second, at
//! 0.6 of the server's CPU time per entry.

mod preview;
mod slots;
mod tally;

use std::{
    pin::{Pin, pin},
    time::Duration,
};

use indicatif::ProgressBar;
use roomlog_client::{AppendError, Batches, Options, Outcome, State, draft};
use roomlog_protocol::{ClientAppend, EntryId, ErrorCode, Kind, Slot, limits::BATCH_APPENDS};
use tokio::{sync::mpsc, time::Instant};

use self::{
    preview::Preview,
    slots::{Lookup, Slots},
    tally::{Tally, Topic},
};
use super::printer::Printer;
use crate::{
    cli::ImportArgs,
    failure::Failure,
    import::{Imported, Item, Key, Line, Place, Reading, Reference, files, read},
    progress,
    stderr::message,
};

/// How long a server may be unreachable before an import fails.
const PATIENCE: Duration = Duration::from_secs(60);

type ItemQueue = mpsc::Receiver<Result<Item, Failure>>;

pub(crate) async fn run(args: ImportArgs) -> Result<(), Failure> {
    let mut preview = None;
    let (import, ended) = if args.dry_run {
        let (mut import, items) = begin(&args)?;
        let ended = import.count(items, preview.insert(Preview::default())).await;
        (import, ended)
    } else {
        let options = Options { retry_timeout: Some(PATIENCE), ..args.server.options()? };
        // Unreadable files are rejected before a server is contacted.
        find_files(&args)?;
        let mut client = Batches::connect(options, args.room.clone()).await?;
        let started = Instant::now();
        let (mut import, ended) = send_all(&mut client, &args).await?;
        import.tally.took = Some(started.elapsed());
        (import, ended)
    };
    import.tally.warn_of_the_rest();
    import.bar.finish_and_clear();
    let mut printer = if args.dry_run { Printer::new(false) } else { Printer::of_work(false) };
    import.tally.print(&mut printer)?;
    if let Some(preview) = preview {
        preview.print(&mut printer)?;
    }
    printer.flush()?;
    ended?;
    printer.finish()?;
    match import.tally.missing() {
        0 => Ok(()),
        missing => Err(Failure::other(format!("{missing} lines were not imported, see above"))),
    }
}

fn reading(args: &ImportArgs) -> Reading {
    Reading { joins: args.joins, zone: args.timezone.clone(), encoding: args.encoding }
}

fn find_files(args: &ImportArgs) -> Result<files::Found, Failure> {
    files::find(&args.files, args.format, args.channel.as_deref(), &reading(args))
}

fn begin(args: &ImportArgs) -> Result<(Import, ItemQueue), Failure> {
    let found = find_files(args)?;
    let bytes = found.sources.iter().map(|source| source.bytes).sum();
    let bar = progress::bar(bytes, "{bar:30} {percent:>3}%  {msg}  {elapsed} (left: {eta})");
    let mut import = Import {
        tally: Tally::new(&found.sources, bar.clone()),
        slots: Slots::default(),
        held_back: None,
        failed: None,
        bar,
    };
    for link in &found.links {
        let what = format!("{} is a symbolic link: not followed", link.display());
        import.tally.warn(Topic::Link, None, &what);
    }
    Ok((import, read(found.sources, reading(args))))
}

/// Sends everything, again from the start whenever the server changes to another log.
async fn send_all(
    client: &mut Batches,
    args: &ImportArgs,
) -> Result<(Import, Result<(), Failure>), Failure> {
    let mut stop = pin!(super::interrupted());
    loop {
        let (mut import, items) = begin(args)?;
        match import.send(client, args, items, stop.as_mut()).await {
            Ok(Sending::Done) => return Ok((import, Ok(()))),
            Err(failure) => return Ok((import, Err(failure))),
            Ok(Sending::NewLog) => import.bar.suspend(|| {
                message!(
                    "the server now has another log, which may lack entries sent before: starting \
                     again with the first line"
                );
            }),
        }
        import.bar.finish_and_clear();
    }
}

enum Sending {
    Done,
    /// The server has another log than at the first line.
    NewLog,
}

/// What an import knows of an entry in flight.
struct Sent {
    place: Place,
    key: Option<Key>,
    edited_at: Option<u64>,
    /// Whether it was sent without its reference, which this history lacks.
    without_reply: bool,
    bytes: u64,
}

#[derive(Default)]
struct Batch {
    appends: Vec<ClientAppend>,
    sent: Vec<Sent>,
}

impl Batch {
    fn push(&mut self, (sent, append): (Sent, ClientAppend)) {
        self.sent.push(sent);
        self.appends.push(append);
    }
}

struct Import {
    tally: Tally,
    slots: Slots,
    /// A line that refers to an entry in flight: it is sent when that entry has a slot.
    held_back: Option<Item>,
    /// Why reading stopped early. Lines read before are sent.
    failed: Option<Failure>,
    bar: ProgressBar,
}

impl Import {
    async fn count(&mut self, mut items: ItemQueue, preview: &mut Preview) -> Result<(), Failure> {
        while let Some(item) = items.recv().await {
            let item = item?;
            self.tally.item(&item);
            if let Line::Entry(entry) = &item.line {
                preview.add(entry);
            }
            self.bar.set_position(item.bytes);
        }
        Ok(())
    }

    async fn send(
        &mut self,
        client: &mut Batches,
        args: &ImportArgs,
        mut items: ItemQueue,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Sending, Failure> {
        let (mut batch, bar) = (Batch::default(), self.bar.clone());
        loop {
            if batch.appends.is_empty() {
                // All entries before the one that was held back are answered.
                if let Some(item) = self.held_back.take() {
                    self.put(args, &mut batch, item);
                }
                self.fill(args, &mut items, &mut batch).await;
            }
            if batch.appends.is_empty() && self.held_back.is_none() {
                return self.failed.take().map_or(Ok(Sending::Done), Err);
            }
            let mut next = Batch::default();
            let filling = self.fill(args, &mut items, &mut next);
            let outcomes = exchange(client, &batch.appends, filling, &bar, stop.as_mut()).await?;
            let sent = batch.sent.into_iter().zip(batch.appends);
            for ((sent, append), outcome) in sent.zip(outcomes) {
                if matches!(outcome, Err(AppendError::NewLog)) {
                    return Ok(Sending::NewLog);
                }
                if let Some(edit) = self.take(sent, append, outcome)? {
                    next.push(edit);
                }
            }
            self.bar.set_message(format!("{} entries", self.tally.stored()));
            batch = next;
        }
    }

    /// Fills a batch until it is full, an entry has to be held back, or there are no more items.
    async fn fill(&mut self, args: &ImportArgs, items: &mut ItemQueue, batch: &mut Batch) {
        while self.held_back.is_none() && batch.appends.len() < BATCH_APPENDS {
            match items.recv().await {
                Some(Ok(item)) => {
                    self.tally.item(&item);
                    self.put(args, batch, item);
                }
                Some(Err(why)) => self.failed = Some(why),
                None => break,
            }
        }
    }

    fn put(&mut self, args: &ImportArgs, batch: &mut Batch, item: Item) {
        let Item { line: Line::Entry(entry), place, bytes, mended } = item else { return };
        let mut without_reply = false;
        let slot = match entry.reference.map(|to| (to, self.slots.find(to.key))) {
            None => None,
            Some((_, Lookup::At(slot))) => Some(slot),
            Some((_, Lookup::InFlight)) => {
                self.held_back = Some(Item { line: Line::Entry(entry), place, bytes, mended });
                return;
            }
            Some((Reference { needed: false, .. }, Lookup::Missing)) => {
                without_reply = true;
                self.tally.without_reply += 1;
                None
            }
            Some((Reference { key, needed: true }, Lookup::Missing)) => {
                let why = match entry.kind.as_str() {
                    "reaction" if entry.key.is_none() => {
                        "the message it reacts to was not imported".into()
                    }
                    _ => format!("its ref, slot {}, is not among the imported lines", key.number),
                };
                self.tally.warn(Topic::Rejected, Some(&place), &why);
                return;
            }
        };
        if let Some(key) = entry.key {
            self.slots.expect(key);
        }
        let (key, edited_at) = (entry.key, entry.edited_at);
        let sent = Sent { place, key, edited_at, without_reply, bytes };
        batch.push((sent, append(args, *entry, slot)));
    }

    /// Takes an outcome; an edit if the room has the entry with an older text.
    fn take(
        &mut self,
        sent: Sent,
        append: ClientAppend,
        outcome: Outcome,
    ) -> Result<Option<(Sent, ClientAppend)>, Failure> {
        self.bar.set_position(sent.bytes);
        match outcome {
            Ok(committed) => {
                self.tally.committed(&committed);
                self.slots.answered(sent.key, Some(committed.appended.slot));
            }
            Err(AppendError::Refused(error)) if error.code.is_final() => {
                let slot = error.slot.filter(|_| error.code == ErrorCode::IdReused);
                self.slots.answered(sent.key, slot);
                if let Some(edit) = slot.and_then(|slot| edit(&sent, &append, slot)) {
                    self.tally.edited(&append.kind);
                    return Ok(Some((Sent { key: None, edited_at: None, ..sent }, edit)));
                }
                if slot.is_some() && sent.without_reply {
                    // An earlier export had what it replies to.
                    self.tally.already_there += 1;
                    return Ok(None);
                }
                let why = format!("{}: {}", error.code, error.message);
                self.tally.warn(Topic::Rejected, Some(&sent.place), &why);
            }
            Err(error) => {
                return Err(Failure::other(format!(
                    "{}: {error}; run the import again to continue",
                    sent.place
                )));
            }
        }
        Ok(None)
    }
}

/// The edit that gives the stored entry at `slot` its current text.
fn edit(sent: &Sent, append: &ClientAppend, slot: Slot) -> Option<ClientAppend> {
    let id = format!("{}-e{}", append.id.as_ref()?, sent.edited_at?);
    Some(ClientAppend {
        id: Some(EntryId::new(&id).ok()?),
        kind: Kind::new("edit").ok()?,
        sent_at: sent.edited_at,
        reference: Some(slot),
        ..append.clone()
    })
}

/// Appends while the next batch is filled.
async fn exchange(
    client: &mut Batches,
    appends: &[ClientAppend],
    filling: impl Future<Output = ()>,
    bar: &ProgressBar,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<Vec<Outcome>, Failure> {
    let mut state = client.state();
    let mut both = pin!(async { tokio::join!(client.append(appends), filling) });
    loop {
        tokio::select! {
            biased;
            Ok(()) = state.changed() => warn_of_state(bar, &state.borrow_and_update()),
            () = &mut stop => {
                return Err(Failure::other("interrupted; run the import again to continue"));
            }
            (outcomes, ()) = &mut both => return Ok(outcomes),
        }
    }
}

fn warn_of_state(bar: &ProgressBar, state: &State) {
    bar.suspend(|| match state {
        State::Connected => message!("connected again, continuing"),
        State::Reconnecting(why) => {
            message!("not connected ({why}); trying for {} s", PATIENCE.as_secs());
        }
    });
}

fn append(args: &ImportArgs, entry: Imported, reference: Option<Slot>) -> ClientAppend {
    ClientAppend {
        id: Some(entry.id),
        author: Some(entry.author),
        kind: entry.kind,
        meta: entry.meta,
        sent_at: entry.sent_at,
        reference,
        ..draft(args.room.clone(), entry.body)
    }
}

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

use std::{
    pin::{Pin, pin},
    process::ExitCode,
    time::Duration,
};

use indicatif::ProgressBar;
use roomlog_client::{AppendError, Batches, Options, Outcome, State, draft};
use roomlog_protocol::{ClientAppend, EntryId, ErrorCode, Kind, Slot, limits::BATCH_APPENDS};
use tokio::{sync::mpsc, time::Instant};

use super::output::Output;
use crate::{
    cli::ImportArgs,
    failure::Failure,
    import::{
        Item, Key, Line, Place, Reading, Reference, Told, files,
        preview::Preview,
        read,
        slots::{Found, Slots},
        tally::Tally,
        telling::{Telling, Topic},
    },
    progress, say,
};

/// How long a server may be away before an import ends.
const PATIENCE: Duration = Duration::from_secs(60);

type Items = mpsc::Receiver<Result<Item, Failure>>;

pub(crate) async fn run(args: ImportArgs) -> Result<ExitCode, Failure> {
    let mut preview = None;
    let (import, ended) = if args.dry_run {
        let (mut import, items) = begin(&args)?;
        let ended = import.count(items, preview.insert(Preview::default())).await;
        (import, ended)
    } else {
        let options = Options {
            patience: Some(PATIENCE),
            ..Options::new(args.server.server.clone(), args.server.author())
        };
        // What cannot be read is refused before a server is asked for.
        files(&args)?;
        let mut client = Batches::connect(options, args.room.clone()).await?;
        let started = Instant::now();
        let (mut import, ended) = send_all(&mut client, &args).await?;
        import.tally.took = Some(started.elapsed());
        (import, ended)
    };
    import.telling.rest();
    import.bar.finish_and_clear();
    // What a dry run is for is its summary; else the entries are.
    let mut output = if args.dry_run { Output::new(false) } else { Output::of_work(false) };
    import.tally.to_string().lines().try_for_each(|line| output.line(line))?;
    if let Some(preview) = preview {
        preview.to_string().lines().try_for_each(|line| output.line(line))?;
    }
    output.flush()?;
    ended?;
    output.finish()?;
    match import.tally.missing() {
        0 => Ok(ExitCode::SUCCESS),
        missing => Err(Failure::said(format!("{missing} lines were not taken, as said above"))),
    }
}

fn reading(args: &ImportArgs) -> Reading {
    Reading { joins: args.joins, zone: args.timezone.clone(), encoding: args.encoding }
}

fn files(args: &ImportArgs) -> Result<files::Found, Failure> {
    files::find(&args.files, args.format, args.channel.as_deref(), &reading(args))
}

/// Begins with the first line.
fn begin(args: &ImportArgs) -> Result<(Import, Items), Failure> {
    let found = files(args)?;
    let bytes = found.sources.iter().map(|source| source.bytes).sum();
    let bar = bar(bytes);
    let mut import = Import {
        tally: Tally::of(&found.sources),
        slots: Slots::default(),
        held_back: None,
        failed: None,
        telling: Telling::new(bar.clone()),
        bar,
    };
    for link in &found.links {
        import.telling.tell(
            Topic::Link,
            None,
            &format!("{} is a link: not followed", link.display()),
        );
    }
    Ok((import, read(found.sources, reading(args))))
}

/// Sends everything, and everything again for as long as the server changes its log meanwhile.
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
    key: Option<Key>,
    edited_at: Option<u64>,
    /// Whether it goes without the entry that it answers, which this history lacks.
    without_reply: bool,
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

    fn add(&mut self, (sent, append): (Sent, ClientAppend)) {
        self.sent.push(sent);
        self.appends.push(append);
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
    /// Why there are no more lines before the end. What was read until then is sent.
    failed: Option<Failure>,
    bar: ProgressBar,
    telling: Telling,
}

impl Import {
    /// Reads everything and sends nothing.
    async fn count(&mut self, mut items: Items, preview: &mut Preview) -> Result<(), Failure> {
        while let Some(item) = items.recv().await {
            let item = item?;
            self.look_at(&item);
            if let Line::Entry(told) = &item.line {
                preview.add(told);
            }
            self.bar.set_position(item.bytes);
        }
        Ok(())
    }

    async fn send(
        &mut self,
        client: &mut Batches,
        args: &ImportArgs,
        mut items: Items,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Sending, Failure> {
        let (mut batch, bar) = (Batch::default(), self.bar.clone());
        loop {
            if batch.is_empty() {
                self.release(args, &mut batch);
                self.fill(args, &mut items, &mut batch).await;
            }
            if batch.is_empty() && self.held_back.is_none() {
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
                    next.add(edit);
                }
            }
            self.bar.set_message(format!("{} entries", self.tally.there()));
            batch = next;
        }
    }

    /// Reads entries into a batch, until it is full, or one is about an entry that is not answered yet, or there are
    /// no more.
    async fn fill(&mut self, args: &ImportArgs, items: &mut Items, batch: &mut Batch) {
        while self.held_back.is_none() && batch.has_space() {
            match items.recv().await {
                Some(Ok(item)) => {
                    self.look_at(&item);
                    self.put(args, batch, item);
                }
                Some(Err(why)) => self.failed = Some(why),
                None => break,
            }
        }
    }

    /// Begins a batch with the line that was held back; all before it are answered.
    fn release(&mut self, args: &ImportArgs, batch: &mut Batch) {
        if let Some(item) = self.held_back.take() {
            self.put(args, batch, item);
        }
    }

    /// Puts an entry behind those of a batch, or holds it back.
    fn put(&mut self, args: &ImportArgs, batch: &mut Batch, item: Item) {
        let Item { line: Line::Entry(told), place, bytes, mended } = item else { return };
        let mut without_reply = false;
        let reference = match told.reference.map(|about| (about, self.slots.find(about.key))) {
            None => None,
            Some((_, Found::At(slot))) => Some(slot),
            Some((_, Found::OnItsWay)) => {
                self.held_back = Some(Item { line: Line::Entry(told), place, bytes, mended });
                return;
            }
            Some((Reference { needed: false, .. }, Found::Nowhere)) => {
                without_reply = true;
                self.tally.without_reply();
                None
            }
            Some((Reference { key, needed: true }, Found::Nowhere)) => {
                let why = match told.kind.as_str() {
                    "reaction" if told.key.is_none() => "what it reacts to was not taken".into(),
                    _ => format!("its ref, slot {}, is not among the imported lines", key.number),
                };
                self.telling.tell(Topic::Refused, Some(&place), &why);
                self.tally.refused();
                return;
            }
        };
        if let Some(key) = told.key {
            self.slots.expect(key);
        }
        let sent = Sent { place, key: told.key, edited_at: told.edited_at, without_reply, bytes };
        batch.add((sent, entry(args, *told, reference)));
    }

    /// Takes an answer. Where the room has the entry with an older text, the edit that makes up for it.
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
                self.settle(sent.key, Some(committed.appended.slot));
            }
            Err(AppendError::Refused(error)) if error.code.is_final() => {
                let slot = error.slot.filter(|_| error.code == ErrorCode::IdReused);
                self.settle(sent.key, slot);
                if let Some(edit) = slot.and_then(|slot| edit(&sent, &append, slot)) {
                    self.tally.edited(&append.kind);
                    return Ok(Some((Sent { key: None, edited_at: None, ..sent }, edit)));
                }
                if slot.is_some() && sent.without_reply {
                    // An earlier export had what it answers.
                    self.tally.already_there();
                    return Ok(None);
                }
                let why = format!("{}: {}", error.code, error.message);
                self.telling.tell(Topic::Refused, Some(&sent.place), &why);
                self.tally.refused();
            }
            Err(error) => {
                return Err(Failure::said(format!(
                    "{}: {error}; what is in stays in, run it again and it goes on",
                    sent.place
                )));
            }
        }
        Ok(None)
    }

    fn settle(&mut self, key: Option<Key>, slot: Option<Slot>) {
        if let Some(key) = key {
            self.slots.answered(key, slot);
        }
    }

    fn look_at(&mut self, item: &Item) {
        self.tally.item(item);
        let place = Some(&item.place);
        if item.mended {
            let what = "not UTF-8: kept with replacement characters, and so are others like it; to read them, name \
                        their encoding, as by --encoding cp1252";
            self.telling.tell(Topic::NotUtf8, place, what);
        }
        match &item.line {
            Line::Unreadable(why) => {
                self.telling.tell(Topic::NotTaken, place, &format!("not taken: {why}"))
            }
            Line::Unfinished => {
                let what = "left for the next run: it has no newline at its end, so it may be half written";
                self.telling.tell(Topic::Unfinished, place, what);
            }
            Line::Note(what) => self.telling.tell(Topic::Note, place, what),
            Line::Entry(_) | Line::Skipped => {}
        }
    }
}

/// The edit that gives an entry, which is at this slot, the text that it has in the history now.
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

/// Appends while the next batch is filled; the outcomes.
async fn exchange(
    client: &mut Batches,
    appends: &[ClientAppend],
    filling: impl Future<Output = ()>,
    bar: &ProgressBar,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<Vec<Outcome>, Failure> {
    let mut state = client.state();
    let both = async { tokio::join!(client.append(appends), filling) };
    tokio::pin!(both);
    loop {
        tokio::select! {
            biased;
            Ok(()) = state.changed() => tell_state(bar, &state.borrow_and_update()),
            () = &mut stop => {
                return Err(Failure::said("interrupted; run it again and it goes on"));
            }
            (outcomes, ()) = &mut both => return Ok(outcomes),
        }
    }
}

fn tell_state(bar: &ProgressBar, state: &State) {
    bar.suspend(|| match state {
        State::Connected => say!("connected again, going on"),
        State::Reconnecting(why) => {
            say!("not connected ({why}); trying for {} s", PATIENCE.as_secs());
        }
    });
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

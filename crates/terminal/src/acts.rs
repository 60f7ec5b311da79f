//! What each command of the user does.
//!
//! Enters: a command. Leaves: appends, a moved view, or an error. Invariant: after an error the
//! text is still in the composer; a sent message is in `unsent` until it is answered.

use std::time::Instant;

use roomlog_client::{
    draft,
    protocol::{ClientAppend, Entry, Kind, Latest},
};
use unicode_segmentation::UnicodeSegmentation;

use crate::{
    app::{App, Unsent},
    command::ChatCommand,
    help::Help,
    limits::MAX_UNSENT,
    link::Request,
    shown::is_line,
    text,
    view::Place,
};

impl App {
    /// Runs a command, or returns why it failed; the caller then keeps the text.
    pub(crate) fn run(&mut self, command: ChatCommand) -> Result<(), String> {
        match command {
            ChatCommand::Say(kind, slot, body) => self.say(kind, slot, body)?,
            ChatCommand::Join(room) => self.switch(room),
            ChatCommand::Goto(slot) => self.go(slot)?,
            ChatCommand::Show(slot) => {
                if !self.expanded.remove(&slot) {
                    self.expanded.insert(slot);
                }
            }
            ChatCommand::React(slot, emoji) => self.react(slot, emoji)?,
            ChatCommand::Remove(slot) => self.remove(slot)?,
            ChatCommand::StartEdit(slot) => self.start_edit(slot)?,
            ChatCommand::Retry => self.retry()?,
            ChatCommand::Drop => self.unsent.retain(|it| it.failed.is_none()),
            ChatCommand::Help => self.help = Some(Help::default()),
            ChatCommand::Quit => self.is_over = true,
        }
        Ok(())
    }

    fn say(&mut self, kind: &'static str, slot: Option<u64>, body: String) -> Result<(), String> {
        if body.len() > self.body_limit() {
            let (is, may) = (body.len(), self.body_limit());
            return Err(format!("This message has {is} bytes; the limit is {may}. Shorten it."));
        }
        if self.unsent.len() >= MAX_UNSENT {
            return Err(format!(
                "{MAX_UNSENT} messages are not sent yet. Wait, or /drop failed ones."
            ));
        }
        if let Some(slot) = slot {
            self.check_slot(slot)?;
        }
        if kind == "edit" {
            self.own(slot)?;
        }
        let latest = self.window.latest();
        let mut append = draft(self.rooms.open().clone(), body);
        append.kind = Kind::new(kind).map_err(|error| error.to_string())?;
        append.reference = slot;
        append.after = Some(Latest(latest)).filter(|latest| *latest > Latest::EMPTY);
        self.send(append, self.log.clone());
        if self.view.place != Place::End {
            self.back_to_now();
        }
        self.new = None;
        Ok(())
    }

    fn send(&mut self, append: ClientAppend, log: String) {
        self.requests.push(Request::Append(log.clone(), append.clone()));
        self.unsent.push(Unsent { append, log, since: Instant::now(), failed: None });
    }

    fn go(&mut self, slot: u64) -> Result<(), String> {
        self.check_slot(slot)?;
        self.selected = Some(slot);
        self.show(slot);
        Ok(())
    }

    fn react(&mut self, slot: Option<u64>, emoji: String) -> Result<(), String> {
        let Some(slot) = slot.or(self.selected) else {
            let how = "Type /react SLOT EMOJI. SLOT is the number left of a message.";
            return Err(format!("No message is selected. {how}"));
        };
        self.check_slot(slot)?;
        if self.window.get(slot).is_some_and(|entry| !is_line(entry)) {
            return Err(not_a_message(slot));
        }
        if emoji.graphemes(true).count() > 1 {
            return Err("A reaction is one emoji. To reply in words, type /reply SLOT TEXT.".into());
        }
        if emoji.is_empty() && !self.annotations.reacted(slot, &self.me) {
            return Err(format!("You have not reacted to slot {slot}. Type /react {slot} EMOJI."));
        }
        self.say("reaction", Some(slot), emoji)
    }

    /// The server checks whether the user may.
    fn remove(&mut self, slot: u64) -> Result<(), String> {
        self.check_slot(slot)?;
        if self.window.get(slot).is_some_and(|entry| !is_line(entry)) {
            return Err(not_a_message(slot));
        }
        let is_edit = |entry: &&Entry| {
            entry.kind.as_str() == "edit"
                && entry.reference == Some(slot)
                && entry.author == self.me
                && !entry.content.is_redacted()
        };
        let edits: Vec<_> = self.window.iter().filter(is_edit).map(|entry| entry.slot).collect();
        for slot in [slot].into_iter().chain(edits) {
            self.say(Kind::REDACT, Some(slot), String::new())?;
        }
        Ok(())
    }

    /// The user's message in this slot, or the last one in memory.
    fn own(&self, slot: Option<u64>) -> Result<&Entry, String> {
        let Some(slot) = slot else {
            let mine =
                |entry: &&Entry| entry.author == self.me && entry.kind.is_text() && is_line(entry);
            let last = self.window.iter().rev().find(mine);
            return last.ok_or_else(|| "You have no message here to edit.".into());
        };
        self.check_slot(slot)?;
        match self.window.get(slot) {
            Some(entry) if !is_line(entry) => Err(not_a_message(slot)),
            Some(entry) if entry.author != self.me => {
                let author = text::name(entry.author.as_str(), 40);
                Err(format!("Slot {slot} is {author}'s message; you can edit only your own."))
            }
            Some(entry) => Ok(entry),
            None => Err(format!("Slot {slot} is not loaded. Go there with /goto {slot} first.")),
        }
    }

    fn start_edit(&mut self, slot: Option<u64>) -> Result<(), String> {
        let entry = self.own(slot)?;
        let text = format!("/edit {} {}", entry.slot, self.annotations.shown(entry).body);
        self.composer.set(&text);
        Ok(())
    }

    fn retry(&mut self) -> Result<(), String> {
        let (failed, rest): (Vec<_>, Vec<_>) =
            self.unsent.drain(..).partition(|it| it.failed.is_some());
        self.unsent = rest;
        let mut result = Ok(());
        for mut unsent in failed {
            if unsent.log != self.log {
                if unsent.append.reference.is_some() {
                    let why = "A message refers to a log that no longer exists";
                    result = Err(format!("{why}. /drop it and write it again."));
                    self.unsent.push(unsent);
                    continue;
                }
                unsent.append.after = None;
            }
            self.send(unsent.append, self.log.clone());
        }
        result
    }
}

fn not_a_message(slot: u64) -> String {
    format!("Slot {slot} is an edit or a reaction, not a message.")
}

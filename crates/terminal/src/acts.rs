//! What the person at the terminal does, by commands and texts.
//!
//! Enters: a command. Leaves: appends, a moved view, or why not. Invariant: whoever gets an error still has the
//! text; a text that was taken is in `unsent` until it has its answer.

use std::time::Instant;

use roomlog_client::{
    draft,
    protocol::{ClientAppend, Entry, Kind},
};

use unicode_segmentation::UnicodeSegmentation;

use crate::{
    app::{App, Unsent},
    command::Command,
    help::Help,
    limits::MOST_UNSENT,
    link::Ask,
    shown::is_line,
    text,
    view::Place,
};

impl App {
    /// Does what a text asks for.
    ///
    /// # Errors
    /// Why not; then the text stays where it is.
    pub(crate) fn obey(&mut self, command: Command) -> Result<(), String> {
        match command {
            Command::Say(kind, slot, body) => self.say(kind, slot, body)?,
            Command::Join(room) => self.switch(room),
            Command::Go(slot) => self.go(slot)?,
            Command::Whole(slot) => {
                if !self.whole.remove(&slot) {
                    self.whole.insert(slot);
                }
            }
            Command::React(slot, emoji) => self.react(slot, emoji)?,
            Command::TakeUp(slot) => self.take_up(slot)?,
            Command::Retry => self.retry()?,
            Command::Drop => self.unsent.retain(|it| it.failed.is_none()),
            Command::Help => self.help = Some(Help::default()),
            Command::Quit => self.is_over = true,
        }
        Ok(())
    }

    fn say(&mut self, kind: &'static str, slot: Option<u64>, body: String) -> Result<(), String> {
        if body.len() > self.body_limit() {
            let (is, may) = (body.len(), self.body_limit());
            return Err(format!(
                "This message has {is} bytes; the server takes {may}. Shorten it."
            ));
        }
        if self.unsent.len() >= MOST_UNSENT {
            return Err(format!(
                "{MOST_UNSENT} messages are not sent yet. Wait, or /drop those that failed."
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
        append.after = Some(latest).filter(|latest| *latest >= 0);
        self.send(append, self.log.clone());
        if self.view.place != Place::End {
            self.back_to_now();
        }
        self.new = None;
        Ok(())
    }

    fn send(&mut self, append: ClientAppend, log: String) {
        self.asks.push(Ask::Append(log.clone(), append.clone()));
        self.unsent.push(Unsent { append, log, since: Instant::now(), failed: None });
    }

    fn go(&mut self, slot: u64) -> Result<(), String> {
        self.check_slot(slot)?;
        self.target = Some(slot);
        self.show(slot);
        Ok(())
    }

    fn react(&mut self, slot: Option<u64>, emoji: String) -> Result<(), String> {
        let Some(slot) = slot.or(self.target) else {
            return Err(
                "No message is selected. Type /react SLOT EMOJI; SLOT is the number left of a \
                        message."
                    .into(),
            );
        };
        self.check_slot(slot)?;
        if self.window.get(slot).is_some_and(|entry| !is_line(entry)) {
            return Err(format!("Slot {slot} is an edit or a reaction, not a message."));
        }
        if emoji.graphemes(true).count() > 1 {
            return Err(
                "A reaction is one emoji. To answer with words, type /reply SLOT TEXT.".into()
            );
        }
        if emoji.is_empty() && !self.abouts.reacted(slot, &self.me) {
            return Err(format!("You have not reacted to slot {slot}. Type /react {slot} EMOJI."));
        }
        self.say("reaction", Some(slot), emoji)
    }

    /// The line of one's own in this slot, or the last one that is held.
    fn own(&self, slot: Option<u64>) -> Result<&Entry, String> {
        let Some(slot) = slot else {
            let mine =
                |entry: &&Entry| entry.author == self.me && entry.kind.is_text() && is_line(entry);
            let last = self.window.iter().rev().find(mine);
            return last.ok_or_else(|| "You have no message here to edit.".into());
        };
        self.check_slot(slot)?;
        match self.window.get(slot) {
            Some(entry) if !is_line(entry) => {
                Err(format!("Slot {slot} is an edit or a reaction, not a message."))
            }
            Some(entry) if entry.author != self.me => {
                let author = text::name(entry.author.as_str(), 40);
                Err(format!("Slot {slot} is {author}'s message; you can edit only your own."))
            }
            Some(entry) => Ok(entry),
            None => Err(format!("Slot {slot} is not loaded. Go there with /goto {slot} first.")),
        }
    }

    fn take_up(&mut self, slot: Option<u64>) -> Result<(), String> {
        let entry = self.own(slot)?;
        let text = format!("/edit {} {}", entry.slot, self.abouts.shown(entry).body);
        self.composer.set(&text);
        Ok(())
    }

    fn retry(&mut self) -> Result<(), String> {
        let (failed, rest): (Vec<_>, Vec<_>) =
            self.unsent.drain(..).partition(|it| it.failed.is_some());
        self.unsent = rest;
        let mut stays = false;
        for mut unsent in failed {
            let names_a_slot = unsent.append.reference.is_some();
            if names_a_slot && unsent.log != self.log {
                stays = true;
                self.unsent.push(unsent);
                continue;
            }
            if unsent.log != self.log {
                unsent.append.after = None;
            }
            self.send(unsent.append, self.log.clone());
        }
        match stays {
            true => {
                Err("The message that it is about is in a log that is gone. /drop it, and write it again."
                    .into())
            }
            false => Ok(()),
        }
    }
}

//! What the person at the terminal does, by commands and texts.
//!
//! Enters: a command. Leaves: appends, a moved view, or why not. Invariant: whoever gets an error still has the
//! text; a text that was taken is in `unsent` until it has its answer.

use std::time::Instant;

use roomlog_client::{
    draft,
    protocol::{ClientAppend, Entry, Kind},
};

use crate::{
    app::{App, Unsent},
    command::Command,
    limits::MOST_UNSENT,
    link::Ask,
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
            Command::EditLast => self.edit_last()?,
            Command::Retry => self.retry()?,
            Command::Drop => self.unsent.retain(|it| it.failed.is_none()),
            Command::Help => self.helps = true,
            Command::Quit => self.is_over = true,
        }
        Ok(())
    }

    fn say(&mut self, kind: &'static str, slot: Option<u64>, body: String) -> Result<(), String> {
        if body.len() > self.body_limit() {
            let (is, may) = (body.len(), self.body_limit());
            return Err(format!(
                "this is {is} bytes long, and the server takes {may}: make it shorter"
            ));
        }
        if self.unsent.len() >= MOST_UNSENT {
            return Err(format!(
                "{MOST_UNSENT} texts have no answer yet: wait, or /drop what failed"
            ));
        }
        if let Some(slot) = slot {
            self.check_slot(slot)?;
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

    fn edit_last(&mut self) -> Result<(), String> {
        let mine = |entry: &&Entry| entry.author == self.me && entry.kind.as_str() == "text";
        let last =
            self.window.iter().rev().find(mine).ok_or("nothing of yours is on the screen")?;
        let text = format!("/edit {} {}", last.slot, self.abouts.shown(last).body);
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
                Err("what it is about is in a log that is gone: /drop it, and say it anew".into())
            }
            false => Ok(()),
        }
    }
}

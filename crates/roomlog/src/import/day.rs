//! What was said in a chat of lines, as entries.
//!
//! Enters: what the lines of one file say, and the date they have. Leaves: entries whose ids tell each from every
//! other of its day. Invariant: the same file gives the same ids for ever; the ids of a file do not change when
//! lines are added at its end, when joins are asked for too, or with the zone of its times.

use std::{borrow::Cow, collections::HashMap};

use jiff::civil::Date;
use roomlog_protocol::{Author, EntryId, Kind};
use sha2::{Digest, Sha256};

use super::{
    Line, Told,
    clock::{Clock, TimeOfDay},
};

/// What the ids of this version begin their hash with.
const ID_DOMAIN: &[u8] = b"roomlog/import-irc/v1";

/// What a line says, before it is known whose file it is in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said<'a> {
    pub(super) time: TimeOfDay,
    /// The time as it is written.
    pub(super) time_text: &'a str,
    pub(super) nick: &'a str,
    pub(super) kind: &'static str,
    pub(super) text: Cow<'a, str>,
}

/// The lines of one day, so that equal ones are counted.
pub(super) struct Day {
    date: Date,
    joins: bool,
    clock: Clock,
    seen: HashMap<[u8; 16], u64>,
}

impl Day {
    pub(super) fn new(date: Date, joins: bool, clock: Clock) -> Self {
        Self { date, joins, clock, seen: HashMap::new() }
    }

    /// The file goes on with this day. Where the same lines come again after another day, they are taken
    /// for the same ones: so parts of one log that overlap give each line once.
    pub(super) fn turn(&mut self, date: Date) {
        if date != self.date {
            self.date = date;
            self.seen.clear();
            self.clock.day();
        }
    }

    /// The next line of the file.
    pub(super) fn line(&mut self, said: &Said<'_>) -> Line {
        if !matches!(said.kind, Kind::TEXT | "action") && !self.joins {
            return Line::Skipped;
        }
        match self.told(said) {
            Ok(told) => Line::Entry(Box::new(told)),
            Err(why) => Line::Unreadable(why),
        }
    }

    fn told(&mut self, said: &Said<'_>) -> Result<Told, String> {
        let author = Author::new(said.nick).map_err(|why| format!("{:?}: {why}", said.nick))?;
        let kind = Kind::new(said.kind).map_err(|why| why.to_string())?;
        let sent_at = self.clock.instant(self.date, said.time)?;
        let (id, said_again) = self.id(said)?;
        Ok(Told {
            author,
            id,
            kind,
            body: said.text.clone().into_owned(),
            sent_at: Some(sent_at),
            meta: None,
            reference: None,
            key: None,
            edited_at: None,
            said_again,
        })
    }

    /// The hash of what was said when by whom, and of how many equal lines came before.
    fn id(&mut self, said: &Said<'_>) -> Result<(EntryId, bool), String> {
        let date = self.date.to_string();
        let mut sha = Sha256::new_with_prefix(ID_DOMAIN);
        for part in [&date, said.time_text, said.kind, said.nick, &said.text] {
            sha.update((part.len() as u64).to_be_bytes());
            sha.update(part);
        }
        let before = self.seen.entry(truncated(sha.clone())).or_default();
        sha.update(before.to_be_bytes());
        let said_again = *before > 0;
        *before += 1;
        Ok((EntryId::new(&hex(&truncated(sha))).map_err(|why| why.to_string())?, said_again))
    }
}

/// The first 128 bits.
fn truncated(sha: Sha256) -> [u8; 16] {
    let mut hash = [0; 16];
    hash.copy_from_slice(&sha.finalize()[..16]);
    hash
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of names that may not stand in an id as they are: 64 bits, for a few names of one message.
pub(super) fn short_hash(text: &str) -> String {
    hex(&Sha256::digest(text)[..8])
}

//! Erasing the texts of rooms: for a client, an operator, or because they are old.
//!
//! ```text
//!  a room, from a slot on ─► the next ERASE_SLOTS slots: is there a text? ─► an `erase` entry ─► …
//! ```
//!
//! Enters: a room, whose texts, and up to where. Leaves: `erase` entries, and where to continue. Invariants:
//! an entry is appended only where there is a text to erase, so that whoever erases twice adds nothing;
//! the slots looked at are counted against [`Work`], which the caller bounds.

use std::{ops::RangeInclusive, time::Duration};

use roomlog_auth::Access;
use roomlog_core::{
    Node, budget::Charge, outcome::AppendOutcome, proposal::Stored, queue::Draft,
    reader::PageLimits,
};
use roomlog_protocol::{
    Author, ClientAppend, ERASE_SLOTS, Kind, Latest, Refusal, Removal, RoomName, Slot, Span,
};
use tokio::time::Instant;

use crate::{
    outcome::{self, draft, new_id, now_ms},
    principals::Client,
    wire::{bad, unknown_outcome},
};

/// What is read at once.
const PAGE: PageLimits = PageLimits { entries: 512, bytes: 256 << 10 };

/// What a room with fewer slots counts as.
const LEAST: u64 = 64;

/// How often the server tries again to charge an append, and for how long.
const WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(20);

/// Whose texts are erased, and by whom.
pub(crate) struct Erasing<'a> {
    pub(crate) node: &'a Node,
    /// Whose texts; `None` for everybody's.
    pub(crate) of: Option<Author>,
    /// The author of the `erase` entries.
    pub(crate) by: Author,
    /// Who is charged; `None` for the server itself, and for operators.
    pub(crate) client: Option<&'a Client>,
}

/// What may still be done, and what was done.
pub(crate) struct Work {
    /// How many slots may still be looked at; a room counts as [`LEAST`] at least.
    slots: u64,
    /// How many texts were erased.
    pub(crate) erased: u64,
}

impl Work {
    /// Nothing done yet, and at most about `slots` slots to look at.
    pub(crate) fn of(slots: u64) -> Self {
        Self { slots, erased: 0 }
    }
}

impl Erasing<'_> {
    /// Erases a room's texts from the slot `from` to before `end`; gives the slot to continue from, or
    /// `None` when it is done. Those of the server's own rooms stay. Fails if the log cannot be read, or an append fails.
    pub(crate) async fn erase(
        &self,
        room: &RoomName,
        mut from: Slot,
        end: Slot,
        work: &mut Work,
    ) -> Result<Option<Slot>, Refusal> {
        while from < end && !room.is_system() {
            if work.slots == 0 {
                return Ok(Some(from));
            }
            let last = from.saturating_add(ERASE_SLOTS).min(end) - 1;
            work.slots = work.slots.saturating_sub((last + 1 - from).max(LEAST));
            let texts = self.texts(room, from..=last).await?;
            if texts > 0 {
                self.append(room, last).await?;
                work.erased += texts;
            }
            from = last + 1;
        }
        Ok(None)
    }

    /// How many texts there are to erase in these slots.
    async fn texts(&self, room: &RoomName, slots: RangeInclusive<Slot>) -> Result<u64, Refusal> {
        let removal = Removal::Span { last: *slots.end(), author: self.of.clone() };
        let is_text = |Stored { entry, .. }: &&Stored| {
            slots.contains(&entry.slot) && !entry.content.is_redacted() && removal.covers(entry)
        };
        let (mut texts, mut next) = (0, *slots.start());
        while next <= *slots.end() {
            let _turn = match self.client {
                Some(client) => Some(client.principal.reads.pages.acquire().await),
                None => None,
            };
            let page = self.node.read(room, Span::After(Latest::before(next)), None, PAGE).await;
            let page = page.map_err(|why| unknown_outcome(why.to_string()))?;
            texts += page.entries.iter().filter(is_text).count() as u64;
            let Some(last) = page.entries.last() else { break };
            next = last.entry.slot + 1;
        }
        Ok(texts)
    }

    async fn append(&self, room: &RoomName, last: Slot) -> Result<(), Refusal> {
        let kind = Kind::new(Kind::ERASE).map_err(|why| bad(why.to_string()))?;
        let body = self.of.as_ref().map_or(String::new(), |author| author.to_string());
        let append =
            ClientAppend { kind, reference: Some(last), ..ClientAppend::new(room.clone(), body) };
        let charge = match self.client {
            Some(client) => {
                client.admit_append()?;
                client.charge_append(&append).await
            }
            None => self.charge(&append).await,
        };
        let draft = charge.map(|charge| {
            let whose = (self.by.clone(), new_id());
            draft(&Access::nothing(), append, whose, now_ms(), charge).with_right_to_remove()
        });
        outcome::append(self.node, draft).await
    }

    /// Charges an append of the server itself, once the fold has caught up with the erasures before it.
    async fn charge(&self, append: &ClientAppend) -> Result<Charge, AppendOutcome> {
        let until = Instant::now() + LONGEST_WAIT;
        loop {
            let charged = Draft::charge(append, self.node.append_budget());
            if charged.is_ok() || Instant::now() > until {
                return charged;
            }
            tokio::time::sleep(WAIT).await;
        }
    }
}

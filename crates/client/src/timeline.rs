//! A room as one follower sees it: which slot it has, and what to ask for next.
//!
//! Enters: the reply to `join`, acks, replies to `update {after}`. Leaves: entries, each once, in
//! slot order, without a gap; whether a gap has to be filled. Invariant: slots never go back except
//! after a [`Reset`].

use roomlog_protocol::{ClientUpdate, Digest, Entry, Latest, Reply, RoomName, Span};

/// How many entries a follower gets after a reset.
const AFTER_RESET: u64 = 50;

/// Where a follow starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With up to this many of the newest entries, at most a page; 0: only new entries.
    Newest(u64),
    /// After this slot; −1: with the first entry. A slot beyond the log ends the follow (`ahead`).
    After(Latest),
}

/// Why a follower has to drop its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// The server has another log (`hello.log`): it was restored, reset or replaced.
    NewLog,
    /// The server's digest differs: the log has the same name and other entries.
    Diverged,
}

/// What a follower receives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// The next entries, in slot order, without a gap to the previous ones. Empty after a
    /// [`Followed::Waiting`] if the server can be read again and there is nothing new.
    Entries(Vec<Entry>),
    /// Drop the previous entries: they are not in the server's log. The newest entries follow.
    Reset(Reset),
    /// The server cannot send the next entries, for this reason. Reported once; the client retries.
    Waiting(String),
}

/// The result of a frame.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The next entries; empty if all were known.
    Take(Vec<Entry>),
    /// The next entries, and then a gap: send [`Timeline::update`].
    Gap(Vec<Entry>),
    /// The server's log is not the one that was followed.
    Diverged,
}

/// The place of one follower in one room.
#[derive(Debug)]
pub struct Timeline {
    room: RoomName,
    start: Start,
    /// The last slot delivered, once known.
    last: Option<Latest>,
    /// The digest after `last`, once known.
    digest: Option<Digest>,
}

impl Timeline {
    /// A follower without entries.
    #[must_use]
    pub fn new(room: RoomName, start: Start) -> Self {
        let last = match start {
            Start::After(slot) => Some(slot),
            Start::Newest(_) => None,
        };
        Self { room, start, last, digest: None }
    }

    /// The `join` to send, at first and after each reconnect.
    #[must_use]
    pub fn join(&self) -> ClientUpdate {
        match (self.last, self.start) {
            (Some(last), _) | (None, Start::After(last)) => self.asking(Span::After(last)),
            (None, Start::Newest(count)) => self.asking(Span::UpTo { count, upto: None }),
        }
    }

    /// The `update` that checks for a gap and fills it. `None` before the reply to `join`.
    #[must_use]
    pub fn update(&self) -> Option<ClientUpdate> {
        self.last.map(|last| self.asking(Span::After(last)))
    }

    /// Whether a reply was taken since the start or the last reset.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.digest.is_some()
    }

    /// Whether it depends on one log: it took a reply, or starts after a slot.
    #[must_use]
    pub fn has_place(&self) -> bool {
        self.has_begun() || self.last.is_some_and(|last| last > Latest::EMPTY)
    }

    /// Takes the reply to `join`: later entries come in acks.
    pub fn joined(&mut self, reply: Reply) -> Step {
        match self.page(reply) {
            Step::Gap(entries) => Step::Take(entries),
            other => other,
        }
    }

    /// Takes a reply to [`Timeline::update`]: a [`Step::Gap`] until it reaches the latest slot.
    pub fn page(&mut self, reply: Reply) -> Step {
        let Some(last) = self.last else {
            let last = reply.entries.last().map_or(reply.latest, |entry| Latest::at(entry.slot));
            self.last = Some(last);
            self.digest = (reply.digest_at == last).then_some(reply.digest);
            return Step::Take(reply.entries);
        };
        let known = self.digest;
        let step = self.ack(reply.entries);
        let reached = self.last.unwrap_or(last);
        if reply.digest_at == reached {
            if known.is_some() && self.digest != Some(reply.digest) {
                return Step::Diverged;
            }
            self.digest = Some(reply.digest);
        }
        match step {
            Step::Take(entries) if reached < reply.latest => Step::Gap(entries),
            other => other,
        }
    }

    /// Takes the entries of an `ack`.
    pub fn ack(&mut self, entries: Vec<Entry>) -> Step {
        // An ack before the reply is of an earlier follow.
        let Some(mut last) = self.last else { return Step::Take(Vec::new()) };
        let mut taken = Vec::with_capacity(entries.len());
        let mut gap = false;
        for entry in entries {
            if entry.slot < last.end() {
                continue;
            }
            if entry.slot > last.end() {
                gap = true;
                break;
            }
            last = Latest::at(entry.slot);
            self.digest = self.digest.map(|digest| digest.then(&entry));
            taken.push(entry);
        }
        self.last = Some(last);
        if gap { Step::Gap(taken) } else { Step::Take(taken) }
    }

    /// Starts over with the newest entries.
    pub fn reset(&mut self) {
        (self.last, self.digest) = (None, None);
        self.start = Start::Newest(AFTER_RESET);
    }

    fn asking(&self, span: Span) -> ClientUpdate {
        let digest = self.digest.filter(|_| matches!(span, Span::After(_)));
        ClientUpdate { room: self.room.clone(), span, seen: None, digest, req: None }
    }
}

#[cfg(test)]
mod tests {
    use roomlog_protocol::{Author, Content, EntryId, Kind, Salt, Slot};

    use super::*;

    fn room() -> RoomName {
        RoomName::new("general").expect("a room")
    }

    fn log(slots: std::ops::Range<Slot>) -> Vec<Entry> {
        let entry = |slot| Entry {
            slot,
            author: Author::new("ada").expect("an author"),
            id: EntryId::new(&format!("a-{slot}")).expect("an id"),
            content: Content::Said {
                body: format!("body {slot}").into(),
                meta: None,
                salt: Salt(*b"roomlog-slt0"),
            },
            committed_at: 1_000 + slot,
            sent_at: None,
            kind: Kind::default(),
            reference: None,
        };
        slots.map(entry).collect()
    }

    fn digest_at(latest: Latest) -> Digest {
        log(0..latest.end()).iter().fold(Digest::start(&room()), Digest::then)
    }

    fn reply(slots: std::ops::Range<Slot>, latest: i64) -> Reply {
        let (latest, entries) = (Latest(latest), log(slots));
        let last = entries.last().map_or(latest, |entry| Latest::at(entry.slot));
        Reply { room: room(), entries, latest, digest_at: last, digest: digest_at(last) }
    }

    fn slots(step: &Step) -> (Vec<Slot>, bool) {
        match step {
            Step::Take(entries) => (entries.iter().map(|entry| entry.slot).collect(), false),
            Step::Gap(entries) => (entries.iter().map(|entry| entry.slot).collect(), true),
            Step::Diverged => panic!("diverged"),
        }
    }

    #[test]
    fn joins_with_the_newest_and_goes_on_by_acks() {
        let mut timeline = Timeline::new(room(), Start::Newest(2));
        assert_eq!(timeline.join().span, Span::UpTo { count: 2, upto: None });
        assert_eq!(timeline.update(), None);
        assert_eq!(slots(&timeline.joined(reply(3..5, 4))), (vec![3, 4], false));
        assert_eq!(slots(&timeline.ack(log(5..7))), (vec![5, 6], false));
        assert_eq!(timeline.join().span, Span::After(Latest(6)));
        assert_eq!(timeline.join().digest, Some(digest_at(Latest(6))));
    }

    #[test]
    fn joining_without_entries_goes_on_above_the_latest() {
        let mut timeline = Timeline::new(room(), Start::Newest(0));
        assert_eq!(slots(&timeline.joined(reply(5..5, 4))), (vec![], false));
        assert_eq!(slots(&timeline.ack(log(4..6))), (vec![5], false));
    }

    #[test]
    fn the_first_page_of_a_join_is_no_gap_although_more_follows_in_acks() {
        let mut timeline = Timeline::new(room(), Start::After(Latest(-1)));
        assert_eq!(slots(&timeline.joined(reply(0..2, 9))), (vec![0, 1], false));
        assert_eq!(slots(&timeline.ack(log(2..10))), ((2..10).collect(), false));
    }

    #[test]
    fn a_gap_is_seen_and_filled_page_by_page() {
        let mut timeline = Timeline::new(room(), Start::After(Latest(-1)));
        assert_eq!(slots(&timeline.joined(reply(0..2, 1))), (vec![0, 1], false));
        assert_eq!(slots(&timeline.ack(log(5..6))), (vec![], true));
        assert_eq!(timeline.update().map(|update| update.span), Some(Span::After(Latest(1))));
        assert_eq!(slots(&timeline.page(reply(2..4, 5))), (vec![2, 3], true));
        assert_eq!(slots(&timeline.page(reply(4..6, 5))), (vec![4, 5], false));
        assert_eq!(slots(&timeline.ack(log(5..7))), (vec![6], false));
    }

    #[test]
    fn another_log_under_the_same_slots_is_noticed() {
        let mut timeline = Timeline::new(room(), Start::After(Latest(-1)));
        timeline.joined(reply(0..2, 1));
        let mut other = reply(2..3, 2);
        other.digest = digest_at(Latest(1));
        assert_eq!(timeline.page(other), Step::Diverged);
        timeline.reset();
        assert_eq!(timeline.join().span, Span::UpTo { count: AFTER_RESET, upto: None });
        assert_eq!(timeline.join().digest, None);
    }
}

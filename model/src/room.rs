//! The log of a room, and what appends do to it.
//!
//! Enters: an intent, and whether its id is known. Leaves: an entry, or none. Invariant: no clock, no
//! randomness: equal inputs in equal order give equal logs.

/// An append that somebody intends, under one id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// Author 0 or 1 says something.
    Say(usize),
    /// The same, if its entry gets this slot.
    Expect(usize, u8),
    /// The author redacts this slot, if the entry there is their own.
    Redact(usize, u8),
}

impl Intent {
    /// Who intends it.
    #[must_use]
    pub fn author(self) -> usize {
        match self {
            Self::Say(author) | Self::Expect(author, _) | Self::Redact(author, _) => author,
        }
    }
}

/// An entry: which intent it is of, and whether its text is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The number of its intent.
    pub intent: usize,
    /// Whether it is redacted.
    pub is_redacted: bool,
}

/// The entries of a room, by slot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Log(pub Vec<Entry>);

pub(crate) struct Outcome {
    /// `None` if it was refused.
    pub(crate) slot: Option<u8>,
    pub(crate) is_new: bool,
}

impl Outcome {
    const REFUSED: Self = Self { slot: None, is_new: false };
}

impl Log {
    /// How many entries it has.
    #[must_use]
    pub fn len(&self) -> u8 {
        u8::try_from(self.0.len()).unwrap_or(u8::MAX)
    }

    /// Whether it has no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has the entry of an intent.
    #[must_use]
    pub fn has(&self, intent: usize) -> bool {
        self.slot_of(intent).is_some()
    }

    /// The slot of an intent's first entry.
    #[must_use]
    pub fn slot_of(&self, intent: usize) -> Option<u8> {
        let at = self.0.iter().position(|entry| entry.intent == intent)?;
        u8::try_from(at).ok()
    }

    /// Whether one is a prefix of the other; redactions do not count.
    #[must_use]
    pub fn agrees(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(one, other)| one.intent == other.intent)
    }

    pub(crate) fn apply(
        &mut self,
        index: usize,
        intent: Intent,
        intents: &[Intent],
        is_known: bool,
    ) -> Outcome {
        if is_known {
            return Outcome { slot: self.slot_of(index), is_new: false };
        }
        match intent {
            Intent::Say(_) => {}
            Intent::Expect(_, slot) if slot == self.len() => {}
            Intent::Expect(..) => return Outcome::REFUSED,
            Intent::Redact(author, slot) => {
                let target = self.0.get_mut(usize::from(slot));
                let own = target.filter(|it| intents[it.intent].author() == author);
                let Some(own) = own else { return Outcome::REFUSED };
                if matches!(intents[own.intent], Intent::Redact(..)) {
                    return Outcome::REFUSED;
                }
                own.is_redacted = true;
            }
        }
        let slot = self.len();
        self.0.push(Entry { intent: index, is_redacted: false });
        Outcome { slot: Some(slot), is_new: true }
    }
}

//! Where a connection is served: on the append loop, while it mostly appends, or else on the runtime of
//! all cores.
//!
//! ```text
//!  upgraded ──► all cores ──an append──► append loop
//!                   ▲                        │
//!                   └──much else but appends──┘
//! ```
//!
//! On the append loop an append and its answer are passed between no threads, and all appends wait for
//! what else is done there: so whoever mostly reads, or sends other frames, is served elsewhere. Enters:
//! appends, other frames, commits that are sent to the client. Leaves: whether it moves. Invariant: it
//! moves only between two messages, when nothing waits for its socket: no byte is lost, and nothing is done
//! twice.

/// A connection that did at most this much else since its append before moves to the append loop.
const LITTLE_ELSE: u32 = 64;

/// A connection that did more than this since its last append moves from there.
const MUCH_ELSE: u32 = 4 * LITTLE_ELSE;

/// Where a connection is, and where it belongs.
#[derive(Default)]
pub(crate) struct Placement {
    is_on_loop: bool,
    belongs_on_loop: bool,
    /// How many commits the client was sent, and frames it sent that are no appends, since its last append.
    /// Commits that were sent directly do not count: they cost its task nothing.
    others: u32,
}

impl Placement {
    pub(super) fn note_append(&mut self) {
        self.belongs_on_loop = self.is_on_loop || self.others <= LITTLE_ELSE;
        self.others = 0;
    }

    pub(super) fn note_others(&mut self, count: usize) {
        self.others = self.others.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        self.belongs_on_loop = self.belongs_on_loop && self.others <= MUCH_ELSE;
    }

    pub(super) fn is_on_loop(&self) -> bool {
        self.is_on_loop
    }

    pub(super) fn moves(&self) -> bool {
        self.is_on_loop != self.belongs_on_loop
    }

    pub(super) fn note_moved(&mut self) {
        self.is_on_loop = self.belongs_on_loop;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(placement: &mut Placement) -> bool {
        if placement.moves() {
            placement.note_moved();
        }
        placement.is_on_loop()
    }

    #[test]
    fn whoever_appends_is_on_the_loop_until_it_does_much_else() {
        let mut it = Placement::default();
        it.note_others(1_000);
        assert!(!place(&mut it), "it only reads");
        it.note_append();
        assert!(!place(&mut it), "one append to a thousand others");
        it.note_append();
        assert!(place(&mut it), "a second one at once");
        for _ in 0..3 {
            it.note_others(MUCH_ELSE as usize);
            assert!(place(&mut it));
            it.note_append();
        }
        it.note_others(MUCH_ELSE as usize + 1);
        assert!(!place(&mut it));
    }
}

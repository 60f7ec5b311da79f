//! What a run appends.
//!
//! Enters: draws, and which appends were acked. Leaves: proposals, and which texts are to be gone. Invariant: the `n`-th
//! append is always the same, so that it can be sent again and compared.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::Path,
};

use rand::{RngExt, rngs::StdRng};
use roomlog_core::proposal::Proposal;
use roomlog_protocol::Slot;
use roomlog_testkit::fixtures::{proposal, redaction};

/// Over how many rooms the appends are spread.
pub(crate) const ROOMS: u64 = 3;
/// One append in so many redacts an earlier entry.
const REDACTS: u32 = 12;

/// What was appended, and what became of it.
#[derive(Clone, Default)]
pub(crate) struct Appends {
    pub(crate) next: u64,
    pub(crate) acked: BTreeMap<u64, Slot>,
    pub(crate) unknown: Vec<u64>,
    /// Which of them redact which other one.
    pub(crate) redacts: BTreeMap<u64, u64>,
}

impl Appends {
    /// The next append: some redact an entry that was acked.
    pub(crate) fn next(&mut self, random: &mut StdRng) -> u64 {
        let n = self.next;
        self.next += 1;
        let said: Vec<_> = self.acked.keys().filter(|n| !self.redacts.contains_key(n)).collect();
        if !said.is_empty() && random.random_ratio(1, REDACTS) {
            self.redacts.insert(n, *said[random.random_range(0..said.len())]);
        }
        n
    }

    /// The `n`-th append: always the same.
    pub(crate) fn proposal(&self, n: u64) -> Proposal {
        let Some(of) = self.redacts.get(&n) else { return said(n) };
        let Proposal { room, author, .. } = said(*of);
        redaction(room.as_str(), author.as_str(), &format!("id-{n}"), self.acked[of])
    }

    /// Whose text is gone.
    pub(crate) fn redacted(&self) -> BTreeSet<u64> {
        let acked = self.redacts.iter().filter(|(n, _)| self.acked.contains_key(n));
        acked.map(|(_, of)| *of).collect()
    }
}

/// The `n`-th append, if it says something.
fn said(n: u64) -> Proposal {
    let (room, author) =
        (format!("room-{}", n % ROOMS), ["ada", "grace"][(n / ROOMS % 2) as usize]);
    // Some of them take several pages of a file.
    let body = format!("body {n} ").repeat(if n % 37 == 36 { 900 } else { 1 + (n % 7) as usize });
    proposal(&room, author, &format!("id-{n}"), &body)
}

/// Of which appends the files of a directory have the text.
pub(crate) fn texts(directory: &Path) -> io::Result<BTreeSet<u64>> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory)? {
        let bytes = fs::read(entry?.path())?;
        let after = |at: usize| bytes[at..].strip_prefix(b"body ");
        for text in (0..bytes.len()).filter(|at| bytes[*at] == b'b').filter_map(after) {
            let number: String = text
                .iter()
                .map(|byte| char::from(*byte))
                .take_while(char::is_ascii_digit)
                .collect();
            if text.get(number.len()) == Some(&b' ') {
                found.extend(number.parse::<u64>());
            }
        }
    }
    Ok(found)
}

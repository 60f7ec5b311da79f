//! Appends as a request holds them: JSON, a line each, in one piece of memory.
//!
//! Enters: appends. Leaves: the bytes of a run of lines. Invariant: a request has one line at least, and
//! no more than [`BODY_BYTES`] when it has more.

use std::ops::Range;

use bytes::Bytes;
use roomlog_protocol::ClientAppend;

/// How many bytes of lines one request has at most, when it has more than one.
const BODY_BYTES: usize = 4 << 20;

/// Lines to send.
pub(super) struct Lines {
    bytes: Bytes,
    ends: Vec<usize>,
}

impl Lines {
    pub(super) fn of(appends: &[ClientAppend]) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::with_capacity(appends.len()));
        for append in appends {
            if let Err(why) = serde_json::to_writer(&mut bytes, append) {
                unreachable!("an append of names and numbers is always JSON: {why}");
            }
            bytes.push(b'\n');
            ends.push(bytes.len());
        }
        Self { bytes: bytes.into(), ends }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The lines from this one on that one request takes.
    pub(super) fn from(&self, first: usize, most: usize) -> Range<usize> {
        let start = self.start(first);
        let fits = self.ends[first..].iter().take(most);
        let count = fits.take_while(|end| **end - start <= BODY_BYTES).count();
        first..first + count.max(1)
    }

    pub(super) fn bytes(&self, lines: &Range<usize>) -> Bytes {
        self.bytes.slice(self.start(lines.start)..self.start(lines.end))
    }

    fn start(&self, line: usize) -> usize {
        line.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draft;

    #[test]
    fn a_request_has_one_line_at_least_and_else_no_more_than_it_may() {
        let room: roomlog_protocol::RoomName = "r".parse().expect("a room");
        let bare = Lines::of(&[draft(room.clone(), "")]).start(1);
        let of = |bytes: &[usize]| {
            let append = |bytes: &usize| draft(room.clone(), "b".repeat(bytes - bare));
            Lines::of(&bytes.iter().map(append).collect::<Vec<_>>())
        };
        let lines = of(&[100, BODY_BYTES - 100, 100, 100]);
        assert_eq!(lines.from(0, 1_000), 0..2);
        assert_eq!(lines.bytes(&(0..2)).len(), BODY_BYTES);
        assert_eq!((lines.from(1, 1_000), lines.from(2, 1_000)), (1..3, 2..4));
        assert_eq!(lines.from(2, 1), 2..3);
        assert_eq!(of(&[100, BODY_BYTES - 99]).from(0, 1_000), 0..1);
        assert_eq!(of(&[BODY_BYTES + 1, 100]).from(0, 1_000), 0..1);
        assert!(lines.bytes(&(2..3)).ends_with(b"}\n"));
    }
}

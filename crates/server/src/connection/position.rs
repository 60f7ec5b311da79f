//! Where the bytes of a client are in its WebSocket frames, so that it is known what the library
//! buffers.
//!
//! Enters: bytes, as they are read. Leaves: how many of them are of a frame or a message that is not
//! complete. Invariant: it judges nothing; what is malformed is for the library to refuse.

/// The longest header of a frame (RFC 6455, 5.2).
const HEADER_BYTES: usize = 14;

const FIN: u8 = 0x80;
const CONTROL: u8 = 0x08;
const MASKED: u8 = 0x80;

/// A place in a stream of frames.
#[derive(Default)]
pub(super) struct FramePosition {
    header: [u8; HEADER_BYTES],
    /// How much of the header is there.
    filled: usize,
    /// How much of the payload is missing, once the header is there.
    missing: usize,
    /// Bytes of the frame that has come in part.
    frame: usize,
    /// Bytes of the message that has come in part, without that frame; `None` between messages.
    fragments: Option<usize>,
    complete: u64,
}

impl FramePosition {
    /// The most bytes that the library has buffered of frames and messages that have come in part: the
    /// buffer of fragments grows by doubling.
    pub(super) fn partial(&self) -> usize {
        self.frame + 2 * self.fragments.unwrap_or(0)
    }

    /// Whether no message has come in part.
    pub(super) fn is_between_messages(&self) -> bool {
        self.frame == 0 && self.fragments.is_none()
    }

    /// How many messages, and control frames, are complete.
    pub(super) fn complete(&self) -> u64 {
        self.complete
    }

    /// Takes the next bytes.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let in_header = self.filled < self.header_bytes();
            let wanted = if in_header { self.header_bytes() - self.filled } else { self.missing };
            let (taken, rest) = bytes.split_at(wanted.min(bytes.len()));
            if in_header {
                self.header[self.filled..self.filled + taken.len()].copy_from_slice(taken);
                self.filled += taken.len();
                self.missing = self.payload_bytes();
            } else {
                self.missing -= taken.len();
            }
            self.frame += taken.len();
            bytes = rest;
            if self.filled == self.header_bytes() && self.missing == 0 {
                self.end_frame();
            }
        }
    }

    /// The length of the header, as far as that is known.
    fn header_bytes(&self) -> usize {
        if self.filled < 2 {
            return 2;
        }
        let mask = if self.header[1] & MASKED == 0 { 0 } else { 4 };
        2 + mask + self.length_bytes()
    }

    fn length_bytes(&self) -> usize {
        match self.header[1] & !MASKED {
            126 => 2,
            127 => 8,
            _ => 0,
        }
    }

    /// The length of the payload; what a header says that is not there yet is 0.
    fn payload_bytes(&self) -> usize {
        let length = &self.header[2..2 + self.length_bytes()];
        if length.is_empty() {
            return usize::from(self.header[1] & !MASKED);
        }
        length.iter().fold(0, |sum: usize, byte| sum.saturating_mul(256) | usize::from(*byte))
    }

    fn end_frame(&mut self) {
        let [first, ..] = self.header;
        let is_whole = first & FIN != 0;
        if first & CONTROL != 0 {
            self.complete += 1;
        } else if is_whole {
            self.fragments = None;
            self.complete += 1;
        } else {
            self.fragments = Some(self.fragments.unwrap_or(0) + self.frame);
        }
        (self.header, self.filled, self.frame) = ([0; HEADER_BYTES], 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut frame = match payload {
            0..=125 => vec![first, MASKED | payload as u8],
            126..=0xffff => [&[first, MASKED | 126][..], &(payload as u16).to_be_bytes()].concat(),
            _ => [&[first, MASKED | 127][..], &(payload as u64).to_be_bytes()].concat(),
        };
        frame.resize(frame.len() + 4 + payload, 0);
        frame
    }

    #[test]
    fn what_has_come_in_part_is_counted_however_it_is_cut() {
        for payload in [0, 1, 125, 126, 300, 0xffff, 0x1_0000] {
            let bytes = frame(0x81, payload);
            for cut in [1, 2, 3, 5, bytes.len() - 1] {
                let mut position = FramePosition::default();
                position.advance(&bytes[..cut]);
                assert_eq!((position.partial(), position.complete()), (cut, 0), "{payload}");
                position.advance(&bytes[cut..]);
                assert!(position.is_between_messages(), "{payload} cut at {cut}");
                assert_eq!((position.partial(), position.complete()), (0, 1), "{payload}");
            }
        }
    }

    #[test]
    fn a_message_in_fragments_counts_until_its_last_and_a_ping_between_them_does_not() {
        let mut position = FramePosition::default();
        let stream = [frame(0x01, 200), frame(0x89, 3), frame(0x00, 100)].concat();
        position.advance(&stream);
        assert_eq!((position.partial(), position.complete()), (2 * (208 + 106), 1));
        assert!(!position.is_between_messages());
        position.advance(&frame(0x80, 0));
        assert_eq!((position.partial(), position.complete()), (0, 2));
        assert!(position.is_between_messages());
    }

    #[test]
    fn the_longest_length_overflows_nothing() {
        let mut position = FramePosition::default();
        position.advance(&[0x81, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0, 1, 2]);
        assert_eq!(position.partial(), 16);
    }
}

//! The frames of a client, read from the bytes that have come (RFC 6455, 5).
//!
//! Enters: bytes. Leaves: messages, and control frames between the pieces of one, in the order in which they
//! were sent. Invariants: what is not as the RFC says is an error, after which nothing is read; a frame that
//! has come in part stays where it is; a message has at most the bytes that it may have.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// The longest header of a frame.
const HEADER_BYTES: usize = 14;

/// The longest payload of a control frame.
const CONTROL_BYTES: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const CONTROL: u8 = 0x08;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Message {
    /// It should be UTF-8: [`utf8`].
    Text(Bytes),
    Binary(Bytes),
    Ping(Bytes),
    Pong(Bytes),
    Close(Bytes),
}

impl Message {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(payload)
            | Self::Binary(payload)
            | Self::Ping(payload)
            | Self::Pong(payload)
            | Self::Close(payload) => payload.len(),
        }
    }
}

/// Why nothing more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum BadFrame {
    #[error("a frame may have {0} bytes")]
    TooLong(usize),
    #[error("a text frame must be UTF-8")]
    NotUtf8,
    #[error("{0}")]
    Protocol(&'static str),
}

/// The most pieces of a message: empty ones take no memory, and would have no end.
const PIECES: usize = 4_096;

/// A message of which some pieces have come.
struct Pieces {
    count: usize,
    is_text: bool,
    payload: BytesMut,
}

/// What is between two frames.
pub(super) struct Frames {
    /// The most bytes of a message.
    most: usize,
    pieces: Option<Pieces>,
}

/// The beginning of a frame.
struct Header {
    is_last: bool,
    opcode: u8,
    mask: [u8; 4],
    bytes: usize,
    payload: usize,
}

impl Header {
    /// How many bytes the frame has.
    fn frame(&self) -> usize {
        self.bytes + self.payload
    }
}

impl Frames {
    pub(super) fn new(most: usize) -> Self {
        Self { most, pieces: None }
    }

    /// Whether no message has come in part, if no frame has.
    pub(super) fn is_between_messages(&self) -> bool {
        self.pieces.is_none()
    }

    /// How many bytes the pieces of a message take.
    pub(super) fn held(&self) -> usize {
        self.pieces.as_ref().map_or(0, |pieces| pieces.payload.capacity())
    }

    /// How many bytes the first frame has, or at least has, as far as that is known.
    pub(super) fn wanted(&self, bytes: &[u8]) -> usize {
        match self.header(bytes) {
            Ok(Some(header)) => header.frame(),
            _ => HEADER_BYTES,
        }
    }

    /// Takes the next message; `None` until it is complete.
    pub(super) fn next(&mut self, bytes: &mut BytesMut) -> Result<Option<Message>, BadFrame> {
        loop {
            let Some(header) = self.header(bytes)? else { return Ok(None) };
            if bytes.len() < header.frame() {
                return Ok(None);
            }
            bytes.advance(header.bytes);
            let mut payload = bytes.split_to(header.payload);
            unmask(&mut payload, header.mask);
            if let Some(message) = self.take(&header, payload)? {
                return Ok(Some(message));
            }
        }
    }

    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, BadFrame> {
        let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
        let (is_last, opcode) = (first & FIN != 0, first & 0x0f);
        let protocol = |why| Err(BadFrame::Protocol(why));
        if first & RESERVED != 0 {
            return protocol("no extension was agreed on: the reserved bits must be 0");
        }
        if second & MASKED == 0 {
            return protocol("a client masks its frames");
        }
        let (length, rest) = match second & !MASKED {
            126 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
                None => return Ok(None),
            },
            127 => match rest.split_first_chunk() {
                Some((length, rest)) => (u64::from_be_bytes(*length), rest),
                None => return Ok(None),
            },
            short => (u64::from(short), rest),
        };
        let payload = usize::try_from(length).unwrap_or(usize::MAX);
        if opcode & CONTROL != 0 && (payload > CONTROL_BYTES || !is_last) {
            return protocol("a control frame is one piece of at most 125 bytes");
        }
        match (opcode, self.pieces.is_some()) {
            (CONTINUATION, false) => return protocol("there is no message to go on with"),
            (TEXT | BINARY, true) => return protocol("the message before is not complete"),
            (CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG, _) => {}
            _ => return protocol("there is no such frame"),
        }
        let before = self.pieces.as_ref().map_or(0, |pieces| pieces.payload.len());
        if opcode & CONTROL == 0 && payload > self.most.saturating_sub(before) {
            return Err(BadFrame::TooLong(self.most));
        }
        let Some(mask) = rest.first_chunk() else { return Ok(None) };
        let header = bytes.len() - rest.len() + mask.len();
        Ok(Some(Header { is_last, opcode, mask: *mask, bytes: header, payload }))
    }

    fn take(&mut self, header: &Header, payload: BytesMut) -> Result<Option<Message>, BadFrame> {
        let (count, is_text, payload) = match header.opcode {
            CLOSE => return closed(payload.freeze()).map(Some),
            PING => return Ok(Some(Message::Ping(payload.freeze()))),
            PONG => return Ok(Some(Message::Pong(payload.freeze()))),
            opcode => match self.pieces.take() {
                Some(Pieces { count: PIECES, .. }) => {
                    return Err(BadFrame::Protocol("a message has at most 4096 pieces"));
                }
                Some(Pieces { count, is_text, payload: mut all }) => {
                    all.extend_from_slice(&payload);
                    (count + 1, is_text, all)
                }
                None if header.is_last => (1, opcode == TEXT, payload),
                // A copy: what it was read into is soon used for something else.
                None => (1, opcode == TEXT, BytesMut::from(&*payload)),
            },
        };
        if !header.is_last {
            self.pieces = Some(Pieces { count, is_text, payload });
            return Ok(None);
        }
        let payload = payload.freeze();
        Ok(Some(if is_text { Message::Text(payload) } else { Message::Binary(payload) }))
    }
}

/// The text of a message.
pub(super) fn utf8(text: &Bytes) -> Result<&str, BadFrame> {
    str::from_utf8(text).map_err(|_| BadFrame::NotUtf8)
}

/// A close frame: nothing, or a code that may be sent and a reason.
fn closed(payload: Bytes) -> Result<Message, BadFrame> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload.is_empty() {
            true => Ok(Message::Close(payload)),
            false => Err(BadFrame::Protocol("the code of a close frame has two bytes")),
        };
    };
    if !matches!(u16::from_be_bytes(*code), 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(BadFrame::Protocol("the code of a close frame is one that may be sent"));
    }
    str::from_utf8(reason).map_err(|_| BadFrame::NotUtf8)?;
    Ok(Message::Close(payload))
}

/// Takes the mask off (RFC 6455, 5.3).
fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let mask = u128::from_ne_bytes([mask; 4].as_flattened().try_into().unwrap_or_default());
    let (chunks, rest) = payload.as_chunks_mut::<16>();
    for chunk in chunks {
        *chunk = (u128::from_ne_bytes(*chunk) ^ mask).to_ne_bytes();
    }
    rest.iter_mut().zip(mask.to_ne_bytes()).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 70_000;

    /// A frame of a client.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x11, 0x22, 0x44, 0x88];
        let length = payload.len();
        let mut frame = match length {
            0..=125 => vec![first, MASKED | length as u8],
            126..=0xffff => [&[first, MASKED | 126][..], &(length as u16).to_be_bytes()].concat(),
            _ => [&[first, MASKED | 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        frame
    }

    fn all(frames: &mut Frames, bytes: &mut BytesMut) -> Result<Vec<Message>, BadFrame> {
        std::iter::from_fn(|| frames.next(bytes).transpose()).collect()
    }

    fn read(stream: &[u8]) -> Result<Vec<Message>, BadFrame> {
        all(&mut Frames::new(MOST), &mut BytesMut::from(stream))
    }

    fn text(text: &str) -> Message {
        Message::Text(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn messages_come_out_whole_however_they_are_cut() {
        let long = "ü".repeat(33_000);
        let stream = [
            frame(0x81, b"one"),
            frame(0x01, "tw".as_bytes()),
            frame(0x89, b"ping"),
            frame(0x00, b""),
            frame(0x80, "o ü".as_bytes()),
            frame(0x82, &[0xff; 200]),
            frame(0x8a, b""),
            frame(0x81, long.as_bytes()),
            frame(0x88, &[0x03, 0xe8, b'b', b'y', b'e']),
        ]
        .concat();
        let wanted = vec![
            text("one"),
            Message::Ping(Bytes::from_static(b"ping")),
            text("two ü"),
            Message::Binary(Bytes::from_static(&[0xff; 200])),
            Message::Pong(Bytes::new()),
            text(&long),
            Message::Close(Bytes::from_static(b"\x03\xe8bye")),
        ];
        assert_eq!(read(&stream), Ok(wanted.clone()));
        for step in [1, 2, 3, 7, 100, 5_000] {
            let (mut frames, mut bytes, mut got) = (Frames::new(MOST), BytesMut::new(), Vec::new());
            for piece in stream.chunks(step) {
                bytes.extend_from_slice(piece);
                assert!(frames.wanted(&bytes) <= long.len() + HEADER_BYTES);
                got.extend(all(&mut frames, &mut bytes).expect("messages"));
            }
            assert_eq!(got, wanted, "{step} bytes at a time");
            assert!(frames.is_between_messages() && bytes.is_empty() && frames.held() == 0);
        }
    }

    #[test]
    fn what_the_rfc_forbids_is_an_error() {
        let unmasked = vec![0x81, 1, b'a'];
        let endless = [&[0x81, MASKED | 127][..], &[0xff; 8]].concat();
        let huge_control = [&[0x89, MASKED | 126][..], &126_u16.to_be_bytes()].concat();
        for (stream, says) in [
            (frame(0xc1, b"a"), "the reserved bits"),
            (frame(0x91, b"a"), "the reserved bits"),
            (unmasked, "masks its frames"),
            (frame(0x83, b"a"), "no such frame"),
            (frame(0x8b, b"a"), "no such frame"),
            (frame(0x09, b"a"), "one piece"),
            (huge_control, "one piece"),
            (frame(0x80, b"a"), "no message to go on with"),
            ([frame(0x01, b"a"), frame(0x81, b"b")].concat(), "is not complete"),
            (frame(0x88, b"a"), "has two bytes"),
            (frame(0x88, &1_005_u16.to_be_bytes()), "may be sent"),
            (frame(0x88, &999_u16.to_be_bytes()), "may be sent"),
            (frame(0x88, b"\x03\xe8\xff"), "must be UTF-8"),
            (endless, "may have 70000 bytes"),
            (frame(0x81, &[b'a'; MOST + 1]), "may have 70000 bytes"),
            ([frame(0x01, b""), frame(0x00, b"").repeat(PIECES)].concat(), "at most 4096 pieces"),
            ([frame(0x01, &[b'a'; MOST]), frame(0x80, b"a")].concat(), "may have 70000 bytes"),
        ] {
            let error = read(&stream).expect_err(says).to_string();
            assert!(error.contains(says), "{says:?} is not in {error:?}");
        }
        assert_eq!(read(&frame(0x81, &[b'a'; MOST])).expect("a message").len(), 1);
        // A ping between the pieces of a message that has all the bytes that it may have.
        let full = [frame(0x01, &[b'a'; MOST]), frame(0x89, b"ping"), frame(0x80, b"")].concat();
        assert_eq!(read(&full).expect("messages").len(), 2);
        let many =
            [frame(0x01, b""), frame(0x00, b"").repeat(PIECES - 2), frame(0x80, b"")].concat();
        assert_eq!(read(&many), Ok(vec![text("")]));
        // A character in two pieces.
        let pieces = [frame(0x01, &[0xc3]), frame(0x80, &[0xbc])].concat();
        assert_eq!(read(&pieces), Ok(vec![text("ü")]));
        assert_eq!(utf8(&Bytes::from_static(&[0xc3, b'a'])), Err(BadFrame::NotUtf8));
    }

    #[test]
    fn a_mask_comes_off_at_every_length() {
        for length in 0..70 {
            let payload: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            let masked = frame(0x82, &payload);
            assert_eq!(read(&masked), Ok(vec![Message::Binary(payload.into())]));
        }
    }
}

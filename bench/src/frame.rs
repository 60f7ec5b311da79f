//! The frames that the benchmarks send, and how receivers count entries without parsing.
//!
//! Enters: rooms and body lengths. Leaves: `append` frames. Invariant: each body contains exactly
//! one pair of [`MARK`]s, so a byte search counts the entries in anything that a server sends. (A
//! single mark would not do: 0x7E also starts the length of a frame of 126 bytes to 64 KiB. Two in
//! a length need a payload of 31.5 KiB.)

use std::fmt::Write;

use ulid::Ulid;

/// Bytes in a body, unless an option changes it.
pub(crate) const BODY: usize = 200;

/// The byte of which a body contains a pair.
pub(crate) const MARK: u8 = b'~';

/// A body of `len` bytes (at least 2), with one pair of marks.
pub(crate) fn body(len: usize) -> String {
    let mut body = String::from_iter([char::from(MARK); 2]);
    body.extend(std::iter::repeat_n('x', len.saturating_sub(2)));
    body
}

/// Entries in `bytes`.
pub(crate) fn count_entries(bytes: &[u8]) -> u64 {
    memchr::memmem::find_iter(bytes, &[MARK; 2]).count() as u64
}

/// An `append` with a new id; `body` must need no JSON escapes.
pub(crate) fn append_frame(room: &str, body: &str, req: Option<usize>) -> String {
    let id = Ulid::generate();
    let mut frame = format!(r#"{{"type":"append","room":"{room}","id":"{id}","body":"{body}""#);
    if let Some(req) = req {
        // Writing to a string cannot fail.
        let _ = write!(frame, r#","req":{req}"#);
    }
    frame.push('}');
    frame
}

#[cfg(test)]
mod tests {
    use roomlog_protocol::{ClientFrame, Limits, client};

    use super::*;

    #[test]
    fn frames_are_valid_appends() {
        let frame = append_frame("load-7", &body(BODY), Some(3));
        let parsed = client::parse(&frame, &Limits::default()).expect("an append");
        let ClientFrame::Append(append) = parsed else { panic!("not an append: {frame}") };
        assert_eq!(
            (append.room.as_str(), append.body.len(), append.req),
            ("load-7", BODY, Some(3))
        );
        assert_eq!(count_entries(frame.as_bytes()), 1);
    }
}

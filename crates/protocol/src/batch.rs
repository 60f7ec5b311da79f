//! The answer to a batch over HTTP, as its sender reads it.
//!
//! Enters: a line of the answer. Leaves: where the entry is, or the error. Invariant: what the sender has
//! already, the text above all, is passed over and costs no memory.

use serde::Deserialize;

use crate::{EntryId, ErrorFrame, Slot};

/// What became of a line of a batch: `entry` or `error`. An answer that refuses a whole request has the
/// same form, with `error`.
///
/// ```json
/// {"entry":{"slot":7,"author":"ada","id":"a-1","body":"hi","committed_at":5},"repeat":true}
/// {"error":{"code":"busy","message":"…","retry_after_ms":500}}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BatchLine {
    /// The entry that it is, when it was taken.
    #[serde(default)]
    pub entry: Option<Placed>,
    /// True when it was there already.
    #[serde(default)]
    pub repeat: Option<bool>,
    /// Why it was not taken, or is not known to be.
    #[serde(default)]
    pub error: Option<Box<ErrorFrame>>,
}

/// Where an entry is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Placed {
    /// Its place in the log.
    pub slot: Slot,
    /// The name that its author gave the append.
    pub id: EntryId,
    /// The journal's time, milliseconds since the epoch.
    pub committed_at: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    #[test]
    fn a_line_is_an_entry_or_an_error() {
        let json = r#"{"entry":{"slot":7,"author":"ada","id":"a-1","body":"hi","committed_at":5},"repeat":true}"#;
        let line: BatchLine = serde_json::from_str(json).expect("a line");
        let entry = line.entry.expect("an entry");
        assert_eq!((entry.slot, entry.committed_at, line.repeat), (7, 5, Some(true)));
        let json = r#"{"error":{"code":"busy","message":"wait","retry_after_ms":500}}"#;
        let line: BatchLine = serde_json::from_str(json).expect("a line");
        let error = line.error.expect("an error");
        assert_eq!((error.code, error.retry_after_ms), (ErrorCode::Busy, Some(500)));
    }
}

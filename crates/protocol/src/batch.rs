//! The answer to a batch over HTTP, as a client reads it. Members that the sender knows, such as
//! the body, are skipped and cost no memory.

use serde::Deserialize;

use crate::{EntryId, ErrorFrame, Slot};

/// The outcome of one line of a batch: `entry` or `error`. The refusal of a whole request has the
/// same form, with `error`.
///
/// ```json
/// {"entry":{"slot":7,"author":"ada","id":"a-1","body":"hi","committed_at":5},"repeat":true}
/// {"error":{"code":"busy","message":"…","retry_after_ms":500}}
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct BatchLine {
    /// The committed entry.
    #[serde(default)]
    pub entry: Option<Placed>,
    /// `Some(true)` if the entry was in the log already.
    #[serde(default)]
    pub repeat: Option<bool>,
    /// Why it was refused, or why its outcome is unknown.
    #[serde(default)]
    pub error: Option<Box<ErrorFrame>>,
}

/// The place of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Placed {
    /// Its slot.
    pub slot: Slot,
    /// The id of the append.
    pub id: EntryId,
    /// The journal's time, in ms since the Unix epoch.
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

//! Unsent messages, as rows above the composer.
//!
//! Invariant: each reason is above the messages that were refused for it, each message has its own
//! row, and those that do not fit are counted.

use ratatui::{
    style::{Color, Style},
    text::Line,
};
use roomlog_client::{AppendError, protocol::ClientAppend};

use crate::{app::Unsent, style::DIM, text};

const REASON_ROWS: usize = 3;
const REFUSED: Style = Style::new().fg(Color::Red);

/// At most `most` rows of this many columns: refused messages first, because they need a decision.
pub(crate) fn rows(late: &[&Unsent], columns: usize, most: usize) -> Vec<Line<'static>> {
    let mut rows = Vec::new();
    let mut refused: Vec<_> =
        late.iter().filter_map(|it| Some((reason(it.failed.as_ref()?), &it.append))).collect();
    // Stable: those with one reason keep their order.
    refused.sort_by(|(one, _), (other, _)| one.cmp(other));
    for group in refused.chunk_by(|(one, _), (other, _)| one == other) {
        let why = format!("✗ Not sent (/retry, /drop): {}", group[0].0);
        let why = text::few_rows(&why, columns, REASON_ROWS.min(most.div_ceil(2)));
        rows.extend(why.into_iter().map(|row| (row, REFUSED, false)));
        rows.extend(
            group.iter().map(|(_, append)| (format!("  {}", typed(append)), REFUSED, true)),
        );
    }
    let waiting = late.iter().filter(|it| it.failed.is_none());
    rows.extend(waiting.map(|it| (format!("… {}", typed(&it.append)), DIM, true)));
    if rows.len() > most {
        // The reason in the first row matters more than the count.
        let hidden = rows.split_off(most.saturating_sub(1).max(1));
        let texts = hidden.iter().filter(|(_, _, is_text)| *is_text).count();
        rows.push((format!("  and {texts} more"), DIM, false));
        rows.truncate(most);
    }
    let line = |(row, style, _): (String, _, _)| Line::styled(text::one_line(&row, columns), style);
    rows.into_iter().map(line).collect()
}

fn reason(error: &AppendError) -> String {
    match error {
        AppendError::NewLog => "the server has another log now".into(),
        other => other.to_string(),
    }
}

/// The room and the command: an edit and a reply may have the same text.
fn typed(append: &ClientAppend) -> String {
    let command = match (append.kind.as_str(), append.reference) {
        ("edit", Some(slot)) => format!("/edit {slot} "),
        ("reaction", Some(slot)) => format!("/react {slot} "),
        ("redact", Some(slot)) => format!("/remove {slot}"),
        ("action", None) => "/me ".into(),
        (_, Some(slot)) => format!("/reply {slot} "),
        (_, None) => String::new(),
    };
    format!("{}: {command}{}", append.room, append.body)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use roomlog_client::{
        draft,
        protocol::{Kind, RoomName},
    };

    use super::*;

    fn unsent(kind: &str, slot: Option<u64>, body: &str, failed: Option<AppendError>) -> Unsent {
        let mut append = draft(RoomName::new("general").expect("a name"), body);
        append.kind = Kind::new(kind).expect("a kind");
        append.reference = slot;
        Unsent { append, log: "a log".into(), since: Instant::now(), failed }
    }

    fn shown(unsent: &[Unsent], columns: usize, most: usize) -> Vec<String> {
        let late: Vec<_> = unsent.iter().collect();
        rows(&late, columns, most).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_reason_is_complete_and_messages_are_distinguishable() {
        let both = [
            unsent("edit", Some(8), "changed offline", Some(AppendError::NewLog)),
            unsent("text", Some(1), "changed offline", Some(AppendError::NewLog)),
        ];
        let texts = ["  general: /edit 8 changed offline", "  general: /reply 1 changed offline"];
        assert_eq!(
            shown(&both, 58, 6),
            ["✗ Not sent (/retry, /drop): the server has another log now", texts[0], texts[1]]
        );
        assert_eq!(
            shown(&both, 40, 5),
            ["✗ Not sent (/retry, /drop): the server", "has another log now", texts[0], texts[1]]
        );
    }

    #[test]
    fn messages_that_do_not_fit_are_counted_and_refused_ones_come_first() {
        let mut all: Vec<_> =
            (0..9).map(|number| unsent("text", None, &format!("waits {number}"), None)).collect();
        all.push(unsent("action", None, "waves", Some(AppendError::NewLog)));
        assert_eq!(
            shown(&all, 60, 4),
            [
                "✗ Not sent (/retry, /drop): the server has another log now",
                "  general: /me waves",
                "… general: waits 0",
                "  and 8 more",
            ]
        );
        assert_eq!(shown(&all[..1], 60, 1), ["… general: waits 0"]);
        assert_eq!(shown(&all[..2], 60, 1), ["… general: waits 0"]);
    }
}

//! The help: every key and command, in a box over the screen.
//!
//! Invariant: at every size all of it can be read, by scrolling if it does not fit.

use crossterm::event::KeyCode;
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, Clear, Padding, Paragraph},
};

use crate::{style::BOLD, text};

const KEYS: &[(&str, &str)] = &[
    ("Enter", "send; Alt-Enter or Ctrl-J insert a new line"),
    ("Tab", "complete a name, a command, or the room of /join"),
    ("Up, Down", "recall what you typed before"),
    ("PageUp, PageDown", "scroll; with Ctrl, or Alt-Up and Alt-Down, by a row"),
    ("Alt-Home, Esc", "go to the first message, jump to the latest"),
    ("Ctrl-P, Ctrl-N", "the previous room, the next room"),
    ("Alt-A", "the next room with unread messages"),
    ("Ctrl-L, Ctrl-Z", "redraw, suspend"),
];

pub(crate) const COMMANDS: &[(&str, &str)] = &[
    ("/join ROOM", "open or create a room"),
    ("/goto SLOT", "go to a message by its number, and select it"),
    ("/reply SLOT TEXT", "reply to a message"),
    ("/react SLOT EMOJI", "react (no EMOJI: withdraw; no SLOT: the selected one)"),
    ("/edit SLOT TEXT", "edit your message; /edit alone: your last one"),
    ("/remove SLOT", "remove a message, and your edits of it, for everyone"),
    ("/me TEXT", "send an action, such as /me waves"),
    ("/show SLOT", "expand or collapse a long message"),
    ("/retry", "resend refused messages"),
    ("/drop", "discard refused messages"),
    ("/help", "show this help, as F1 does"),
    ("/quit", "quit, as Ctrl-C does"),
    ("//TEXT", "send a message that begins with /"),
];

/// The columns of the widest box.
const WIDTH: u16 = 76;
/// The columns of the border and the padding.
const FRAME: u16 = 4;
/// The columns of the names, if all explanations fit next to them.
const NAMES: usize = 18;
/// The indent of continued rows, if they do not.
const INDENT: &str = "  ";

#[derive(Default)]
pub(crate) struct Help {
    top: usize,
    height: usize,
}

impl Help {
    /// Handles a key; returns whether it closes the help.
    pub(crate) fn key(&mut self, key: KeyCode) -> bool {
        // One row stays in view.
        let page = self.height.saturating_sub(1).max(1);
        self.top = match key {
            KeyCode::Esc | KeyCode::F(1) | KeyCode::Char('q') => return true,
            KeyCode::Down => self.top.saturating_add(1),
            KeyCode::Up => self.top.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => self.top.saturating_add(page),
            KeyCode::PageUp => self.top.saturating_sub(page),
            KeyCode::Home => 0,
            // Drawing clamps it.
            KeyCode::End => usize::MAX,
            _ => self.top,
        };
        false
    }

    pub(crate) fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let width = WIDTH.min(area.width);
        let rows = rows(width.saturating_sub(FRAME).into());
        let height = u16::try_from(rows.len() + 2).unwrap_or(u16::MAX).min(area.height);
        self.height = usize::from(height.saturating_sub(2));
        self.top = self.top.min(rows.len().saturating_sub(self.height));
        let below = rows.len() - (self.top + self.height).min(rows.len());
        let block = Block::bordered()
            .title(" Help · Esc: close ")
            .title_bottom(more(self.top, below))
            .padding(Padding::horizontal(1));
        let box_ = Rect::new((area.width - width) / 2, (area.height - height) / 2, width, height);
        let shown: Vec<_> = rows.into_iter().skip(self.top).take(self.height).collect();
        frame.render_widget(Clear, box_);
        frame.render_widget(Paragraph::new(shown).block(block), box_);
    }
}

/// How many rows are hidden, and the keys that scroll to them.
fn more(above: usize, below: usize) -> String {
    match (above, below) {
        (0, 0) => String::new(),
        (above, 0) => format!(" ▲ {above} more · Up, PageUp "),
        (_, below) => format!(" ▼ {below} more · Down, PageDown "),
    }
}

/// The complete help in this many columns.
fn rows(columns: usize) -> Vec<Line<'static>> {
    let is_table =
        KEYS.iter().chain(COMMANDS).all(|(_, does)| NAMES + text::width(does) <= columns);
    let row = |(what, does): &(&'static str, &'static str)| match is_table {
        true => {
            vec![Line::from(vec![Span::styled(format!("{what:<NAMES$}"), BOLD), (*does).into()])]
        }
        false => run_on(what, does, columns),
    };
    let keys = KEYS.iter().flat_map(row);
    keys.chain([Line::default()]).chain(COMMANDS.iter().flat_map(row)).collect()
}

fn run_on(what: &str, does: &str, columns: usize) -> Vec<Line<'static>> {
    let wrapped = text::wrap(&format!("{what}  {does}"), columns.saturating_sub(INDENT.len()));
    let row = |(number, row): (usize, String)| match row.strip_prefix(what) {
        Some(rest) if number == 0 => {
            Line::from(vec![Span::styled(what.to_owned(), BOLD), Span::raw(rest.to_owned())])
        }
        _ if number == 0 => Line::styled(row, BOLD),
        _ => Line::from(format!("{INDENT}{row}")),
    };
    wrapped.into_iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ratatui::{Terminal, backend::TestBackend};

    use super::*;

    fn screen(help: &mut Help, (columns, rows): (u16, u16)) -> String {
        let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a terminal");
        terminal.draw(|frame| help.draw(frame)).expect("a drawing");
        terminal.backend().to_string()
    }

    /// The words of every page, from the first to the last.
    fn words_of_all_pages(size: (u16, u16)) -> BTreeSet<String> {
        let mut help = Help::default();
        let mut words = BTreeSet::new();
        loop {
            let page = screen(&mut help, size);
            words.extend(page.split(|c: char| " │\"\n".contains(c)).map(str::to_owned));
            if !page.contains("▼") {
                return words;
            }
            assert!(!help.key(KeyCode::PageDown));
        }
    }

    #[test]
    fn every_word_can_be_read_at_every_usual_size() {
        for size in [(40, 15), (80, 24), (60, 10), (30, 8), (200, 50)] {
            let words = words_of_all_pages(size);
            for (what, does) in KEYS.iter().chain(COMMANDS) {
                for word in what.split(' ').chain(does.split(' ')) {
                    assert!(words.contains(word), "{word} is missing at {size:?}");
                }
            }
        }
    }

    #[test]
    fn it_scrolls_by_rows_and_pages_and_counts_hidden_rows() {
        let mut help = Help::default();
        let first = screen(&mut help, (40, 15));
        assert!(first.contains("Help · Esc: close") && first.contains("Down, PageDown"), "{first}");
        help.key(KeyCode::Down);
        let second = screen(&mut help, (40, 15));
        assert_ne!(first, second);
        help.key(KeyCode::End);
        let last = screen(&mut help, (40, 15));
        assert!(last.contains("//TEXT") && last.contains("Up, PageUp"), "{last}");
        help.key(KeyCode::Home);
        assert_eq!(screen(&mut help, (40, 15)), first);
        assert!(!screen(&mut help, (80, 24)).contains("more"), "all of it fits");
        for key in [KeyCode::Esc, KeyCode::F(1), KeyCode::Char('q')] {
            assert!(help.key(key));
        }
    }
}

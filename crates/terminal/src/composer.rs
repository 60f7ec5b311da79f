//! The text input and its history.
//!
//! Invariant: no key and no paste loses a text; a cleared one is in the history.

use std::collections::VecDeque;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::{
    Frame,
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
    widgets::Widget,
};
use ratatui_textarea::{CursorMove, TextArea, WrapMode};

use crate::{
    limits::{COMPOSER_ROWS, MAX_CHOICES, MAX_HISTORY},
    style::DIM,
};

pub(crate) struct Composer {
    text: TextArea<'static>,
    history: VecDeque<String>,
    /// The recalled text's place in the history, and the draft that it replaced.
    recalled: Option<(usize, String)>,
}

impl Composer {
    pub(crate) fn new() -> Self {
        Self { text: area(""), history: VecDeque::new(), recalled: None }
    }

    pub(crate) fn text(&self) -> String {
        self.text.lines().join("\n")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    pub(crate) fn set(&mut self, text: &str) {
        self.text = area(text);
        self.recalled = None;
    }

    /// Takes the draft, even if a recalled text is in its place.
    pub(crate) fn take(&mut self) -> String {
        self.keep_edited();
        let draft = self.recalled.take().map_or_else(|| self.text(), |(_, draft)| draft);
        self.set("");
        draft
    }

    /// Moves the text to the history.
    pub(crate) fn move_to_history(&mut self) {
        let text = self.text();
        self.set("");
        if !text.trim().is_empty() && self.history.back() != Some(&text) {
            self.history.push_back(text);
            let surplus = self.history.len().saturating_sub(MAX_HISTORY);
            self.history.drain(..surplus);
        }
    }

    pub(crate) fn key(&mut self, key: KeyEvent) {
        let (control, rows) =
            (key.modifiers.contains(KeyModifiers::CONTROL), self.text.lines().len());
        match key.code {
            KeyCode::Enter => self.text.insert_newline(),
            KeyCode::Char('j') if control => self.text.insert_newline(),
            KeyCode::Char('u') if control => {
                self.text.delete_line_by_head();
            }
            KeyCode::Up if self.text.screen_cursor().row == 0 => self.recall(false),
            KeyCode::Down if self.text.cursor().0 + 1 == rows && self.is_on_last_row() => {
                self.recall(true);
            }
            KeyCode::Left | KeyCode::Right if control => {
                let forward = key.code == KeyCode::Right;
                let by = if forward { CursorMove::WordForward } else { CursorMove::WordBack };
                self.text.move_cursor(by);
            }
            _ => {
                self.text.input(key);
            }
        }
    }

    /// Inserts a paste at the cursor, without control characters except tabs and line ends.
    pub(crate) fn paste(&mut self, text: &str) {
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let plain = text.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control());
        self.text.insert_str(plain.collect::<String>());
    }

    /// The text before the cursor in the first row; empty in other rows, which hold no command.
    pub(crate) fn before_cursor(&self) -> String {
        let cursor = self.text.cursor();
        match cursor.0 {
            0 => self.text.lines()[0].chars().take(cursor.1).collect(),
            _ => String::new(),
        }
    }

    /// Completes `begun` to the common prefix of all matching names, and adds a space if there is
    /// only one. Returns the choices, or that there are none.
    pub(crate) fn complete_one<'a>(
        &mut self,
        begun: &str,
        names: impl Iterator<Item = &'a str>,
    ) -> Option<String> {
        let fits: Vec<_> = names.filter(|name| name.starts_with(begun)).collect();
        let Some(first) = fits.first() else {
            return Some(format!("Nothing begins with \"{begun}\"."));
        };
        let common = |all: &str, name: &str| {
            let same = all.chars().zip(name.chars()).take_while(|(a, b)| a == b);
            same.map(|(a, _)| a.len_utf8()).sum()
        };
        let end = fits.iter().fold(first.len(), |end, name| common(&first[..end], name));
        self.text.insert_str(&first[begun.len()..end]);
        match fits.len() {
            1 => {
                self.text.insert_str(" ");
                None
            }
            count if count > MAX_CHOICES => Some(format!(
                "{}  and {} more",
                fits[..MAX_CHOICES].join("  "),
                count - MAX_CHOICES
            )),
            _ => Some(fits.join("  ")),
        }
    }

    /// Completes the word before the cursor to the first matching name. The first word of a text
    /// gets a colon, as on IRC.
    pub(crate) fn complete(&mut self, mut names: impl Iterator<Item = String>) {
        let cursor = self.text.cursor();
        let (row, column) = (cursor.0, cursor.1);
        let before: String = self.text.lines()[row].chars().take(column).collect();
        let begun = before.rsplit(char::is_whitespace).next().unwrap_or_default();
        if begun.is_empty() {
            return;
        }
        let lower = begun.to_lowercase();
        let Some(name) = names.find(|name| name.to_lowercase().starts_with(&lower)) else { return };
        self.text.move_cursor(CursorMove::Jump(
            u16::try_from(row).unwrap_or(u16::MAX),
            u16::try_from(column - begun.chars().count()).unwrap_or(u16::MAX),
        ));
        self.text.delete_str(begun.chars().count());
        let is_first = row == 0 && before == begun;
        self.text.insert_str(format!("{name}{}", if is_first { ": " } else { " " }));
    }

    pub(crate) fn rows(&self, width: u16) -> u16 {
        u16::try_from(self.all_rows(width)).unwrap_or(u16::MAX).clamp(1, COMPOSER_ROWS)
    }

    pub(crate) fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, placeholder: String) {
        self.text.set_placeholder_text(placeholder);
        frame.render_widget(&self.text, area);
        let (top, left) = self.text.scroll_offset();
        let cursor = self.text.screen_cursor();
        let offset =
            |at: usize, scrolled: u16| u16::try_from(at).unwrap_or(0).saturating_sub(scrolled);
        frame.set_cursor_position(Position {
            x: (area.x + offset(cursor.col, left)).min(area.right().saturating_sub(1)),
            y: (area.y + offset(cursor.row, top)).min(area.bottom().saturating_sub(1)),
        });
    }

    fn is_on_last_row(&self) -> bool {
        self.text.screen_cursor().row == last_row(self.text.clone())
    }

    fn all_rows(&self, width: u16) -> usize {
        let text = self.text.clone();
        // It wraps at the width of the last drawing.
        let area = Rect::new(0, 0, width.max(1), 1);
        Widget::render(&text, area, &mut Buffer::empty(area));
        last_row(text) + 1
    }

    fn recall(&mut self, forward: bool) {
        let newest = self.history.len();
        let at = self.recalled.as_ref().map_or(newest, |(at, _)| *at);
        let to = if forward { at + 1 } else { at.saturating_sub(1) };
        if to == at || to > newest {
            return;
        }
        let draft = self.take();
        match self.history.get(to).cloned() {
            Some(text) => {
                self.set(&text);
                self.recalled = Some((to, draft));
            }
            None => self.set(&draft),
        }
    }

    /// Saves an edited recalled text to its place in the history.
    fn keep_edited(&mut self) {
        let text = self.text();
        if let Some((at, _)) = &self.recalled
            && let Some(kept) = self.history.get_mut(*at)
            && !text.trim().is_empty()
        {
            *kept = text;
        }
    }
}

fn last_row(mut text: TextArea<'_>) -> usize {
    text.move_cursor(CursorMove::Bottom);
    text.move_cursor(CursorMove::End);
    text.screen_cursor().row
}

fn area(text: &str) -> TextArea<'static> {
    let mut area = TextArea::from(text.split('\n'));
    area.set_wrap_mode(WrapMode::WordOrGlyph);
    area.set_cursor_line_style(Style::new());
    // The terminal draws its own cursor there, for its shape and for input methods.
    area.set_cursor_style(Style::new());
    area.set_placeholder_style(DIM);
    area.move_cursor(CursorMove::Bottom);
    area.move_cursor(CursorMove::End);
    area
}

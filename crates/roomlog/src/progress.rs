//! Progress bars on standard error, if that is a terminal.
//!
//! Bars are drawn through [`stderr`], so that they stay in order with other lines and drawing never
//! blocks.

use std::{
    io::{self, IsTerminal},
    sync::{Mutex, MutexGuard, PoisonError},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use rustix::termios::tcgetwinsize;

use crate::stderr;

const FRAMES: u8 = 10;

pub(crate) fn bar(of: u64, template: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::term_like_with_hz(Box::new(BarTerminal::default()), FRAMES)
    } else {
        ProgressDrawTarget::hidden()
    };
    ProgressBar::with_draw_target(Some(of), target).with_style(style)
}

/// What was drawn since the last flush.
#[derive(Debug, Default)]
struct BarTerminal(Mutex<String>);

impl BarTerminal {
    fn text(&self) -> MutexGuard<'_, String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, what: &str) -> io::Result<()> {
        self.text().push_str(what);
        Ok(())
    }

    fn push_move(&self, n: usize, direction: char) -> io::Result<()> {
        if n == 0 { Ok(()) } else { self.push(&format!("\u{1b}[{n}{direction}")) }
    }
}

impl TermLike for BarTerminal {
    fn width(&self) -> u16 {
        tcgetwinsize(rustix::stdio::stderr()).map_or(80, |size| size.ws_col)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.push_move(n, 'A')
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.push_move(n, 'B')
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.push_move(n, 'C')
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.push_move(n, 'D')
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.push(line)?;
        self.push("\n")
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.push(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.push("\r\u{1b}[2K")
    }

    fn flush(&self) -> io::Result<()> {
        let drawn = std::mem::take(&mut *self.text());
        if !drawn.is_empty() {
            stderr::push(drawn);
        }
        Ok(())
    }
}

//! What was recorded of a run: frames, and every node's log. As text, a line each:
//!
//! ```text
//! 7 > {"type":"login","author":"ada"}     sent over connection 7
//! 7 < {"type":"welcome","author":"ada"}   received over it
//! 7 .                                     it ended, as its client knows
//! node-0 = {"type":"reply",…}             of that node's complete log, after the run
//! ```
//!
//! Enters: lines. Leaves: a [`History`], or which line is wrong. Lines are in the order of one clock: a
//! frame is recorded before it is sent and after it is received.

use std::{
    fmt,
    io::{self, BufRead, Write},
};

/// The record of a run.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The frames of all connections, in the order of one clock.
    pub frames: Vec<Frame>,
    /// Every node's log at the end.
    pub logs: Vec<NodeLog>,
}

/// A node's complete log.
#[derive(Debug, Clone, Default)]
pub struct NodeLog {
    /// The node's name in the report.
    pub node: String,
    /// `reply` frames that cover all its rooms from slot 0, each room's in slot order.
    pub replies: Vec<String>,
}

/// Which way a frame went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the server.
    Sent,
    /// From the server.
    Received,
    /// None: the connection ended.
    Ended,
}

/// A frame as sent over the wire.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The number of its connection, never reused.
    pub connection: u64,
    /// Which way it went.
    pub direction: Direction,
    /// Its JSON; empty for the end of a connection.
    pub text: String,
}

/// Why a text is no history.
#[derive(Debug)]
pub enum HistoryError {
    /// It cannot be read.
    Unreadable(io::Error),
    /// A line, counted from 1, has another form.
    Line(usize),
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(why) => write!(f, "it cannot be read: {why}"),
            Self::Line(number) => write!(
                f,
                "line {number} is none of \"N > FRAME\", \"N < FRAME\", \"N .\" and \"NODE = REPLY\", where N \
                 is the number of a connection"
            ),
        }
    }
}

impl std::error::Error for HistoryError {}

impl History {
    /// Reads a history. Empty lines are skipped.
    ///
    /// # Errors
    /// [`HistoryError::Unreadable`] from the reader, which includes text that is not UTF-8;
    /// [`HistoryError::Line`] for the first line of another form.
    pub fn read(text: impl BufRead) -> Result<Self, HistoryError> {
        let mut history = Self::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.map_err(HistoryError::Unreadable)?;
            history.line(line.trim_end()).ok_or(HistoryError::Line(at + 1))?;
        }
        Ok(history)
    }

    /// Takes a line; `None` if it has another form.
    fn line(&mut self, line: &str) -> Option<()> {
        if line.is_empty() {
            return Some(());
        }
        let (who, rest) = line.split_once(' ')?;
        let (sign, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let direction = match sign {
            "=" => {
                match self.logs.iter_mut().find(|log| log.node == who) {
                    Some(log) => log.replies.push(text.into()),
                    None => {
                        self.logs.push(NodeLog { node: who.into(), replies: vec![text.into()] });
                    }
                }
                return Some(());
            }
            ">" => Direction::Sent,
            "<" => Direction::Received,
            "." if text.is_empty() => Direction::Ended,
            _ => return None,
        };
        self.frames.push(Frame { connection: who.parse().ok()?, direction, text: text.into() });
        Some(())
    }

    /// Writes it as [`History::read`] reads it.
    ///
    /// # Errors
    /// The writer's.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        // Between the members of a frame a line feed is white space, and nowhere else.
        let on_one_line = |text: &str| text.replace(['\n', '\r'], " ");
        for Frame { connection, direction, text } in &self.frames {
            match direction {
                Direction::Sent => writeln!(to, "{connection} > {}", on_one_line(text))?,
                Direction::Received => writeln!(to, "{connection} < {}", on_one_line(text))?,
                Direction::Ended => writeln!(to, "{connection} .")?,
            }
        }
        for NodeLog { node, replies } in &self.logs {
            for reply in replies {
                writeln!(to, "{} = {}", node.replace(' ', "-"), on_one_line(reply))?;
            }
        }
        Ok(())
    }
}

//! The form of what `serve` writes on standard error: lines for people, or JSON for what collects logs.
//!
//! Enters: a level and a message. Leaves: a line. Invariant: in JSON every line is one object with
//! `timestamp`, `level`, `message` and `target`, as those of `tracing` are.

use std::{
    fmt::{self, Display},
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
};

use roomlog_terminal::text;
use serde::{Deserialize, Serialize};
use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime, SystemTime},
};

use crate::json_text::write_escaped;

/// Set once, when `serve` knows its settings.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// The setting `log_format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(typed: &str) -> Result<Self, Self::Err> {
        match typed {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("write `text` or `json`"),
        }
    }
}

impl LogFormat {
    /// From now on lines have this form.
    pub(crate) fn apply(self) {
        IS_JSON.store(self == Self::Json, Ordering::Relaxed);
    }

    pub(crate) fn current() -> Self {
        if IS_JSON.load(Ordering::Relaxed) { Self::Json } else { Self::Text }
    }
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Warn,
    Error,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// A message of the program as a line. Text of others in it cannot control the terminal.
pub(crate) fn line(level: Level, what: impl Display) -> String {
    let what = what.to_string();
    match LogFormat::current() {
        LogFormat::Text if level == Level::Warn => {
            format!("roomlog: warning: {}", text::printed(&what))
        }
        LogFormat::Text => format!("roomlog: {}", text::printed(&what)),
        LogFormat::Json => json(level, &what),
    }
}

fn json(level: Level, what: &str) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        timestamp: &'a str,
        level: &'static str,
        message: &'a str,
        target: &'static str,
    }
    let mut now = String::new();
    let _a_string_takes_it: fmt::Result = SystemTime.format_time(&mut Writer::new(&mut now));
    let line = Line { timestamp: &now, level: level.name(), message: what, target: "roomlog" };
    safe(&serde_json::to_string(&line).unwrap_or_default())
}

/// A line of JSON, safe for a terminal.
pub(crate) fn safe(json: &str) -> String {
    let mut line = Vec::with_capacity(json.len());
    // A vector takes all of it.
    let _never_fails = write_escaped(&mut line, json);
    String::from_utf8(line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_in_json_is_one_object_on_one_line() {
        let line = json(Level::Warn, "a \"room\"\n\u{9b}2J\u{202e}");
        assert!(!line.contains('\n') && !line.contains('\u{9b}') && !line.contains('\u{202e}'));
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read["message"], "a \"room\"\n\u{9b}2J\u{202e}");
        assert_eq!((&read["level"], &read["target"]), (&"WARN".into(), &"roomlog".into()));
        let time = read["timestamp"].as_str().expect("a time");
        assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    }
}

//! What a file is.
//!
//! Enters: a file, and the format that was named, if any. Leaves: its one format, and with what it begins. Invariant: an
//! import is for ever, so what is not certain is refused, with what there is to choose from: a format is certain when
//! most of the first lines have its form, and none has another's.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use jiff::civil::{Date, DateTime};

use super::{
    Reading, irc, irssi, jsonl,
    lines::{self, End},
    open::open,
    shape::Shape,
    slack::export,
    weechat,
};
use crate::{cli::Format, failure::Failure};

/// How much of a file is looked at.
const HEAD_BYTES: u64 = 1 << 18;
const HEAD_LINES: usize = 200;

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// The IRC log of a day.
    Irc(Date),
    /// A log of irssi, and the date of its name.
    Irssi(Option<Date>),
    Weechat,
    /// JSON, one entry a line.
    Jsonl,
    /// A day of a channel, in the export that begins in this directory.
    Slack(PathBuf),
    /// A channel of this id.
    Discord(String),
    /// A chat of this id.
    Telegram(String),
}

impl Content {
    /// Its name, as `--format` takes it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Irc(_) => "irc",
            Self::Irssi(_) => "irssi",
            Self::Weechat => "weechat",
            Self::Jsonl => "jsonl",
            Self::Slack(_) => "slack",
            Self::Discord(_) => "discord",
            Self::Telegram(_) => "telegram",
        }
    }
}

/// Programs whose logs are not read, by what these begin with.
const UNREAD: &[(&str, &str)] = &[
    ("Session Start: ", "mIRC"),
    ("Session Ident: ", "mIRC"),
    ("**** BEGIN LOGGING AT ", "HexChat"),
];

/// The first lines of a file that are not blank, each with its number.
type Head = Vec<(usize, String)>;

/// Recognises a file: its content, and the time that it begins with where its lines have one.
pub(super) fn recognise(
    path: &Path,
    format: Format,
    reading: &Reading,
) -> Result<(Content, Option<DateTime>), Failure> {
    let head = head(path, reading)?;
    let content = match format {
        Format::Auto => auto(path, &head, reading)?,
        Format::Irc => Content::Irc(date(path, &head)?),
        Format::Irssi => irssi_with_day(path, &head)?,
        Format::Weechat => Content::Weechat,
        Format::Jsonl => Content::Jsonl,
        Format::Slack | Format::Discord | Format::Telegram => document(path, format, reading)?,
    };
    let begins = |of: fn(&str) -> Option<DateTime>| head.iter().find_map(|(_, line)| of(line));
    let begins = match content {
        Content::Irc(date) => Some(date.at(0, 0, 0, 0)),
        Content::Irssi(date) => begins(irssi::begins).or(date.map(|date| date.at(0, 0, 0, 0))),
        Content::Weechat => begins(weechat::begins),
        _ => None,
    };
    Ok((content, begins))
}

fn refused(path: &Path, why: &str) -> Failure {
    Failure::said(format!("cannot tell what {} is: {why}", path.display()))
}

fn head(path: &Path, reading: &Reading) -> Result<Head, Failure> {
    let failed = |why: io::Error| Failure::file(path, why);
    let text = open(path, reading.encoding, &Arc::new(AtomicU64::new(0)))?;
    let (mut text, mut line, mut head) = (text.take(HEAD_BYTES), Vec::new(), Head::new());
    for number in 1.. {
        if head.len() == HEAD_LINES {
            break;
        }
        let Some(end) = lines::next(&mut text, &mut line).map_err(failed)? else { break };
        if line.contains(&0) {
            let why = "it is not text; UTF-16 without a byte order mark is named, as by --encoding utf-16le";
            return Err(refused(path, why));
        }
        let (text, _) = lines::text(&line, reading.encoding);
        // A part of a line says nothing, but for JSON, which may be one line.
        if !text.trim().is_empty() && (end == End::Newline || is_json(&text)) {
            head.push((number, text.into_owned()));
        }
    }
    Ok(head)
}

fn auto(path: &Path, head: &Head, reading: &Reading) -> Result<Content, Failure> {
    let Some((_, first)) = head.first() else { return empty(path) };
    if let Some((number, whose)) = unread(head) {
        let why = format!("line {number} looks like one of {whose}, whose logs are not read");
        return Err(refused(path, &why));
    }
    let count = |fits: fn(&str) -> bool| head.iter().filter(|(_, line)| fits(line)).count();
    let counts = [
        (Format::Irc, count(irc::fits), irc::fits as fn(&str) -> bool),
        (Format::Irssi, count(irssi::fits), irssi::fits),
        (Format::Weechat, count(weechat::fits), weechat::fits),
        (Format::Jsonl, count(jsonl::fits), jsonl::fits),
    ];
    let found: Vec<_> = counts.iter().filter(|(_, count, _)| *count > 0).collect();
    match found[..] {
        [] => {
            if is_json(first) {
                return document(path, Format::Auto, reading);
            }
            let (number, _) = head[0];
            Err(refused(
                path,
                &format!(
                    "line {number} has the form of no format that is read. An IRC log is named by its date \
                 (2015-12-24.log) and has lines as [10:59] <nick> text; `roomlog import --help` lists the others"
                ),
            ))
        }
        [(format, count, _)] if count * 2 >= head.len() => match format {
            Format::Irc => Ok(Content::Irc(date(path, head)?)),
            Format::Irssi => irssi_with_day(path, head),
            Format::Weechat => Ok(Content::Weechat),
            _ => Ok(Content::Jsonl),
        },
        [(format, count, fits)] => {
            let other = head.iter().find(|(_, line)| !fits(line)).map_or(0, |(number, _)| *number);
            Err(refused(
                path,
                &format!(
                    "{count} of its first {} lines are {}, and line {other} is the first that is not. Choose with --format",
                    head.len(),
                    name(*format)
                ),
            ))
        }
        _ => {
            let names: Vec<_> = found.iter().map(|(format, ..)| name(*format)).collect();
            Err(refused(
                path,
                &format!(
                    "it has lines of {}. Choose one with --format; lines of the others are then refused",
                    names.join(" and ")
                ),
            ))
        }
    }
}

/// Whether JSON of a kind that is read may begin so. A time in brackets does not.
fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    let behind = text.strip_prefix('[').map(str::trim_start);
    text.starts_with('{') || behind.is_some_and(|it| it.is_empty() || it.starts_with(['{', ']']))
}

/// The first line of a program whose logs are not read, and the program.
fn unread(head: &Head) -> Option<(usize, &'static str)> {
    head.iter().find_map(|(number, line)| {
        let mark = UNREAD.iter().find(|(mark, _)| line.starts_with(mark)).map(|(_, whose)| *whose);
        mark.or(irc::is_of_mirc(line).then_some("mIRC")).map(|whose| (*number, whose))
    })
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Irc => "irc",
        Format::Irssi => "irssi",
        Format::Weechat => "weechat",
        _ => "jsonl",
    }
}

/// A file without a whole line: there is nothing in it that could be taken for something else.
fn empty(path: &Path) -> Result<Content, Failure> {
    match dated(path) {
        Some(date) => Ok(Content::Irc(date)),
        None => Ok(Content::Jsonl),
    }
}

fn irssi_with_day(path: &Path, head: &Head) -> Result<Content, Failure> {
    let date = dated(path);
    let says = head.first().is_none_or(|(_, line)| irssi::begins(line).is_some());
    if says || date.is_some() {
        return Ok(Content::Irssi(date));
    }
    let why = "it is a part of an irssi log: no line before its first says which day it is. Begin it with a line \
               such as --- Log opened Sun Mar 08 10:58:59 2020, or name it by its date";
    Err(refused(path, why))
}

/// The date of an IRC log: that of its name, or of an eggdrop's mark at its beginning.
fn date(path: &Path, head: &Head) -> Result<Date, Failure> {
    let marked = || head.first().and_then(|(_, line)| irc::day(line));
    dated(path).or_else(marked).ok_or_else(|| {
        refused(
            path,
            "an IRC log is named by its date, as 2015-12-24, 2015-12-24.log or tea_20151224.log",
        )
    })
}

/// The one date that stands in a file's name.
fn dated(path: &Path) -> Option<Date> {
    let name = path.file_name()?.to_str()?;
    let mut dates = name.split(|c: char| !c.is_ascii_digit() && c != '-').filter_map(|part| {
        let part = part.trim_matches('-');
        let (bytes, dash) = (part.as_bytes(), |at: usize| part.as_bytes().get(at) == Some(&b'-'));
        let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count() == 8;
        let form = (bytes.len() == 8) || (bytes.len() == 10 && dash(4) && dash(7));
        (digits && form).then(|| part.parse::<Date>().ok()).flatten()
    });
    let date = dates.next()?;
    dates.next().is_none().then_some(date)
}

/// What a JSON document is.
fn document(path: &Path, format: Format, reading: &Reading) -> Result<Content, Failure> {
    let shape = Shape::of(open(path, reading.encoding, &Arc::new(AtomicU64::new(0)))?);
    let named = format != Format::Auto;
    // A day on which nothing was said is an empty list, and says what it is by where it lies.
    let says = named || shape.has_message() || export::root(directory_of(path)).is_some();
    let slack = shape.is_list && says && shape.first_has(&["ts", "type"]);
    let discord = shape.has(&["guild", "channel", "messages"])
        && shape.first_has(&["id", "timestamp", "author"]);
    let telegram = shape.has(&["type", "messages"])
        && !shape.has(&["guild"])
        && shape.first_has(&["id", "type", "date"]);
    match format {
        Format::Auto | Format::Slack if slack => slack_day(path),
        Format::Auto | Format::Discord if discord => Ok(Content::Discord(shape.of_chat())),
        Format::Auto | Format::Telegram if telegram => Ok(Content::Telegram(shape.of_chat())),
        _ if shape.has(&["chats"]) => Err(refused(
            path,
            "it looks like an export of all chats of Telegram; export one chat, by its own menu",
        )),
        _ => Err(refused(
            path,
            &format!(
                "it is JSON, but neither one entry a line, as `roomlog export` writes it, nor a day of Slack, an export of \
             DiscordChatExporter or a chat of Telegram{}",
                if shape.is_list {
                    " (it is a list)".into()
                } else {
                    format!(" (it has the members {})", shape.names())
                }
            ),
        )),
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn slack_day(path: &Path) -> Result<Content, Failure> {
    export::root(directory_of(path)).map(Content::Slack).ok_or_else(|| {
        refused(
            path,
            "it looks like a day of a Slack export, but users.json and channels.json, which have the names, are not \
             in its directory or the one above",
        )
    })
}

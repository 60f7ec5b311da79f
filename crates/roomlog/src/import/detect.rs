//! Detects the format of a file.
//!
//! Input: a file, and the format that was named, if any. Output: its content, and the time it
//! begins at. An import cannot be undone, so an ambiguous file is rejected with the formats to
//! choose from: a format is certain if most of the first lines have it and no line has another one.

use std::{
    fmt::Display,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::civil::{Date, DateTime};

use super::{
    document::Shape,
    format::Format,
    irc, irssi,
    item::Reading,
    jsonl,
    lines::{self, End},
    open::open,
    slack::export,
    weechat,
};
use crate::failure::Failure;

const HEAD_BYTES: u64 = 1 << 18;
const HEAD_LINES: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// The IRC log of a day.
    Irc(Date),
    /// A log of irssi, and the date in its name.
    Irssi(Option<Date>),
    Weechat,
    Jsonl,
    /// A day of a channel, in the export with this root.
    Slack(PathBuf),
    Discord(String),
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

type Fits = fn(&str) -> bool;

/// The formats that are detected by their lines.
const LINE_FORMATS: [(&str, Format, Fits); 4] = [
    ("irc", Format::Irc, |line| irc::parse(line).is_ok()),
    ("irssi", Format::Irssi, |line| irssi::parse(line).is_ok()),
    ("weechat", Format::Weechat, |line| weechat::parse(line).is_ok()),
    ("jsonl", Format::Jsonl, jsonl::fits),
];

/// Programs whose logs are not supported, by how these begin.
const UNSUPPORTED: &[(&str, &str)] = &[
    ("Session Start: ", "mIRC"),
    ("Session Ident: ", "mIRC"),
    ("**** BEGIN LOGGING AT ", "HexChat"),
];

/// The first lines of a file that are not blank, with their numbers.
type Sample = Vec<(usize, String)>;

/// The content of a file, and the time it begins at if its format has one.
pub(super) fn detect(
    path: &Path,
    format: Format,
    reading: &Reading,
) -> Result<(Content, Option<DateTime>), Failure> {
    let sample = sample(path, reading)?;
    let content = match format {
        Format::Auto => auto(path, &sample, reading)?,
        Format::Slack | Format::Discord | Format::Telegram => document(path, format, reading)?,
        _ => line_content(path, format, &sample)?,
    };
    let begins = |of: fn(&str) -> Option<DateTime>| sample.iter().find_map(|(_, line)| of(line));
    let begins = match content {
        Content::Irc(date) => Some(date.at(0, 0, 0, 0)),
        Content::Irssi(date) => begins(irssi::begins).or(date.map(|date| date.at(0, 0, 0, 0))),
        Content::Weechat => begins(weechat::begins),
        _ => None,
    };
    Ok((content, begins))
}

fn unknown<T>(path: &Path, why: impl Display) -> Result<T, Failure> {
    Err(Failure::other(format!("cannot detect the format of {}: {why}", path.display())))
}

fn sample(path: &Path, reading: &Reading) -> Result<Sample, Failure> {
    let text = open(path, reading.encoding, &Arc::default())?;
    let (mut text, mut line, mut sample) = (text.take(HEAD_BYTES), Vec::new(), Sample::new());
    for number in 1.. {
        if sample.len() == HEAD_LINES {
            break;
        }
        let Some(end) = lines::next(&mut text, &mut line).map_err(Failure::reading(path))? else {
            break;
        };
        if line.contains(&0) {
            let why =
                "it is not text; for UTF-16 without a byte order mark, use --encoding utf-16le";
            return unknown(path, why);
        }
        let (text, _) = lines::text(&line, reading.encoding);
        // A truncated line is useless, except for JSON, which may be one line.
        if !text.trim().is_empty() && (end == End::Newline || is_json(&text)) {
            sample.push((number, text.into_owned()));
        }
    }
    Ok(sample)
}

fn auto(path: &Path, sample: &Sample, reading: &Reading) -> Result<Content, Failure> {
    let Some((number, first)) = sample.first() else {
        // There is no line that could be misread.
        return Ok(dated(path).map_or(Content::Jsonl, Content::Irc));
    };
    if let Some((number, program)) = unsupported(sample) {
        let why =
            format!("line {number} looks like one of {program}, whose logs are not supported");
        return unknown(path, why);
    }
    let count = |fits: Fits| sample.iter().filter(|(_, line)| fits(line)).count();
    let counted = LINE_FORMATS.map(|(name, format, fits)| (name, format, fits, count(fits)));
    let found: Vec<_> = counted.into_iter().filter(|(.., count)| *count > 0).collect();
    let why = match found[..] {
        [] if is_json(first) => return document(path, Format::Auto, reading),
        [(_, format, _, count)] if count * 2 >= sample.len() => {
            return line_content(path, format, sample);
        }
        [] => format!(
            "line {number} is not of any supported format. An IRC log has its date in its name \
             (2015-12-24.log) and lines such as [10:59] <nick> text; `roomlog import --help` lists \
             the others"
        ),
        [(name, _, fits, count)] => {
            let other = sample.iter().find(|(_, line)| !fits(line)).map_or(0, |(at, _)| *at);
            format!(
                "only {count} of its first {} lines are {name}; line {other} is the first that is \
                 not. Choose with --format",
                sample.len()
            )
        }
        _ => {
            let names: Vec<_> = found.iter().map(|(name, ..)| *name).collect();
            format!(
                "it has lines of {}. Choose one with --format; the other lines are then rejected",
                names.join(" and ")
            )
        }
    };
    unknown(path, why)
}

/// Whether a supported JSON format may begin like this. A time in brackets does not.
fn is_json(text: &str) -> bool {
    let text = text.trim_start();
    let list = text.strip_prefix('[').map(str::trim_start);
    text.starts_with('{') || list.is_some_and(|it| it.is_empty() || it.starts_with(['{', ']']))
}

/// The first line of a program whose logs are not supported, and the program.
fn unsupported(sample: &Sample) -> Option<(usize, &'static str)> {
    sample.iter().find_map(|(number, line)| {
        let mark = UNSUPPORTED.iter().find(|(mark, _)| line.starts_with(mark));
        let program = mark.map(|(_, program)| *program);
        program.or(irc::is_of_mirc(line).then_some("mIRC")).map(|program| (*number, program))
    })
}

/// The content of a file whose format is a line format.
fn line_content(path: &Path, format: Format, sample: &Sample) -> Result<Content, Failure> {
    let (date, first) = (dated(path), sample.first().map(|(_, line)| line));
    let why = match format {
        Format::Irc => match date.or_else(|| first.and_then(|line| irc::date(line))) {
            Some(date) => return Ok(Content::Irc(date)),
            None => {
                "the name of an IRC log must contain its date: 2015-12-24, 2015-12-24.log or \
                 tea_20151224.log"
            }
        },
        Format::Irssi
            if date.is_some() || first.is_none_or(|line| irssi::begins(line).is_some()) =>
        {
            return Ok(Content::Irssi(date));
        }
        Format::Irssi => {
            "it is a part of an irssi log without a date before its first line. Start it with a \
             line such as --- Log opened Sun Mar 08 10:58:59 2020, or put the date in its name"
        }
        Format::Weechat => return Ok(Content::Weechat),
        _ => return Ok(Content::Jsonl),
    };
    unknown(path, why)
}

/// The only date in a file's name.
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

fn document(path: &Path, format: Format, reading: &Reading) -> Result<Content, Failure> {
    let shape = Shape::of(open(path, reading.encoding, &Arc::default())?);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let root = export::root(parent.unwrap_or(Path::new(".")));
    // A day without messages is an empty list: then its directory tells that it is Slack's.
    let certain = format != Format::Auto || shape.has_message() || root.is_some();
    let slack = shape.is_list && certain && shape.first_has(&["ts", "type"]);
    let discord = shape.has(&["guild", "channel", "messages"])
        && shape.first_has(&["id", "timestamp", "author"]);
    let telegram = shape.has(&["type", "messages"])
        && !shape.has(&["guild"])
        && shape.first_has(&["id", "type", "date"]);
    let why = match format {
        Format::Auto | Format::Slack if slack => match root {
            Some(root) => return Ok(Content::Slack(root)),
            None => {
                "it looks like a day of a Slack export, but users.json and channels.json, which \
                 have the names, are neither in its directory nor in the parent of that"
            }
        },
        Format::Auto | Format::Discord if discord => return Ok(Content::Discord(shape.chat_id())),
        Format::Auto | Format::Telegram if telegram => {
            return Ok(Content::Telegram(shape.chat_id()));
        }
        _ if shape.has(&["chats"]) => {
            "it looks like an export of all chats of Telegram; export a single chat from its menu"
        }
        _ => {
            let names = format!("an object with the members {}", shape.names());
            let is = if shape.is_list { "a list" } else { names.as_str() };
            &format!(
                "it is JSON ({is}), but neither one entry per line, as `roomlog export` prints it, \
                 nor a day of Slack, an export of DiscordChatExporter or a chat of Telegram"
            )
        }
    };
    unknown(path, why)
}

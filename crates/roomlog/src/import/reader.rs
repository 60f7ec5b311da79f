//! The thread that reads the files of an import.
//!
//! Enters: files. Leaves: an item for every line that is not blank, through a bounded channel.
//! Invariant: one line of one file is in memory at a time, besides the channel.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    sync::Arc,
};

use tokio::sync::mpsc;

use super::{
    Item, Place,
    files::{Content, Source},
    irc::Day,
    jsonl,
};
use crate::failure::Failure;

/// How many items wait between the reader and the one who sends them.
const ITEMS: usize = 512;

/// Reads the files, in this order.
pub(crate) fn read(sources: Vec<Source>, joins: bool) -> mpsc::Receiver<Result<Item, Failure>> {
    let (sender, receiver) = mpsc::channel(ITEMS);
    std::thread::spawn(move || {
        let mut bytes = 0;
        for source in sources {
            let path = source.path.clone();
            let mut hand_on = |item| sender.blocking_send(Ok(item)).is_ok();
            match read_file(source, joins, &mut bytes, &mut hand_on) {
                Ok(true) => {}
                Ok(false) => return, // The command has ended.
                Err(why) => {
                    // Nobody to tell is as good as told.
                    let _ = sender.blocking_send(Err(Failure::file(path, why)));
                    return;
                }
            }
        }
    });
    receiver
}

/// False: nobody takes items any more.
fn read_file(
    source: Source,
    joins: bool,
    bytes: &mut u64,
    hand_on: &mut impl FnMut(Item) -> bool,
) -> io::Result<bool> {
    let mut file = BufReader::with_capacity(1 << 16, File::open(&source.path)?);
    let mut day = match source.content {
        Content::Irc(date) => Some(Day::new(date, joins)),
        Content::Jsonl => None,
    };
    let path = Arc::new(source.path);
    let mut raw = Vec::new();
    for line in 1.. {
        raw.clear();
        let read = file.read_until(b'\n', &mut raw)?;
        if read == 0 {
            break;
        }
        *bytes += read as u64;
        let (text, mended) = text(&raw, line == 1);
        if text.is_empty() {
            continue;
        }
        let told = match &mut day {
            Some(day) => day.line(&text),
            None => jsonl::line(&text),
        };
        let place = Place { path: path.clone(), line };
        if !hand_on(Item { place, line: told, mended, bytes: *bytes }) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The line without its end, and without the mark that some editors begin a file with. Whether
/// replacement characters stand for what is not UTF-8.
fn text(raw: &[u8], first: bool) -> (String, bool) {
    let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
    let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
    let raw = if first { raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw) } else { raw };
    match str::from_utf8(raw) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (String::from_utf8_lossy(raw).into_owned(), true),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        cli::Format,
        import::{Line, files::find},
    };

    fn items(name: &str, content: &[u8]) -> Vec<Item> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(name);
        fs::write(&path, content).expect("a file");
        let mut items = read(find(&[path], Format::Auto).expect("a file"), false);
        std::iter::from_fn(|| items.blocking_recv()).map(|item| item.expect("an item")).collect()
    }

    #[test]
    fn every_line_that_is_not_blank_is_an_item_with_its_place() {
        let log = b"\xef\xbb\xbf[10:00] <ada> one\n\n[10:01] *** bo joined\r\n\nwhat?\n[10:02] <bo> \xff!";
        let items = items("2015-01-01", log);
        let lines: Vec<_> = items.iter().map(|item| item.place.line).collect();
        assert_eq!(lines, [1, 3, 5, 6]);
        let bodies: Vec<_> = items
            .iter()
            .map(|item| match &item.line {
                Line::Entry(told) => told.body.as_str(),
                Line::Skipped => "(skipped)",
                Line::Unreadable(_) => "(unreadable)",
            })
            .collect();
        assert_eq!(bodies, ["one", "(skipped)", "(unreadable)", "\u{fffd}!"]);
        assert_eq!(items.iter().filter(|item| item.mended).count(), 1);
        assert_eq!(items[3].bytes, log.len() as u64);
    }
}

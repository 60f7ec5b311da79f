//! The thread that reads the files of an import.
//!
//! Output: an item per line that is not blank, or per message, through a bounded channel. At most
//! one line or message of one file is in memory in addition to the channel.

use std::{
    fmt::Display,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use encoding_rs::Encoding;
use tokio::sync::mpsc;

use super::{
    chat::{Chat, ChatFormat},
    clock::Clock,
    detect::Content,
    discord::Discord,
    document::{self, Part, Stopped},
    files::Source,
    irc, irssi,
    item::{Item, Line, Place, Reading},
    jsonl::Jsonl,
    lines::{self, End, LineFormat},
    log::LogReader,
    open::{Text, open},
    slack::Slack,
    telegram::Telegram,
    weechat,
};
use crate::failure::Failure;

const ITEMS: usize = 512;

type ItemSender = mpsc::Sender<Result<Item, Failure>>;

pub(crate) fn read(
    sources: Vec<Source>,
    reading: Reading,
) -> mpsc::Receiver<Result<Item, Failure>> {
    let (items, receiver) = mpsc::channel(ITEMS);
    std::thread::spawn(move || {
        let (bytes, jsonl) = (Arc::default(), Jsonl::default());
        let mut reader = Reader { reading, items: &items, bytes, jsonl, chat: None };
        let read = sources.into_iter().try_for_each(|source| reader.file(source));
        if let Err(why) = read {
            let _receiver_is_gone = items.blocking_send(Err(why));
        }
    });
    receiver
}

struct Reader<'a> {
    reading: Reading,
    items: &'a ItemSender,
    bytes: Arc<AtomicU64>,
    /// Slots continue from file to file.
    jsonl: Jsonl,
    /// So do people and messages of a chat.
    chat: Option<(Content, Chat, Box<dyn ChatFormat>)>,
}

impl Reader<'_> {
    fn file(&mut self, source: Source) -> Result<(), Failure> {
        let text = open(&source.path, self.reading.encoding, &self.bytes)?;
        let feed = Feed {
            path: Arc::new(source.path),
            items: self.items,
            bytes: &self.bytes,
            encoding: self.reading.encoding,
        };
        let (joins, clock) = (self.reading.joins, Clock::new(self.reading.zone.clone()));
        let log = |parse, date| LogReader::new(parse, date, joins, clock);
        match source.content {
            Content::Irc(date) => feed.lines(text, &mut log(irc::parse, Some(date))),
            Content::Irssi(date) => feed.lines(text, &mut log(irssi::parse, date)),
            Content::Weechat => feed.lines(text, &mut log(weechat::parse, None)),
            Content::Jsonl => feed.lines(text, &mut self.jsonl),
            of => {
                let (mut chat, format) = match self.chat.take() {
                    Some((last, chat, format)) if last == of => (chat, format),
                    _ => (Chat::new(joins), self.chat_format(&of)?),
                };
                feed.messages(text, &mut chat, &*format)?;
                self.chat = Some((of, chat, format));
                Ok(())
            }
        }
    }

    fn chat_format(&self, of: &Content) -> Result<Box<dyn ChatFormat>, Failure> {
        let zone = self.reading.zone.clone();
        Ok(match of {
            Content::Slack(root) => Box::new(Slack::open(root)?),
            Content::Telegram(id) => Box::new(Telegram { id: id.clone(), zone }),
            _ => Box::new(Discord),
        })
    }
}

struct Feed<'a> {
    path: Arc<PathBuf>,
    items: &'a ItemSender,
    bytes: &'a AtomicU64,
    encoding: Option<&'static Encoding>,
}

impl Feed<'_> {
    fn lines(&self, mut text: Text, format: &mut dyn LineFormat) -> Result<(), Failure> {
        let mut raw = Vec::new();
        for number in 1.. {
            let end = lines::next(&mut text, &mut raw).map_err(|why| self.broken(number, &why))?;
            let Some(end) = end else { break };
            let (line, mended) = lines::text(&raw, self.encoding);
            if line.trim().is_empty() && end != End::TooLong {
                continue;
            }
            let line = match end {
                End::TooLong => Line::Unreadable("it is longer than any entry".into()),
                End::File if !format.is_complete(&line) => Line::Unfinished,
                End::File | End::Newline => format.line(&line),
            };
            // An unfinished line may end within a character.
            let mended = mended && line != Line::Unfinished;
            self.put(number, line, mended)?;
        }
        Ok(())
    }

    fn messages(
        &self,
        text: Text,
        chat: &mut Chat,
        format: &dyn ChatFormat,
    ) -> Result<(), Failure> {
        let mut ended = Ok(());
        let read = document::read(text, &[], &mut |part| {
            let Part::Message(number, message) = part else { return true };
            let read = format.read(chat, message);
            chat.lines.extend(read.err().map(Line::Unreadable));
            ended = chat.lines.drain(..).try_for_each(|line| self.put(number, line, false));
            ended.is_ok()
        });
        match read {
            Err(Stopped::Broken { line, why }) => Err(self.broken(line, &why)),
            Ok(()) | Err(Stopped::Done) => ended,
        }
    }

    fn put(&self, number: u64, line: Line, mended: bool) -> Result<(), Failure> {
        let place = Place { path: self.path.clone(), line: number };
        let item = Item { place, line, mended, bytes: self.bytes.load(Ordering::Relaxed) };
        self.items.blocking_send(Ok(item)).map_err(|_| Failure::other("the import has ended"))
    }

    fn broken(&self, line: u64, why: &dyn Display) -> Failure {
        let path = self.path.display();
        Failure::other(format!("{path}:{line}: cannot be read from here on: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::import::{Format, files::find};

    fn items(name: &str, content: &[u8]) -> Vec<Item> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(name);
        fs::write(&path, content).expect("a file");
        let reading = Reading { joins: false, zone: TimeZone::UTC, encoding: None };
        let found = find(&[path], Format::Auto, None, &reading).expect("a file");
        let mut items = read(found.sources, reading);
        std::iter::from_fn(|| items.blocking_recv()).map(|item| item.expect("an item")).collect()
    }

    fn bodies(items: &[Item]) -> Vec<&str> {
        let body = |item: &'_ Item| match &item.line {
            Line::Entry(entry) => entry.body.clone().leak(),
            Line::Skipped => "(skipped)",
            Line::Unfinished => "(unfinished)",
            Line::Unreadable(_) => "(unreadable)",
            Line::Note(_) => "(note)",
        };
        items.iter().map(body).collect()
    }

    #[test]
    fn every_line_that_is_not_blank_is_an_item() {
        let log = b"\xef\xbb\xbf[10:00] <ada> one\n\n[10:01] *** bo joined\r\n\nwhat?\n[10:02] <bo> \xff!\n";
        let items = items("2015-01-01", log);
        let lines: Vec<_> = items.iter().map(|item| item.place.line).collect();
        assert_eq!(lines, [1, 3, 5, 6]);
        assert_eq!(bodies(&items), ["one", "(skipped)", "(unreadable)", "\u{fffd}!"]);
        assert_eq!(items.iter().filter(|item| item.mended).count(), 1);
        assert_eq!(items[3].bytes, log.len() as u64);
    }

    #[test]
    fn a_last_line_without_newline_is_left_unless_it_is_certainly_complete() {
        let log = b"[10:00] <ada> one\n   \n[10:01] <ada> see you at the sta";
        assert_eq!(bodies(&items("2015-01-01", log)), ["one", "(unfinished)"]);
        assert!(!items("2015-01-01", b"[10:00] <ada> caf\xc3")[0].mended);
        let entry = br#"{"author":"ada","id":"a","body":"whole"}"#;
        assert_eq!(bodies(&items("x.jsonl", entry)), ["whole"]);
        let torn = [&entry[..], b"\n", &entry[..20]].concat();
        assert_eq!(bodies(&items("x.jsonl", &torn)), ["whole", "(unfinished)"]);
    }
}

//! Files as histories of other chats, in each format: every line is an entry or is counted.
#![no_main]

use std::{fs, path::PathBuf};

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "a part of the program")]
#[path = "../../crates/roomlog/src/failure.rs"]
mod failure;
#[allow(dead_code, unused_imports, reason = "a part of the program")]
#[path = "../../crates/roomlog/src/import/mod.rs"]
mod import;

use import::{Format, Reading, files::find, read};

const FORMATS: [Format; 8] = [
    Format::Auto,
    Format::Irc,
    Format::Irssi,
    Format::Weechat,
    Format::Slack,
    Format::Discord,
    Format::Telegram,
    Format::Jsonl,
];

fuzz_target!(|bytes: &[u8]| {
    let Some((first, text)) = bytes.split_first() else { return };
    let format = FORMATS[usize::from(first % 8)];
    let directory = tempfile::tempdir().expect("a directory");
    let path = put(&directory, format, text);
    let reading = Reading { joins: first & 8 != 0, zone: TimeZone::UTC, encoding: None };
    let Ok(found) = find(&[path], format, None, &reading) else { return };
    let mut items = read(found.sources, reading);
    while let Some(Ok(item)) = items.blocking_recv() {
        assert!(item.bytes <= text.len() as u64 * 1_100 + 1_000, "more was read than is there");
    }
});

/// Slack's is a directory, and IRC has the date in its name.
fn put(directory: &tempfile::TempDir, format: Format, text: &[u8]) -> PathBuf {
    let path = directory.path().join("history");
    let file = match format {
        Format::Slack => {
            fs::create_dir_all(path.join("general")).expect("a directory");
            fs::write(path.join("users.json"), "[]").expect("written");
            fs::write(path.join("channels.json"), r#"[{"id":"C1","name":"general"}]"#).expect("written");
            path.join("general/2015-12-24.json")
        }
        _ => directory.path().join("2015-12-24.log"),
    };
    fs::write(&file, text).expect("written");
    if format == Format::Slack { path } else { file }
}

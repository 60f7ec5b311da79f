//! Finds the files to import, and puts them in order.
//!
//! Input: the paths of the command line. Output: files with their formats: logs with dates first,
//! by date, then the others in the given order. A date of an IRC log occurs once, because two files
//! of one date would give the same ids; all files of an export are of one chat; links in a
//! directory are not followed.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::civil::DateTime;

use super::{
    detect::{Content, detect},
    format::Format,
    item::Reading,
    slack::export,
};
use crate::failure::Failure;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) content: Content,
    pub(crate) bytes: u64,
    /// The time of its first line.
    begins: Option<DateTime>,
}

#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) sources: Vec<Source>,
    pub(crate) links: Vec<PathBuf>,
}

/// Fails if there is nothing to import, if a path cannot be read, or if a format is ambiguous; also
/// if a date occurs twice or files are of several chats.
pub(crate) fn find(
    paths: &[PathBuf],
    format: Format,
    channel: Option<&str>,
    reading: &Reading,
) -> Result<Found, Failure> {
    let mut search = Search { format, channel, reading, sources: Vec::new(), links: Vec::new() };
    for path in paths {
        if fs::metadata(path).map_err(Failure::reading(path))?.is_dir() {
            search.named_directory(path)?;
        } else {
            search.file(path)?;
        }
    }
    let (mut sources, others): (Vec<_>, Vec<_>) =
        search.sources.into_iter().partition(|source| source.begins.is_some());
    sources.sort_by(|a, b| (a.begins, &a.path).cmp(&(b.begins, &b.path)));
    sources.extend(others);
    check(&sources)?;
    Ok(Found { sources, links: search.links })
}

/// Rejects files that cannot go into one room.
fn check(sources: &[Source]) -> Result<(), Failure> {
    if sources.is_empty() {
        return Err(Failure::other("there are no files to import"));
    }
    // An export of this program can be combined with anything: its entries have their own ids.
    let chats: Vec<_> = sources.iter().filter(|it| it.content != Content::Jsonl).collect();
    for pair in chats.windows(2) {
        let (one, other) = (pair[0].content.name(), pair[1].content.name());
        if one != other {
            return Err(Failure::other(format!(
                "{} has the format {one} and {} the format {other}; import them separately",
                pair[0].path.display(),
                pair[1].path.display()
            )));
        }
    }
    for pair in sources.windows(2) {
        let apart = pair[0].path.parent() != pair[1].path.parent();
        let both = match (&pair[0].content, &pair[1].content) {
            (Content::Irc(a), Content::Irc(b)) if a == b => format!("both of {a}"),
            // Each channel has a directory.
            (Content::Slack(a), Content::Slack(b)) if a != b || apart => "of two channels".into(),
            (Content::Discord(a), Content::Discord(b)) if a != b => "of two channels".into(),
            (Content::Telegram(a), Content::Telegram(b)) if a != b => "of two chats".into(),
            _ => continue,
        };
        return Err(Failure::other(format!(
            "{} and {} are {both}; import one of them, or each into its own room",
            pair[0].path.display(),
            pair[1].path.display()
        )));
    }
    Ok(())
}

struct Search<'a> {
    format: Format,
    channel: Option<&'a str>,
    reading: &'a Reading,
    sources: Vec<Source>,
    links: Vec<PathBuf>,
}

impl Search<'_> {
    fn named_directory(&mut self, path: &Path) -> Result<(), Failure> {
        let Some(root) = export::root(path) else { return self.directory(path) };
        let channel = export::channel(&root, path, self.channel)?;
        export::days(&channel)?.iter().try_for_each(|day| self.file(day))
    }

    fn directory(&mut self, path: &Path) -> Result<(), Failure> {
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = entries.map_err(Failure::reading(path))?;
        entries.sort_by_key(fs::DirEntry::path);
        for entry in entries {
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let kind = entry.file_type().map_err(Failure::reading(path))?;
            if kind.is_symlink() {
                self.links.push(entry.path());
            } else if kind.is_dir() {
                self.directory(&entry.path())?;
            } else {
                self.file(&entry.path())?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        let bytes = fs::metadata(path).map_err(Failure::reading(path))?.len();
        let (content, begins) = detect(path, self.format, self.reading)?;
        self.sources.push(Source { path: path.into(), content, bytes, begins });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    const READING: Reading = Reading { joins: false, zone: TimeZone::UTC, encoding: None };

    fn names(found: &Found) -> Vec<String> {
        let name =
            |source: &Source| source.path.file_name().map(|name| name.to_string_lossy().into());
        found.sources.iter().filter_map(name).collect()
    }

    /// Files with a line of an IRC log each; of JSON where the name ends with .jsonl.
    fn write(dir: &Path, names: &[&str]) {
        for name in names {
            let path = dir.join(name);
            let json = "{\"author\":\"ada\",\"id\":\"a\",\"body\":\"\"}\n";
            let line = if name.ends_with(".jsonl") { json } else { "[10:59] <ada> hello\n" };
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, line).expect("a file");
        }
    }

    fn search(dir: &Path) -> Result<Found, Failure> {
        find(&[dir.into()], Format::Auto, None, &READING)
    }

    #[test]
    fn days_are_ordered_by_date_and_json_follows() {
        let dir = tempfile::tempdir().expect("a directory");
        write(
            dir.path(),
            &[
                "b/2014-12-31.log",
                "a/2015-01-02",
                "a/2015-01-01.txt",
                "x.jsonl",
                ".hidden",
                "tea_20150103.log",
            ],
        );
        let found = search(dir.path()).expect("files");
        let expected =
            ["2014-12-31.log", "2015-01-01.txt", "2015-01-02", "tea_20150103.log", "x.jsonl"];
        assert_eq!(names(&found), expected);
        assert_eq!(found.sources[4].content, Content::Jsonl);
    }

    #[test]
    fn parts_of_a_log_are_ordered_by_their_first_lines() {
        let dir = tempfile::tempdir().expect("a directory");
        for (name, hour) in [("tea.log", "12"), ("tea.log.1", "11"), ("tea.log.2", "10")] {
            let line = format!("2020-03-08 {hour}:59:02\tmona\thello\n");
            fs::write(dir.path().join(name), line).expect("a file");
        }
        let found = search(dir.path()).expect("files");
        assert_eq!(names(&found), ["tea.log.2", "tea.log.1", "tea.log"]);
    }

    #[test]
    fn an_ambiguous_file_is_rejected_before_anything_is_sent() {
        for (files, part) in [
            (&["2015-13-01"][..], "name of an IRC log must contain its date"),
            (&["notes.txt"], "name of an IRC log must contain its date"),
            (&["2015-01-01_2015-02-01"], "name of an IRC log must contain its date"),
            (&["a/2015-01-01", "b/2015-01-01"], "both of 2015-01-01"),
            (&[".hidden"], "no files"),
        ] {
            let dir = tempfile::tempdir().expect("a directory");
            write(dir.path(), files);
            let error = search(dir.path()).expect_err("refused").to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn logs_of_two_formats_are_rejected() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), &["2015-01-01"]);
        fs::write(dir.path().join("tea.log"), "2020-03-08 10:59:02\tmona\thello\n")
            .expect("a file");
        let error = search(dir.path()).expect_err("refused").to_string();
        assert!(error.contains("has the format irc and"), "{error}");
    }

    #[test]
    fn a_link_is_reported_and_not_followed() {
        let (dir, other) =
            (tempfile::tempdir().expect("one"), tempfile::tempdir().expect("another"));
        write(dir.path(), &["2015-01-01"]);
        write(other.path(), &["2015-01-02"]);
        let links = [("all", other.path().to_owned()), ("today", other.path().join("2015-01-02"))];
        for (name, to) in links {
            std::os::unix::fs::symlink(to, dir.path().join(name)).expect("a link");
        }
        let found = search(dir.path()).expect("files");
        assert_eq!((names(&found), found.links.len()), (vec!["2015-01-01".to_owned()], 2));
    }
}

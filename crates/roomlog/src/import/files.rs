//! Which files to import, in which order.
//!
//! Enters: the paths that were typed. Leaves: files, IRC logs by date first, then JSON in the order
//! given. Invariant: a day is there once: two files of one date would share their ids.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::civil::Date;

use crate::{cli::Format, failure::Failure};

/// A file to import.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) content: Content,
    /// Its length, in bytes.
    pub(crate) bytes: u64,
}

/// What is in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// The IRC log of a day.
    Irc(Date),
    /// JSON, one entry a line.
    Jsonl,
}

/// Finds the files.
///
/// # Errors
/// A path that cannot be read, a file that is neither dated nor JSON, a date that is there twice, or
/// nothing found.
pub(crate) fn find(paths: &[PathBuf], format: Format) -> Result<Vec<Source>, Failure> {
    let mut found = Vec::new();
    for path in paths {
        let failed = |why| Failure::file(path, why);
        if fs::metadata(path).map_err(failed)?.is_dir() {
            directory(path, format, &mut found)?;
        } else {
            found.push(source(path, format)?);
        }
    }
    let (mut days, rest): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|source| date(source).is_some());
    days.sort_by(|a, b| (date(a), &a.path).cmp(&(date(b), &b.path)));
    for pair in days.windows(2) {
        if let Some(date) = date(&pair[0]).filter(|first| date(&pair[1]) == Some(*first)) {
            return Err(Failure::said(format!(
                "{} and {} are both of {date}; import one of them, or each into its own room",
                pair[0].path.display(),
                pair[1].path.display()
            )));
        }
    }
    days.extend(rest);
    if days.is_empty() {
        return Err(Failure::said("there are no files to import in what was named"));
    }
    Ok(days)
}

fn date(source: &Source) -> Option<Date> {
    match source.content {
        Content::Irc(date) => Some(date),
        Content::Jsonl => None,
    }
}

fn directory(path: &Path, format: Format, found: &mut Vec<Source>) -> Result<(), Failure> {
    let failed = |why: io::Error| Failure::file(path, why);
    let names = fs::read_dir(path).map_err(failed)?.collect::<Result<Vec<_>, _>>();
    let mut paths: Vec<_> = names.map_err(failed)?.iter().map(fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.is_dir() && !hidden {
            directory(&path, format, found)?;
        } else if !hidden {
            found.push(source(&path, format)?);
        }
    }
    Ok(())
}

fn source(path: &Path, format: Format) -> Result<Source, Failure> {
    let bytes = fs::metadata(path).map_err(|why| Failure::file(path, why))?.len();
    let extension = path.extension().and_then(|extension| extension.to_str());
    let is_json = matches!(extension, Some("jsonl" | "ndjson" | "json"));
    let content = match (format, dated(path)) {
        (Format::Jsonl, _) => Content::Jsonl,
        (Format::Auto, _) if is_json => Content::Jsonl,
        (Format::Auto | Format::Irc, Some(date)) => Content::Irc(date),
        (Format::Auto | Format::Irc, None) => {
            return Err(Failure::said(format!(
                "cannot tell what {} is: an IRC log is named by its date (2015-12-24 or \
                 2015-12-24.log), JSON ends in .jsonl or is named with --format jsonl",
                path.display()
            )));
        }
    };
    Ok(Source { path: path.to_owned(), content, bytes })
}

/// The date that a file's name is, before its extension.
fn dated(path: &Path) -> Option<Date> {
    let stem = path.file_name()?.to_str()?.split('.').next()?;
    let form = |(at, byte): (usize, u8)| {
        if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() }
    };
    (stem.len() == 10 && stem.bytes().enumerate().all(form)).then(|| stem.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sources: &[Source]) -> Vec<String> {
        let name =
            |source: &Source| source.path.file_name().map(|name| name.to_string_lossy().into());
        sources.iter().filter_map(name).collect()
    }

    fn write(dir: &Path, names: &[&str]) {
        for name in names {
            let path = dir.join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(path, "x").expect("a file");
        }
    }

    #[test]
    fn days_come_in_the_order_of_their_dates_and_json_after_them() {
        let dir = tempfile::tempdir().expect("a directory");
        write(
            dir.path(),
            &["b/2014-12-31.log", "a/2015-01-02", "a/2015-01-01.txt", "x.jsonl", ".hidden"],
        );
        let found = find(&[dir.path().into()], Format::Auto).expect("files");
        assert_eq!(names(&found), ["2014-12-31.log", "2015-01-01.txt", "2015-01-02", "x.jsonl"]);
        assert_eq!(found[3].content, Content::Jsonl);
    }

    #[test]
    fn what_cannot_be_told_is_an_error_before_anything_is_sent() {
        for (files, part) in [
            (&["2015-13-01"][..], "named by its date"),
            (&["notes.txt"], "named by its date"),
            (&["a/2015-01-01", "b/2015-01-01"], "both of 2015-01-01"),
            (&[".hidden"], "no files"),
        ] {
            let dir = tempfile::tempdir().expect("a directory");
            write(dir.path(), files);
            let said = find(&[dir.path().into()], Format::Auto).expect_err("refused").to_string();
            assert!(said.contains(part), "{said}");
        }
    }
}

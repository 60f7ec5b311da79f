//! The files of a Slack export.
//!
//! Input: a path. Output: the root of the export that contains it, the files of one channel, and
//! the names of people and channels. Links are not followed, and nothing outside the export is
//! read.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::civil::Date;
use serde::Deserialize;

use super::super::{
    document::{self, Part, Stopped},
    open::open,
};
use crate::failure::Failure;

const USERS: &str = "users.json";

/// The files that name channels, and conversations that have a directory like one.
const CHANNELS: &[&str] = &["channels.json", "groups.json", "mpims.json", "dms.json"];

/// The root of the export that contains a directory: the directory itself, or its parent.
pub(crate) fn root(directory: &Path) -> Option<PathBuf> {
    let directory = fs::canonicalize(directory).ok()?;
    directory.ancestors().take(2).find(|root| is_root(root)).map(Path::to_owned)
}

fn is_root(directory: &Path) -> bool {
    is_file(&directory.join(USERS)) && CHANNELS.iter().any(|name| is_file(&directory.join(name)))
}

/// The days of a channel, in order. Its directory may have other files, such as canvases.
pub(crate) fn days(channel: &Path) -> Result<Vec<PathBuf>, Failure> {
    let mut days = Vec::new();
    for entry in fs::read_dir(channel).map_err(Failure::reading(channel))? {
        let path = entry.map_err(Failure::reading(channel))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let day = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".json");
        if day.is_some_and(|day| day.parse::<Date>().is_ok()) && is_file(&path) {
            days.push(path);
        }
    }
    days.sort();
    Ok(days)
}

/// The directory of the channel to import: `directory`, or one in it if that is the root.
pub(crate) fn channel(
    root: &Path,
    directory: &Path,
    named: Option<&str>,
) -> Result<PathBuf, Failure> {
    if !is_root(directory) {
        return Ok(directory.into());
    }
    let mut channels = Vec::new();
    for entry in fs::read_dir(root).map_err(Failure::reading(root))? {
        let entry = entry.map_err(Failure::reading(root))?;
        if entry.file_type().map_err(Failure::reading(root))?.is_dir() {
            channels.extend(entry.file_name().into_string());
        }
    }
    channels.sort();
    let found = match named {
        Some(named) => channels.iter().find(|channel| *channel == named.trim_start_matches('#')),
        None => channels.first().filter(|_| channels.len() == 1),
    };
    found.map(|channel| root.join(channel)).ok_or_else(|| {
        let listed = channels.iter().take(20).map(|name| name.escape_debug().to_string());
        let listed: Vec<_> = listed.collect();
        let more = if channels.len() > listed.len() { ", …" } else { "" };
        Failure::other(format!(
            "{} is a Slack export with the channels {}{more}; import one at a time, with --channel",
            root.display(),
            listed.join(", ")
        ))
    })
}

fn is_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Names by id.
pub(super) struct Names {
    /// The names in mentions: they are unique in a workspace, and seldom change.
    pub(super) users: HashMap<String, String>,
    pub(super) channels: HashMap<String, String>,
}

#[derive(Deserialize)]
struct Named {
    id: String,
    name: Option<String>,
}

impl Names {
    pub(super) fn read(root: &Path) -> Result<Self, Failure> {
        let users = list(&root.join(USERS))?;
        if users.is_empty() {
            return Err(Failure::other(format!("{} lists no users", root.join(USERS).display())));
        }
        let mut channels = HashMap::new();
        for path in CHANNELS.iter().map(|name| root.join(name)).filter(|path| is_file(path)) {
            channels.extend(list(&path)?);
        }
        Ok(Self { users, channels })
    }
}

fn list(path: &Path) -> Result<HashMap<String, String>, Failure> {
    let mut names = HashMap::new();
    let text = open(path, None, &Arc::default())?;
    let read = document::read(text, &[], &mut |part| {
        if let Part::Message(_, named) = part
            && let Ok(Named { id, name: Some(name) }) = serde_json::from_value(named)
        {
            names.insert(id, name);
        }
        true
    });
    match read {
        Err(Stopped::Broken { line, why }) => {
            Err(Failure::other(format!("{}:{line}: {why}", path.display())))
        }
        _ => Ok(names),
    }
}

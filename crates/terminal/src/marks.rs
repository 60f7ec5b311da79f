//! How far each room was read, per log, saved between runs.
//!
//! Enters and leaves: a JSON file `{"logs":[["LOG",{"ROOM":SLOT}]]}`, the most recently used log
//! last. Invariant: a mark applies to its own log only; the file is replaced atomically and has at
//! most [`MAX_LOGS`] logs; a damaged file counts as empty.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use roomlog_client::protocol::RoomName;
use serde::{Deserialize, Serialize};

use crate::limits::MAX_LOGS;

/// The last slot read, by room.
pub(crate) type RoomMarks = BTreeMap<RoomName, i64>;

/// The marks of each log, the most recently used last.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Marks {
    logs: Vec<(String, RoomMarks)>,
}

impl Marks {
    /// The marks of this log, which becomes the most recently used.
    pub(crate) fn of(&mut self, log: &str) -> &mut RoomMarks {
        let at = self.logs.iter().position(|(name, _)| name == log);
        let used = at.map_or_else(|| (log.to_owned(), RoomMarks::new()), |at| self.logs.remove(at));
        let surplus = (self.logs.len() + 1).saturating_sub(MAX_LOGS);
        self.logs.drain(..surplus);
        self.logs.push(used);
        let last = self.logs.len() - 1;
        &mut self.logs[last].1
    }

    pub(crate) fn read(&self, log: &str) -> Option<&RoomMarks> {
        self.logs.iter().rev().find(|(name, _)| name == log).map(|(_, read)| read)
    }

    /// Merges what another run has saved meanwhile: in each room, the later mark.
    fn merge(&mut self, kept: Self) {
        for (log, read) in kept.logs.into_iter().rev() {
            let Some((_, mine)) = self.logs.iter_mut().find(|(name, _)| *name == log) else {
                self.logs.insert(0, (log, read));
                continue;
            };
            for (room, slot) in read {
                let mark = mine.entry(room).or_insert(slot);
                *mark = slot.max(*mark);
            }
        }
        let surplus = self.logs.len().saturating_sub(MAX_LOGS);
        self.logs.drain(..surplus);
    }
}

/// The file in the XDG state directory; `None` without a home directory.
pub(crate) fn default_path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("roomlog/read.json"))
}

/// The saved marks; empty if they cannot be read.
pub(crate) fn load(path: &Path) -> Marks {
    kept(path).unwrap_or_default()
}

/// Saves the marks atomically, merged with those that another run has saved meanwhile.
pub(crate) fn save(path: &Path, mut marks: Marks) -> io::Result<()> {
    marks.merge(kept(path)?);
    let directory = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let new = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer(&new, &marks)?;
    new.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn kept(path: &Path) -> io::Result<Marks> {
    match fs::read(path) {
        Ok(text) => Ok(serde_json::from_slice(&text).unwrap_or_default()),
        Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(Marks::default()),
        Err(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn read(room: &str, slot: i64) -> RoomMarks {
        RoomMarks::from([(RoomName::new(room).expect("a room"), slot)])
    }

    fn marks(log: &str, read: RoomMarks) -> Marks {
        Marks { logs: vec![(log.to_owned(), read)] }
    }

    #[test]
    fn marks_are_saved_by_log_and_never_go_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state/read.json");
        save(&path, marks("one", read("general", 7))).expect("written");
        save(&path, marks("two", read("general", 1))).expect("written");
        save(&path, marks("one", read("general", 5))).expect("written");
        save(&path, marks("one", read("random", 2))).expect("written");
        let mut kept = load(&path);
        let both = read("general", 7).into_iter().chain(read("random", 2)).collect();
        assert_eq!(*kept.of("one"), both);
        assert_eq!(*kept.of("two"), read("general", 1));
        assert_eq!(*kept.of("three"), RoomMarks::new());
        // Nobody else's to read, whatever the umask.
        let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
        assert_eq!([mode(path.parent().expect("a parent")), mode(&path)], [0o700, 0o600]);
    }

    #[test]
    fn the_most_recently_used_logs_are_kept_and_a_damaged_file_counts_as_empty() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("read.json");
        fs::write(&path, "{\"logs\":[[").expect("written");
        for log in 0..=MAX_LOGS {
            save(&path, marks(&log.to_string(), read("general", 1))).expect("written");
        }
        let kept = load(&path);
        assert_eq!(kept.logs.len(), MAX_LOGS);
        assert!(kept.logs.iter().all(|(log, _)| log != "0"), "one more than are kept");
        assert_eq!(kept.logs[0], ("1".to_owned(), read("general", 1)));
    }

    #[test]
    fn an_unreadable_file_is_not_overwritten() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("read.json");
        fs::create_dir(&path).expect("a directory in its place");
        assert!(load(&path).logs.is_empty());
        save(&path, marks("one", read("general", 1))).expect_err("no file");
        assert!(path.is_dir());
    }
}

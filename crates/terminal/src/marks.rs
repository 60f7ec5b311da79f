//! How far rooms were read, kept from one run to the next.
//!
//! Enters and leaves: a small JSON file, `{"logs":[["LOG",{"ROOM":SLOT}]]}`, the log that was used last at the end. Invariant:
//! it is written whole or not at all, and holds at most [`MOST_LOGS`]; one that cannot be read counts
//! as empty, for it holds nothing that the log does not.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{limits::MOST_LOGS, rooms::Read};

#[derive(Default, Serialize, Deserialize)]
struct File {
    logs: Vec<(String, Read)>,
}

/// Where it is kept: as the XDG Base Directory Specification has it for state.
pub(crate) fn default_path() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|it| it.is_absolute());
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("roomlog/read.json"))
}

/// How far the rooms of this log were read.
pub(crate) fn load(path: &Path, log: &str) -> Read {
    let logs = file(path).logs;
    logs.into_iter().find(|(name, _)| name == log).map(|(_, read)| read).unwrap_or_default()
}

/// Keeps it. What another run has kept meanwhile stays where it is further.
///
/// # Errors
/// As the system said.
pub(crate) fn save(path: &Path, log: &str, read: &Read) -> io::Result<()> {
    let mut file = file(path);
    let mut merged = read.clone();
    if let Some(at) = file.logs.iter().position(|(name, _)| name == log) {
        for (room, slot) in file.logs.remove(at).1 {
            let mine = merged.entry(room).or_insert(slot);
            *mine = slot.max(*mine);
        }
    }
    file.logs.push((log.to_owned(), merged));
    let surplus = file.logs.len().saturating_sub(MOST_LOGS);
    file.logs.drain(..surplus);
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let new = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer(&new, &file)?;
    new.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn file(path: &Path) -> File {
    let text = fs::read(path).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use roomlog_client::protocol::RoomName;

    use super::*;

    fn read(room: &str, slot: i64) -> Read {
        Read::from([(RoomName::new(room).expect("a room"), slot)])
    }

    #[test]
    fn what_was_read_is_kept_by_log_and_never_goes_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("state/read.json");
        save(&path, "one", &read("general", 7)).expect("written");
        save(&path, "two", &read("general", 1)).expect("written");
        save(&path, "one", &read("general", 5)).expect("written");
        save(&path, "one", &read("random", 2)).expect("written");
        let kept = load(&path, "one");
        assert_eq!(kept, read("general", 7).into_iter().chain(read("random", 2)).collect());
        assert_eq!(load(&path, "two"), read("general", 1));
        assert_eq!(load(&path, "three"), Read::new());
    }

    #[test]
    fn the_logs_that_were_used_last_are_kept_and_a_damaged_file_counts_as_empty() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("read.json");
        fs::write(&path, "{\"logs\":[[").expect("written");
        for log in 0..=MOST_LOGS {
            save(&path, &log.to_string(), &read("general", 1)).expect("written");
        }
        assert_eq!(load(&path, "0"), Read::new(), "one more than are kept");
        assert_eq!(load(&path, "1"), read("general", 1));
    }
}

//! One flipped bit in a file at rest: the start is refused with a reason, or every read is correct
//! or an error. Never a wrong entry, a lost acked entry or a duplicate.
//!
//! A seed chooses the places, half of them where the files keep their structure. A failure names
//! file, byte and bit.
#![allow(clippy::print_stderr, reason = "shown when a test fails")]

mod life;

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use life::{Logs, Served, nth_append};
use roomlog_core::outcome::AppendOutcome;
use roomlog_protocol::RoomRange;
use tempfile::TempDir;

const FOLDED: usize = 300;
const IN_WALS: usize = 400;
const ALL: usize = 460;
const AT_ONCE: Duration = Duration::from_millis(1);
const NEVER: Duration = Duration::from_secs(3_600);

/// The files of a stopped directory, and the logs that they hold.
struct Image {
    files: BTreeMap<String, Vec<u8>>,
    logs: Logs,
}

fn files(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, fs::read(path).expect("a file"))
    };
    // Without the index of the WAL, which every start rebuilds.
    let all = fs::read_dir(path).expect("a directory").map(file);
    all.filter(|(name, _)| !name.ends_with("-shm")).collect()
}

fn lay(files: &BTreeMap<String, Vec<u8>>) -> TempDir {
    let path = tempfile::tempdir().expect("a directory");
    for (name, bytes) in files {
        fs::write(path.path().join(name), bytes).expect("written");
    }
    path
}

async fn logs(life: &Served) -> Logs {
    let mut logs = Logs::new();
    for n in 0..5 {
        let name = format!("room-{n}");
        let log = life.log(&name).await.expect("a log");
        logs.insert(name, log);
    }
    logs
}

async fn append(life: &Served, all: std::ops::Range<usize>) {
    // Blocks of ten, so that files have many rows.
    for first in all.clone().step_by(10) {
        let outcomes = life.append(first..(first + 10).min(all.end)).await;
        let taken = |(_, outcome): &(usize, AppendOutcome)| {
            matches!(outcome, AppendOutcome::Committed { repeat: false, .. })
        };
        assert!(outcomes.iter().all(taken), "{outcomes:?}");
    }
}

/// Most entries are in both files, some in the WAL of the archive, the last ones only in the
/// journal: in its WAL if the process is killed, in its file if it is stopped.
async fn image(killed: bool) -> Image {
    let path = tempfile::tempdir().expect("a directory");
    let life = Served::start(path.path(), AT_ONCE).await.expect("a start");
    append(&life, 0..FOLDED).await;
    life.folded().await;
    life.end().await.expect("a good end");
    let life = Served::start(path.path(), NEVER).await.expect("a start");
    append(&life, FOLDED..IN_WALS).await;
    life.folded().await;
    append(&life, IN_WALS..ALL).await;
    let logs = logs(&life).await;
    if killed {
        return Image { files: files(path.path()), logs };
    }
    life.end().await.expect("a good end");
    Image { files: files(path.path()), logs }
}

/// A stopped directory with many short segments.
async fn small_segments() -> Image {
    let path = tempfile::tempdir().expect("a directory");
    let life = Served::start_keeping(path.path(), AT_ONCE, 256 << 10).await.expect("a start");
    append(&life, 0..ALL).await;
    let logs = logs(&life).await;
    life.end().await.expect("a good end");
    let image = Image { files: files(path.path()), logs };
    assert!(image.files.contains_key("journal-00000003"), "{:?}", image.files.keys());
    image
}

/// The result of a start.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Refused,
    Errors,
    Right,
}

impl Image {
    /// Starts on these files, reads everything and repeats every append; or what was wrong.
    async fn start(&self, files: &BTreeMap<String, Vec<u8>>) -> Result<Seen, String> {
        let path = lay(files);
        let life = match Served::start(path.path(), AT_ONCE).await {
            Ok(life) => life,
            Err(message) => return is_clear(&message).then_some(Seen::Refused).ok_or(message),
        };
        let before = self.read(&life).await?;
        let mut errors = before;
        for (n, outcome) in life.append(0..ALL).await {
            match outcome {
                AppendOutcome::Committed { slot, repeat: true, .. } if slot == n as u64 / 5 => {}
                AppendOutcome::Unknown | AppendOutcome::Unavailable => errors = true,
                other => return Err(format!("repeated, {n} became {other:?}")),
            }
        }
        errors |= self.read(&life).await?;
        errors |= life.end().await.is_err();
        Ok(if errors { Seen::Errors } else { Seen::Right })
    }

    /// Reads all rooms: whether there was an error, or what was wrong.
    async fn read(&self, life: &Served) -> Result<bool, String> {
        let mut errors = false;
        for (room, log) in &self.logs {
            match life.log(room).await {
                Ok(read) if read == *log => {}
                Ok(read) => {
                    let same = read.iter().zip(log).take_while(|(a, b)| a == b).count();
                    let (ours, all) = (read.len(), log.len());
                    return Err(format!("{room}: {ours} of {all} entries, {same} of them right"));
                }
                Err(_) => errors = true,
            }
        }
        match life.node.room_heads(&RoomRange::every(), 1_000) {
            Ok(heads) => {
                let heads: BTreeMap<String, u64> =
                    heads.into_iter().map(|(room, head)| (room.to_string(), head.end)).collect();
                let all = self.logs.iter().map(|(room, log)| (room.clone(), log.len() as u64));
                if heads != all.collect() {
                    return Err(format!("the list of rooms is {heads:?}"));
                }
            }
            Err(_) => errors = true,
        }
        Ok(errors)
    }

    /// Flips bits of a file, one at a time; counts the results, or gives all that was wrong.
    async fn flip(&self, file: &str, count: u64) -> BTreeMap<Seen, usize> {
        let bytes = &self.files[file];
        let (mut seen, mut wrong) = (BTreeMap::new(), Vec::new());
        // What follows the last record of a segment is zeros.
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
        for n in 0..count {
            let (byte, bit) = place(used as u64, n);
            let mut files = self.files.clone();
            files.get_mut(file).expect("the file")[byte] ^= 1 << bit;
            match self.start(&files).await {
                Ok(how) => *seen.entry(how).or_insert(0) += 1,
                Err(what) => wrong.push(format!("{file}, byte {byte}, bit {bit}: {what}")),
            }
        }
        eprintln!("{file}, {} bytes: {seen:?}, wrong {}", bytes.len(), wrong.len());
        assert!(wrong.is_empty(), "{} of {count}:\n  {}", wrong.len(), wrong.join("\n  "));
        seen
    }
}

/// Whether it names a file or its content, and more.
fn is_clear(message: &str) -> bool {
    let names = ["journal", "archive", "/node"].iter().any(|name| message.contains(name));
    names && message.split_whitespace().count() >= 5
}

/// A place in a file: every other one in the first bytes of a page, where its structure is, and
/// every eighth of these in the header of the file.
fn place(length: u64, n: u64) -> (usize, u8) {
    // SplitMix64.
    let mut random = n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x5eed);
    random = (random ^ (random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    random = (random ^ (random >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    random ^= random >> 31;
    let (anywhere, in_page) = (random % length, random >> 40);
    let byte = match n % 16 {
        1 => in_page % 100,
        odd if odd % 2 == 1 => anywhere / 4_096 * 4_096 + in_page % 64,
        _ => anywhere,
    };
    ((byte.min(length - 1)) as usize, (random >> 32) as u8 % 8)
}

#[tokio::test]
async fn an_image_without_a_flip_is_read_in_full() {
    for killed in [true, false] {
        let image = image(killed).await;
        assert_eq!(image.start(&image.files).await, Ok(Seen::Right));
        let holds_commits = image.files.get("archive.db-wal").is_some_and(|wal| !wal.is_empty());
        assert_eq!(holds_commits, killed);
    }
    assert_eq!(nth_append(7).room.as_str(), "room-2");
}

#[tokio::test]
async fn a_flipped_bit_of_a_journals_last_segment_is_refused_wherever_it_is() {
    for killed in [true, false] {
        let image = image(killed).await;
        let seen = image.flip("journal-00000001", 250).await;
        // Between the records, and after the last, are zeros.
        assert!(seen[&Seen::Refused] > 200, "{seen:?}");
        assert!(!seen.contains_key(&Seen::Errors), "{seen:?}");
    }
}

#[tokio::test]
async fn a_flipped_bit_of_an_older_segment_is_found_and_nothing_wrong_is_served() {
    let mut image = small_segments().await;
    let seen = image.flip("journal-00000002", 200).await;
    assert!(seen[&Seen::Refused] > 10, "{seen:?}");
    // When the archive is rebuilt from it.
    image.files.retain(|name, _| !name.starts_with("archive.db"));
    let seen = image.flip("journal-00000002", 200).await;
    assert!(seen[&Seen::Refused] > 150, "{seen:?}");
}

#[tokio::test]
async fn a_flipped_bit_of_an_archives_wal_is_refused_or_the_journal_has_what_it_held() {
    let seen = image(true).await.flip("archive.db-wal", 200).await;
    assert!(!seen.contains_key(&Seen::Errors), "{seen:?}");
    assert!(seen.contains_key(&Seen::Right), "{seen:?}");
}

#[tokio::test]
async fn a_flipped_bit_of_the_node_file_is_refused_wherever_it_is() {
    let image = image(false).await;
    let mut files = image.files.clone();
    for byte in 0..files["node"].len() {
        for bit in 0..8 {
            files.get_mut("node").expect("the file")[byte] ^= 1 << bit;
            assert_eq!(image.start(&files).await, Ok(Seen::Refused), "byte {byte}, bit {bit}");
            files.get_mut("node").expect("the file")[byte] ^= 1 << bit;
        }
    }
}

#[tokio::test]
async fn a_flipped_bit_of_a_stopped_archive_is_found_and_nothing_wrong_is_served() {
    image(false).await.flip("archive.db", 250).await;
}

#[tokio::test]
async fn a_flipped_bit_of_a_killed_archive_is_found_and_nothing_wrong_is_served() {
    image(true).await.flip("archive.db", 250).await;
}

//! The files of a stopped server with one bit flipped.
//!
//! Enters: a seed, which gives files and bits. Leaves: how many flips were found, how many changed nothing
//! that is served, and those that were served. Invariant: each flip is made in a copy of the same directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use roomlog_checker::NodeLog;
use tokio::{sync::watch, time::sleep};

use crate::{
    crash::refused,
    node::Node,
    reading,
    writer::{Recorder, Writer},
};

/// The room that is written.
const ROOM: &str = "room";
/// How long it is written to before the server stops.
const WRITTEN_FOR: Duration = Duration::from_secs(2);

/// What was counted.
#[derive(Debug, Default, Clone)]
pub struct Flips {
    /// `verify` or the start of a server reports damage.
    pub found: u64,
    /// The server starts, and serves what was written.
    pub harmless: u64,
    /// The server starts, and serves something else: a sentence each.
    pub served: Vec<String>,
}

/// Flips bits, one in each of `count` copies. Needs a multi-threaded runtime.
///
/// # Errors
/// If the files cannot be copied, or the server that writes them fails.
pub async fn run(binary: &Path, seed: u64, count: u64) -> io::Result<Flips> {
    let directory = tempfile::tempdir()?;
    let written = directory.path().join("written");
    let (room, log) = write(binary, &written).await?;
    let files = files_of(&written)?;
    let mut random = StdRng::seed_from_u64(seed);
    let mut flips = Flips::default();
    for number in 0..count {
        let copy = directory.path().join("copy");
        copy_directory(&written, &copy)?;
        let file = &files[random.random_range(0..files.len())];
        let bit = random.random_range(0..file.bytes * 8);
        flip(&copy.join(&file.name), bit)?;
        let what = format!("flip {number}: bit {bit} of {}", file.name.display());
        let is_refused = refused(binary, &copy).await?.is_some();
        match serve(binary, &copy, &room).await? {
            Some(served) if served != log => flips.served.push(what),
            Some(_) if !is_refused => flips.harmless += 1,
            _ => flips.found += 1,
        }
        fs::remove_dir_all(&copy)?;
    }
    Ok(flips)
}

/// Has a server write a directory; gives the room with its last slot, and its log.
async fn write(binary: &Path, data: &Path) -> io::Result<((String, i64), Vec<String>)> {
    let mut node = Node::new("writer".into(), binary, data.to_owned(), Vec::new())?;
    node.start().await?;
    let (stop, stopped) = watch::channel(false);
    let writer = Writer {
        author: "ada".into(),
        room: ROOM.into(),
        nodes: vec![(0, node.address)],
        recorder: Recorder::default(),
        pace: Duration::from_millis(1),
        stop: stopped,
        patience: Duration::from_secs(60),
    };
    let writing = tokio::spawn(writer.run());
    sleep(WRITTEN_FOR).await;
    stop.send_replace(true);
    let tally = writing.await.map_err(io::Error::other)?;
    let room = (ROOM.to_owned(), tally.seen);
    let log = reading::read(&node.name, node.address, std::slice::from_ref(&room)).await;
    let NodeLog { replies, .. } = log.map_err(|why| node.error(&why))?;
    node.stop().await?;
    Ok((room, replies))
}

/// What a server serves of a directory; `None` if it finds that it is damaged.
async fn serve(
    binary: &Path,
    data: &Path,
    room: &(String, i64),
) -> io::Result<Option<Vec<String>>> {
    let mut node = Node::new("reader".into(), binary, data.to_owned(), Vec::new())?;
    if node.start().await.is_err() {
        return Ok(None);
    }
    let log = reading::read(&node.name, node.address, std::slice::from_ref(room)).await;
    node.kill().await;
    Ok(log.ok().map(|log| log.replies))
}

struct FileOf {
    name: PathBuf,
    bytes: u64,
}

/// The files with a content, below a directory.
fn files_of(directory: &Path) -> io::Result<Vec<FileOf>> {
    let mut files = Vec::new();
    for file in fs::read_dir(directory)? {
        let file = file?;
        let bytes = file.metadata()?.len();
        if file.file_type()?.is_file() && bytes > 0 {
            files.push(FileOf { name: file.file_name().into(), bytes });
        }
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for file in fs::read_dir(from)? {
        let file = file?;
        if file.file_type()?.is_file() {
            fs::copy(file.path(), to.join(file.file_name()))?;
        }
    }
    Ok(())
}

fn flip(file: &Path, bit: u64) -> io::Result<()> {
    let mut bytes = fs::read(file)?;
    let at = usize::try_from(bit / 8).map_err(io::Error::other)?;
    bytes[at] ^= 1 << (bit % 8);
    fs::write(file, bytes)
}

//! The node file: who this node is, and how often it has started.
//!
//! Enters: a directory. Leaves: an [`Identity`] whose incarnation no earlier start had. Invariants: the
//! file is replaced by rename and fsynced before the first propose; a line of it is a checksum over
//! the others, or a flipped bit could bring an old incarnation back. It is never part of a backup: a
//! copy that runs beside the original must be another node.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use roomlog_core::{Identity, identity::NodeId};
use ulid::Ulid;

pub(crate) const FILE: &str = "node";

/// Begins a new incarnation of the directory's node.
pub(crate) fn begin_incarnation(directory: &Path) -> io::Result<Identity> {
    let path = directory.join(FILE);
    let (node, incarnation) = match look(&path)? {
        Some((node, incarnation)) => (node, incarnation + 1),
        None => (new_ulid(), 1),
    };
    replace(directory, FILE, &text(node, incarnation))?;
    Ok(Identity { node: NodeId(node.to_bytes()), incarnation })
}

/// Replaces a small file by rename; it is on stable storage when this returns.
pub(crate) fn replace(directory: &Path, file: &str, text: &str) -> io::Result<()> {
    let fresh = directory.join(format!("{file}.new"));
    let mut written = File::create(&fresh)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    fs::rename(&fresh, directory.join(file))?;
    File::open(directory)?.sync_all()
}

fn look(path: &Path) -> io::Result<Option<(Ulid, u64)>> {
    let there = match fs::read(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let is_none = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{} is not a node file; remove it to go on as a new node: no entry is lost",
                path.display()
            ),
        )
    };
    parse(&there).map(Some).ok_or_else(is_none)
}

/// The directory's node and its incarnation, where it was started before.
pub(crate) fn read(directory: &Path) -> io::Result<Option<(NodeId, u64)>> {
    let there = look(&directory.join(FILE))?;
    Ok(there.map(|(node, incarnation)| (NodeId(node.to_bytes()), incarnation)))
}

/// Lets the next start be that of a new node.
pub(crate) fn forget(directory: &Path) -> io::Result<()> {
    match fs::remove_file(directory.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => File::open(directory)?.sync_all(),
    }
}

/// A new name: of a node, of a log.
pub(crate) fn new_ulid() -> Ulid {
    Ulid::generate()
}

/// What the file says.
pub(crate) fn text(node: Ulid, incarnation: u64) -> String {
    let said = format!("node {node}\nincarnation {incarnation}\n");
    let sum = crc32fast::hash(said.as_bytes());
    format!("{said}sum {sum:08x}\n")
}

fn parse(there: &[u8]) -> Option<(Ulid, u64)> {
    let there = std::str::from_utf8(there).ok()?;
    let mut lines = there.lines();
    let node = Ulid::from_string(lines.next()?.strip_prefix("node ")?).ok()?;
    let incarnation = lines.next()?.strip_prefix("incarnation ")?.parse().ok()?;
    (text(node, incarnation) == there).then_some((node, incarnation))
}

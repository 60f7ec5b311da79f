//! The node file: who this node is, and how often it has started.
//!
//! Enters: a directory. Leaves: an [`Identity`] whose incarnation no earlier start had. Invariant: the
//! file is replaced by rename and fsynced before the first propose. It is never part of a backup: a
//! copy that runs beside the original must be another node.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

use roomlog_core::{Identity, block::NodeId};
use ulid::Ulid;

const FILE: &str = "node";

/// Begins a new incarnation of the directory's node.
pub(crate) fn begin_incarnation(directory: &Path) -> io::Result<Identity> {
    let path = directory.join(FILE);
    let (node, incarnation) = match look(&path)? {
        Some((node, incarnation)) => (node, incarnation + 1),
        None => (new_ulid(), 1),
    };
    let fresh = directory.join("node.new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "node {node}\nincarnation {incarnation}")?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    File::open(directory)?.sync_all()?;
    Ok(Identity { node: NodeId(node.to_bytes()), incarnation })
}

fn look(path: &Path) -> io::Result<Option<(Ulid, u64)>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
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
    parse(&text).map(Some).ok_or_else(is_none)
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

fn parse(text: &str) -> Option<(Ulid, u64)> {
    let mut lines = text.lines();
    let node = lines.next()?.strip_prefix("node ")?;
    let incarnation = lines.next()?.strip_prefix("incarnation ")?;
    Some((Ulid::from_string(node).ok()?, incarnation.parse().ok()?))
}

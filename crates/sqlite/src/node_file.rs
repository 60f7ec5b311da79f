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
    let (node, incarnation) = match fs::read_to_string(&path) {
        Ok(text) => {
            let (node, incarnation) = parse(&text).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!(
                        "{} is not a node file; remove it to go on as a new node: no entry is lost",
                        path.display()
                    ),
                )
            })?;
            (node, incarnation + 1)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => (new_ulid(), 1),
        Err(error) => return Err(error),
    };
    let fresh = directory.join("node.new");
    let mut file = File::create(&fresh)?;
    writeln!(file, "node {node}\nincarnation {incarnation}")?;
    file.sync_all()?;
    fs::rename(&fresh, &path)?;
    File::open(directory)?.sync_all()?;
    Ok(Identity { node: NodeId(node.to_bytes()), incarnation })
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

//! The small text files of a data directory: `node`, `frozen`, and the claims of a move.
//!
//! Each is replaced by rename and on stable storage before its writer continues. `node` holds the
//! node's id and its incarnation, which no two starts share; its last line is a checksum, because a
//! flipped bit could bring an old incarnation back. It is never part of a backup: a copy that runs
//! beside the original must be another node.

use std::{fs, io, path::Path};

use roomlog_core::{Identity, identity::NodeId};
use ulid::Ulid;

use crate::{
    error::OpenError,
    files::{FROZEN, NODE, replace, sync},
    private::{self, if_exists},
};

/// Begins a new incarnation of the directory's node.
pub(crate) fn begin_incarnation(directory: &Path) -> io::Result<Identity> {
    let (node, incarnation) = match read(directory)? {
        Some((node, incarnation)) => (node, incarnation + 1),
        None => (Ulid::generate(), 1),
    };
    replace(directory, NODE, &node_text(node, incarnation))?;
    Ok(Identity { node: NodeId(node.to_bytes()), incarnation })
}

/// The directory's node and its last incarnation; `None` if it was never started.
pub(crate) fn read_node(directory: &Path) -> io::Result<Option<(NodeId, u64)>> {
    let node = read(directory)?;
    Ok(node.map(|(node, incarnation)| (NodeId(node.to_bytes()), incarnation)))
}

/// Makes the next start that of a new node.
pub(crate) fn remove_node(directory: &Path) -> io::Result<()> {
    if_exists(fs::remove_file(directory.join(NODE)))?;
    sync(directory)
}

fn read(directory: &Path) -> io::Result<Option<(Ulid, u64)>> {
    let path = directory.join(NODE);
    let is_damaged = || {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "{} is not a node file; remove it to go on as a new node: no entry is lost",
                path.display()
            ),
        )
    };
    match private::read_small(&path) {
        Ok(Some(text)) => parse(&text).map(Some).ok_or_else(is_damaged),
        Ok(None) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(is_damaged()),
        Err(error) => Err(error),
    }
}

pub(crate) fn node_text(node: Ulid, incarnation: u64) -> String {
    let text = format!("node {node}\nincarnation {incarnation}\n");
    let sum = crc32fast::hash(text.as_bytes());
    format!("{text}sum {sum:08x}\n")
}

fn parse(text: &str) -> Option<(Ulid, u64)> {
    let mut lines = text.lines();
    let node = Ulid::from_string(lines.next()?.strip_prefix("node ")?).ok()?;
    let incarnation = lines.next()?.strip_prefix("incarnation ")?.parse().ok()?;
    (node_text(node, incarnation) == text).then_some((node, incarnation))
}

pub(crate) fn check_not_frozen(path: &Path) -> Result<(), OpenError> {
    match private::read_small(&path.join(FROZEN)).map_err(OpenError::io(path))? {
        Some(why) => Err(OpenError::Frozen { path: path.into(), why: why.trim().into() }),
        None => Ok(()),
    }
}

/// Freezes a directory: every later start is refused with this reason.
pub(crate) fn freeze(path: &Path, why: &str) -> io::Result<()> {
    replace(path, FROZEN, &format!("{why}\n"))
}

/// Writes a value (the name or the target of a move) to a file that does not exist yet, and
/// returns the value that the file holds: the first claim wins.
///
/// # Errors
/// The file cannot be read or written.
pub fn claim(directory: &Path, file: &str, wanted: &str) -> io::Result<String> {
    if let Some(claimed) = private::read_small(&directory.join(file))? {
        return Ok(claimed.trim().to_owned());
    }
    private::create_dir_all(directory)?;
    replace(directory, file, &format!("{wanted}\n"))?;
    Ok(wanted.to_owned())
}

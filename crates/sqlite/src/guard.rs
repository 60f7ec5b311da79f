//! What a data directory must be before it is used: its own user's, and made of real files.
//!
//! ```text
//!  names that Roomlog opens ──► each a regular file, or missing; else refused, unchanged
//!  accepted directory ──► its files 0600, itself 0700; what cannot be so is warned about
//! ```
//!
//! The directory itself may be reached through links: the operator named it. A directory that is
//! shared keeps its mode: it is sticky, as `/tmp` is, or holds files that are not Roomlog's.

use std::{
    fs::{self, Metadata, Permissions},
    io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use roomlog_protocol::MANIFEST_FILE;

use crate::{
    files::{
        ARCHIVE, BLANK, COPY, DATABASE_PARTS, FROZEN, LOCK, NEW_JOURNAL, NODE, OLD_JOURNAL,
        RESTORED, is_ours, segment_name, segments,
    },
    private::{self, if_exists, permissions},
};

const OTHERS: u32 = 0o077;
const OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

const DATABASES: [&str; 3] = [OLD_JOURNAL, ARCHIVE, COPY];
const SINGLE: [&str; 7] = [NEW_JOURNAL, BLANK, LOCK, NODE, FROZEN, MANIFEST_FILE, RESTORED];

/// What a move and the first start of a backup leave in a directory: a directory, or a small file.
const BELOW: [&str; 2] = ["moving", "restored"];

/// Refuses a directory that has a link, a FIFO or another non-file where Roomlog opens a file.
pub(crate) fn check_files(directory: &Path) -> io::Result<()> {
    for database in DATABASES {
        for part in DATABASE_PARTS {
            private::check(&directory.join(format!("{database}{part}")))?;
        }
    }
    for segment in if_exists(segments(directory))?.unwrap_or_default() {
        private::check(&directory.join(segment_name(segment)))?;
    }
    SINGLE.iter().try_for_each(|file| private::check(&directory.join(file)))?;
    BELOW.iter().try_for_each(|name| private::check_no_link(&directory.join(name)))
}

/// Takes away what other users may do with a directory and its files. What cannot be done is
/// logged: the directory can be used.
pub(crate) fn tighten(directory: &Path) -> io::Result<()> {
    let mut is_shared = false;
    let mut left = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if !is_ours(&name) && name != LOCK {
            let name = name.to_string_lossy();
            is_shared |= !name.starts_with('.') && name != "lost+found" && !BELOW.contains(&&*name);
            continue;
        }
        if !is_private(&entry.path())? {
            left.push(name.to_string_lossy().into_owned());
        }
    }
    if !left.is_empty() {
        let (directory, files) = (directory.display(), left.join(", "));
        tracing::warn!(
            "{directory}: other users may read or change {files}, whose mode cannot be set to \
             0600: the owner is not the user of this server, or the file has a second name; give \
             the files to this user"
        );
    }
    let itself = fs::metadata(directory)?;
    let keeps_mode = is_shared || itself.mode() & STICKY != 0 || !is_own(&itself);
    let tighten = || fs::set_permissions(directory, Permissions::from_mode(0o700));
    if keeps_mode || permissions(&itself) & OTHERS != 0 && tighten().is_err() {
        warn_if_shared(directory, &itself);
    }
    Ok(())
}

/// Refuses a link and a directory of another user; a directory of this one becomes private.
pub(crate) fn check_own(directory: &Path) -> io::Result<()> {
    let there = fs::symlink_metadata(directory)?;
    if there.is_dir() && is_own(&there) {
        let _or_the_file_system_has_no_modes =
            fs::set_permissions(directory, Permissions::from_mode(0o700));
        return Ok(());
    }
    let why = format!(
        "{} is not a directory of this user; move it away, or name another directory",
        directory.display()
    );
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

fn is_own(there: &Metadata) -> bool {
    there.uid() == rustix::process::geteuid().as_raw()
}

/// Makes a file private; whether it is.
fn is_private(path: &Path) -> io::Result<bool> {
    let there = fs::symlink_metadata(path)?;
    if !there.is_file() {
        // It is not one that Roomlog opens.
        return Ok(true);
    }
    if is_own(&there) && permissions(&there) & OTHERS == 0 {
        return Ok(true);
    }
    // A file with a second name may be someone's who needs it as it is.
    if !is_own(&there) || there.nlink() > 1 {
        return Ok(false);
    }
    let set = private::open(path)?.set_permissions(Permissions::from_mode(0o600));
    Ok(set.is_ok())
}

fn warn_if_shared(directory: &Path, itself: &Metadata) {
    let is_trusted = is_own(itself) || itself.uid() == 0;
    if is_trusted && permissions(itself) & OTHERS_WRITE == 0 {
        return;
    }
    tracing::warn!(
        "other users may add and remove files in {}, which is theirs or shared: give Roomlog a \
         directory of its own",
        directory.display()
    );
}

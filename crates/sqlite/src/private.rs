//! Files and directories that only their owner may use, and that are what they seem.
//!
//! Enters: a path whose directory the operator chose, through links if they like. Leaves: a regular
//! file. Invariants: what is created has mode 0600, a directory 0700, whatever the umask; the last
//! name of a path is never followed as a link; a FIFO or a device in its place is refused, and
//! opening it does not wait.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use rustix::fs::OFlags;

const FILE: u32 = 0o600;
const DIRECTORY: u32 = 0o700;

/// The longest small file, in bytes, such as a manifest.
const SMALL_BYTES: u64 = 1 << 20;

/// The result of an operation on a file; `None` if the file does not exist.
pub(crate) fn if_exists<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// The bits of a mode that are permissions.
pub(crate) fn permissions(of: &Metadata) -> u32 {
    of.mode() & 0o777
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    // Without NONBLOCK a FIFO would wait for its other end.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    options.mode(FILE).custom_flags(flags.cast_signed());
    options
}

/// Opens a regular file for reading.
///
/// # Errors
/// `InvalidInput` if it is a link or anything else; or the system refuses.
pub fn open(path: &Path) -> io::Result<File> {
    open_with(path, options().read(true))
}

/// Opens a regular file for reading and writing.
pub(crate) fn open_to_write(path: &Path) -> io::Result<File> {
    open_with(path, options().read(true).write(true))
}

fn open_with(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let opened = options.open(path);
    // Opening a link or a socket fails with errors that do not say so.
    let file = opened.map_err(|error| check(path).err().unwrap_or(error))?;
    is_regular(path, &file.metadata()?)?;
    Ok(file)
}

/// Creates a file, for writing.
///
/// # Errors
/// `AlreadyExists` if there is anything of this name; or the system refuses.
pub fn create_new(path: &Path) -> io::Result<File> {
    let file = options().read(true).write(true).create_new(true).open(path)?;
    if permissions(&file.metadata()?) != FILE {
        let _or_the_file_system_has_no_modes = file.set_permissions(Permissions::from_mode(FILE));
    }
    Ok(file)
}

/// Creates a file if it is missing, and does not open one that is there: closing that would drop
/// the locks of SQLite, which are those of the process.
pub(crate) fn create_if_missing(path: &Path) -> io::Result<()> {
    match create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => check(path),
        created => created.map(drop),
    }
}

/// Opens a file for reading and writing, and creates it if it is missing.
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    match create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => open_to_write(path),
        created => created,
    }
}

/// The text of a small file; `None` if there is none.
pub(crate) fn read_small(path: &Path) -> io::Result<Option<String>> {
    let Some(file) = if_exists(open(path))? else { return Ok(None) };
    let mut text = String::new();
    file.take(SMALL_BYTES).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Copies a file to one that does not exist yet.
///
/// # Errors
/// As [`open`] and [`create_new`].
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut from = open(from)?;
    io::copy(&mut from, &mut create_new(to)?).map(drop)
}

/// Creates a directory, and those above it, if they are missing. One that exists stays as it is.
///
/// # Errors
/// `AlreadyExists` if there is something else of this name; or the system refuses.
pub fn create_dir_all(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_dir_all(parent)?;
    }
    match create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created,
    }
}

/// Creates a directory.
pub(crate) fn create_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(DIRECTORY).create(path)?;
    if permissions(&fs::symlink_metadata(path)?) != DIRECTORY {
        let _or_the_file_system_has_no_modes =
            fs::set_permissions(path, Permissions::from_mode(DIRECTORY));
    }
    Ok(())
}

/// Refuses what is there and no regular file.
pub(crate) fn check(path: &Path) -> io::Result<()> {
    match if_exists(fs::symlink_metadata(path))? {
        Some(there) => is_regular(path, &there),
        None => Ok(()),
    }
}

/// As [`check`]; a directory is accepted too.
pub(crate) fn check_no_link(path: &Path) -> io::Result<()> {
    match if_exists(fs::symlink_metadata(path))? {
        Some(there) if !there.is_dir() => is_regular(path, &there),
        _ => Ok(()),
    }
}

fn is_regular(path: &Path, there: &Metadata) -> io::Result<()> {
    if there.is_file() {
        return Ok(());
    }
    let kind = there.file_type();
    let kind = if kind.is_symlink() {
        "a symbolic link, and no link in a data directory or a backup is followed"
    } else if kind.is_fifo() {
        "a FIFO, not a file"
    } else if kind.is_dir() {
        "a directory, not a file"
    } else if kind.is_socket() {
        "a socket, not a file"
    } else {
        "a device, not a file"
    };
    let why = format!("{} is {kind}; move it away, or put the file itself there", path.display());
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

//! What SQLite says of a file, as a sentence with a way out.
//!
//! Enters: an error of SQLite. Leaves: what happened, and what its operator can do. Invariant: an error
//! of the disk names the call that failed.

use rusqlite::{Error, ErrorCode, ffi};

/// Whether there was no room. The transaction left nothing behind once it is rolled back.
pub(crate) fn is_full(error: &Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// Whether another connection was in the way.
pub(crate) fn is_busy(error: &Error) -> bool {
    let busy = [Some(ErrorCode::DatabaseBusy), Some(ErrorCode::DatabaseLocked)];
    busy.contains(&error.sqlite_error_code())
}

/// Whether there was no room for what SQLite keeps beside a file to find its way in the WAL. The
/// commit may be in the WAL.
pub(crate) fn is_index_full(error: &Error) -> bool {
    error.sqlite_error().map(|error| error.extended_code) == Some(ffi::SQLITE_IOERR_SHMSIZE)
}

/// The error, and what to do.
pub(crate) fn sentence(error: &Error) -> String {
    let code = error.sqlite_error().map_or(0, |error| error.extended_code);
    let way_out = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "make room in its file system; nothing is lost",
        _ if is_index_full(error) => "make room in its file system, then start again",
        Some(ErrorCode::SystemIoFailure) => {
            let said = ffi::code_to_str(code);
            return format!(
                "{error} ({said}); look at the disk, then start again: what was acked is there"
            );
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "it is damaged; restore a backup of the whole directory"
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            "look at the rights of the directory and of the files in it, and for room in its file \
             system"
        }
        _ => return error.to_string(),
    };
    format!("{error}; {way_out}")
}

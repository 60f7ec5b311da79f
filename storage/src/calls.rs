//! The C library's calls that read, write and sync files, in front of the real ones.
//!
//! What the standard library and SQLite call arrives here. Enters: calls. Leaves: the same calls, made or failed as the
//! [`Disk`](crate::disk::Disk) says, if their file is on it; all others unchanged. Invariant: calls that this module
//! makes itself are not seen by the disk.

use std::{
    cell::Cell,
    ffi::{CStr, c_char, c_int, c_void},
    mem::MaybeUninit,
    os::fd::BorrowedFd,
    path::Path,
    slice,
};

use rustix::io::Errno;

use crate::disk::{self, Answer};

unsafe extern "C" {
    fn __errno_location() -> *mut c_int;
}

thread_local! {
    /// This thread is in a call already: what it calls now is its own.
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Asks the disk; for a call that the disk makes itself, does `own` instead.
fn through<T>(ask: impl FnOnce() -> T, own: impl FnOnce() -> T) -> T {
    if IS_INSIDE.get() {
        return own();
    }
    IS_INSIDE.set(true);
    let answer = ask();
    IS_INSIDE.set(false);
    answer
}

fn answer<T>(result: Result<T, Errno>, number: impl FnOnce(T) -> isize) -> isize {
    match result {
        Ok(value) => number(value),
        Err(errno) => {
            // SAFETY: the C library's own place of this thread's error.
            unsafe { *__errno_location() = errno.raw_os_error() };
            -1
        }
    }
}

fn done(result: Result<(), Errno>) -> c_int {
    if answer(result, |()| 0) == 0 { 0 } else { -1 }
}

/// # Safety
/// `fd` is open, as the C library demands.
unsafe fn borrow<'a>(fd: c_int) -> BorrowedFd<'a> {
    // SAFETY: the caller's promise.
    unsafe { BorrowedFd::borrow_raw(fd) }
}

/// See write(2).
///
/// # Safety
/// As write(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: usize) -> isize {
    if count == 0 {
        return 0;
    }
    // SAFETY: the caller's promise.
    let (fd, bytes) = unsafe { (borrow(fd), slice::from_raw_parts(bytes.cast::<u8>(), count)) };
    let real = |bytes: &[u8]| rustix::io::write(fd, bytes);
    let at = || rustix::fs::seek(fd, rustix::fs::SeekFrom::Current(0)).ok();
    answer(through(|| disk::write(fd, at, bytes, real), || real(bytes)), usize::cast_signed)
}

/// See pwrite(2).
///
/// # Safety
/// As pwrite(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pwrite64(
    fd: c_int,
    bytes: *const c_void,
    count: usize,
    at: i64,
) -> isize {
    if count == 0 {
        return 0;
    }
    // SAFETY: the caller's promise.
    let (fd, bytes) = unsafe { (borrow(fd), slice::from_raw_parts(bytes.cast::<u8>(), count)) };
    let at = at.cast_unsigned();
    let real = |bytes: &[u8]| rustix::io::pwrite(fd, bytes, at);
    answer(
        through(|| disk::write(fd, || Some(at), bytes, real), || real(bytes)),
        usize::cast_signed,
    )
}

/// See pwrite(2).
///
/// # Safety
/// As pwrite(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pwrite(
    fd: c_int,
    bytes: *const c_void,
    count: usize,
    at: i64,
) -> isize {
    // SAFETY: the caller's promise.
    unsafe { pwrite64(fd, bytes, count, at) }
}

/// See read(2).
///
/// # Safety
/// As read(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn read(fd: c_int, bytes: *mut c_void, count: usize) -> isize {
    // SAFETY: the caller's promise; the bytes may be uninitialised, and rustix takes them so.
    let (fd, bytes) =
        unsafe { (borrow(fd), slice::from_raw_parts_mut(bytes.cast::<MaybeUninit<u8>>(), count)) };
    let real = || rustix::io::read(fd, bytes).map(|(read, _)| read.len());
    answer(read_through(fd, real), usize::cast_signed)
}

/// See pread(2).
///
/// # Safety
/// As pread(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pread64(
    fd: c_int,
    bytes: *mut c_void,
    count: usize,
    at: i64,
) -> isize {
    // SAFETY: the caller's promise; the bytes may be uninitialised, and rustix takes them so.
    let (fd, bytes) =
        unsafe { (borrow(fd), slice::from_raw_parts_mut(bytes.cast::<MaybeUninit<u8>>(), count)) };
    let real = || rustix::io::pread(fd, bytes, at.cast_unsigned()).map(|(read, _)| read.len());
    answer(read_through(fd, real), usize::cast_signed)
}

/// See pread(2).
///
/// # Safety
/// As pread(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pread(
    fd: c_int,
    bytes: *mut c_void,
    count: usize,
    at: i64,
) -> isize {
    // SAFETY: the caller's promise.
    unsafe { pread64(fd, bytes, count, at) }
}

fn read_through(
    fd: BorrowedFd<'_>,
    real: impl FnOnce() -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    match through(|| disk::read(fd), || Answer::Real) {
        Answer::Real => real(),
        Answer::Failed(errno) => Err(errno),
    }
}

/// See fsync(2).
///
/// # Safety
/// As fsync(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    // SAFETY: the caller's promise.
    let fd = unsafe { borrow(fd) };
    done(through(|| disk::sync(fd), || Ok(())))
}

/// See fdatasync(2).
///
/// # Safety
/// As fdatasync(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { fsync(fd) }
}

/// See ftruncate(2).
///
/// # Safety
/// As ftruncate(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn ftruncate64(fd: c_int, length: i64) -> c_int {
    // SAFETY: the caller's promise.
    let (fd, length) = (unsafe { borrow(fd) }, length.cast_unsigned());
    let real = || rustix::fs::ftruncate(fd, length);
    done(through(|| disk::truncate(fd, length, real), real))
}

/// See ftruncate(2).
///
/// # Safety
/// As ftruncate(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn ftruncate(fd: c_int, length: i64) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { ftruncate64(fd, length) }
}

/// See unlink(2).
///
/// # Safety
/// As unlink(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller's promise.
    let path = unsafe { CStr::from_ptr(path) };
    let real = || rustix::fs::unlink(path);
    done(through(|| disk::replaced(as_path(path), real), real))
}

/// See rename(2).
///
/// # Safety
/// As rename(2).
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: the caller's promise.
    let (from, to) = unsafe { (CStr::from_ptr(from), CStr::from_ptr(to)) };
    let real = || rustix::fs::rename(from, to);
    done(through(|| disk::replaced(as_path(to), real), real))
}

fn as_path(path: &CStr) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()))
}

//! What the C library answers on the thread of a simulation: time, and random bytes.
//!
//! Everything that asks for them gets them here: the standard library, whose hash maps have random keys, and
//! all others. Enters: the simulated time, and the seed. Leaves: `clock_gettime` and `getrandom`, which on other
//! threads answer as ever. Invariant: on the thread of a simulation both depend only on what entered.

use std::{cell::Cell, ffi::c_void};

use rustix::time::ClockId;

/// The wall clock at the start of a simulation, in ms since the epoch.
const STARTS_AT: i64 = 1_767_225_600_000;

thread_local! {
    /// Milliseconds since the start; negative: this thread is not simulated.
    static NOW: Cell<i64> = const { Cell::new(-1) };
    /// By how much the wall clock of what runs now is wrong, in ms.
    static SKEW: Cell<i64> = const { Cell::new(0) };
    static RANDOM: Cell<u64> = const { Cell::new(0) };
}

/// Makes this thread that of a simulation.
pub(crate) fn start(seed: u64) {
    NOW.set(0);
    RANDOM.set(seed ^ 0x9e37_79b9_7f4a_7c15);
}

/// Sets the time, in ms since the start, and by how much the wall clock is wrong.
pub(crate) fn set(now: u64, skew: i64) {
    NOW.set(now.cast_signed());
    SKEW.set(skew);
}

/// The time, in ms since the start.
pub(crate) fn now() -> u64 {
    NOW.get().max(0).cast_unsigned()
}

/// The right wall clock, in ms since the epoch.
pub(crate) fn wall() -> u64 {
    (STARTS_AT + NOW.get()).cast_unsigned()
}

/// SplitMix64.
fn next_random() -> u64 {
    let state = RANDOM.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    RANDOM.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// `struct timespec` of 64-bit Linux.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// See clock_gettime(3).
///
/// # Safety
/// `time` must be valid for a write, as the C library demands.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn clock_gettime(clock: i32, time: *mut Timespec) -> i32 {
    const REALTIME: i32 = 0;
    let answer = match NOW.get() {
        now @ 0.. => {
            let ms = if clock == REALTIME { STARTS_AT + now + SKEW.get() } else { 1_000 + now };
            Timespec { seconds: ms / 1_000, nanoseconds: ms % 1_000 * 1_000_000 }
        }
        _ => {
            let clock = match clock {
                REALTIME => ClockId::Realtime,
                2 => ClockId::ProcessCPUTime,
                3 => ClockId::ThreadCPUTime,
                7 => ClockId::Boottime,
                _ => ClockId::Monotonic,
            };
            let real = rustix::time::clock_gettime(clock);
            Timespec { seconds: real.tv_sec, nanoseconds: real.tv_nsec }
        }
    };
    // SAFETY: the caller's promise.
    unsafe { time.write(answer) };
    0
}

/// See getrandom(2).
///
/// # Safety
/// `bytes` must be valid for `length` writes, as the C library demands.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(bytes: *mut c_void, length: usize, _flags: u32) -> isize {
    if length == 0 {
        return 0;
    }
    let bytes = bytes.cast::<u8>();
    if NOW.get() < 0 {
        // SAFETY: the caller's promise. Zeros first, because the slice below must be initialised.
        let slice = unsafe {
            bytes.write_bytes(0, length);
            std::slice::from_raw_parts_mut(bytes, length)
        };
        let got = rustix::rand::getrandom(slice, rustix::rand::GetRandomFlags::empty());
        return got.map_or(-1, usize::cast_signed);
    }
    for at in 0..length {
        // SAFETY: the caller's promise.
        unsafe { bytes.add(at).write(next_random() as u8) };
    }
    length.cast_signed()
}

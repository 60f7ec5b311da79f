//! The machine that the process runs on.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// The part of the machine's memory that a server uses for its clients.
const SHARE: u64 = 4;

/// What is assumed if the system does not say how much memory there is, in bytes.
const UNKNOWN: u64 = 2 << 30;

/// A quarter of [`memory`], in bytes.
pub(crate) fn memory_share() -> usize {
    usize::try_from(memory() / SHARE).unwrap_or(usize::MAX)
}

/// The memory of the machine, or of its container if that has less; in bytes.
pub(crate) fn memory() -> u64 {
    let kind = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
    let bytes = System::new_with_specifics(kind).map_or(0, |system| {
        let machine = system.total_memory();
        system.cgroup_limits().map_or(machine, |limits| limits.total_memory.min(machine))
    });
    if bytes > 0 { bytes } else { UNKNOWN }
}

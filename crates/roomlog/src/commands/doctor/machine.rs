//! The machine: disk, memory, descriptors, clock.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use indicatif::BinaryBytes;
use roomlog_sqlite::directory::log_files;
use rustix::{
    fs::{fstatfs, statvfs},
    process::{Resource, getrlimit},
};

use super::{Finding, Report};
use crate::{
    disk, engines::served, failure::Failure, machine, serve::OTHER_DESCRIPTORS, settings::Settings,
};

/// How often a block is written to time the disk.
const SYNCS: usize = 64;

/// The bytes of such a block.
const BLOCK: usize = 4_096;

/// A median above this is slow: every append waits for one flush at least.
const SLOW_SYNC: Duration = Duration::from_millis(10);

/// A median below this is less than a device takes: the flush may be ignored.
const FAST_SYNC: Duration = Duration::from_micros(10);

/// How far a file may be dated ahead of the clock.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);

/// Checks the machine for a server with these settings, which may be `running`.
pub(super) async fn look(
    settings: &Settings,
    running: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let data = served(&settings.data()?);
    let existing = nearest(&data);
    report.add(&free_space(&existing, settings.disk_reserve()?))?;
    report.add(&file_system(&existing))?;
    report.add(&flushes(existing, running).await)?;
    report.add(&memory(settings.memory()?))?;
    report.add(&descriptors(settings.gateway()?.sockets))?;
    report.add(&clock(&data))
}

/// The directory, or the nearest one above it that exists.
fn nearest(data: &Path) -> PathBuf {
    let exists = |path: &&Path| path.is_dir();
    // Above `roomlog-data` is the working directory, whose path is empty.
    let found = data.ancestors().find(exists).unwrap_or(Path::new("."));
    found.to_owned()
}

fn free_space(directory: &Path, reserve: Option<u64>) -> Finding {
    let about = "disk";
    let space = match statvfs(directory) {
        Ok(space) => space,
        Err(why) => return Finding::problem(about, format_args!("its space is not known: {why}")),
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let reserve = disk::reserve(&space, reserve);
    let shown = format!(
        "{} free where {} is, of which {} are the reserve",
        BinaryBytes(free),
        directory.display(),
        BinaryBytes(reserve)
    );
    if free < reserve {
        return Finding::problem(
            about,
            format_args!("{shown}: appends are refused until there is more"),
        );
    }
    if free < reserve.saturating_mul(4) {
        return Finding::warning(about, format_args!("{shown}: appends will soon be refused"));
    }
    Finding::good(about, shown)
}

/// File systems that lose what is written, or on which locks or flushes are doubtful, by their numbers in
/// statfs(2).
const DOUBTFUL: &[(i64, &str, &str)] = &[
    (0x0102_1994, "tmpfs", "all is lost when the machine stops"),
    (0x8584_58f6, "ramfs", "all is lost when the machine stops"),
    (0x6969, "NFS", "use a local disk: SQLite's locks and flushes are not reliable there"),
    (0xff53_4d42, "CIFS", "use a local disk: SQLite's locks and flushes are not reliable there"),
    (0xfe53_4d42, "SMB", "use a local disk: SQLite's locks and flushes are not reliable there"),
    (0x0102_1997, "9p", "use a local disk: flushes may not reach one there"),
    (0x6573_5546, "FUSE", "make sure that it flushes and locks as a local disk does"),
    (0x794c_7630, "overlayfs", "in a container, mount a volume: this goes with the container"),
];

fn file_system(directory: &Path) -> Finding {
    let about = "file system";
    let found = File::open(directory).and_then(|directory| Ok(fstatfs(&directory)?));
    let Ok(found) = found else {
        return Finding::problem(about, "its type is not known");
    };
    #[expect(clippy::useless_conversion, reason = "the type differs between platforms")]
    let number = i64::from(found.f_type);
    match DOUBTFUL.iter().find(|(doubtful, ..)| *doubtful == number) {
        Some((_, name, why)) => Finding::warning(about, format_args!("{name}: {why}")),
        None => Finding::good(about, format_args!("local (type {number:#x})")),
    }
}

/// Times flushes to the disk.
async fn flushes(directory: PathBuf, running: bool) -> Finding {
    let about = "flush";
    let timed = tokio::task::spawn_blocking(move || time_flushes(&directory)).await;
    let mut times = match timed {
        Ok(Ok(times)) => times,
        Ok(Err(why)) => {
            return Finding::problem(
                about,
                format_args!("no file can be written and flushed: {why}"),
            );
        }
        Err(why) => return Finding::problem(about, why),
    };
    times.sort_unstable();
    let (median, worst) = (times[SYNCS / 2], times[SYNCS - 1]);
    let beside = if running { ", beside the server" } else { "" };
    let shown = format!("fdatasync takes {median:.1?}, at most {worst:.1?}{beside}");
    if median > SLOW_SYNC {
        return Finding::warning(
            about,
            format_args!("{shown}: each append waits for one; use a faster disk"),
        );
    }
    if median < FAST_SYNC {
        return Finding::warning(
            about,
            format_args!(
                "{shown}, less than a disk needs: an append may be lost when the power fails"
            ),
        );
    }
    Finding::good(about, shown)
}

fn time_flushes(directory: &Path) -> io::Result<Vec<Duration>> {
    let file = tempfile::Builder::new().prefix(".roomlog-doctor-").tempfile_in(directory)?;
    let (file, block) = (file.as_file(), vec![1; BLOCK]);
    let write = |n: usize| file.write_all_at(&block, (n * BLOCK) as u64);
    (0..SYNCS).try_for_each(write)?;
    file.sync_all()?;
    let flush = |n| {
        let begun = Instant::now();
        write(n)?;
        file.sync_data()?;
        Ok(begun.elapsed())
    };
    (0..SYNCS).map(flush).collect()
}

fn memory(budget: usize) -> Finding {
    let about = "memory";
    let (all, budget) = (machine::memory(), budget as u64);
    let shown = format!("{} for clients, of {}", BinaryBytes(budget), BinaryBytes(all));
    if budget > all / 2 {
        let text = format!("{shown}: caches and the system need the rest; lower `memory`");
        return Finding::warning(about, text);
    }
    Finding::good(about, shown)
}

fn descriptors(sockets: usize) -> Finding {
    let about = "descriptors";
    let wanted = sockets as u64 + OTHER_DESCRIPTORS;
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < wanted => Finding::warning(
            about,
            format_args!(
                "at most {most}, which is {} sockets instead of {sockets}: raise the hard limit \
                 (LimitNOFILE= in systemd, `ulimit -Hn`)",
                most.saturating_sub(OTHER_DESCRIPTORS)
            ),
        ),
        _ => Finding::good(about, format_args!("enough for {sockets} sockets")),
    }
}

/// Compares the clock with the newest file.
fn clock(data: &Path) -> Finding {
    let about = "clock";
    let written = |file: &PathBuf| fs::metadata(file).and_then(|file| file.modified()).ok();
    let newest = log_files(data).unwrap_or_default().iter().filter_map(written).max();
    let ahead = newest.and_then(|newest| newest.duration_since(SystemTime::now()).ok());
    match ahead.filter(|ahead| *ahead > CLOCK_TOLERANCE) {
        Some(ahead) => Finding::warning(
            about,
            format_args!(
                "the files are dated {} s ahead of it: it went back, or had jumped ahead; until it \
                 has caught up, entries are dated like the newest one",
                ahead.as_secs()
            ),
        ),
        None => Finding::good(about, "not behind the files"),
    }
}

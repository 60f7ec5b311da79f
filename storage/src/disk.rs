//! A disk that fails, and one that loses what was not synced.
//!
//! Enters: the calls that concern files of one directory, and a [`Plan`]. Leaves: what they answer, and after a power
//! cut the files as they are then. Invariant: the image of a power cut has everything that a sync promised, and of
//! every other write any of its sectors.
//!
//! The page cache is the real file. A sync that fails has lost what it should have written, as on Linux: the real file
//! still has it, and no later sync writes it. Names are durable at once; that a file system keeps them in order is
//! tested with a real one (`script/crash --power`).

use std::{
    collections::BTreeMap,
    fs,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rustix::{fs::fstat, io::Errno};

/// What a disk writes as a whole, in bytes.
const SECTOR: usize = 512;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The power is cut. Of what was not synced, some sectors are there.
    PowerCut,
    /// A write fails: EIO.
    WriteFails,
    /// There is no space: ENOSPC.
    Full,
    /// A write writes half.
    ShortWrite,
    /// A write writes half of its sectors and fails: EIO. A sector is written as a whole.
    TornWrite,
    /// A sync fails, and what it should have written is lost.
    SyncFails,
    /// A read fails: EIO.
    ReadFails,
}

/// When it goes wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    /// Of which file; `None`: of any.
    pub(crate) file: Option<&'static str>,
    /// At which of the calls that it concerns, from 0.
    pub(crate) at: u64,
    /// At every one from then on.
    pub(crate) stays: bool,
}

/// Whether a call is made.
pub(crate) enum Answer {
    Real,
    Failed(Errno),
}

/// The files of a directory, by name.
pub(crate) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A file: what is durable, and what is not yet.
#[derive(Default)]
struct Durable {
    bytes: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Written { at: u64, bytes: Vec<u8> },
    Cut { length: u64 },
}

struct Disk {
    directory: PathBuf,
    plan: Option<Plan>,
    random: StdRng,
    /// By inode.
    files: BTreeMap<u64, Durable>,
    /// How many calls the plan concerned.
    calls: u64,
    is_off: bool,
    /// The power cut's image.
    image: Option<Files>,
    hits: u64,
}

static DISK: Mutex<Option<Disk>> = Mutex::new(None);

/// Watches a directory from now on. All that is there counts as synced.
pub(crate) fn watch(directory: &Path, seed: u64) -> std::io::Result<()> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let inode = std::os::unix::fs::DirEntryExt::ino(&entry);
        files.insert(inode, Durable { bytes: fs::read(entry.path())?, pending: Vec::new() });
    }
    let (directory, random) = (directory.canonicalize()?, StdRng::seed_from_u64(seed));
    let disk = Disk {
        directory,
        plan: None,
        random,
        files,
        calls: 0,
        is_off: false,
        image: None,
        hits: 0,
    };
    *DISK.lock() = Some(disk);
    Ok(())
}

/// From now on this goes wrong; `None`: nothing.
pub(crate) fn plan(plan: Option<Plan>) {
    if let Some(disk) = &mut *DISK.lock() {
        (disk.plan, disk.calls) = (plan, 0);
    }
}

/// How often something went wrong.
pub(crate) fn hits() -> u64 {
    DISK.lock().as_ref().map_or(0, |disk| disk.hits)
}

/// Cuts the power now, unless it is cut. The files that are there then; nothing is watched any more.
pub(crate) fn cut() -> Option<Files> {
    // Taken out first: what is read below is not the disk's.
    let mut disk = DISK.lock().take()?;
    disk.image.take().or_else(|| Some(disk.make_image()))
}

/// A write. `at` is its place, if the file has one.
pub(crate) fn write(
    fd: BorrowedFd<'_>,
    at: impl FnOnce() -> Option<u64>,
    bytes: &[u8],
    real: impl Fn(&[u8]) -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    let mut disk = DISK.lock();
    let Some((disk, inode, is_planned)) = watched(&mut disk, fd) else { return real(bytes) };
    let at = at().unwrap_or(0);
    let half = &bytes[..bytes.len() / 2];
    let concerns = |fault| !matches!(fault, Fault::SyncFails | Fault::ReadFails);
    let (part, error) = match disk.meets(is_planned, concerns)? {
        Some(Fault::WriteFails) => return Err(Errno::IO),
        Some(Fault::Full) => return Err(Errno::NOSPC),
        Some(Fault::ShortWrite) if !half.is_empty() => (half, None),
        Some(Fault::TornWrite) => {
            let into = usize::try_from(at).unwrap_or(0) % SECTOR;
            let whole = ((into + half.len()) / SECTOR * SECTOR).saturating_sub(into);
            (&bytes[..whole], Some(Errno::IO))
        }
        _ => (bytes, None),
    };
    let written = if part.is_empty() { 0 } else { real(part)? };
    let change = Change::Written { at, bytes: part[..written].to_vec() };
    disk.files.entry(inode).or_default().pending.push(change);
    error.map_or(Ok(written), Err)
}

/// A read.
pub(crate) fn read(fd: BorrowedFd<'_>) -> Answer {
    let mut disk = DISK.lock();
    let Some((disk, _, is_planned)) = watched(&mut disk, fd) else { return Answer::Real };
    match disk.meets(is_planned, |fault| fault == Fault::ReadFails) {
        Ok(Some(_)) => Answer::Failed(Errno::IO),
        _ => Answer::Real,
    }
}

/// A sync. The real one is not needed: the machine does not stop.
pub(crate) fn sync(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut disk = DISK.lock();
    let Some((disk, inode, is_planned)) = watched(&mut disk, fd) else { return Ok(()) };
    let concerns = |fault| matches!(fault, Fault::SyncFails | Fault::PowerCut);
    let met = disk.meets(is_planned, concerns)?;
    let file = disk.files.entry(inode).or_default();
    let pending = std::mem::take(&mut file.pending);
    if met == Some(Fault::SyncFails) {
        return Err(Errno::IO);
    }
    pending.into_iter().for_each(|change| change.apply(&mut file.bytes));
    Ok(())
}

/// A change of a file's length.
pub(crate) fn truncate(
    fd: BorrowedFd<'_>,
    length: u64,
    real: impl FnOnce() -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut disk = DISK.lock();
    let Some((disk, inode, is_planned)) = watched(&mut disk, fd) else { return real() };
    let concerns = |fault| matches!(fault, Fault::WriteFails | Fault::TornWrite | Fault::PowerCut);
    match disk.meets(is_planned, concerns)? {
        Some(_) => Err(Errno::IO),
        None => {
            real()?;
            disk.files.entry(inode).or_default().pending.push(Change::Cut { length });
            Ok(())
        }
    }
}

/// The file at a path goes, because it is removed or another one gets its name.
pub(crate) fn replaced(path: &Path, real: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
    let mut disk = DISK.lock();
    let Some(disk) = disk.as_mut().filter(|disk| path.starts_with(&disk.directory)) else {
        return real();
    };
    if disk.is_off {
        return Err(Errno::IO);
    }
    let gone = rustix::fs::stat(path).ok().map(|it| it.st_ino);
    real()?;
    if let Some(inode) = gone {
        disk.files.remove(&inode);
    }
    Ok(())
}

/// The disk, the inode, and whether the plan is about this file, if it is on the disk.
fn watched<'a>(
    disk: &'a mut Option<Disk>,
    fd: BorrowedFd<'_>,
) -> Option<(&'a mut Disk, u64, bool)> {
    use std::os::fd::AsRawFd;
    let disk = disk.as_mut()?;
    let path = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?;
    // Not the index of a WAL: it is memory, and a start makes it again.
    let is_file = path.starts_with(&disk.directory) && !path.to_string_lossy().ends_with("-shm");
    let inode = fstat(fd).ok().filter(|it| it.st_nlink > 0)?.st_ino;
    let planned = disk.plan.and_then(|plan| plan.file);
    let is_planned = planned.is_none_or(|file| path.ends_with(file));
    is_file.then_some((disk, inode, is_planned))
}

impl Disk {
    /// What goes wrong in this call, if the plan is about its file, and the plan's fault concerns such a call.
    fn meets(
        &mut self,
        is_planned: bool,
        concerns: impl FnOnce(Fault) -> bool,
    ) -> Result<Option<Fault>, Errno> {
        if self.is_off {
            return Err(Errno::IO);
        }
        let planned = self.plan.filter(|plan| is_planned && concerns(plan.fault));
        let Some(plan) = planned else { return Ok(None) };
        self.calls += 1;
        if self.calls <= plan.at || (self.calls > plan.at + 1 && !plan.stays) {
            return Ok(None);
        }
        self.hits += 1;
        if plan.fault == Fault::PowerCut {
            self.image = Some(self.make_image());
            self.is_off = true;
            return Err(Errno::IO);
        }
        Ok(Some(plan.fault))
    }

    fn make_image(&mut self) -> Files {
        // How much of what was not synced is there: nothing, some, or all.
        let share = [0.0, 0.3, 0.7, 1.0][self.random.random_range(0..4)];
        let mut image = Files::new();
        for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let inode = std::os::unix::fs::DirEntryExt::ino(&entry);
            let name = PathBuf::from(entry.file_name());
            if name.to_string_lossy().ends_with("-shm") {
                continue;
            }
            let mut bytes = Vec::new();
            if let Some(file) = self.files.get(&inode) {
                bytes.clone_from(&file.bytes);
                let sectors = file.pending.iter().flat_map(Change::sectors);
                let kept: Vec<_> = sectors.filter(|_| self.random.random_bool(share)).collect();
                kept.into_iter().for_each(|change| change.apply(&mut bytes));
            }
            image.insert(name, bytes);
        }
        image
    }
}

impl Change {
    fn apply(self, file: &mut Vec<u8>) {
        match self {
            Self::Cut { length } => file.resize(usize::try_from(length).unwrap_or(usize::MAX), 0),
            Self::Written { at, bytes } => {
                let at = usize::try_from(at).unwrap_or(usize::MAX);
                let end = at + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[at..end].copy_from_slice(&bytes);
            }
        }
    }

    /// The parts that a disk writes or does not write.
    fn sectors(&self) -> Vec<Self> {
        let Self::Written { at, bytes } = self else { return vec![self.clone()] };
        let (mut at, mut rest, mut parts) = (*at, &bytes[..], Vec::new());
        while !rest.is_empty() {
            let space = SECTOR - usize::try_from(at).unwrap_or(0) % SECTOR;
            let (part, others) = rest.split_at(space.min(rest.len()));
            parts.push(Self::Written { at, bytes: part.to_vec() });
            at += part.len() as u64;
            rest = others;
        }
        parts
    }
}

//! A disk that can lose its power: a file with a file system in it, mounted through a loop device.
//!
//! What a process has written and not fsynced is in the memory of the file system, not in the file. So the file,
//! copied while the process is dead and before the kernel writes back, is what a disk holds after a power cut:
//! everything that was fsynced, and whatever else happened to be written.
//!
//! Needs root, for loop devices and mounts. Invariant: nothing is left mounted.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The size of the file; it is sparse.
const BYTES: u64 = 1 << 30;

/// The kernel commits metadata on its own every five seconds; here it is to wait, so that a cut loses much.
const COMMIT_EVERY: &str = "loop,commit=300";

/// A disk.
pub(crate) struct Disk {
    image: PathBuf,
    pub(crate) mounted: PathBuf,
}

fn run(program: &str, args: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(args).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{program} {}: {said}", args.join(" "))))
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other("a path that is not UTF-8"))
}

impl Disk {
    /// A new one, mounted in a directory of this name.
    pub(crate) fn new(directory: &Path, name: &str) -> io::Result<Self> {
        let disk = Self {
            image: directory.join(format!("{name}.img")),
            mounted: directory.join(format!("{name}.disk")),
        };
        fs::File::create(&disk.image)?.set_len(BYTES)?;
        run("mkfs.ext4", &["-q", text(&disk.image)?])?;
        fs::create_dir_all(&disk.mounted)?;
        disk.mount()?;
        Ok(disk)
    }

    fn mount(&self) -> io::Result<()> {
        run("mount", &["-o", COMMIT_EVERY, text(&self.image)?, text(&self.mounted)?])
    }

    fn unmount(&self) -> io::Result<()> {
        run("umount", &[text(&self.mounted)?])
    }

    /// Takes the power away. Nobody may have a file of it open.
    pub(crate) fn cut(&self) -> io::Result<()> {
        let after = self.image.with_extension("after");
        run("cp", &["--sparse=always", text(&self.image)?, text(&after)?])?;
        // Now the rest is written, to a file that is thrown away.
        self.unmount()?;
        fs::rename(&after, &self.image)?;
        self.mount()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _was_not_mounted = self.unmount();
    }
}

//! A disk whose power can be cut: a file system in a file, mounted through a loop device.
//!
//! Data that was written and not fsynced is in the page cache, not in the file. So a copy of the
//! file, taken after the process is killed, is what a disk holds after a power cut. Needs root.
//! Invariant: nothing is left mounted.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// The size of the sparse file.
const BYTES: u64 = 1 << 30;
/// ext4 commits metadata every 5 s by default; a longer interval makes a cut lose more.
const MOUNT_OPTIONS: &str = "loop,commit=300";

pub(crate) struct Disk {
    image: PathBuf,
    pub(crate) mounted: PathBuf,
}

fn run(program: &str, args: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(args).output()?;
    if output.status.success() {
        return Ok(());
    }
    let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{program} {}: {error}", args.join(" "))))
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other("a path is not UTF-8"))
}

impl Disk {
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
        run("mount", &["-o", MOUNT_OPTIONS, text(&self.image)?, text(&self.mounted)?])
    }

    fn unmount(&self) -> io::Result<()> {
        run("umount", &[text(&self.mounted)?])
    }

    /// Cuts the power and restores it. No file on it may be open.
    pub(crate) fn cut(&self) -> io::Result<()> {
        let after = self.image.with_extension("after");
        run("cp", &["--sparse=always", text(&self.image)?, text(&after)?])?;
        // This writes the rest to the old file, which the copy then replaces.
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

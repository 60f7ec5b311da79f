//! Disk failures: a small disk that is really full, and failing calls of a server.
//!
//! Input: a size, or a file and a call. Output: a directory on a separate tmpfs, or the environment
//! of a server in which that call fails from some moment on. Nothing is left mounted.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

const INSIDE: &str = "ROOMLOG_TEST_MAY_MOUNT";

/// Whether the test of this name can mount in this process. If not, it was run in a new namespace,
/// and passed.
///
/// # Panics
/// If nothing can be mounted anywhere: a test that was not run has not passed.
pub(crate) fn may_mount(test: &str) -> bool {
    let trial = tempfile::tempdir().expect("a directory");
    if mount(trial.path(), "64k") {
        unmount(trial.path());
        return true;
    }
    let how = "this test needs a disk that is full. Run it as root, or where user namespaces are \
               allowed: sysctl kernel.unprivileged_userns_clone=1, \
               kernel.apparmor_restrict_unprivileged_userns=0, or a container with CAP_SYS_ADMIN";
    assert!(std::env::var_os(INSIDE).is_none(), "{how}");
    let myself = std::env::current_exe().expect("this program");
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--mount", "--"]).arg(myself);
    let run = unshare.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").status();
    assert!(
        run.is_ok_and(|ended| ended.success()),
        "it failed in a namespace of its own, or {how}"
    );
    false
}

fn mount(on: &Path, size: &str) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(on);
    mount.output().is_ok_and(|mounted| mounted.status.success())
}

fn unmount(from: &Path) {
    let _or_it_goes_with_the_namespace = Command::new("umount").arg("-l").arg(from).output();
}

/// A small disk.
pub(crate) struct SmallDisk(TempDir);

impl SmallDisk {
    pub(crate) fn new(size: &str) -> Self {
        let on = tempfile::tempdir().expect("a directory");
        assert!(mount(on.path(), size), "a tmpfs of {size}");
        Self(on)
    }

    /// A data directory on it.
    pub(crate) fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    /// Fills the disk except for this many bytes.
    pub(crate) fn fill_but(&self, bytes: u64) {
        let mut ballast = File::create(self.ballast()).expect("a file");
        let mut filled = 0;
        while ballast.write_all(&[1; 4_096]).is_ok() {
            filled += 4_096;
        }
        ballast.set_len(filled - bytes.min(filled)).expect("cut");
    }

    /// Frees the disk space again.
    pub(crate) fn free(&self) {
        fs::remove_file(self.ballast()).expect("removed");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(self.0.path());
    }
}

/// Makes calls of a server on one file fail with EIO: a library that is loaded before the others.
pub(crate) struct Fault {
    directory: TempDir,
    file: String,
    call: String,
}

impl Fault {
    /// `call` is `write` or `sync`, `file` how the file's path ends.
    pub(crate) fn of(call: &str, file: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/fault.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(directory.path().join("fault.so"));
        let built = cc.arg(source).arg("-ldl").output().expect("a C compiler");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Self { directory, file: format!("/{file}"), call: call.into() }
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("UTF-8").into()
    }

    /// The environment of a server whose clock is ahead.
    pub(crate) fn clock_ahead(&self, seconds: u64) -> Vec<(&'static str, String)> {
        vec![("LD_PRELOAD", self.path("fault.so")), ("FAULT_CLOCK_S", seconds.to_string())]
    }

    /// The environment of the server.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.path("fault.so")),
            ("FAULT_CALL", self.call.clone()),
            ("FAULT_FILE", self.file.clone()),
            ("FAULT_WHEN", self.path("now")),
        ]
    }

    /// Makes the calls fail from now on.
    pub(crate) fn begin(&self) {
        File::create(self.path("now")).expect("a file");
    }
}

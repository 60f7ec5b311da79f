//! Disks in trouble: a small one that is really full, and calls of a server that fail.
//!
//! Enters: a size, or a file and a call. Leaves: a directory on a tmpfs of its own, or the environment
//! of a server in which that call fails from a moment on. Invariant: nothing is left mounted.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

const INSIDE: &str = "ROOMLOG_TEST_MAY_MOUNT";

/// Whether the test of this name goes on here, where it may mount. Where it may not, it has been run
/// in a namespace of its own, and has held.
///
/// # Panics
/// When nothing can be mounted anywhere: a test that was not run has not held.
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

    /// Takes all its room but for so many bytes.
    pub(crate) fn fill_but(&self, bytes: u64) {
        let mut ballast = File::create(self.ballast()).expect("a file");
        let mut filled = 0;
        while ballast.write_all(&[1; 4_096]).is_ok() {
            filled += 4_096;
        }
        ballast.set_len(filled - bytes.min(filled)).expect("cut");
    }

    /// Makes room again.
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

    /// The environment of the server.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.path("fault.so")),
            ("FAULT_CALL", self.call.clone()),
            ("FAULT_FILE", self.file.clone()),
            ("FAULT_WHEN", self.path("now")),
        ]
    }

    /// From now on they fail.
    pub(crate) fn begin(&self) {
        File::create(self.path("now")).expect("a file");
    }
}

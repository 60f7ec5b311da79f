//! Systems that are scripts of Node in `bench/peers`.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use super::system::{Running, free_addr};

/// A script, and the directory with it and its packages.
pub(crate) struct Script {
    pub(crate) dir: PathBuf,
    pub(crate) file: &'static str,
}

impl Script {
    /// Starts it with a free port as its first argument and `data` as its second.
    ///
    /// # Errors
    /// If its packages or Node are missing, or it does not listen in time.
    pub(crate) fn start(&self, dir: &Path, data: Option<&Path>) -> io::Result<Running> {
        let addr: SocketAddr = free_addr()?;
        let mut command = Command::new("node");
        command.arg(self.path()?).arg(addr.port().to_string()).args(data);
        Running::start(&mut command, addr, dir)
    }

    fn path(&self) -> io::Result<PathBuf> {
        let packages = self.dir.join("node_modules");
        if !packages.is_dir() {
            let (packages, dir) = (packages.display(), self.dir.display());
            return Err(io::Error::other(format!("{packages} is missing: run npm ci in {dir}")));
        }
        Ok(self.dir.join(self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_packages_the_error_says_what_to_do() {
        let dir = tempfile::tempdir().expect("a directory");
        let script = Script { dir: dir.path().to_owned(), file: "it.mjs" };
        let error = script.path().expect_err("no packages").to_string();
        assert!(error.ends_with(&format!("run npm ci in {}", dir.path().display())), "{error}");
        std::fs::create_dir(dir.path().join("node_modules")).expect("a directory");
        assert_eq!(script.path().expect("packages"), dir.path().join("it.mjs"));
    }
}

//! Command-line options that several benchmarks share.

use std::{
    io,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use crate::{peer::Tokens, process::Server};

/// Where files are written.
#[derive(Debug, clap::Args)]
pub(crate) struct DataDir {
    /// Create a new directory in here for all files and remove it at the end. This chooses the
    /// file system that is measured.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
}

impl DataDir {
    /// Creates the directory.
    pub(crate) fn make(&self) -> io::Result<TempDir> {
        tempfile::Builder::new().prefix("bench-").tempdir_in(&self.dir)
    }
}

/// Which server is measured, and where it keeps its data.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The server to measure, a release build.
    #[arg(long, default_value = "target/release/roomlog")]
    pub(crate) binary: PathBuf,
    #[command(flatten)]
    pub(crate) dir: DataDir,
    /// Take tokens: each author logs in with one of its own, and requests carry one.
    #[arg(long)]
    tokens: bool,
}

impl ServerArgs {
    /// Starts the server with its data in `data`.
    pub(crate) fn start(&self, data: &Path) -> io::Result<Server> {
        let tokens = if self.tokens { Some(Tokens::make()?) } else { None };
        Server::roomlog(&self.binary, data, &[], tokens)
    }
}

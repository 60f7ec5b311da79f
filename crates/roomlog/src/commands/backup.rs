//! `roomlog backup DIR`: copies all data of a running server into a directory; `roomlog restore` is
//! the way back.
//!
//! ```text
//!  GET /v1/backup ──► archive.db.part, hashed ──► archive.db ──► manifest.json
//! ```
//!
//! DIR is empty or does not exist yet. `manifest.json` is written only when the archive is
//! complete, checked and fsynced, so an interrupted backup is never mistaken for one; what a failed
//! backup wrote is removed.

use std::{
    fmt::Display,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Instant,
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::{Method, body::Incoming};
use indicatif::ProgressBar;
use roomlog_protocol::{BackupLine, Digest, ErrorFrame, MANIFEST_FILE, Manifest, PART};
use roomlog_sqlite::{Directory, Restored, private};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::{
    operators::{Operators, QUIET_TIMEOUT},
    printer::Printer,
};
use crate::{
    cli::{BackupArgs, RestoreArgs},
    failure::Failure,
    progress,
    show::utc,
};

const ARCHIVE: &str = "archive.db";

const QUIET: &str = "the server was silent for a minute";

const LINE_BYTES: usize = 64 << 10;

pub(crate) async fn create(args: BackupArgs) -> Result<(), Failure> {
    let target = Target::new(&args.directory)?;
    let template = "{msg}  {bar:30} {bytes} of {total_bytes}  {elapsed} (left: {eta})";
    let bar = progress::bar(0, template).with_message("copying");
    let begun = Instant::now();
    let received = tokio::select! {
        received = receive(&args, &target, &bar) => received,
        () = super::interrupted() => Err(Failure::other("interrupted; there is no backup")),
    };
    bar.finish_and_clear();
    let manifest = received.and_then(|manifest| target.finish(&manifest).map(|()| manifest));
    let manifest = manifest.inspect_err(|_| target.clear())?;
    let mut printer = Printer::of_work(false);
    printer.field("log", &manifest.log)?;
    printer.field("taken", utc(manifest.taken_at))?;
    printer.field("position", manifest.position)?;
    printer.field("rooms", manifest.rooms)?;
    printer.field("entries", manifest.entries)?;
    printer.field("bytes", manifest.archive_bytes)?;
    printer.field("digest", manifest.digest)?;
    printer.field("seconds", format_args!("{:.1}", begun.elapsed().as_secs_f64()))?;
    printer.finish()
}

/// Receives a backup into files with temporary names; its manifest, with the SHA-256.
async fn receive(
    args: &BackupArgs,
    target: &Target,
    bar: &ProgressBar,
) -> Result<Manifest, Failure> {
    let mut download = Download::start(args).await?;
    let manifest = loop {
        match download.line().await? {
            BackupLine::Copying { done, of } => {
                bar.set_length(of);
                bar.set_position(done);
            }
            BackupLine::Manifest(manifest) => break manifest,
            BackupLine::Error(error) => return Err(refused(&error)),
            BackupLine::Sha256(_) => return Err(incomplete("it has no manifest")),
        }
    };
    bar.set_message("receiving");
    bar.set_length(manifest.archive_bytes);
    bar.set_position(0);
    let computed = download.archive(&manifest, target, bar).await?;
    match download.line().await? {
        BackupLine::Sha256(sent) if sent == computed => {
            Ok(Manifest { sha256: Some(computed), ..manifest })
        }
        BackupLine::Sha256(sent) => Err(Failure::other(format!(
            "the backup was damaged on the way: its SHA-256 is {computed}, not {sent}; run it again"
        ))),
        other => Err(incomplete(format!("its last line is {other:?}"))),
    }
}

fn incomplete(why: impl Display) -> Failure {
    Failure::other(format!("the backup is incomplete: {why}; there is no backup, run it again"))
}

fn refused(error: &ErrorFrame) -> Failure {
    without_backup(&format!("{}: {}", error.code, error.message))
}

fn without_backup(why: &dyn Display) -> Failure {
    Failure::other(format!("{why}; there is no backup"))
}

/// The answer of a server, read as it arrives.
struct Download {
    body: Incoming,
    received: BytesMut,
    /// The connection, until the answer has come.
    _operators: Operators,
}

impl Download {
    async fn start(args: &BackupArgs) -> Result<Self, Failure> {
        let mut operators = Operators::reach(&args.door).await?;
        let answer = operators.send(Method::GET, "/v1/backup", Bytes::new()).await;
        let answer = answer.map_err(|why| without_backup(&why))?;
        if !answer.status().is_success() {
            return Err(without_backup(&operators.refusal(answer).await));
        }
        Ok(Self { body: answer.into_body(), received: BytesMut::new(), _operators: operators })
    }

    /// Receives more bytes; fails at the end of the answer.
    async fn more(&mut self) -> Result<(), Failure> {
        let frame =
            timeout(QUIET_TIMEOUT, self.body.frame()).await.map_err(|_| incomplete(QUIET))?;
        let frame = frame.ok_or_else(|| incomplete("the server ended it"))?.map_err(incomplete)?;
        if let Ok(data) = frame.into_data() {
            self.received.extend_from_slice(&data);
        }
        Ok(())
    }

    async fn line(&mut self) -> Result<BackupLine, Failure> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let line = self.received.split_to(end + 1);
                return serde_json::from_slice(&line)
                    .map_err(|why| incomplete(format!("a line is not one of a backup ({why})")));
            }
            if self.received.len() > LINE_BYTES {
                return Err(incomplete("a line is not one of a backup"));
            }
            self.more().await?;
        }
    }

    /// Writes the archive to its file; the SHA-256 of its bytes.
    async fn archive(
        &mut self,
        manifest: &Manifest,
        target: &Target,
        bar: &ProgressBar,
    ) -> Result<Digest, Failure> {
        let path = target.part(ARCHIVE);
        let failed = |why| Failure::other(format!("cannot write {}: {why}", path.display()));
        let mut file = private::create_new(&path).map_err(failed)?;
        let (mut sha, mut left) = (Sha256::new(), manifest.archive_bytes);
        while left > 0 {
            if self.received.is_empty() {
                self.more().await?;
                continue;
            }
            let most = usize::try_from(left).unwrap_or(usize::MAX);
            let bytes = self.received.split_to(self.received.len().min(most));
            sha.update(&bytes);
            // Blocking, but short: a local file.
            file.write_all(&bytes).map_err(failed)?;
            left -= bytes.len() as u64;
            bar.set_position(manifest.archive_bytes - left);
        }
        file.sync_all().map_err(failed)?;
        Ok(Digest(sha.finalize().into()))
    }
}

struct Target {
    directory: PathBuf,
    created: bool,
}

impl Target {
    fn new(directory: &Path) -> Result<Self, Failure> {
        let created = match fs::read_dir(directory) {
            Ok(mut entries) => {
                if let Some(entry) = entries.next() {
                    let name = entry.map(|entry| entry.file_name().to_string_lossy().into_owned());
                    return Err(Failure::other(format!(
                        "{} is not empty: it holds {}; name an empty or a new directory",
                        directory.display(),
                        name.unwrap_or_else(|why| why.to_string())
                    )));
                }
                false
            }
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                private::create_dir_all(directory).map_err(|why| cannot_use(directory, &why))?;
                true
            }
            Err(why) => return Err(cannot_use(directory, &why)),
        };
        Ok(Self { directory: directory.into(), created })
    }

    fn part(&self, file: &str) -> PathBuf {
        self.directory.join(format!("{file}{PART}"))
    }

    /// Gives the files their names, the manifest last.
    fn finish(&self, manifest: &Manifest) -> Result<(), Failure> {
        let finish = || {
            let mut file = private::create_new(&self.part(MANIFEST_FILE))?;
            file.write_all(manifest.to_json().as_bytes())?;
            file.sync_all()?;
            for name in [ARCHIVE, MANIFEST_FILE] {
                fs::rename(self.part(name), self.directory.join(name))?;
                File::open(&self.directory)?.sync_all()?;
            }
            // The name of the directory is durable only after its parent is synced.
            let parent = self.directory.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        };
        finish().map_err(|why| cannot_use(&self.directory, &why))
    }

    /// Removes what was written, unless the backup is complete.
    fn clear(&self) {
        if self.directory.join(MANIFEST_FILE).exists() {
            return;
        }
        for name in [self.part(MANIFEST_FILE), self.part(ARCHIVE), self.directory.join(ARCHIVE)] {
            let _did_not_exist = fs::remove_file(name);
        }
        if self.created {
            let _not_empty = fs::remove_dir(&self.directory);
        }
    }
}

fn cannot_use(directory: &Path, why: &io::Error) -> Failure {
    Failure::other(format!("cannot use {}: {why}", directory.display()))
}

/// Creates a data directory for `serve` from a backup, which is only read.
pub(crate) async fn restore(args: RestoreArgs) -> Result<(), Failure> {
    let (backup, to) = (args.backup, args.directory.clone());
    let restored = tokio::task::spawn_blocking(move || Directory::restore(&backup, &to)).await;
    let restored = restored.map_err(|why| Failure::other(format!("the restore failed: {why}")))?;
    let Restored { manifest, log } = restored.map_err(Failure::other)?;
    let mut printer = Printer::of_work(false);
    printer.field("backup of log", manifest.log)?;
    printer.field("taken", utc(manifest.taken_at))?;
    printer.field("rooms", manifest.rooms)?;
    printer.field("entries", manifest.entries)?;
    printer.field("new log", log)?;
    printer.field("directory", args.directory.display())?;
    printer.finish()
}

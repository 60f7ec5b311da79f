//! `roomlog backup DIR`: everything that a running server holds, as a directory to restore from.
//!
//! ```text
//!  GET /v1/backup ──► archive.db.part, hashed ──► archive.db ──► manifest.json
//! ```
//!
//! Enters: a directory that is empty or not there. Leaves: an archive and its manifest. Invariants:
//! `manifest.json` is there only when the archive is whole, compared and fsynced, so what was cut off is
//! never taken for a backup; what was written is removed when it comes to nothing.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Response, body::Incoming, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use indicatif::ProgressBar;
use roomlog_client::Address;
use roomlog_protocol::{BackupLine, Digest, ErrorFrame, MANIFEST_FILE, Manifest, PART};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpStream, time::timeout};

use super::output::Output;
use crate::{cli::BackupArgs, failure::Failure, progress, show::utc};

/// The archive within a backup.
const ARCHIVE: &str = "archive.db";

/// How long the server may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest line of the answer that is read.
const LINE_BYTES: usize = 64 << 10;

pub(crate) async fn run(args: BackupArgs) -> Result<ExitCode, Failure> {
    let target = Target::new(&args.directory)?;
    let bar = bar();
    let begun = Instant::now();
    let taken = tokio::select! {
        taken = take(&args.server.server, &target, &bar) => taken,
        () = super::interrupted() => Err(Failure::said("interrupted; there is no backup")),
    };
    bar.finish_and_clear();
    let manifest = taken.and_then(|manifest| target.finish(&manifest).map(|()| manifest));
    let manifest = manifest.inspect_err(|_| target.clear())?;
    let mut output = Output::of_work(false);
    output.line(format_args!("log              {}", manifest.log))?;
    output.line(format_args!("taken            {}", utc(manifest.taken_at)))?;
    output.line(format_args!("position         {}", manifest.position))?;
    output.line(format_args!("rooms            {}", manifest.rooms))?;
    output.line(format_args!("entries          {}", manifest.entries))?;
    output.line(format_args!("bytes            {}", manifest.archive_bytes))?;
    output.line(format_args!("digest           {}", manifest.digest))?;
    output.line(format_args!("seconds          {:.1}", begun.elapsed().as_secs_f64()))?;
    output.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn bar() -> ProgressBar {
    progress::bar(0, "{msg}  {bar:30} {bytes} of {total_bytes}  {elapsed} (left: {eta})")
        .with_message("copying")
}

/// Receives a backup into files that do not have their names yet; its manifest, with the SHA-256.
async fn take(address: &Address, target: &Target, bar: &ProgressBar) -> Result<Manifest, Failure> {
    let mut answer = Answer::of(address).await?;
    let manifest = loop {
        match answer.line().await? {
            BackupLine::Copying { done, of } => {
                bar.set_length(of);
                bar.set_position(done);
            }
            BackupLine::Manifest(manifest) => break manifest,
            BackupLine::Error(error) => return Err(refused(&error)),
            BackupLine::Sha256(_) => return Err(cut_off("it ends before it begins")),
        }
    };
    bar.set_message("receiving");
    bar.set_length(manifest.archive_bytes);
    bar.set_position(0);
    let read = answer.archive(&manifest, target, bar).await?;
    let told = match answer.line().await? {
        BackupLine::Sha256(told) => told,
        other => return Err(cut_off(format!("its last line is {other:?}"))),
    };
    if told != read {
        return Err(Failure::said(format!(
            "what came is not what was sent: its SHA-256 is {read}, and not {told}; run it again"
        )));
    }
    Ok(Manifest { sha256: Some(read), ..manifest })
}

fn cut_off(why: impl std::fmt::Display) -> Failure {
    Failure::said(format!("the backup was cut off: {why}; there is no backup, run it again"))
}

fn refused(error: &ErrorFrame) -> Failure {
    Failure::said(format!("{}: {}; there is no backup", error.code, error.message))
}

/// The server's answer, as it comes.
struct Answer {
    body: Incoming,
    came: BytesMut,
    connection: tokio::task::JoinHandle<()>,
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Answer {
    async fn of(address: &Address) -> Result<Self, Failure> {
        let unreachable = |why: &dyn std::fmt::Display| {
            Failure::said(format!(
                "cannot reach {address}: {why}; start a server with `roomlog serve`, or name another with \
                 --server URL"
            ))
        };
        let uri = address.uri();
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, uri.port_u16().unwrap_or(80))).await;
        let stream = stream.map_err(|why| unreachable(&why))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|why| unreachable(&why))?;
        let connection = tokio::spawn(async move {
            // Why it ended is told by the body.
            let _told = connection.await;
        });
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let request = Request::get("/v1/backup").header(header::HOST, authority);
        let request = request.body(Empty::<Bytes>::new()).map_err(|why| unreachable(&why))?;
        let answer = timeout(PATIENCE, sender.send_request(request)).await;
        let answer = answer.map_err(|_| cut_off(SILENT))?.map_err(|why| unreachable(&why))?;
        let answer = accepted(answer, address).await?;
        Ok(Self { body: answer.into_body(), came: BytesMut::new(), connection })
    }

    /// The next piece; an error when there is none.
    async fn more(&mut self) -> Result<Bytes, Failure> {
        loop {
            let frame = timeout(PATIENCE, self.body.frame()).await.map_err(|_| cut_off(SILENT))?;
            let frame = frame.ok_or_else(|| cut_off("the server ended it"))?;
            if let Ok(data) = frame.map_err(cut_off)?.into_data() {
                return Ok(data);
            }
        }
    }

    async fn line(&mut self) -> Result<BackupLine, Failure> {
        loop {
            if let Some(end) = self.came.iter().position(|byte| *byte == b'\n') {
                let line = self.came.split_to(end + 1);
                return serde_json::from_slice(&line)
                    .map_err(|why| cut_off(format!("a line is none of a backup ({why})")));
            }
            if self.came.len() > LINE_BYTES {
                return Err(cut_off("a line is none of a backup"));
            }
            let more = self.more().await?;
            self.came.extend_from_slice(&more);
        }
    }

    /// Writes the archive's bytes; their SHA-256.
    async fn archive(
        &mut self,
        manifest: &Manifest,
        target: &Target,
        bar: &ProgressBar,
    ) -> Result<Digest, Failure> {
        let path = target.part(ARCHIVE);
        let write = |why| Failure::said(format!("cannot write {}: {why}", path.display()));
        let mut file = File::create_new(&path).map_err(write)?;
        let (mut sha, mut left) = (Sha256::new(), manifest.archive_bytes);
        while left > 0 {
            let mut came = self.came.split().freeze();
            if came.is_empty() {
                came = self.more().await?;
            }
            let taken = came.split_to(came.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            self.came.extend_from_slice(came.chunk());
            sha.update(&taken);
            // Short writes of a local file: as good as awaited.
            file.write_all(&taken).map_err(write)?;
            left -= taken.len() as u64;
            bar.set_position(manifest.archive_bytes - left);
        }
        file.sync_all().map_err(write)?;
        Ok(Digest(sha.finalize().into()))
    }
}

const SILENT: &str = "the server was silent for a minute";

/// The answer, when it is a backup.
async fn accepted(
    answer: Response<Incoming>,
    address: &Address,
) -> Result<Response<Incoming>, Failure> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let body = answer.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let error: Option<BackupLine> = serde_json::from_slice(&body).ok();
    match error {
        Some(BackupLine::Error(error)) => Err(refused(&error)),
        _ if status.is_server_error() => Err(Failure::said(format!(
            "{address} answered {status}; if a proxy listens there, start the server behind it, and run this again; \
             there is no backup"
        ))),
        _ => Err(Failure::said(format!(
            "{address} makes no backups: it answered {status}; name the address of a Roomlog server with --server URL"
        ))),
    }
}

/// Where a backup goes.
struct Target {
    directory: PathBuf,
    made: bool,
}

impl Target {
    fn new(directory: &Path) -> Result<Self, Failure> {
        let made = match fs::read_dir(directory) {
            Ok(mut entries) => match entries.next() {
                None => false,
                Some(entry) => {
                    let name = entry.map_or_else(
                        |why| why.to_string(),
                        |entry| entry.file_name().to_string_lossy().into_owned(),
                    );
                    return Err(Failure::said(format!(
                        "{} is not empty: it holds {name}; name a directory that is empty or not there",
                        directory.display()
                    )));
                }
            },
            Err(why) if why.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(directory).map_err(|why| cannot_use(directory, &why))?;
                true
            }
            Err(why) => return Err(cannot_use(directory, &why)),
        };
        Ok(Self { directory: directory.into(), made })
    }

    /// The name of a file that is not whole.
    fn part(&self, file: &str) -> PathBuf {
        self.directory.join(format!("{file}{PART}"))
    }

    /// Gives the files their names, the manifest last.
    fn finish(&self, manifest: &Manifest) -> Result<(), Failure> {
        let finish = || {
            let mut file = File::create_new(self.part(MANIFEST_FILE))?;
            file.write_all(manifest.to_json().as_bytes())?;
            file.sync_all()?;
            for name in [ARCHIVE, MANIFEST_FILE] {
                fs::rename(self.part(name), self.directory.join(name))?;
                File::open(&self.directory)?.sync_all()?;
            }
            // The directory itself is a name in another one.
            let parent = self.directory.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        };
        finish().map_err(|why| cannot_use(&self.directory, &why))
    }

    /// Removes what was written, as far as it can be.
    fn clear(&self) {
        if self.directory.join(MANIFEST_FILE).exists() {
            return; // It is whole; what failed came after.
        }
        for name in [self.part(MANIFEST_FILE), self.part(ARCHIVE), self.directory.join(ARCHIVE)] {
            let _was_not_there = fs::remove_file(name);
        }
        if self.made {
            let _not_empty = fs::remove_dir(&self.directory);
        }
    }
}

fn cannot_use(directory: &Path, why: &io::Error) -> Failure {
    Failure::said(format!("cannot use {}: {why}", directory.display()))
}

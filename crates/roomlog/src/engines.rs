//! Opens the engines of `serve`.
//!
//! ```text
//!  --data DIR                     journal.db and archive.db, both files of one directory
//!  --data DIR --journal nats://…  streams of a cluster, and archive.db, which can be rebuilt
//! ```
//!
//! Input: settings. Output: a journal, an archive and the identity of this node. The directory is
//! locked as long as [`Storage`] lives.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use roomlog_core::{Engines, archive::Archive, journal::Journal};
use roomlog_jetstream::{JetStreamJournal, MAX_PARTITIONS, Options, Promise};
use roomlog_protocol::Manifest;
use roomlog_sqlite::{Contents, Derived, Directory, OpenError, Restored};

use crate::{
    failure::Failure,
    show::{counted, utc},
    stderr::message,
};

/// The engines of a node, and the directory that they use.
pub(crate) struct Storage {
    pub(crate) engines: Engines,
    /// The guarantee of an ack, as `hello.durability` names it.
    pub(crate) durability: &'static str,
    /// Where the files are.
    pub(crate) data: PathBuf,
    /// Holds the lock.
    directory: Held,
}

enum Held {
    OneNode { _directory: Box<Directory> },
    Cluster(Box<Derived>),
}

impl Storage {
    /// Opens the engines of one node. Fails with what is wrong with the directory and what to do.
    pub(crate) fn of_one_node(data: &Path, journal_bytes: u64) -> Result<Self, Failure> {
        let data = restored_if_backup(data).map_err(Failure::other)?;
        let directory = Directory::open_keeping(&data, journal_bytes).map_err(Failure::other)?;
        report_opened(&directory.found);
        let engines = Engines {
            identity: directory.identity,
            journal: directory.journal.clone(),
            archive: directory.archive.clone(),
            backup: Some(Arc::new(directory.backup())),
        };
        let directory = Held::OneNode { _directory: Box::new(directory) };
        Ok(Self { engines, durability: "fsync", data, directory })
    }

    /// Opens the engines of a node of a cluster. Fails with what is wrong with the servers, the
    /// streams or the directory and what to do.
    pub(crate) async fn of_a_cluster(data: &Path, options: &Options) -> Result<Self, Failure> {
        Derived::check_usable(data).map_err(Failure::other)?;
        let journal = JetStreamJournal::open(options).await.map_err(Failure::other)?;
        let directory = Derived::open(data, &journal.facts().log).map_err(Failure::other)?;
        check_partitions(directory.archive.as_ref(), journal.facts().partitions)?;
        report_derived(&directory.found);
        let durability = match journal.promise() {
            Promise::Quorum => "quorum",
            Promise::Fsync => "fsync",
            Promise::Declared => "declared",
        };
        let engines = Engines {
            identity: directory.identity,
            journal: Arc::new(journal),
            archive: directory.archive.clone(),
            backup: Some(Arc::new(directory.backup())),
        };
        let directory = Held::Cluster(Box::new(directory));
        Ok(Self { engines, durability, data: data.into(), directory })
    }

    /// Keeps servers from starting on this archive again: other nodes have another log.
    pub(crate) fn freeze(&self, why: &str) {
        if let Held::Cluster(directory) = &self.directory
            && let Err(error) = directory.freeze(why)
        {
            tracing::error!(%error, "the directory cannot be marked as frozen");
        }
    }
}

/// Where a backup that is served is restored to, below its own directory.
const RESTORED: &str = "restored";

/// The directory that a server of `data` uses: `data`, or what it has restored from it.
pub(crate) fn served(data: &Path) -> PathBuf {
    let restored = data.join(RESTORED);
    let is_backup = restored.exists() && Directory::is_backup(data).unwrap_or(false);
    if is_backup { restored } else { data.into() }
}

/// The directory to serve: `data`, or if that is a backup, a directory below it. The first start
/// restores the backup into it, and the backup is not changed.
fn restored_if_backup(data: &Path) -> Result<PathBuf, OpenError> {
    if !Directory::is_backup(data)? {
        return Ok(data.into());
    }
    let served = data.join(RESTORED);
    if served.exists() {
        message!(
            "{} is a backup and stays as it is; serving {}, which was restored from it",
            data.display(),
            served.display()
        );
        return Ok(served);
    }
    let Restored { manifest, .. } = Directory::restore(data, &served)?;
    message!(
        "{backup} is a backup and stays as it is; restored it into {}: log {}, taken at {}, {}. \
         What was appended later is missing, so this is a new log, and clients are told; \
         `roomlog restore {backup} DIR` restores it elsewhere",
        served.display(),
        manifest.log,
        utc(manifest.taken_at),
        extent(&manifest),
        backup = data.display(),
    );
    Ok(served)
}

/// How much a backup has, such as `3 entries in 1 room`.
fn extent(backup: &Manifest) -> String {
    let entries = counted(backup.entries, "entry", "entries");
    format!("{entries} in {}", counted(backup.rooms, "room", "rooms"))
}

/// Rejects an archive of more partitions than the journal has.
fn check_partitions(archive: &dyn Archive, partitions: u32) -> Result<(), Failure> {
    for partition in partitions..MAX_PARTITIONS {
        let applied = archive.applied(partition).map_err(Failure::other)?;
        if applied.position.0 > 0 {
            return Err(Failure::other(format!(
                "archive.db has blocks of partition {partition}, and the journal has {partitions} \
                 partitions: their number is fixed when a log is made; bring back the streams as \
                 they were"
            )));
        }
    }
    Ok(())
}

/// Reports a start that did not simply continue.
fn report_opened(found: &Contents) {
    match found {
        Contents::Empty | Contents::Log => {}
        Contents::JournalOnly => {
            message!("archive.db is missing: it is rebuilt from the journal");
        }
        Contents::Backup(manifest) | Contents::PartlyRestored(manifest) => message!(
            "restored a backup of log {}, taken at {}: {}, up to position {}; what came after is \
             not there. This is a new log, and clients are told so",
            manifest.log,
            utc(manifest.taken_at),
            extent(manifest),
            manifest.position
        ),
        Contents::BackupWithJournal(Manifest { log, position, .. }) => message!(
            "a backup of log {log} up to position {position}, and beside it the journal with all \
             that came after: the log continues"
        ),
    }
}

fn report_derived(found: &Contents) {
    match found {
        Contents::Empty => message!("a new node: its archive is made from the journal"),
        Contents::Backup(Manifest { position, .. }) => message!(
            "a new node: its archive is a backup up to position {position}, and the rest comes \
             from the journal"
        ),
        _ => {}
    }
}

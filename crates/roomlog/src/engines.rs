//! The engines of `serve`: which journal was named decides which are opened, and nothing above knows.
//!
//! ```text
//!  --data DIR                     journal.db and archive.db, one unit
//!  --data DIR --journal nats://…  streams of a cluster, and archive.db, which can be made again
//! ```
//!
//! Enters: settings. Leaves: a journal, an archive and who this node is. Invariant: the directory is
//! locked as long as the engines are held.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use roomlog_core::{Engines, archive::Archive, journal::Journal};
use roomlog_jetstream::{JetStreamJournal, MOST_PARTITIONS, Options, Promise};
use roomlog_protocol::Manifest;
use roomlog_sqlite::{Contents, Derived, Directory, OpenError, Restored};

use crate::{failure::Failure, say};

/// The engines of a node, and what holds them open.
pub(crate) struct Storage {
    pub(crate) engines: Engines,
    /// What an ack stands on, in the words of `hello.durability`.
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
    /// Opens the engines of one node: both are files.
    ///
    /// # Errors
    /// What is wrong with the directory, and what to do.
    pub(crate) fn of_one_node(data: &Path, journal_bytes: u64) -> Result<Self, Failure> {
        let failed = |why: OpenError| Failure::said(why.to_string());
        let data = restored_if_backup(data).map_err(failed)?;
        let directory = Directory::open_keeping(&data, journal_bytes).map_err(failed)?;
        tell_found(&directory.found);
        let engines = Engines {
            identity: directory.identity,
            journal: directory.journal.clone(),
            archive: directory.archive.clone(),
            backup: Some(Arc::new(directory.backup())),
        };
        Ok(Self {
            engines,
            durability: "fsync",
            data,
            directory: Held::OneNode { _directory: Box::new(directory) },
        })
    }

    /// Opens the engines of a node of a cluster.
    ///
    /// # Errors
    /// What is wrong with the servers, the streams or the directory, and what to do.
    pub(crate) async fn of_a_cluster(data: &Path, options: &Options) -> Result<Self, Failure> {
        Derived::check_usable(data).map_err(|why| Failure::said(why.to_string()))?;
        let journal = JetStreamJournal::open(options).await;
        let journal = journal.map_err(|why| Failure::said(why.to_string()))?;
        let directory = Derived::open(data, &journal.facts().log);
        let directory = directory.map_err(|why| Failure::said(why.to_string()))?;
        no_other_partitions(directory.archive.as_ref(), journal.facts().partitions)?;
        tell_derived(&directory.found);
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
        Ok(Self {
            engines,
            durability,
            data: data.into(),
            directory: Held::Cluster(Box::new(directory)),
        })
    }

    /// Lets no start go on with this archive: other nodes hold another log.
    pub(crate) fn freeze(&self, why: &str) {
        if let Held::Cluster(directory) = &self.directory
            && let Err(error) = directory.freeze(why)
        {
            tracing::error!(%error, "the directory cannot be marked as frozen");
        }
    }
}

/// Where a backup is restored to when it is served itself, below its own directory.
const RESTORED: &str = "restored";

/// The directory to serve: `data`; if that is a backup, a directory below it that is restored from it once, so
/// that the backup stays one.
fn restored_if_backup(data: &Path) -> Result<PathBuf, OpenError> {
    if !Directory::is_backup(data)? {
        return Ok(data.into());
    }
    let served = data.join(RESTORED);
    if served.exists() {
        say!(
            "{} is a backup and stays as it is; serving {}, which was restored from it",
            data.display(),
            served.display()
        );
        return Ok(served);
    }
    let Restored { manifest: Manifest { log, rooms, entries, taken_at, .. }, .. } =
        Directory::restore(data, &served)?;
    say!(
        "{} is a backup and stays as it is; restored it into {}: log {log}, taken at {}, {entries} \
         entries in {rooms} rooms. What was appended later is missing, so this is a new log, and clients are told; \
         `roomlog restore {} DIR` restores it elsewhere",
        data.display(),
        served.display(),
        crate::show::utc(taken_at),
        data.display(),
    );
    Ok(served)
}

/// Refuses an archive of more partitions than the journal has.
fn no_other_partitions(archive: &dyn Archive, partitions: u32) -> Result<(), Failure> {
    for partition in partitions..MOST_PARTITIONS {
        let applied = archive.applied(partition).map_err(|why| Failure::said(why.to_string()))?;
        if applied.position.0 > 0 {
            return Err(Failure::said(format!(
                "archive.db has blocks of partition {partition}, and the journal has {partitions} partitions: their \
                 number is fixed when a log is made; bring back the streams as they were"
            )));
        }
    }
    Ok(())
}

/// Says what a start has made of a directory, where it is more than going on.
fn tell_found(found: &Contents) {
    match found {
        Contents::Empty | Contents::Log => {}
        Contents::JournalOnly => {
            say!("archive.db is missing: it is made again from the journal");
        }
        Contents::Backup(manifest) | Contents::PartlyRestored(manifest) => {
            let Manifest { log, position, rooms, entries, taken_at, .. } = manifest;
            say!(
                "restored a backup of log {log}, taken at {}: {entries} entries in {rooms} rooms, up to \
                 position {position}; what came after is not there. This is a new log, and clients are told so",
                crate::show::utc(*taken_at)
            );
        }
        Contents::BackupWithJournal(Manifest { log, position, .. }) => say!(
            "a backup of log {log} up to position {position}, and beside it the journal with all that \
             came after: the log goes on"
        ),
    }
}

fn tell_derived(found: &Contents) {
    match found {
        Contents::Empty => say!("a new node: its archive is made from the journal"),
        Contents::Backup(Manifest { position, .. }) => say!(
            "a new node: its archive is a backup up to position {position}, and the rest comes from \
             the journal"
        ),
        _ => {}
    }
}

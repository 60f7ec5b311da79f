//! `roomlog move`: moves a log from a directory to a cluster, or back.
//!
//! ```text
//!  move --data DIR --to nats://…      archive and journal ──► blocks of history ──► streams
//!  move --journal nats://… --to DIR   sealed streams ──► archive, with an empty journal
//! ```
//!
//! The log keeps its name, slots, times, digests and ids. It is never served in two places: the
//! source is closed before the destination opens. An interrupted move continues where it stopped.

mod blocks;
mod summary;
mod to_cluster;
mod to_directory;

use crate::{cli::MoveArgs, failure::Failure, settings::Settings};

pub(crate) async fn run(args: MoveArgs) -> Result<(), Failure> {
    tokio::select! {
        ended = relocate(args) => ended,
        () = super::interrupted() => {
            Err(Failure::other("interrupted; run it again to continue where it stopped"))
        }
    }
}

async fn relocate(args: MoveArgs) -> Result<(), Failure> {
    let to_cluster = args.to.contains("://");
    if to_cluster && args.journal.is_some() {
        return Err(Failure::usage(
            "move a log from a directory to a cluster (--data DIR --to nats://…), or from a \
             cluster to a directory (--journal nats://… --to DIR)",
        ));
    }
    let settings = Settings {
        journal: if to_cluster { Some(args.to.clone()) } else { args.journal },
        journal_declared: Some(args.journal_declared),
        cluster: args.cluster,
        data: args.data,
        ..Settings::default()
    };
    let options = settings
        .cluster()?
        .ok_or_else(|| Failure::usage("name the cluster that has the log: --journal nats://…"))?;
    if to_cluster {
        to_cluster::run(&settings.data()?, options).await
    } else {
        to_directory::run(options, args.to.as_ref()).await
    }
}

//! `roomlog move`: a log of one node becomes a cluster's, or a cluster's becomes one node's.
//!
//! ```text
//!  move --data DIR --to nats://…      here: archive and journal ──► blocks of history ──► streams
//!  move --journal nats://… --to DIR   away: streams, sealed ──► archive, and an empty journal behind it
//! ```
//!
//! Enters: where the log is, where it is to be. Leaves: the same log there: name, slots, times, digests,
//! ids. Invariants: it is never served in two places: where it was is closed before the other opens; what
//! was cut off goes on where it stopped.

mod away;
mod blocks;
mod here;

use std::process::ExitCode;

use indicatif::ProgressBar;

use crate::{cli::MoveArgs, failure::Failure, progress};

pub(crate) async fn run(args: MoveArgs) -> Result<ExitCode, Failure> {
    let run = async {
        match args.way()? {
            Way::Here { data, options } => here::run(&data, options).await,
            Way::Away { options, to } => away::run(options, &to).await,
        }
    };
    tokio::select! {
        ended = run => ended,
        () = super::interrupted() => {
            Err(Failure::said("interrupted; run it again: it goes on where it stopped"))
        }
    }
}

pub(crate) use self::way::Way;

mod way {
    //! Which way a log goes.

    use std::path::PathBuf;

    use roomlog_jetstream::Options;

    use crate::{cli::MoveArgs, failure::Failure, settings::Settings};

    /// Which way.
    pub(crate) enum Way {
        /// From a directory to a cluster.
        Here {
            /// The directory.
            data: PathBuf,
            /// The cluster's journal.
            options: Options,
        },
        /// From a cluster to a directory.
        Away {
            /// The cluster's journal.
            options: Options,
            /// The directory.
            to: PathBuf,
        },
    }

    impl MoveArgs {
        /// Which way is meant.
        ///
        /// # Errors
        /// When it is none, or both.
        pub(crate) fn way(&self) -> Result<Way, Failure> {
            let to_cluster = self.to.contains("://");
            let cluster = if to_cluster { Some(self.to.clone()) } else { self.journal.clone() };
            if to_cluster && self.journal.is_some() {
                return Err(Failure::usage(
                    "a log goes from a directory to a cluster (--data DIR --to nats://…), or from a cluster \
                     to a directory (--journal nats://… --to DIR)",
                ));
            }
            let settings = Settings {
                journal: cluster,
                journal_prefix: self.journal_prefix.clone(),
                journal_partitions: self.journal_partitions,
                journal_replicas: self.journal_replicas,
                journal_max_bytes: self.journal_max_bytes,
                journal_credentials: self.journal_credentials.clone(),
                journal_ca: self.journal_ca.clone(),
                journal_certificate: self.journal_certificate.clone(),
                journal_key: self.journal_key.clone(),
                journal_declared: Some(self.journal_declared),
                data: self.data.clone(),
                ..Settings::default()
            };
            let options = settings.cluster()?.ok_or_else(|| {
                Failure::usage("name the cluster that the log is in: --journal nats://…")
            })?;
            if to_cluster {
                Ok(Way::Here { data: settings.data()?, options })
            } else {
                Ok(Way::Away { options, to: self.to.clone().into() })
            }
        }
    }
}

/// A bar that counts entries.
fn bar(of: u64) -> ProgressBar {
    progress::bar(of, "{msg}  {bar:30} {pos} of {len} entries  {elapsed} (left: {eta})")
        .with_message("moving")
}

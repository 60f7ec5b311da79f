//! The settings of a cluster's journal, checked together.

use roomlog_jetstream::Options;

use super::Settings;
use crate::failure::Failure;

impl Settings {
    /// The journal of a cluster; `None` if it is a file.
    pub(crate) fn cluster(&self) -> Result<Option<Options>, Failure> {
        let servers = self.journal.as_deref().unwrap_or_default().trim();
        if servers.is_empty() {
            return self.no_cluster().map(|()| None);
        }
        let set = self.cluster.clone();
        let mut options = Options::new(servers);
        options.prefix = set.journal_prefix.unwrap_or(options.prefix);
        options.partitions = set.journal_partitions;
        options.replicas = set.journal_replicas;
        options.max_bytes = set.journal_max_bytes;
        options.declared = self.journal_declared == Some(true);
        options.credentials = set.journal_credentials;
        options.ca = set.journal_ca;
        options.certificate = match (set.journal_certificate, set.journal_key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                return Err(Failure::usage(
                    "journal_certificate and journal_key go together: set both or neither",
                ));
            }
        };
        options.check().map_err(Failure::usage)?;
        Ok(Some(options))
    }

    /// Rejects settings of a cluster's journal where none is named.
    fn no_cluster(&self) -> Result<(), Failure> {
        let declared = self.journal_declared.filter(|set| *set).map(|_| "journal_declared".into());
        let set = Self { cluster: self.cluster.clone(), ..Self::default() }.table()?;
        let Some(name) = set.into_iter().next().map(|(name, _)| name).or(declared) else {
            return Ok(());
        };
        Err(Failure::usage(format!(
            "{name} is for a journal on NATS, and none is named: add --journal nats://…, or remove \
             {name}"
        )))
    }
}

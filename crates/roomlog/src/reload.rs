//! What SIGHUP reads again: the settings file, the certificate, the keys of tokens.
//!
//! Enters: SIGHUP. Leaves: limits, to the gateway; a line for each of the three. Invariants: what is wrong
//! changes nothing; a setting that changed in the file and needs a restart is named each time.

use std::{path::PathBuf, sync::Arc};

use roomlog_protocol::Limits;
use roomlog_server::{Tls, Tokens};
use tokio::sync::watch;

use crate::{
    failure::Failure,
    settings::Settings,
    stderr::{message, warning},
    tls,
};

/// What was read from files that may be replaced while the server runs.
pub(crate) struct LoadedFiles {
    pub(crate) certificate: Option<Arc<Tls>>,
    pub(crate) tokens: Option<Arc<Tokens>>,
    /// `None` without a settings file.
    pub(crate) settings: Option<LoadedSettings>,
}

impl LoadedFiles {
    /// Reads them again.
    pub(crate) async fn reload(&mut self) {
        let Self { certificate, tokens, settings } = self;
        if let Some(settings) = settings {
            settings.reload().await;
        }
        if let Some(certificate) = certificate {
            tls::reload(certificate).await;
        }
        if let Some(tokens) = tokens
            && tokens.reload().await
        {
            message!("the keys of tokens were reloaded");
        }
        if settings.is_none() && certificate.is_none() && tokens.is_none() {
            message!("nothing to reload: this server has no --config, tls_cert or jwt_key");
        }
    }
}

/// The settings that the server runs with.
pub(crate) struct LoadedSettings {
    file: PathBuf,
    /// Those of the command line and the environment, which override the file.
    given: Settings,
    /// Those that were set, anywhere.
    running: toml::Table,
    limits: watch::Sender<Limits>,
}

impl LoadedSettings {
    /// `None` if there is no settings file. New limits are sent to `limits`.
    pub(crate) fn new(
        file: Option<PathBuf>,
        given: Settings,
        running: &Settings,
        limits: watch::Sender<Limits>,
    ) -> Result<Option<Self>, Failure> {
        let running = running.table()?;
        Ok(file.map(|file| Self { file, given, running, limits }))
    }

    async fn reload(&mut self) {
        let (given, file) = (self.given.clone(), self.file.clone());
        // A file system may take its time, and the task accepts connections.
        let read = tokio::task::spawn_blocking(move || {
            let settings = given.over_file(Some(&file))?;
            settings.check()?;
            Ok::<_, Failure>((settings.gateway()?.limits, settings.table()?))
        });
        match read.await {
            Ok(Ok((limits, set))) => self.apply(limits, &set),
            Ok(Err(why)) => {
                warning!("the settings were not reloaded, those before stay in use: {why}");
            }
            // The runtime stops.
            Err(_) => {}
        }
    }

    fn apply(&mut self, limits: Limits, set: &toml::Table) {
        let names = self.running.keys().chain(set.keys());
        let mut changed: Vec<String> =
            names.filter(|name| self.running.get(*name) != set.get(*name)).cloned().collect();
        changed.sort_unstable();
        changed.dedup();
        let (live, others): (Vec<String>, Vec<String>) =
            changed.into_iter().partition(|name| Limits::LIVE.contains(&name.as_str()));
        if live.is_empty() && others.is_empty() {
            message!("the settings have not changed");
        }
        if !live.is_empty() {
            let shown = |name: &String| match set.get(name) {
                Some(value) => format!("{name} = {value}"),
                None => format!("{name} is the default"),
            };
            let shown: Vec<_> = live.iter().map(shown).collect();
            for name in live {
                match set.get(&name) {
                    Some(value) => drop(self.running.insert(name, value.clone())),
                    None => drop(self.running.remove(&name)),
                }
            }
            self.limits.send_replace(limits);
            message!("the settings were reloaded: {}", shown.join(", "));
        }
        if !others.is_empty() {
            warning!("restart the server to change {}", others.join(", "));
        }
    }
}

//! The settings of TLS and of proxies in front, checked together.

use std::{net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use roomlog_server::{Proxies, Tls};

use super::Settings;
use crate::{failure::Failure, stderr::message};

impl Settings {
    /// The files of the certificate and its key; `None` without TLS.
    pub(crate) fn tls_files(&self) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
        // An empty variable is none.
        let named = |file: &Option<PathBuf>| file.clone().filter(|it| !it.as_os_str().is_empty());
        match (named(&self.tls_cert), named(&self.tls_key)) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Failure::usage(
                "tls_cert has no tls_key: name the file of its private key with --tls-key, or \
                 remove tls_cert",
            )),
            (None, Some(_)) => Err(Failure::usage(
                "tls_key has no tls_cert: name the file of its certificate with --tls-cert, or \
                 remove tls_key",
            )),
        }
    }

    /// The certificate and its key, read; `None` without TLS. Warns of a key that others may read.
    pub(crate) fn tls(&self) -> Result<Option<Tls>, Failure> {
        let Some((certificate, key)) = self.tls_files()? else { return Ok(None) };
        let tls = Tls::load(certificate, key).map_err(Failure::usage)?;
        if let Some(key) = tls.exposed_key() {
            let key = key.display();
            message!(
                "every user of this machine may read the TLS key {key}; to keep it to its owner: \
                 chmod 600 {key}"
            );
        }
        Ok(Some(tls))
    }

    /// The proxies that are believed whom they ask for.
    pub(crate) fn proxies(&self) -> Result<Proxies, Failure> {
        // An empty environment variable is an empty list.
        let listed = self.trust_proxy.iter().flatten().filter(|typed| !typed.is_empty());
        listed.map(|typed| network(typed)).collect::<Result<_, _>>().map(Proxies::new)
    }
}

fn network(typed: &str) -> Result<IpNet, Failure> {
    let typed = typed.trim();
    typed.parse().or_else(|_| typed.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
        Failure::usage(format!(
            "trust_proxy: {typed:?} is not an address or a network; write it as 10.0.0.7, \
             10.0.0.0/8 or 2001:db8::/64"
        ))
    })
}

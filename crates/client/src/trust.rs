//! Whose certificates a client trusts, and what can be wrong with a server's.
//!
//! Enters: a file of certificates; errors of TLS. Leaves: the settings of a session; an error that says
//! what happened. Invariant: a server's certificate is always checked, for its name too.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use thiserror::Error;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, Error as RustlsError, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, pem::PemObject},
    version::{TLS12, TLS13},
};

/// The longest file of certificates that is read, in bytes.
const FILE_BYTES: u64 = 4 << 20;

/// The protocol that is spoken over TLS.
const ALPN: &[u8] = b"http/1.1";

/// The issuers of certificates that a client trusts: those of the system, and more if it names any.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    added: Arc<Vec<CertificateDer<'static>>>,
    /// Made for the first session: it reads the system's certificates.
    config: Arc<OnceLock<Arc<ClientConfig>>>,
}

/// Why a file names no issuer to trust.
#[derive(Debug, Error)]
pub enum TrustError {
    /// It cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// It is not PEM, is longer than 4 MiB, or has no certificate in it.
    #[error("{} holds no certificates in PEM: {why}", path.display())]
    NoCertificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// Why there is no TLS session with a server.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlsProblem {
    /// The issuer of the certificate is not trusted.
    #[error("its certificate is from an issuer that this system does not trust")]
    UnknownIssuer,
    /// The certificate is for other names.
    #[error("its certificate is not for this name{}", for_names(.0))]
    WrongName(Vec<String>),
    /// The certificate was valid until some time ago.
    #[error("its certificate has expired")]
    Expired,
    /// The certificate will be valid later.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// The certificate is marked as an issuer's.
    #[error("its certificate is an issuer's (CA:TRUE), which is not a server's")]
    Issuer,
    /// The server does not speak TLS.
    #[error("it does not speak TLS")]
    NoTls,
    /// Anything else, in the words of the TLS library.
    #[error("{0}")]
    Other(String),
}

fn for_names(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(", but for {}", names.join(", ")) }
}

impl Trust {
    /// Trusts the system's issuers and those in a PEM file.
    ///
    /// # Errors
    /// The file cannot be read, or has no certificate in it.
    pub fn with_ca(path: &Path) -> Result<Self, TrustError> {
        let none =
            |why: &str| TrustError::NoCertificates { path: path.into(), why: why.to_owned() };
        let mut text = Vec::new();
        let read =
            File::open(path).and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut text));
        let count = read.map_err(|why| TrustError::Unreadable { path: path.into(), why })?;
        if count as u64 > FILE_BYTES {
            return Err(none("it is too long"));
        }
        let added: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let added = added.map_err(|why| none(&why.to_string()))?;
        if added.is_empty() {
            return Err(none("there is no -----BEGIN CERTIFICATE----- in it"));
        }
        if let Some(Err(why)) =
            added.iter().map(|it| RootCertStore::empty().add(it.clone())).find(Result::is_err)
        {
            return Err(none(&why.to_string()));
        }
        Ok(Self { added: Arc::new(added), config: Arc::default() })
    }

    /// What sessions are made with. May read the system's certificates from the disk.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, TlsProblem> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let mut roots = RootCertStore::empty();
        // A system without certificates, or with some that cannot be read, still trusts the added ones.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(self.added.iter().cloned());
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|why| TlsProblem::Other(why.to_string()))?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(self.config.get_or_init(|| Arc::new(config)).clone())
    }
}

impl TlsProblem {
    /// What another attempt would not change; `None` of an error that may pass.
    pub(crate) fn lasting(error: &RustlsError) -> Option<Self> {
        use CertificateError as Why;
        Some(match error {
            RustlsError::InvalidCertificate(why) => match why {
                // Of two issuers with one name, the other one is trusted: the signature is not its own.
                Why::UnknownIssuer
                | Why::BadSignature
                | Why::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                    Self::UnknownIssuer
                }
                Why::Expired | Why::ExpiredContext { .. } => Self::Expired,
                Why::NotValidYet | Why::NotValidYetContext { .. } => Self::NotYetValid,
                Why::NotValidForName => Self::WrongName(Vec::new()),
                Why::NotValidForNameContext { presented, .. } => Self::WrongName(presented.clone()),
                Why::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                    Self::Issuer
                }
                why => Self::Other(format!("its certificate is wrong: {why}")),
            },
            // What comes first is no record of TLS.
            RustlsError::InvalidMessage(_) => Self::NoTls,
            _ => return None,
        })
    }
}

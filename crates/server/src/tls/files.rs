//! The certificate and the key of the public listener, as files that may change.
//!
//! Enters: two PEM files, again whenever somebody asks for that. Leaves: the beginning of a session per
//! socket. Invariants: the two are taken together or not at all; with files that are wrong the last
//! ones that were right stay in use.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use parking_lot::Mutex;
use rustls::{
    Error, InconsistentKeys, ServerConfig, ServerConnection,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    version::{TLS12, TLS13},
};
use thiserror::Error as ThisError;
use tokio::net::TcpStream;
use x509_cert::{Certificate, der::Decode};

use super::stream::TlsStream;

/// The longest file that is read, in bytes: a chain of a hundred certificates.
const FILE_BYTES: u64 = 1 << 20;

/// The only protocol that is spoken over TLS.
const ALPN: &[u8] = b"http/1.1";

/// Others than the owner and the group may read the file.
const OTHERS_READ: u32 = 0o004;

/// Why the files do not make a TLS server. Each says what to do about it.
#[derive(Debug, ThisError)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// A file is not PEM, or longer than 1 MiB.
    #[error("{} is not a PEM file: {why}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// There is no certificate in the file.
    #[error(
        "there is no certificate in {}; it must hold the server's certificate and, behind it, those \
         of its issuers, each from -----BEGIN CERTIFICATE-----", .0.display()
    )]
    NoCertificate(PathBuf),
    /// There is no key in the file that can be used.
    #[error(
        "there is no private key in {} (PKCS#8, SEC1 or PKCS#1, without a passphrase)", .0.display()
    )]
    NoKey(PathBuf),
    /// The key is that of another certificate.
    #[error(
        "the key in {} does not belong to the certificate in {}, which must be the first of its \
         file", key.display(), certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The certificate or the key is malformed, or of a kind that is not supported.
    #[error("{} and {} cannot be used: {why}", certificate.display(), key.display())]
    Unusable {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What is wrong.
        why: Error,
    },
}

/// A certificate with its key, read from files, for new handshakes.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    loaded: Mutex<Loaded>,
    /// The files as they were when they were last read.
    read: Mutex<Stamps>,
}

/// What the files held when they were last right.
#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// `None` if it cannot be read from the certificate.
    expires: Option<SystemTime>,
}

/// What tells a file from the one that was there before; `None` if there is none.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// Those of the certificate and the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamps([Stamp; 2]);

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// Says which file is wrong, and how.
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let read = Stamps([&certificate, &key].map(|path| stamp(path)));
        let loaded = Mutex::new(load(&certificate, &key)?);
        Ok(Self { certificate, key, loaded, read: Mutex::new(read) })
    }

    /// Reads both files again. New handshakes use them; connections go on as they are.
    ///
    /// # Errors
    /// As [`Self::load`]; what was in use before stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        *self.read.lock() = self.stamps();
        let loaded = load(&self.certificate, &self.key)?;
        *self.loaded.lock() = loaded;
        Ok(())
    }

    /// The files as they are now.
    #[must_use]
    pub fn stamps(&self) -> Stamps {
        Stamps([&self.certificate, &self.key].map(|path| stamp(path)))
    }

    /// Whether the files were other ones when they were last read.
    #[must_use]
    pub fn is_stale(&self, now: Stamps) -> bool {
        *self.read.lock() != now
    }

    /// When the certificate expires; `None` if that cannot be read from it.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.loaded.lock().expires
    }

    /// The key's file, if every user of this machine may read it.
    #[must_use]
    pub fn exposed_key(&self) -> Option<&Path> {
        let mode = fs::metadata(&self.key).map_or(0, |file| file.mode());
        (mode & OTHERS_READ != 0).then_some(self.key.as_path())
    }

    /// A session over a socket, with what the files held when they were last right.
    pub(crate) fn accept(&self, tcp: TcpStream) -> io::Result<TlsStream> {
        let config = self.loaded.lock().config.clone();
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(TlsStream::new(tcp, connection))
    }
}

fn stamp(path: &Path) -> Stamp {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec()))
}

fn load(certificate: &Path, key: &Path) -> Result<Loaded, TlsError> {
    let chain = chain(certificate)?;
    let first = chain.first().and_then(|first| Certificate::from_der(first).ok());
    let expires = first.map(|first| first.tbs_certificate().validity().not_after.to_system_time());
    let text = read(key)?;
    let parsed = PrivateKeyDer::from_pem_slice(&text).map_err(|why| match why {
        pem::Error::NoItemsFound => TlsError::NoKey(key.into()),
        why => TlsError::NotPem { path: key.into(), why: why.to_string() },
    })?;
    let wrong = |why| match why {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::Mismatch { certificate: certificate.into(), key: key.into() }
        }
        why => TlsError::Unusable { certificate: certificate.into(), key: key.into(), why },
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(wrong)?;
    let mut config = config.with_no_client_auth().with_single_cert(chain, parsed).map_err(wrong)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // Sessions that are resumed are kept by their clients, and not here.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(wrong)?;
    Ok(Loaded { config: Arc::new(config), expires })
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(TlsError::NoCertificate(path.into())),
        Ok(chain) => Ok(chain),
        Err(why) => Err(TlsError::NotPem { path: path.into(), why: why.to_string() }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut text = Vec::new();
    let file = File::open(path).and_then(|file| file.take(FILE_BYTES + 1).read_to_end(&mut text));
    match file {
        Ok(count) if count as u64 <= FILE_BYTES => Ok(text),
        Ok(_) => Err(TlsError::NotPem {
            path: path.into(),
            why: format!("it has more than {FILE_BYTES} bytes"),
        }),
        Err(why) => Err(TlsError::Unreadable { path: path.into(), why }),
    }
}

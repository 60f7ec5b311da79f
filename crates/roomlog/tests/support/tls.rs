//! TLS: an issuer of certificates, and sessions of a client that trusts it.
//!
//! Enters: names. Leaves: PEM files; streams of plaintext. Invariant: nothing but that issuer is trusted.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    },
};

use super::{Client, Server, within};

/// A stream of bytes.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An issuer of certificates.
pub(crate) struct Issuer {
    issuer: rcgen::Issuer<'static, KeyPair>,
    directory: PathBuf,
    /// Its own certificate.
    pub(crate) ca: PathBuf,
}

impl Issuer {
    /// A new one, which writes its files here.
    pub(crate) fn new(directory: &Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = directory.join("ca.pem");
        fs::write(&ca, params.self_signed(&key).expect("an issuer").pem()).expect("written");
        Self { issuer: rcgen::Issuer::new(params, key), directory: directory.into(), ca }
    }

    /// Issues a certificate for these names: the text of it and of its key.
    pub(crate) fn issue(
        &self,
        names: &[&str],
        adjust: impl FnOnce(&mut CertificateParams),
    ) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("parameters");
        adjust(&mut params);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        (signed.pem(), key.serialize_pem())
    }

    /// Writes a new certificate and its key into the files of a server.
    pub(crate) fn renew(&self, names: &[&str]) {
        let (certificate, key) = self.issue(names, |_| ());
        let [certificate_file, key_file] = self.files();
        fs::write(certificate_file, certificate).expect("written");
        fs::write(key_file, key).expect("written");
    }

    /// The files of a server.
    pub(crate) fn files(&self) -> [PathBuf; 2] {
        ["server.pem", "server.key"].map(|name| self.directory.join(name))
    }

    /// A server with a certificate for loopback, and these flags besides.
    pub(crate) async fn server(&self, flags: &[&str]) -> Server {
        self.renew(&["127.0.0.1", "localhost"]);
        let [certificate, key] = self.files();
        let (certificate, key) = (
            format!("--tls-cert={}", certificate.display()),
            format!("--tls-key={}", key.display()),
        );
        Server::start(&[&[certificate.as_str(), key.as_str()], flags].concat()).await
    }

    /// A WebSocket over TLS that has logged in.
    pub(crate) async fn login(&self, server: &Server, author: &str) -> Client {
        let stream = TcpStream::connect(server.address).await.expect("a connection");
        let stream = within("a TLS session", session(&self.ca, stream)).await;
        let mut client = Client::open(server, stream.expect("a session"), &[]).await;
        client.hello = client.expect("hello").await;
        client.log_in(author).await;
        client
    }
}

/// A TLS session with a server on loopback whose issuer is the one in this file.
pub(crate) async fn session(ca: &Path, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).expect("PEM")).expect("an issuer");
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

//! A server as its clients reach it: its address and, if it asks for tokens, what makes them.
//!
//! Enters: an author. Leaves: how that author logs in, on a WebSocket or over HTTP. Invariant: each author
//! has a token of its own, with all rights in all rooms.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use roomlog_auth::{Claims, Right, SigningKey};
use tempfile::NamedTempFile;

const AUDIENCE: &str = "bench";

/// Longer than any benchmark.
const LIFE: Duration = Duration::from_secs(12 * 60 * 60);

/// The key of a server that takes tokens.
pub(crate) struct Tokens {
    key: SigningKey,
    /// Removed with this.
    file: NamedTempFile,
}

impl Tokens {
    /// A new secret, in a file.
    pub(crate) fn make() -> io::Result<Self> {
        let secret = format!("{}{}", ulid::Ulid::generate(), ulid::Ulid::generate());
        let key = SigningKey::of_file(secret.as_bytes()).map_err(io::Error::other)?;
        let mut file = NamedTempFile::new()?;
        file.write_all(secret.as_bytes())?;
        Ok(Self { key, file })
    }

    /// The flags of a server that takes them.
    pub(crate) fn flags(&self) -> [String; 2] {
        let file = self.file.path().display();
        [format!("--jwt-key={file}"), format!("--jwt-audience={AUDIENCE}")]
    }

    fn of(&self, author: &str) -> io::Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let rights = [Right::Read, Right::Append, Right::Create];
        let claims = Claims {
            author: BTreeMap::from([("sub".into(), author.into())]),
            aud: AUDIENCE.into(),
            iat: now.as_secs(),
            exp: (now + LIFE).as_secs(),
            jti: ulid::Ulid::generate().to_string(),
            rooms: BTreeMap::from([("*".into(), BTreeSet::from(rights))]),
            ..Claims::default()
        };
        claims.sign(&self.key).map_err(io::Error::other)
    }
}

/// Where a client connects to. An address alone is an open server.
#[derive(Clone, Copy)]
pub(crate) struct Peer<'a> {
    pub(crate) addr: SocketAddr,
    pub(crate) tokens: Option<&'a Tokens>,
}

impl From<SocketAddr> for Peer<'_> {
    fn from(addr: SocketAddr) -> Self {
        Self { addr, tokens: None }
    }
}

impl Peer<'_> {
    /// The frame with which an author logs in.
    pub(crate) fn login(&self, author: &str) -> io::Result<String> {
        Ok(match self.tokens {
            Some(tokens) => format!(r#"{{"type":"login","token":"{}"}}"#, tokens.of(author)?),
            None => format!(r#"{{"type":"login","author":"{author}"}}"#),
        })
    }

    /// The header line of a request of this author; empty on an open server.
    pub(crate) fn header(&self, author: &str) -> io::Result<String> {
        Ok(match self.tokens {
            Some(tokens) => format!("authorization: Bearer {}\r\n", tokens.of(author)?),
            None => String::new(),
        })
    }
}

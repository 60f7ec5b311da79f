//! Tokens on a server: its keys, and what is revoked.
//!
//! ```text
//!  token ──► Tokens::admit ──► (Author, Access), or why not
//!               │ of an unknown key: the keys are read again, at most every 10 s
//!  the room of revocations ──► Tokens ──► connections, which end if theirs is revoked
//! ```
//!
//! Enters: tokens. Leaves: who sent them and what they may do. Invariants: what is revoked in the log
//! ends on every node that has applied it; keys are read again at most once for many unknown ones.

pub(crate) mod caller;
pub(crate) mod cookie;
pub(crate) mod revoking;
pub(crate) mod rights;

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures_util::future::BoxFuture;
use parking_lot::RwLock;
use roomlog_auth::{Access, Revocation, Revocations, TokenError, Verifier};
use roomlog_protocol::Author;
use tokio::sync::{Mutex, watch};
use tracing::{info, warn};

/// How long after the keys were read they may be read again because of an unknown one.
const REFETCH_AFTER: Duration = Duration::from_secs(10);

/// How often the keys are read again in any case: one that its issuer has withdrawn is valid no longer.
const REFRESH_EVERY: Duration = Duration::from_secs(300);

/// How long reading the keys may take.
const FETCH_TIME: Duration = Duration::from_secs(5);

/// Where keys come from.
pub trait KeySource: Send + Sync + 'static {
    /// Reads the keys. Fails with a sentence.
    fn fetch(&self) -> BoxFuture<'static, Result<Verifier, String>>;
}

/// The tokens that a server takes.
pub struct Tokens {
    verifier: RwLock<Arc<Verifier>>,
    source: Arc<dyn KeySource>,
    /// When the keys were read again; `None`: not yet.
    fetched: Mutex<Option<Instant>>,
    revoked: RwLock<Revocations>,
    /// Changes with every revocation.
    revision: watch::Sender<u64>,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").finish_non_exhaustive()
    }
}

/// Seconds since the Unix epoch.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

impl Tokens {
    /// Reads the keys.
    ///
    /// # Errors
    /// A sentence: the keys cannot be read.
    pub async fn new(source: Arc<dyn KeySource>) -> Result<Self, String> {
        let verifier = source.fetch().await?;
        Ok(Self {
            verifier: RwLock::new(Arc::new(verifier)),
            source,
            fetched: Mutex::default(),
            revoked: RwLock::default(),
            revision: watch::channel(0).0,
        })
    }

    /// Checks a token with the keys that are known.
    pub(crate) fn check(&self, token: &str) -> Result<(Author, Arc<Access>), TokenError> {
        let verifier = self.verifier.read().clone();
        let (author, access) = verifier.verify(token, now_s())?;
        if self.is_revoked(&author, &access) {
            return Err(TokenError::Revoked);
        }
        Ok((author, Arc::new(access)))
    }

    /// Checks a token. If its key is unknown, the keys are read again, unless that was just done.
    pub(crate) async fn admit(&self, token: &str) -> Result<(Author, Arc<Access>), TokenError> {
        match self.check(token) {
            Err(TokenError::UnknownKey) => {}
            checked => return checked,
        }
        let mut fetched = self.fetched.lock().await;
        // Another connection may have waited for the same key.
        let checked = self.check(token);
        let is_recent = fetched.is_some_and(|at| at.elapsed() < REFETCH_AFTER);
        if checked != Err(TokenError::UnknownKey) || is_recent {
            return checked;
        }
        *fetched = Some(Instant::now());
        self.fetch().await;
        drop(fetched);
        self.check(token)
    }

    /// Reads the keys again: whether that went well. If not, those that are known stay.
    async fn fetch(&self) -> bool {
        let fetched = tokio::time::timeout(FETCH_TIME, self.source.fetch()).await;
        match fetched.unwrap_or_else(|_| Err("they did not come in time".into())) {
            Ok(verifier) => {
                *self.verifier.write() = Arc::new(verifier);
                true
            }
            Err(why) => {
                warn!(why, "the keys of tokens cannot be read again; the known ones stay");
                false
            }
        }
    }

    /// Reads the keys again, as after a change of their files: whether that went well. If not, those
    /// that are known stay, and the log says why.
    pub async fn reload(&self) -> bool {
        let mut fetched = self.fetched.lock().await;
        *fetched = Some(Instant::now());
        self.fetch().await
    }

    pub(crate) fn is_revoked(&self, author: &Author, access: &Access) -> bool {
        self.revoked.read().are_of(author, access)
    }

    /// Changes when something is revoked.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    fn revoke(&self, revocation: Revocation, at: u64) {
        info!(?revocation, "tokens are revoked");
        self.revoked.write().add(revocation, at);
        self.revision.send_modify(|revision| *revision += 1);
    }

    /// Reads the keys again from time to time, for as long as it is polled.
    pub(crate) async fn refresh(&self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(REFRESH_EVERY).await;
            self.reload().await;
        }
    }
}

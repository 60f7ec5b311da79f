//! Tokens: where they come from, and when to get a new one.
//!
//! Enters: what a program gives. Leaves: a token for each login, and a time to log in again. Invariant: a
//! token is renewed while it is still valid, and not by all clients in the same moment.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::BoxFuture;
use serde::Deserialize;
use tokio::time::Instant;

/// The part of a token's remaining life after which it is renewed, at least.
const RENEWED_AFTER: f64 = 0.75;
/// The part in which clients spread their renewals.
const SPREAD: f64 = 0.15;
/// The longest time until a renewal, for a token that does not say when it expires.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a client gets its token from: asked for each login, and before a token expires.
#[derive(Clone)]
pub struct TokenSource(Arc<dyn Fn() -> BoxFuture<'static, Result<String, String>> + Send + Sync>);

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource")
    }
}

impl TokenSource {
    /// Asks this each time. An error is a sentence; the client tries again as after a lost connection.
    pub fn new<F, T>(get: F) -> Self
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String, String>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(get())))
    }

    /// Always the same token.
    #[must_use]
    pub fn fixed(token: String) -> Self {
        Self::new(move || std::future::ready(Ok(token.clone())))
    }

    pub(crate) async fn get(&self) -> Result<Token, String> {
        let text = (self.0)().await.map_err(|why| format!("there is no token: {why}"))?;
        let renew_at = Instant::now() + renewed_after(&text, now(), rand::random());
        Ok(Token { text, renew_at })
    }
}

/// A token, and when to get the next one.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) renew_at: Instant,
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// How long to use a token; `jitter` is from 0 to 1.
fn renewed_after(token: &str, now: Duration, jitter: f64) -> Duration {
    let left = expires_at(token).map(|at| at.saturating_sub(now));
    left.map_or(LONGEST, |left| left.mul_f64(RENEWED_AFTER + SPREAD * jitter).min(LONGEST))
}

/// When a token expires, since the Unix epoch. Nothing of it is checked: the server does that.
fn expires_at(token: &str) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Expiry {
        exp: f64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let Expiry { exp } = serde_json::from_slice(&claims).ok()?;
    Duration::try_from_secs_f64(exp).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn a_token_is_renewed_before_it_expires_and_not_by_all_at_once() {
        let now = Duration::from_secs(1_000);
        let after = |claims, jitter| renewed_after(&token(claims), now, jitter).as_secs();
        assert_eq!(after(r#"{"exp":1100}"#, 0.0), 75);
        assert_eq!(after(r#"{"exp":1100.5}"#, 1.0), 90);
        assert_eq!(after(r#"{"exp":900}"#, 0.5), 0);
        for unknown in ["{}", "", r#"{"exp":"x"}"#, r#"{"exp":1e300}"#] {
            assert_eq!(after(unknown, 0.5), LONGEST.as_secs(), "{unknown}");
        }
    }
}

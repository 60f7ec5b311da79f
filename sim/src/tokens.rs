//! Tokens: what the nodes of a run take, and what its clients get.
//!
//! Enters: an author, rooms, a time. Leaves: a token that lives for seconds. Invariant: its times are those of the
//! simulated clock.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use roomlog_auth::{Claims, Keys, Rules, SigningKey, Verifier};
use roomlog_server::{KeySource, Tokens};

use crate::clock;

const SECRET: &[u8] = b"a secret of more than 32 bytes, for the simulation";
const AUDIENCE: &str = "simulation";

struct Secret;

impl KeySource for Secret {
    fn fetch(&self) -> BoxFuture<'static, Result<Verifier, String>> {
        let rules =
            Rules { audience: AUDIENCE.into(), max_life_s: 86_400, author_claim: "sub".into() };
        let keys = Keys::of_file(SECRET).map_err(|why| why.to_string());
        async { Ok(Verifier::new(rules, keys?)) }.boxed()
    }
}

/// What a node takes.
pub(crate) async fn taken() -> Result<Arc<Tokens>, String> {
    Tokens::new(Arc::new(Secret)).await.map(Arc::new)
}

/// A token for `life` seconds, with all rights of an author in the rooms that fit `pattern`.
pub(crate) fn token(author: &str, pattern: &str, life: u64) -> String {
    let now = clock::wall() / 1_000;
    let rights = ["read", "append", "create"];
    let rights = rights.iter().filter_map(|it| serde_json::from_value((*it).into()).ok());
    let claims = Claims {
        author: [("sub".to_owned(), author.to_owned())].into(),
        aud: AUDIENCE.into(),
        iat: now,
        exp: now + life,
        jti: format!("{author}-{now}"),
        rooms: [(pattern.to_owned(), rights.collect())].into(),
        ..Claims::default()
    };
    let signed = SigningKey::of_file(SECRET).map_err(|why| why.to_string());
    // A token that cannot be signed is refused, which ends the run.
    signed.and_then(|key| claims.sign(&key)).unwrap_or_default()
}

//! A server that takes tokens, and tokens for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use roomlog_auth::{Claims, Right, SigningKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Client, Server};

/// The secret that its tokens are signed with.
pub(crate) const SECRET: &str = "a secret of more than 32 bytes, for tests";

/// The name that tokens have to be for.
pub(crate) const AUDIENCE: &str = "chat";

/// A server with tokens, and the directory of its key.
pub(crate) struct TokenServer {
    pub(crate) server: Server,
    pub(crate) keys: TempDir,
}

impl TokenServer {
    /// Starts one; `more` are further flags.
    pub(crate) async fn start(more: &[&str]) -> Self {
        let keys = tempfile::tempdir().expect("a directory");
        let key = key_file(&keys, "jwt.key", SECRET);
        let key = key.to_str().expect("a path");
        let flags = [&["--jwt-key", key, "--jwt-audience", AUDIENCE], more].concat();
        Self { server: Server::start(&flags).await, keys }
    }

    /// A connection that has logged in with this token.
    pub(crate) async fn enter(&self, token: &str) -> Client {
        let mut client = self.server.connect().await;
        client.send(json!({"type": "login", "token": token})).await;
        client.expect("welcome").await;
        client
    }
}

/// Writes a key.
pub(crate) fn key_file(keys: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = keys.path().join(name);
    std::fs::write(&path, text).expect("a file");
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&path, private).expect("a mode");
    path
}

/// Now, in seconds since the Unix epoch.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// The claims of a token of this author for an hour, with rights to rooms.
pub(crate) fn claims(author: &str, rooms: Value) -> Claims {
    let rooms: BTreeMap<String, BTreeSet<Right>> = serde_json::from_value(rooms).expect("rights");
    Claims {
        author: BTreeMap::from([("sub".into(), author.into())]),
        aud: AUDIENCE.into(),
        iat: now(),
        exp: now() + 3_600,
        jti: format!("{author}-token"),
        rooms,
        ..Claims::default()
    }
}

/// Signs with the secret.
pub(crate) fn signed(claims: &Claims) -> String {
    claims.sign(&SigningKey::of_file(SECRET.as_bytes()).expect("a key")).expect("a token")
}

/// A token of this author for an hour, with rights to rooms.
pub(crate) fn token(author: &str, rooms: Value) -> String {
    signed(&claims(author, rooms))
}

/// As the header of a request.
pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

//! What a token allows, as its claims say.
//!
//! Enters: a token of a `login`. Leaves: whether a room may be read or appended to. Signatures are not
//! checked: a token that the server should have refused is not found here.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::entry::FromFrame;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rights {
    pub(crate) author: String,
    rooms: HashMap<String, Vec<String>>,
}

impl Rights {
    /// Reads the claims `sub` and `rooms`. A token with `ns` is refused: the names of its rooms are not those
    /// of the log.
    pub(crate) fn of(token: &str) -> FromFrame<Self> {
        let claims = token.split('.').nth(1).ok_or("a token has no claims")?;
        let claims = URL_SAFE_NO_PAD.decode(claims).map_err(|why| format!("a token: {why}"))?;
        let claims: Value =
            serde_json::from_slice(&claims).map_err(|why| format!("a token: {why}"))?;
        if claims.get("ns").is_some() {
            return Err("a token with `ns` cannot be checked".into());
        }
        let author = claims.get("sub").and_then(Value::as_str);
        let author = author.ok_or("a token has no `sub`")?.to_owned();
        let rooms = claims.get("rooms").and_then(Value::as_object).into_iter().flatten();
        let rooms = rooms.map(|(pattern, rights)| {
            let rights = rights.as_array().into_iter().flatten().filter_map(Value::as_str);
            (pattern.clone(), rights.map(Into::into).collect())
        });
        Ok(Self { author, rooms: rooms.collect() })
    }

    pub(crate) fn allow(&self, right: &str, room: &str) -> bool {
        self.rooms.iter().any(|(pattern, rights)| {
            let fits = match pattern.strip_suffix('*') {
                Some(beginning) => room.starts_with(beginning),
                None => pattern == room,
            };
            fits && rights.iter().any(|it| it == right)
        })
    }
}

//! The settings of tokens.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    tokens::{AUTHOR_CLAIM, Life, MAX_LIFE, TokenFiles, is_url},
};

const TOKENS: &str = "Options of tokens";

settings! {
    /// Which tokens a server takes; without a key it takes none, and is open.
    #[command(next_help_heading = TOKENS)]
    AccessSettings {
        /// A key that tokens are signed with: a PEM public key (Ed25519, P-256, RSA), a JWK, or a
        /// secret of at least 32 bytes. With a key, whoever has no token may do nothing; repeatable
        #[arg(value_delimiter = ',')]
        jwt_key: Vec<PathBuf>, "ROOMLOG_JWT_KEY", "FILE";
        /// A JWK set with keys that tokens are signed with: a file, or an https URL. It is read again
        /// every five minutes and for an unknown key
        jwks: String, "ROOMLOG_JWKS", "FILE|URL";
        /// What the `aud` of a token has to name; required with a key
        jwt_audience: String, "ROOMLOG_JWT_AUDIENCE", "NAME";
        /// The longest life of a token: seconds, or with s, m, h or d; at most 400d [default: 24h]
        jwt_max_life: Life, "ROOMLOG_JWT_MAX_LIFE", "TIME";
        /// The claim of a token that names the author [default: sub]
        author_claim: String, "ROOMLOG_AUTHOR_CLAIM", "NAME";
    }
}

impl AccessSettings {
    /// Whether the server takes tokens.
    pub(super) fn are_set(&self) -> bool {
        self.key_files().next().is_some() || self.jwks().is_some()
    }

    /// An empty environment variable is an empty list.
    fn key_files(&self) -> impl Iterator<Item = &PathBuf> {
        self.jwt_key.iter().flatten().filter(|path| !path.as_os_str().is_empty())
    }

    fn jwks(&self) -> Option<&String> {
        self.jwks.as_ref().filter(|named| !named.is_empty())
    }

    /// Where the keys of tokens are, and what tokens have to comply with; `None` on an open server.
    pub(crate) fn tokens(&self) -> Result<Option<TokenFiles>, Failure> {
        if !self.are_set() {
            let is_set = self.jwt_audience.is_some()
                || self.jwt_max_life.is_some()
                || self.author_claim.is_some();
            return if is_set {
                Err(Failure::usage(
                    "jwt_audience, jwt_max_life and author_claim are for a server that takes \
                     tokens, and there is no key: add --jwt-key FILE or --jwks FILE, or remove them",
                ))
            } else {
                Ok(None)
            };
        }
        let Some(audience) = self.jwt_audience.clone().filter(|named| !named.is_empty()) else {
            return Err(Failure::usage(
                "jwt_audience is missing: it is what the `aud` of every token has to name, such as \
                 --jwt-audience chat.example.org",
            ));
        };
        let life =
            self.jwt_max_life.map_or_else(|| MAX_LIFE.parse(), Ok).map_err(Failure::usage)?;
        let rules = roomlog_auth::Rules {
            audience,
            max_life_s: life.seconds(),
            author_claim: self.author_claim.clone().unwrap_or_else(|| AUTHOR_CLAIM.into()),
        };
        if let Some(jwks) =
            self.jwks().filter(|named| is_url(named) && !named.starts_with("https://"))
        {
            return Err(Failure::usage(format!(
                "jwks is {jwks}, but a set that comes over the network must come over https: whoever \
                 is on the way could put in a key"
            )));
        }
        let keys = self.key_files().cloned().collect();
        Ok(Some(TokenFiles { keys, jwks: self.jwks().cloned(), rules }))
    }
}

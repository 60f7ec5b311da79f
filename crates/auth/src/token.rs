//! Tokens: JSON Web Tokens, checked by the rules of RFC 8725, and made for tests and scripts.
//!
//! Enters: a token and the time, in seconds since the Unix epoch. Leaves: its author and access, or why
//! it is refused; no message has any part of the token. Invariants: the key fixes the algorithm; `aud`
//! and `exp` are required, and the life is bounded; a header with `crit` is refused, whatever it says.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jsonwebtoken::{
    Algorithm, Header, Validation, decode, decode_header, encode, errors::ErrorKind,
};
use roomlog_protocol::{Author, Namespace};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::{
    access::{Access, LEEWAY_S, Operation, Right, RoomRights, TokenId},
    keys::{Keys, SigningKey},
};

/// The most bytes of a token.
pub const TOKEN_BYTES: usize = 8 << 10;

/// The most bytes of a `jti`.
pub const JTI_BYTES: usize = 256;

/// Why a token is refused: a sentence for who sent it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// More than [`TOKEN_BYTES`].
    #[error("the token has {0} bytes, more than {TOKEN_BYTES}")]
    TooLong(usize),
    /// Not a signed token.
    #[error("the token is not a signed JSON Web Token of three parts")]
    Malformed,
    /// Its header has `crit`.
    #[error("the token's header has `crit`, and this server knows no extension")]
    Critical,
    /// Its header has another `typ`.
    #[error("the token's `typ` is neither JWT nor at+jwt")]
    OtherType,
    /// Signed with a key that the server does not have: perhaps a new one.
    #[error("the token is signed with a key that this server does not have")]
    UnknownKey,
    /// Signed with another key than the one it names.
    #[error("the token's signature is wrong")]
    Signature,
    /// For somebody else.
    #[error("the token's `aud` does not name this server")]
    Audience,
    /// `exp` is past.
    #[error("the token has expired; get a new one")]
    Expired,
    /// `nbf` or `iat` is in the future.
    #[error("the token is not valid yet; check the clocks of its issuer and this server")]
    NotYet,
    /// It lives too long.
    #[error("the token lives for more than the {0} s that this server allows")]
    TooLongLived(u64),
    /// A claim is missing, or has a value that it cannot have.
    #[error("the token's claim `{0}` {1}")]
    Claim(String, String),
    /// It was revoked.
    #[error("the token was revoked; get a new one")]
    Revoked,
}

/// What a token has to comply with.
#[derive(Debug, Clone)]
pub struct Rules {
    /// What its `aud` has to name.
    pub audience: String,
    /// The longest life, in seconds: from `iat`, or else from now, to `exp`.
    pub max_life_s: u64,
    /// The claim that names the author.
    pub author_claim: String,
}

/// Checks tokens.
#[derive(Debug, Clone)]
pub struct Verifier {
    rules: Rules,
    keys: Keys,
}

impl Verifier {
    /// Tokens have to be signed with one of the keys.
    #[must_use]
    pub fn new(rules: Rules, keys: Keys) -> Self {
        Self { rules, keys }
    }

    /// What a token gives at the time `now`.
    ///
    /// # Errors
    /// [`TokenError`]; only its [`TokenError::UnknownKey`] may end with other keys.
    pub fn verify(&self, token: &str, now: u64) -> Result<(Author, Access), TokenError> {
        let claims = self.signed(token)?;
        let id = self.check_times(&claims, now)?;
        let author = text(&claims, &self.rules.author_claim)?.ok_or_else(|| {
            TokenError::Claim(self.rules.author_claim.clone(), "is missing".into())
        })?;
        let author = Author::new(author).map_err(|why| {
            TokenError::Claim(self.rules.author_claim.clone(), format!("is no author: {why}"))
        })?;
        let namespace: Option<Namespace> = claim(&claims, "ns")?;
        let rooms: Option<RoomRights> = claim(&claims, "rooms")?;
        let others: Option<Vec<String>> = claim(&claims, "as")?;
        let operations: Option<BTreeSet<Operation>> = claim(&claims, "ops")?;
        let access = Access::of_token(
            id,
            namespace,
            rooms.unwrap_or_default(),
            &others.unwrap_or_default(),
            operations.unwrap_or_default(),
        );
        Ok((author, access.map_err(|why| TokenError::Claim("as".into(), why))?))
    }

    /// The claims of a token whose signature and audience are right.
    fn signed(&self, token: &str) -> Result<Map<String, Value>, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::TooLong(token.len()));
        }
        let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
        check_header(&header)?;
        let validation = self.validation(header.alg);
        let mut refused = TokenError::UnknownKey;
        for key in self.keys.of(header.alg, header.kid.as_deref()) {
            match decode::<Map<String, Value>>(token, &key.key, &validation) {
                Ok(decoded) => return Ok(decoded.claims),
                Err(error) => refused = refusal_of(error.kind()),
            }
            if refused != TokenError::Signature {
                break;
            }
        }
        Err(refused)
    }

    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        // The times are checked here, with the server's own clock.
        validation.validate_exp = false;
        validation.set_audience(&[&self.rules.audience]);
        validation.required_spec_claims = HashSet::from(["aud".into(), "exp".into()]);
        validation
    }

    fn check_times(&self, claims: &Map<String, Value>, now: u64) -> Result<TokenId, TokenError> {
        let expires_at = seconds(claims, "exp")?
            .ok_or_else(|| TokenError::Claim("exp".into(), "is missing".into()))?;
        let issued_at = seconds(claims, "iat")?;
        if now >= expires_at.saturating_add(LEEWAY_S) {
            return Err(TokenError::Expired);
        }
        let is_early = |at: Option<u64>| at.is_some_and(|at| at > now + LEEWAY_S);
        if is_early(issued_at) || is_early(seconds(claims, "nbf")?) {
            return Err(TokenError::NotYet);
        }
        if expires_at.saturating_sub(issued_at.unwrap_or(now)) > self.rules.max_life_s {
            return Err(TokenError::TooLongLived(self.rules.max_life_s));
        }
        let jti = text(claims, "jti")?.map(str::to_owned);
        if jti.as_ref().is_some_and(|jti| jti.len() > JTI_BYTES) {
            let problem = format!("has more than {JTI_BYTES} bytes");
            return Err(TokenError::Claim("jti".into(), problem));
        }
        Ok(TokenId { jti, issued_at: issued_at.unwrap_or(0), expires_at })
    }
}

/// Checks what of a header is not a matter of keys.
fn check_header(header: &Header) -> Result<(), TokenError> {
    if header.crit.is_some() {
        return Err(TokenError::Critical);
    }
    let kind = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
    match kind.strip_prefix("application/").unwrap_or(&kind) {
        "jwt" | "at+jwt" => Ok(()),
        _ => Err(TokenError::OtherType),
    }
}

fn refusal_of(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(claim) => {
            TokenError::Claim(claim.clone(), "is missing".into())
        }
        ErrorKind::InvalidClaimFormat(claim) => {
            TokenError::Claim(claim.clone(), "does not have its form".into())
        }
        _ => TokenError::Malformed,
    }
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, TokenError> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Claim(name.into(), "is not a string".into())),
    }
}

/// A NumericDate (RFC 7519, 2), which may have a fraction.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, TokenError> {
    let whole = |seconds: f64| (0.0..=9.0e15).contains(&seconds).then_some(seconds as u64);
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => number
            .as_u64()
            .or_else(|| number.as_f64().and_then(whole))
            .map(Some)
            .ok_or_else(|| TokenError::Claim(name.into(), "is not a time".into())),
        Some(_) => Err(TokenError::Claim(name.into(), "is not a number of seconds".into())),
    }
}

fn claim<T: DeserializeOwned>(
    claims: &Map<String, Value>,
    name: &str,
) -> Result<Option<T>, TokenError> {
    let value = claims.get(name).filter(|value| !value.is_null());
    let read = |value: &Value| T::deserialize(value);
    let wrong = |why: serde_json::Error| TokenError::Claim(name.into(), format!("is wrong: {why}"));
    value.map(read).transpose().map_err(wrong)
}

/// The claims of a token that is made.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Claims {
    /// The author, by the name of its claim.
    #[serde(flatten)]
    pub author: BTreeMap<String, String>,
    /// The audience.
    pub aud: String,
    /// When it is issued, in seconds since the Unix epoch.
    pub iat: u64,
    /// When it expires, in seconds since the Unix epoch.
    pub exp: u64,
    /// What identifies it.
    pub jti: String,
    /// Rights by patterns of rooms.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rooms: BTreeMap<String, BTreeSet<Right>>,
    /// Other authors that it may write as.
    #[serde(rename = "as", skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
    /// Operations.
    #[serde(rename = "ops", skip_serializing_if = "BTreeSet::is_empty")]
    pub operations: BTreeSet<Operation>,
    /// The namespace of its rooms.
    #[serde(rename = "ns", skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

impl Claims {
    /// The token with these claims.
    ///
    /// # Errors
    /// A sentence: the key cannot sign.
    pub fn sign(&self, key: &SigningKey) -> Result<String, String> {
        encode(&Header::new(key.algorithm), self, &key.key).map_err(|why| why.to_string())
    }
}

#[cfg(test)]
#[path = "tests/token.rs"]
mod tests;

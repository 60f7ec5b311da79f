//! The keys that tokens are signed with.
//!
//! ```text
//!  a key file      PEM public keys (Ed25519, P-256 or RSA), a JWK, a JWK set, or else a secret
//!  a JWK set       public keys, by `kid`
//! ```
//!
//! Enters: the text of key files and JWK sets. Leaves: keys, each with its one algorithm: EdDSA, ES256,
//! RS256 or, for a secret, HS256. Invariant: a key that is too short for its algorithm is refused (RFC
//! 7518, 3.2 and 3.3).

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use thiserror::Error;

/// The least bytes of a secret: as many as the hash has.
const SECRET_BYTES: usize = 32;
/// The least bytes of an RSA key of 2,048 bits: its modulus, and its DER form.
const RSA_BYTES: usize = 256;
/// The bytes of a point of P-256.
const P256_BYTES: usize = 65;
/// The most keys of a JWK set.
const SET_KEYS: usize = 64;

/// Why there is no key in a text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// A private key where a public one belongs.
    #[error("it holds a private key: the server needs only the public one")]
    Private,
    /// A PEM file with something else than a key that can be used.
    #[error("a key in it is none of Ed25519, P-256 and RSA with at least 2048 bits, in PEM")]
    Unsupported,
    /// A secret that is too short.
    #[error(
        "its secret has {0} bytes, and HS256 needs at least 32; make one: openssl rand -hex 32"
    )]
    Short(usize),
    /// Not a JWK, nor a set of them.
    #[error("it is not a JSON Web Key, nor a set of them: {0}")]
    Json(String),
    /// A set without a key that can be used.
    #[error("none of its {0} keys is a public one for EdDSA, ES256 or RS256")]
    Empty(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// `None`: it is tried for any `kid`.
    kid: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

/// Keys that tokens are checked with.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Of a key file.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn of_file(text: &[u8]) -> Result<Self, KeyError> {
        let text = text.trim_ascii();
        if text.starts_with(b"{") {
            return Self::of_json(text, true);
        }
        let blocks = pem_blocks(text);
        if !blocks.is_empty() {
            return blocks.into_iter().map(public).collect::<Result<_, _>>().map(Self);
        }
        let key = secret(text)?;
        Ok(Self(vec![Key { kid: None, algorithm: Algorithm::HS256, key }]))
    }

    /// Of a JWK set as an issuer publishes it; keys for other purposes are passed over.
    ///
    /// # Errors
    /// [`KeyError::Json`] or [`KeyError::Empty`].
    pub fn of_set(text: &[u8]) -> Result<Self, KeyError> {
        Self::of_json(text, false)
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.0.extend(others.0);
        self
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is a secret.
    #[must_use]
    pub fn have_secret(&self) -> bool {
        self.0.iter().any(|key| key.algorithm == Algorithm::HS256)
    }

    fn of_json(text: &[u8], with_secrets: bool) -> Result<Self, KeyError> {
        let malformed = |why: serde_json::Error| KeyError::Json(why.to_string());
        let value: serde_json::Value = serde_json::from_slice(text).map_err(malformed)?;
        let jwks = match value.get("keys").and_then(serde_json::Value::as_array) {
            Some(keys) => keys.iter().map(read).take(SET_KEYS).collect(),
            None => vec![read(&value)],
        };
        let count = jwks.len();
        let usable = jwks.into_iter().flatten().filter_map(|jwk| of_jwk(&jwk, with_secrets));
        let keys: Vec<_> = usable.collect();
        if keys.is_empty() { Err(KeyError::Empty(count)) } else { Ok(Self(keys)) }
    }

    /// The keys that may have signed a token with this header.
    pub(crate) fn of(&self, algorithm: Algorithm, kid: Option<&str>) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| {
            let is_named = key.kid.as_deref().zip(kid).is_none_or(|(known, named)| known == named);
            key.algorithm == algorithm && is_named
        })
    }
}

/// A JWK; `None` if it is of a kind that we do not know.
fn read(value: &serde_json::Value) -> Option<Jwk> {
    serde_json::from_value(value.clone()).ok()
}

fn of_jwk(jwk: &Jwk, with_secrets: bool) -> Option<Key> {
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::OctetKey(_) if with_secrets => (Algorithm::HS256, KeyAlgorithm::HS256),
        _ => return None,
    };
    let is_for_signatures =
        jwk.common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature);
    let is_for_this = jwk.common.key_algorithm.is_none_or(|it| it == named);
    let key = DecodingKey::from_jwk(jwk).ok().filter(|_| is_for_signatures && is_for_this)?;
    let is_long_enough = match &jwk.algorithm {
        // Six bits a character.
        AlgorithmParameters::RSA(key) => key.n.len() * 6 / 8 >= RSA_BYTES,
        _ => key.try_get_as_bytes().is_ok_and(|bytes| bytes.len() >= SECRET_BYTES),
    };
    is_long_enough.then(|| Key { kid: jwk.common.key_id.clone(), algorithm, key })
}

/// Each from its `-----BEGIN` on; what is before the first is a comment.
fn pem_blocks(text: &[u8]) -> Vec<&[u8]> {
    let begins = |at: &usize| text[*at..].starts_with(b"-----BEGIN");
    let mut starts: Vec<usize> = (0..text.len()).filter(begins).collect();
    starts.push(text.len());
    starts.windows(2).map(|ends| &text[ends[0]..ends[1]]).collect()
}

fn public(pem: &[u8]) -> Result<Key, KeyError> {
    let is_private = pem.windows(b"PRIVATE KEY".len()).any(|part| part == b"PRIVATE KEY");
    if is_private {
        return Err(KeyError::Private);
    }
    let known = [
        (Algorithm::EdDSA, DecodingKey::from_ed_pem(pem), SECRET_BYTES),
        (Algorithm::ES256, DecodingKey::from_ec_pem(pem), P256_BYTES),
        (Algorithm::RS256, DecodingKey::from_rsa_pem(pem), RSA_BYTES),
    ];
    for (algorithm, key, least) in known {
        let Ok(key) = key else { continue };
        let bytes = key.try_get_as_bytes().map_or(0, <[u8]>::len);
        // The points of other curves have other lengths.
        let is_curve = algorithm == Algorithm::RS256 || bytes == least;
        if bytes >= least && is_curve {
            return Ok(Key { kid: None, algorithm, key });
        }
    }
    Err(KeyError::Unsupported)
}

fn secret(text: &[u8]) -> Result<DecodingKey, KeyError> {
    if text.len() < SECRET_BYTES {
        return Err(KeyError::Short(text.len()));
    }
    DecodingKey::from_secret(text).map_err(|_| KeyError::Short(text.len()))
}

/// A key that makes tokens.
pub struct SigningKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) key: EncodingKey,
}

impl SigningKey {
    /// Of a key file: a PEM private key (PKCS #8; RSA also PKCS #1), or else a secret.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] or [`KeyError::Short`].
    pub fn of_file(text: &[u8]) -> Result<Self, KeyError> {
        let text = text.trim_ascii();
        if !text.starts_with(b"-----BEGIN") {
            secret(text)?;
            let key = EncodingKey::from_secret(text).map_err(|_| KeyError::Short(text.len()))?;
            return Ok(Self { algorithm: Algorithm::HS256, key });
        }
        let known = [
            (Algorithm::EdDSA, EncodingKey::from_ed_pem(text)),
            (Algorithm::ES256, EncodingKey::from_ec_pem(text)),
            (Algorithm::RS256, EncodingKey::from_rsa_pem(text)),
        ];
        let usable = known.into_iter().find_map(|(algorithm, key)| Some((algorithm, key.ok()?)));
        let (algorithm, key) = usable.ok_or(KeyError::Unsupported)?;
        Ok(Self { algorithm, key })
    }
}

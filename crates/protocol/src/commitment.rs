//! What commits to the content of an entry.
//!
//! Enters: body and meta of an append, a salt. Leaves: a [`Commitment`], which enters the digest in
//! their place. Invariant: without the salt nobody can try candidates for a body against its
//! commitment. Defined in `docs/PROTOCOL.md`, "The digest".

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
use sha2::{Digest as _, Sha256};

/// What makes the commitments of equal bodies differ: 12 random bytes for each entry, base64url on the
/// wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 12]);

impl Salt {
    /// Parses 16 characters of base64url, the form of the wire.
    #[must_use]
    pub fn from_base64(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// The form of the wire, in ASCII.
    pub(crate) fn to_base64(self) -> [u8; 16] {
        let mut text = [0; 16];
        // 12 bytes are just 16 characters.
        let _length = URL_SAFE_NO_PAD.encode_slice(self.0, &mut text);
        text
    }
}

impl fmt::Display for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_base64()).unwrap_or_default())
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_base64(&text)
            .ok_or_else(|| Error::custom("a salt is 16 characters of base64url"))
    }
}

/// The hash of salt, body and meta: 32 bytes, lower-case hex on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Commitment(pub [u8; 32]);

impl Commitment {
    /// The commitment to a body and a meta.
    #[must_use]
    pub fn new(salt: &Salt, body: &str, meta: Option<&str>) -> Self {
        let mut sha = Sha256::new();
        sha.update(salt.0);
        length_prefixed(&mut sha, body);
        if let Some(meta) = meta {
            length_prefixed(&mut sha, meta);
        }
        Self(sha.finalize().into())
    }
}

impl fmt::Display for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Commitment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Commitment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Commitment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text)
            .map(Self)
            .ok_or_else(|| Error::custom("a commitment is 64 characters of lower-case hex"))
    }
}

/// Parses 64 digits of lower-case hex.
pub(crate) fn from_hex(text: &str) -> Option<[u8; 32]> {
    let bytes = text.as_bytes();
    if bytes.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(bytes.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(hash)
}

/// Writes 64 digits of lower-case hex.
pub(crate) fn write_hex(f: &mut fmt::Formatter<'_>, hash: &[u8; 32]) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = [0; 64];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(hash) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    f.write_str(std::str::from_utf8(&hex).unwrap_or_default())
}

fn nibble(hex: u8) -> Option<u8> {
    match hex {
        b'0'..=b'9' => Some(hex - b'0'),
        b'a'..=b'f' => Some(hex - b'a' + 10),
        _ => None,
    }
}

/// `lp(x)`: the byte length as a big-endian u32, then the bytes.
pub(crate) fn length_prefixed(sha: &mut Sha256, text: &str) {
    // The longest text is a body, at most 128 KiB by `Limits`, so the length always fits.
    sha.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    sha.update(text.as_bytes());
}

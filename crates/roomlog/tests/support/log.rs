//! The digest as the page "The digest" defines it, over entries as they came in JSON; written a
//! second time on purpose, so that the server is not checked by its own code.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// D(−1) of a room, in hex.
pub(crate) fn start_digest(room: &str) -> String {
    let mut bytes = b"roomlog/v1".to_vec();
    length_prefixed(&mut bytes, room);
    hex(&Sha256::digest(&bytes))
}

/// The digest after `entries`, which follow the slot that `before` is the digest of.
pub(crate) fn chained(before: &str, entries: &[Value]) -> String {
    entries.iter().fold(before.to_owned(), |digest, entry| next(&digest, entry))
}

/// The digest after the last of `entries`, which begin at slot 0.
pub(crate) fn digest_after(room: &str, entries: &[Value]) -> String {
    chained(&start_digest(room), entries)
}

fn next(before: &str, entry: &Value) -> String {
    let text = |name: &str| entry[name].as_str().unwrap_or_else(|| panic!("no {name}: {entry}"));
    let number = |name: &str| entry[name].as_u64().unwrap_or_else(|| panic!("no {name}: {entry}"));
    let optional = |name: &str| entry[name].as_u64().map_or(0, |value| value + 1);
    let mut bytes = unhex(before);
    bytes.extend(number("slot").to_be_bytes());
    bytes.extend(number("committed_at").to_be_bytes());
    length_prefixed(&mut bytes, text("author"));
    length_prefixed(&mut bytes, text("id"));
    length_prefixed(&mut bytes, entry["kind"].as_str().unwrap_or("text"));
    bytes.extend(optional("ref").to_be_bytes());
    bytes.extend(optional("sent_at").to_be_bytes());
    if entry["redacted"] == true {
        bytes.extend(unhex(text("commitment")));
    } else {
        let mut said = URL_SAFE_NO_PAD.decode(text("salt")).expect("base64url");
        assert_eq!(said.len(), 12, "{entry}");
        length_prefixed(&mut said, text("body"));
        if let Some(meta) = entry["meta"].as_str() {
            length_prefixed(&mut said, meta);
        }
        bytes.extend(Sha256::digest(said));
    }
    hex(&Sha256::digest(&bytes))
}

fn length_prefixed(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(u32::try_from(text.len()).expect("a short text").to_be_bytes());
    bytes.extend(text.as_bytes());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a digest or a commitment.
pub(crate) fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len(), 64, "a digest is 64 characters: {text:?}");
    (0..64).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

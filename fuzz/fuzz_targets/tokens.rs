//! Texts as tokens and keys, and any claims with a right signature.
#![no_main]

use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use libfuzzer_sys::fuzz_target;
use roomlog_auth::{Keys, Rules, SigningKey, Verifier};
use serde_json::Value;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let rules = Rules { audience: "roomlog".into(), max_life_s: 86_400, author_claim: "sub".into() };
    Verifier::new(rules, Keys::of_file(SECRET).expect("a secret"))
});

fuzz_target!(|bytes: &[u8]| {
    let _ = (Keys::of_file(bytes), Keys::of_set(bytes), SigningKey::of_file(bytes));
    let Ok(text) = str::from_utf8(bytes) else { return };
    let _ = VERIFIER.verify(text, NOW);
    if let Ok(claims @ Value::Object(_)) = serde_json::from_str(text) {
        let key = EncodingKey::from_secret(SECRET).expect("a key");
        let token = encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token");
        let _ = VERIFIER.verify(&token, NOW);
    }
});

use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    SignatureAlgorithm,
};
use roomlog_protocol::RoomName;
use serde_json::json;

use super::*;
use crate::{KeyError, Right};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;

fn rules() -> Rules {
    Rules { audience: "chat".into(), max_life_s: 3_600, author_claim: "sub".into() }
}

fn verifier(keys: &[u8]) -> Verifier {
    Verifier::new(rules(), Keys::of_file(keys).expect("a key"))
}

fn signing(key: &[u8]) -> SigningKey {
    SigningKey::of_file(key).expect("a key")
}

/// The claims of a good token, with changes; `null` removes one.
fn claims(changes: Value) -> Value {
    let mut claims = json!({"sub": "ada", "aud": "chat", "iat": NOW - 10, "exp": NOW + 600});
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    let claims = claims.as_object().expect("an object").clone();
    claims.into_iter().filter(|(_, value)| !value.is_null()).collect()
}

fn token(changes: Value) -> String {
    encode(&Header::default(), &claims(changes), &signing(SECRET).key).expect("a token")
}

fn verify(changes: Value) -> Result<(Author, Access), TokenError> {
    verifier(SECRET).verify(&token(changes), NOW)
}

fn refused(changes: Value) -> String {
    verify(changes).expect_err("it should be refused").to_string()
}

fn pair(algorithm: &'static SignatureAlgorithm) -> (String, String) {
    let pair = KeyPair::generate_for(algorithm).expect("a key pair");
    (pair.serialize_pem(), pair.public_key_pem())
}

#[test]
fn a_token_names_its_author_its_rights_and_how_long_it_holds() {
    let (author, access) = verify(json!({
        "rooms": {"team-*": ["read", "append"]}, "as": ["bob"], "ops": ["backup"], "ns": "acme",
        "jti": "t-1",
    }))
    .expect("a good token");
    assert_eq!((&*author, access.namespace()), ("ada", "acme"));
    let room = access.room(&RoomName::new("team-1").expect("a room"));
    assert!(access.may(&room, Right::Append) && !access.may(&room, Right::Create));
    assert!(access.may_operate(Operation::Backup) && !access.may_operate(Operation::Revoke));
    let id = TokenId { jti: Some("t-1".into()), issued_at: NOW - 10, expires_at: NOW + 600 };
    assert_eq!(access.token, Some(id));
    let (_, nothing) = verify(json!({})).expect("a good token");
    assert!(nothing.readable().is_empty());
}

#[test]
fn each_kind_of_key_signs_by_its_own_algorithm_alone() {
    let pairs = [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256, &PKCS_RSA_SHA256].map(pair);
    let claims = claims(json!({}));
    for (at, (private, public)) in pairs.iter().enumerate() {
        let key = signing(private.as_bytes());
        let expected = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256][at];
        assert_eq!(key.algorithm, expected);
        let token = encode(&Header::new(key.algorithm), &claims, &key.key).expect("a token");
        assert!(verifier(public.as_bytes()).verify(&token, NOW).is_ok(), "{expected:?}");
        let (_, other) = &pairs[(at + 1) % 3];
        let refused = verifier(other.as_bytes()).verify(&token, NOW);
        assert_eq!(refused, Err(TokenError::UnknownKey));
        assert_eq!(Keys::of_file(private.as_bytes()).err(), Some(KeyError::Private));

        // The public key as a secret: the oldest attack there is (RFC 8725, 2.1).
        let forged = jsonwebtoken::EncodingKey::from_secret(public.as_bytes()).expect("a secret");
        let forged = encode(&Header::default(), &claims, &forged).expect("a token");
        let refused = verifier(public.as_bytes()).verify(&forged, NOW);
        assert_eq!(refused, Err(TokenError::UnknownKey));
    }
}

#[test]
fn a_file_of_several_keys_holds_each_of_them_and_none_that_cannot_be_used() {
    let [one, two] = [&PKCS_ED25519, &PKCS_ECDSA_P256_SHA256].map(pair);
    let both = format!("# the old key\n{}\n# the new one\n{}", one.1, two.1);
    for (private, _) in [&one, &two] {
        let key = signing(private.as_bytes());
        let token = encode(&Header::new(key.algorithm), &claims(json!({})), &key.key);
        assert!(verifier(both.as_bytes()).verify(&token.expect("a token"), NOW).is_ok());
    }
    assert!(!Keys::of_file(both.as_bytes()).expect("keys").have_secret());
    assert!(Keys::of_file(&[b'x'; 32]).expect("a key").have_secret());
    let (_, other_curve) = pair(&PKCS_ECDSA_P384_SHA384);
    for (third, why) in [(other_curve, KeyError::Unsupported), (one.0, KeyError::Private)] {
        let three = format!("{both}\n{third}");
        assert_eq!(Keys::of_file(three.as_bytes()).err(), Some(why));
    }
}

#[test]
fn a_key_that_is_too_short_or_of_another_kind_is_refused() {
    assert_eq!(Keys::of_file(b"short\n").err(), Some(KeyError::Short(5)));
    let (_, other_curve) = pair(&PKCS_ECDSA_P384_SHA384);
    assert_eq!(Keys::of_file(other_curve.as_bytes()).err(), Some(KeyError::Unsupported));
    assert!(matches!(Keys::of_file(b"{nothing"), Err(KeyError::Json(_))));
    assert_eq!(Keys::of_set(br#"{"keys":[]}"#).err(), Some(KeyError::Empty(0)));
    let secret = br#"{"keys":[{"kty":"oct","k":"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"}]}"#;
    assert_eq!(Keys::of_set(secret).err(), Some(KeyError::Empty(1)));
    assert!(Keys::of_file(secret).is_ok(), "a file may hold a secret");
    let short = br#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#;
    assert_eq!(Keys::of_set(short).err(), Some(KeyError::Empty(1)));
}

#[test]
fn a_set_has_keys_by_their_kid() {
    let set = |kids: [&str; 2]| {
        let keys = kids.map(|kid| {
            let k = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";
            json!({"kty": "oct", "k": k, "kid": kid, "alg": "HS256", "use": "sig"})
        });
        let other = json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"});
        let [one, two] = keys;
        Keys::of_file(json!({"keys": [other, one, two]}).to_string().as_bytes()).expect("a set")
    };
    let verify = |keys: Keys, kid: Option<&str>| {
        let header = Header { kid: kid.map(str::to_owned), ..Header::default() };
        let token = encode(&header, &claims(json!({})), &signing(SECRET).key).expect("a token");
        Verifier::new(rules(), keys).verify(&token, NOW).err()
    };
    assert_eq!(verify(set(["a", "b"]), Some("b")), None);
    assert_eq!(verify(set(["a", "b"]), None), None);
    assert_eq!(verify(set(["a", "b"]), Some("c")), Some(TokenError::UnknownKey));
    assert_eq!(verify(set(["a", "b"]).and(set(["c", "d"])), Some("c")), None);
}

#[test]
fn audience_expiry_and_a_bounded_life_are_required() {
    for (changes, why) in [
        (json!({"aud": null}), "the token's claim `aud` is missing"),
        (json!({"aud": "other"}), "the token's `aud` does not name this server"),
        (json!({"exp": null}), "the token's claim `exp` is missing"),
        (json!({"exp": "soon"}), "the token's claim `exp` is missing"),
        (
            json!({"exp": NOW + 3_600}),
            "the token lives for more than the 3600 s that this server allows",
        ),
        (
            json!({"iat": null, "exp": NOW + 3_601}),
            "the token lives for more than the 3600 s that this server allows",
        ),
        (json!({"exp": NOW - 30}), "the token has expired; get a new one"),
        (json!({"iat": "x"}), "the token's claim `iat` is not a number of seconds"),
        (json!({"sub": null}), "the token's claim `sub` is missing"),
        (json!({"sub": 7}), "the token's claim `sub` is not a string"),
        (
            json!({"sub": " ada"}),
            "the token's claim `sub` is no author: author may not begin or end with white space",
        ),
        (
            json!({"ns": "a/b"}),
            "the token's claim `ns` is wrong: namespace may only hold A-Z a-z 0-9 - . _",
        ),
        (
            json!({"ops": ["all"]}),
            "the token's claim `ops` is wrong: unknown variant `all`, expected one of `backup`, `metrics`, `erase`, `revoke`",
        ),
    ] {
        assert_eq!(refused(changes.clone()), why, "{changes}");
    }
    for good in [
        json!({"exp": NOW - 29}),
        json!({"exp": NOW + 3_590}),
        json!({"iat": null, "exp": NOW + 3_600}),
        json!({"aud": ["other", "chat"]}),
        json!({"exp": (NOW + 5) as f64 + 0.5}),
        json!({"iat": NOW + 30, "nbf": NOW + 30}),
    ] {
        assert!(verify(good.clone()).is_ok(), "{good}");
    }
    for early in [json!({"iat": NOW + 31}), json!({"nbf": NOW + 31})] {
        assert_eq!(verify(early), Err(TokenError::NotYet));
    }
}

#[test]
fn a_header_with_an_extension_or_another_type_is_refused() {
    let with = |header: Header| {
        let token = encode(&header, &claims(json!({})), &signing(SECRET).key).expect("a token");
        verifier(SECRET).verify(&token, NOW).err()
    };
    let typed = |kind: &str| Header { typ: Some(kind.into()), ..Header::default() };
    for (kind, error) in
        [("JWT", None), ("application/at+jwt", None), ("logout+jwt", Some(TokenError::OtherType))]
    {
        assert_eq!(with(typed(kind)), error, "{kind}");
    }
    let mut critical = Header { crit: Some(vec!["b64".into()]), ..Header::default() };
    assert_eq!(with(critical.clone()), Some(TokenError::Critical));
    critical.extras.insert("b64", true);
    assert_eq!(with(critical), Some(TokenError::Critical));
}

#[test]
fn what_is_no_token_is_refused_and_costs_little() {
    let verifier = verifier(SECRET);
    let refused = |token: &str| verifier.verify(token, NOW).err();
    let good = token(json!({}));
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).expect("claims"));
    for bad in ["", ".", "a.b", "a.b.c", "..", &good[..good.len() / 2], &unsigned] {
        assert_eq!(refused(bad), Some(TokenError::Malformed), "{bad}");
    }
    let (message, signature) = good.rsplit_once('.').expect("a signature");
    assert_eq!(refused(&format!("{message}.")), Some(TokenError::Signature));
    assert_eq!(refused(&format!("{message}.x{signature}")), Some(TokenError::Signature));
    assert_eq!(refused(&"x".repeat(8_193)), Some(TokenError::TooLong(8_193)));
    let long = token(json!({"x": "y".repeat(5_800)}));
    assert!(long.len() < TOKEN_BYTES && refused(&long).is_none());
}

#[test]
fn a_token_that_is_made_is_good() {
    let made = Claims {
        author: BTreeMap::from([("sub".into(), "ada".into())]),
        aud: "chat".into(),
        iat: NOW,
        exp: NOW + 60,
        jti: "t-1".into(),
        rooms: BTreeMap::from([("team-*".into(), BTreeSet::from([Right::Read]))]),
        ..Claims::default()
    };
    let token = made.sign(&signing(SECRET)).expect("a token");
    let (author, access) = verifier(SECRET).verify(&token, NOW).expect("a good token");
    assert_eq!((&*author, access.readable().len()), ("ada", 1));
}

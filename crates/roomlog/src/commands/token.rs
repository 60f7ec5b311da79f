//! `roomlog token`: makes tokens for tests and scripts, and shows what one says.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Read,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use roomlog_auth::{Claims, SigningKey, token::TOKEN_BYTES};
use serde_json::Value;
use ulid::Ulid;

use super::printer::Printer;
use crate::{
    cli::{InspectArgs, NewTokenArgs, TokenArgs, TokenCommand},
    failure::Failure,
    show::utc,
    tokens,
};

/// The claims that are times.
const TIMES: [&str; 3] = ["iat", "nbf", "exp"];

pub(crate) fn run(args: TokenArgs) -> Result<(), Failure> {
    match args.command {
        TokenCommand::New(args) => new(args),
        TokenCommand::Inspect(args) => inspect(&args),
    }
}

fn new(args: NewTokenArgs) -> Result<(), Failure> {
    let wrong = |why: String| Failure::usage(format!("the key file {}: {why}", args.key.display()));
    let key = tokens::read(&args.key).map_err(wrong)?;
    let key = SigningKey::of_file(&key).map_err(|why| wrong(why.to_string()))?;
    let now = jiff::Timestamp::now().as_second().unsigned_abs();
    let mut rooms: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
    for grant in args.rooms {
        rooms.entry(grant.pattern).or_default().extend(grant.rights);
    }
    let claims = Claims {
        author: BTreeMap::from([(args.author_claim, args.author.to_string())]),
        aud: args.audience,
        iat: now,
        exp: now + args.life.seconds(),
        jti: Ulid::generate().to_string(),
        rooms,
        others: args.others,
        operations: args.ops.into_iter().collect(),
        namespace: args.namespace.map(|namespace| namespace.to_string()),
    };
    let token = claims.sign(&key).map_err(Failure::other)?;
    let mut printer = Printer::of_work(false);
    printer.line(&token)?;
    printer.finish()
}

fn inspect(args: &InspectArgs) -> Result<(), Failure> {
    let token = match args.token.read()? {
        Some(token) => token,
        None => {
            let mut typed = String::new();
            let most = TOKEN_BYTES as u64 + 2;
            std::io::stdin().take(most).read_to_string(&mut typed).map_err(Failure::other)?;
            typed.trim().to_owned()
        }
    };
    let parts: Vec<_> = token.split('.').collect();
    let [header, claims, _] = parts[..] else {
        return Err(Failure::usage("that is not a token: it does not have three parts"));
    };
    let mut printer = Printer::of_work(false);
    for (name, part) in [("header", header), ("claims", claims)] {
        let bytes = URL_SAFE_NO_PAD.decode(part).ok();
        let value: Option<Value> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let value = value.ok_or_else(|| {
            Failure::usage(format!("that is not a token: its {name} are not JSON in Base64"))
        })?;
        printer.field(name, &value)?;
        for time in TIMES {
            if let Some(seconds) = value.get(time).and_then(Value::as_f64) {
                printer.field(time, utc((seconds * 1e3) as u64))?;
            }
        }
    }
    printer.field("signature", "not checked")?;
    printer.finish()
}

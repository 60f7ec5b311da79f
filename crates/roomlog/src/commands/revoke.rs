//! `roomlog revoke`: revokes tokens, through the operators' door of a server.

use bytes::Bytes;
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use roomlog_auth::Revocation;
use serde_json::json;

use super::operators::Operators;
use crate::{cli::RevokeArgs, failure::Failure, stderr::message};

pub(crate) async fn run(args: RevokeArgs) -> Result<(), Failure> {
    let revocation = revocation(&args)?;
    let mut operators = Operators::reach(&args.door).await?;
    let body = Bytes::from(json!(revocation).to_string());
    let answer = operators.send(Method::POST, "/v1/revoke", body).await?;
    if answer.status() != StatusCode::NO_CONTENT {
        return Err(operators.refusal(answer).await);
    }
    match revocation {
        Revocation::Token { jti } => message!("the token {jti} is revoked"),
        Revocation::Author { author, namespace: Some(namespace), .. } => {
            message!("the tokens of {author} in the namespace {namespace} are revoked");
        }
        Revocation::Author { author, namespace: None, .. } => message!(
            "the tokens of {author} without a namespace are revoked; for one of a tenant: \
             --namespace NAME"
        ),
        Revocation::All { .. } => message!("all tokens, of every namespace, are revoked"),
    }
    Ok(())
}

fn revocation(args: &RevokeArgs) -> Result<Revocation, Failure> {
    if let Some(jti) = args.jti.clone() {
        return Ok(Revocation::Token { jti });
    }
    let issued_before = match &args.issued_before {
        Some(typed) => time(typed)?,
        // What is issued within this second is revoked too.
        None => Timestamp::now().as_second().unsigned_abs() + 1,
    };
    Ok(match args.author.clone() {
        Some(author) => {
            Revocation::Author { author, namespace: args.namespace.clone(), issued_before }
        }
        None => Revocation::All { issued_before },
    })
}

fn time(typed: &str) -> Result<u64, Failure> {
    let of_date = || typed.parse::<Timestamp>().ok().map(|time| time.as_second());
    let seconds = typed.parse::<i64>().ok().or_else(of_date);
    seconds.and_then(|seconds| u64::try_from(seconds).ok()).ok_or_else(|| {
        Failure::usage(format!(
            "--issued-before {typed:?} is no time: write 2026-11-28T09:30:00Z, or seconds since 1970"
        ))
    })
}

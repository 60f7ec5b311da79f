//! The Rust client on a server that takes tokens: it renews them, and gets new ones when it reconnects.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use roomlog_client::{Client, ClientError, Options, TokenSource, draft};
use roomlog_protocol::{Author, RoomName};
use serde_json::json;
use support::{
    roomlog,
    tokens::{TokenServer, claims, now, signed},
    within,
};

/// A client whose tokens live for `life` seconds, and how many it has asked for.
fn options(it: &TokenServer, life: u64) -> (Options, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let address = format!("http://{}", it.server.address).parse().expect("an address");
    let mut options = Options::new(address, Author::new("ignored").expect("an author"));
    let count = asked.clone();
    options.token = Some(TokenSource::new(move || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let mut claims = claims("ada", json!({"*": ["read", "append", "create"]}));
        (claims.exp, claims.jti) = (now() + life, format!("t-{number}"));
        std::future::ready(Ok(signed(&claims)))
    }));
    (options, asked)
}

async fn append(client: &Client, body: &str) -> u64 {
    let room = RoomName::new("r").expect("a room");
    let pending = client.append(draft(room, body)).await.expect("a place in the outbox");
    within("an outcome", pending).await.expect("a commit").appended.slot
}

#[tokio::test]
async fn a_client_renews_its_token_on_the_same_connection() {
    let it = TokenServer::start(&[]).await;
    let (options, asked) = options(&it, 4);
    let client = Client::connect(options).await.expect("a client");
    assert_eq!(client.author().as_str(), "ada", "the author of the token");
    assert_eq!(append(&client, "first").await, 0);
    let mut states = client.state();
    states.mark_unchanged();
    within("two renewals", async {
        while asked.load(Ordering::Relaxed) < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(append(&client, "with a later token").await, 1);
    assert!(!states.has_changed().expect("a client"), "it has not reconnected");
}

#[tokio::test]
async fn a_client_whose_token_is_revoked_comes_back_with_another_one() {
    let it = TokenServer::start(&[]).await;
    let (options, asked) = options(&it, 3_600);
    let client = Client::connect(options).await.expect("a client");
    append(&client, "first").await;
    let revoked = within("revoke", roomlog(&it.server, "revoke --jti t-0").output()).await;
    assert!(revoked.expect("a run").status.success());
    within("another token", async {
        while asked.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(append(&client, "second").await, 1);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn without_a_token_or_with_one_that_is_refused_a_client_does_not_connect() {
    let it = TokenServer::start(&[]).await;
    let (mut options, _) = options(&it, 3_600);
    options.token = None;
    let refused = Client::connect(options.clone()).await.err();
    assert!(matches!(refused, Some(ClientError::TokenNeeded { .. })), "{refused:?}");
    options.token = Some(TokenSource::fixed("a.b.c".into()));
    let refused = Client::connect(options).await.err();
    assert!(matches!(refused, Some(ClientError::Refused(_))), "{refused:?}");
}

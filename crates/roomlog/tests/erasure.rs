//! Erasing all that an author or everybody wrote, by hand and by age.

mod support;

use std::time::Duration;

use hyper::Method;
use roomlog_auth::token::Claims;
use serde_json::{Value, json};
use support::{
    Client, PATIENCE, Server, digest_after, roomlog,
    tokens::{TokenServer, bearer, claims, signed, token},
    with, within,
};

/// The bodies, and `null` for what is redacted.
async fn bodies(client: &mut Client, room: &str) -> Vec<Value> {
    client.whole_log(room).await.iter().map(|entry| entry["body"].clone()).collect()
}

fn erase(last: u64, author: &str) -> Value {
    json!({"body": author, "kind": "erase", "ref": last})
}

/// What `roomlog erase` says.
async fn command(server: &Server, args: &str) -> (bool, String) {
    let data = server.directory().to_str().expect("a path");
    let ended = roomlog(server, &format!("erase {args} --data {data}")).output();
    let ended = within("erase", ended).await.expect("a run");
    (ended.status.success(), String::from_utf8_lossy(&ended.stderr).into_owned())
}

#[tokio::test]
async fn an_author_erases_what_they_wrote_and_nobody_else_on_an_open_server() {
    let server = Server::start(&[]).await;
    let (mut ada, mut bob) = (server.login("ada").await, server.login("bob").await);
    for (is_ada, body) in [(true, "one"), (false, "two"), (true, "three")] {
        let client = if is_ada { &mut ada } else { &mut bob };
        client.append("r", json!({"body": body})).await;
    }
    let before = ada.whole_log("r").await;
    for (members, error) in [
        (erase(2, "bob"), "forbidden"),
        (erase(2, ""), "forbidden"),
        (erase(9, "ada"), "bad_ref"),
        (json!({"body": "ada", "kind": "erase"}), "bad_message"),
        (json!({"body": "ada", "kind": "erase", "ref": 2, "meta": "{}"}), "bad_message"),
        (erase(2, " ada"), "bad_name"),
    ] {
        ada.refused(with("append", "r", members), error).await;
    }
    ada.append("r", erase(2, "ada")).await;
    let log = ada.whole_log("r").await;
    assert_eq!(bodies(&mut bob, "r").await, [Value::Null, json!("two"), Value::Null, json!("ada")]);
    assert_eq!(digest_after("r", &log[..3]), digest_after("r", &before));
    let refused = server.request(Method::DELETE, "/v1/rooms/r").send().await;
    let refused = refused.refused(403, "forbidden");
    assert!(refused["message"].as_str().is_some_and(|it| it.contains("`roomlog erase`")));
}

#[tokio::test]
async fn who_has_the_right_deletes_the_texts_of_a_room() {
    let it = TokenServer::start(&[]).await;
    let rights = json!({"*": ["read", "append", "create"]});
    let (ada, grace) = (token("ada", rights.clone()), token("grace", rights));
    let (mut ada, mut grace) = (it.enter(&ada).await, it.enter(&grace).await);
    for body in ["one", "two"] {
        ada.append("r", json!({"body": body})).await;
        grace.append("r", json!({"body": body})).await;
    }
    grace.refused(with("append", "r", erase(3, "ada")), "forbidden").await;
    let delete = async |rights: Value, query: &str| {
        let path = format!("/v1/rooms/r{query}");
        let token = bearer(&token("mod", json!({"r": rights})));
        it.server.request(Method::DELETE, &path).header("authorization", &token).send().await
    };
    delete(json!(["append", "admin"]), "").await.refused(404, "not_found");
    delete(json!(["read", "admin"]), "").await.refused(403, "forbidden");
    delete(json!(["read", "append", "redact"]), "").await.refused(403, "forbidden");
    let admin = json!(["read", "append", "admin"]);
    // 2^53 is a multiple of 4,096 and no slot.
    for from in ["x", "1", "-4096", "%2B4096", "00", "9007199254740992"] {
        delete(admin.clone(), &format!("?from={from}")).await.refused(400, "bad_message");
    }
    let answer = delete(admin.clone(), "?author=ada").await;
    assert_eq!(
        (answer.status, answer.json()),
        (200, json!({"room": "r", "erased": 2, "next": null}))
    );
    assert_eq!(
        bodies(&mut grace, "r").await,
        [Value::Null, json!("one"), Value::Null, json!("two"), json!("ada")]
    );
    let answer = delete(admin.clone(), "").await;
    assert_eq!(answer.json(), json!({"room": "r", "erased": 2, "next": null}));
    let again = delete(admin, "").await;
    assert_eq!(again.json(), json!({"room": "r", "erased": 0, "next": null}));
    let log = ada.whole_log("r").await;
    assert_eq!(log.len(), 6, "erasing again adds nothing");
    assert_eq!((&log[5]["kind"], &log[5]["author"]), (&json!("erase"), &json!("mod")));
}

#[tokio::test]
async fn an_operator_erases_rooms_of_any_length_in_steps() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    // More than one erasure concerns, and more than one request looks at.
    let lines = |count: usize| "{\"author\":\"ada\",\"body\":\"hi\"}\n".repeat(count);
    for _ in 0..67 {
        let batch = lines(1_000);
        let path = "/v1/rooms/long/entries";
        assert_eq!(server.post_text(path, "application/x-ndjson", batch).status().await, 200);
    }
    for room in ["team-1", "team-2", "other"] {
        ada.append(room, json!({"body": "hi"})).await;
    }
    let (ok, said) = command(&server, "long --author bob").await;
    assert!(ok && said.contains("erased 0 texts"), "{said}");
    let (ok, said) = command(&server, "long --everybody").await;
    assert!(ok && said.contains("erased 67000 texts"), "{said}");
    assert!(said.contains("now in room long"), "in more than one step: {said}");
    let latest = ada.update("long", json!({"count": 1})).await["latest"].clone();
    assert_eq!(latest, 67_000 + 16, "one entry for each 4,096 slots");
    let (ok, said) = command(&server, "team-* --author ada").await;
    assert!(ok && said.contains("erased 2 texts"), "{said}");
    assert_eq!(bodies(&mut ada, "team-2").await, [Value::Null, json!("ada")]);
    assert_eq!(bodies(&mut ada, "other").await, [json!("hi")]);
    let (ok, said) = command(&server, "team- a --everybody").await;
    assert!(!ok, "{said}");
    let (ok, said) = command(&server, "/~/* --everybody").await;
    assert!(!ok && said.contains("namespace may only hold"), "{said}");
    let (ok, said) = command(&server, "other").await;
    assert!(!ok && said.contains("--everybody"), "{said}");
}

#[tokio::test]
async fn an_erasure_continues_only_where_its_rooms_are() {
    let server = Server::start(&[]).await;
    server.login("ada").await.append("a-1", json!({"body": "hi"})).await;
    let erase = |rooms: &str, room: &str| {
        let asked = json!({"rooms": rooms, "after": {"room": room, "slot": 0}});
        server.at_door(Method::POST, "/v1/erase").body(&asked.to_string()).send()
    };
    for (rooms, room) in [("a-*", "b"), ("a-1", "a-10"), ("*", "\u{80}")] {
        erase(rooms, room).await.refused(400, "bad_message");
    }
    // The slot is one of its room, and not of the first that is left.
    let asked = json!({"rooms": "a-*", "after": {"room": "a-0", "slot": 5}}).to_string();
    let erased = server.at_door(Method::POST, "/v1/erase").body(&asked).send().await;
    assert_eq!(erased.json(), json!({"erased": 1, "next": null}));
}

#[tokio::test]
async fn texts_are_erased_when_they_have_reached_their_age() {
    let rules = "*=forever,old-*=1s,old-but-kept=1d";
    let server = Server::start(&["--retention", rules]).await;
    let mut ada = server.login("ada").await;
    for room in ["old-1", "old-but-kept", "other"] {
        ada.append(room, json!({"body": "hi"})).await;
    }
    let erased = async {
        while bodies(&mut ada, "old-1").await[0] != Value::Null {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // Of the entries of retention none is ever due, so that a quiet room stays quiet.
        ada.append("old-1", json!({"body": "again"})).await;
        while bodies(&mut ada, "old-1").await[2] != Value::Null {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, erased).await.expect("erased in time");
    let log = ada.whole_log("old-1").await;
    let kinds: Vec<_> = log.iter().map(|entry| entry["kind"].clone()).collect();
    assert_eq!(kinds, [Value::Null, json!("erase"), Value::Null, json!("erase")]);
    assert_eq!((&log[1]["author"], &log[1]["ref"]), (&json!("roomlog"), &json!(0)));
    for room in ["old-but-kept", "other"] {
        assert_eq!(bodies(&mut ada, room).await, [json!("hi")]);
    }
}

#[tokio::test]
async fn an_operator_erases_in_all_namespaces_and_revocations_stay() {
    let it = TokenServer::start(&[]).await;
    let rights = json!({"*": ["read", "append", "create"]});
    let of_tenant =
        signed(&Claims { namespace: Some("acme".into()), ..claims("cat", rights.clone()) });
    let (mut tenant, mut cat) =
        (it.enter(&of_tenant).await, it.enter(&token("cat", rights.clone())).await);
    for client in [&mut tenant, &mut cat] {
        client.append("r", json!({"body": "hi"})).await;
    }
    let data = it.server.directory().to_str().expect("a path").to_owned();
    let revoke = format!("revoke --author bob --data {data}");
    let revoked = within("revoke", roomlog(&it.server, &revoke).output()).await.expect("a run");
    let said = String::from_utf8_lossy(&revoked.stderr).into_owned();
    assert!(revoked.status.success() && said.contains("without a namespace"), "{said}");

    let (ok, said) = command(&it.server, "* --author cat").await;
    assert!(ok && said.contains("erased 1 text"), "{said}");
    assert_eq!(bodies(&mut tenant, "r").await, [json!("hi")]);
    let (ok, said) = command(&it.server, "/* --everybody").await;
    assert!(ok && said.contains("erased 1 text"), "{said}");
    assert_eq!(bodies(&mut tenant, "r").await, [Value::Null, json!("")]);
    let bob = json!({"type": "login", "token": token("bob", rights)});
    it.server.connect().await.refused(bob, "unauthorized").await;
}

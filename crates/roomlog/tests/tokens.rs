//! A server with tokens: who may do what, over WebSockets and HTTP, and for how long.

mod support;

use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::join_all;
use hyper::Method;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use serde_json::json;
use support::{
    Server, code, digest_after, slot,
    tokens::{AUDIENCE, TokenServer, bearer, claims, key_file, now, signed, token},
    within,
};

#[tokio::test]
async fn a_token_says_who_logs_in_and_nothing_works_without_one() {
    let it = TokenServer::start(&[]).await;
    let mut client = it.server.connect().await;
    assert_eq!(client.hello["auth"], "token");
    client.refused(json!({"type": "append", "room": "r", "body": "x"}), "login_required").await;
    client.refused(json!({"type": "login", "author": "ada"}), "unauthorized").await;
    client.refused(json!({"type": "login", "token": "a.b.c"}), "unauthorized").await;
    let ada = token("ada", json!({"*": ["read", "append", "create"]}));
    client.send(json!({"type": "login", "token": ada})).await;
    assert_eq!(client.expect("welcome").await["author"], "ada");
    assert_eq!(slot(&client.append("r", json!({"body": "hello"})).await), 0);
    let reply = client.update("r", json!({"count": 1})).await;
    assert_eq!(reply["entries"][0]["author"], "ada");
    // Another token of the same author renews; one of another author changes nothing.
    client.send(json!({"type": "login", "token": token("ada", json!({"*": ["read"]}))})).await;
    client.expect("welcome").await;
    let bob = token("bob", json!({"*": ["read", "append"]}));
    client.refused(json!({"type": "login", "token": bob}), "forbidden").await;
    client.refused(json!({"type": "append", "room": "r", "body": "x"}), "forbidden").await;
}

#[tokio::test]
async fn frames_that_come_with_the_login_wait_for_it() {
    let it = TokenServer::start(&[]).await;
    let mut client = it.server.connect().await;
    let ada = token("ada", json!({"*": ["read", "append", "create"]}));
    client
        .send_all([
            json!({"type": "login", "token": ada}),
            json!({"type": "join", "room": "r", "count": 1, "req": 1}),
            json!({"type": "append", "room": "r", "body": "at once", "req": 2}),
        ])
        .await;
    client.expect("welcome").await;
    // The append may be committed before the page is read.
    assert_eq!(client.answer(1).await["type"], "reply");
    assert_eq!(client.answer(2).await["slot"], 0);
}

#[tokio::test]
async fn rights_are_by_room_and_what_may_not_be_read_does_not_exist() {
    let it = TokenServer::start(&[]).await;
    let mut root = it.enter(&token("root", json!({"*": ["read", "append", "create"]}))).await;
    for room in ["secret", "team-1", "team-2", "wall"] {
        root.append(room, json!({"body": "first"})).await;
    }
    let rights = json!({"team-*": ["read", "append"], "wall": ["append"], "new": ["append"]});
    let ada = token("ada", rights);
    let mut client = it.enter(&ada).await;
    client.append("team-1", json!({"body": "hi"})).await;
    assert_eq!(slot(&client.append("wall", json!({"body": "hi"})).await), 1);
    for room in ["secret", "wall", "never"] {
        let join = json!({"type": "join", "room": room});
        client.refused(join, "not_found").await;
        client.refused(json!({"type": "update", "room": room}), "not_found").await;
    }
    for room in ["secret", "never"] {
        client.refused(json!({"type": "append", "room": room, "body": "x"}), "forbidden").await;
    }
    // It may append to `new`, but not its first entry.
    client.refused(json!({"type": "append", "room": "new", "body": "x"}), "forbidden").await;
    root.append("new", json!({"body": "first"})).await;
    assert_eq!(slot(&client.append("new", json!({"body": "second"})).await), 1);

    let heads = client.ask(json!({"type": "watch"})).await;
    assert_eq!(heads["rooms"], json!({"team-1": 1, "team-2": 0}));
    root.append("secret", json!({"body": "unseen"})).await;
    root.append("team-2", json!({"body": "seen"})).await;
    let heads = client.find(|frame| frame["type"] == "heads").await;
    assert_eq!(heads["rooms"], json!({"team-2": 1}));

    let with = |path: &str| it.server.get(path).header("authorization", &bearer(&ada));
    let rooms = with("/v1/rooms").send().await;
    let names: Vec<_> = rooms.json()["rooms"].as_array().expect("rooms").clone();
    let names: Vec<_> = names.iter().map(|room| room["room"].clone()).collect();
    assert_eq!(names, [json!("team-1"), json!("team-2")]);
    for room in ["secret", "wall", "never"] {
        for path in ["", "/entries", "/events"] {
            let answer = with(&format!("/v1/rooms/{room}{path}")).send().await;
            answer.refused(404, "not_found");
        }
    }
    assert_eq!(with("/v1/rooms/team-1/entries").send().await.status, 200);
}

#[tokio::test]
async fn a_numbered_append_without_the_right_uses_its_number() {
    let it = TokenServer::start(&[]).await;
    let mut ada = it.enter(&token("ada", json!({"r": ["append", "create"]}))).await;
    let numbered = |seq, author: &str| json!({"type": "append", "room": "r", "body": "x", "seq": seq, "author": author});
    ada.ask(numbered(0, "ada")).await;
    ada.refused(numbered(1, "bob"), "forbidden").await;
    assert_eq!(slot(&ada.ask(numbered(2, "ada")).await), 1);
}

#[tokio::test]
async fn one_may_write_as_the_authors_that_the_token_names() {
    let it = TokenServer::start(&[]).await;
    let everything = json!({"*": ["read", "append", "create"]});
    let mut claims_of_bot = claims("bot", everything.clone());
    claims_of_bot.others = vec!["ada".into()];
    let bot = signed(&claims_of_bot);
    let post = |author: &str| {
        let request =
            it.server.post("/v1/rooms/r/entries", &json!({"body": "x", "author": author}));
        request.header("authorization", &bearer(&bot))
    };
    assert_eq!(post("ada").send().await.status, 201);
    assert_eq!(post("bot").send().await.status, 201);
    post("eve").send().await.refused(403, "forbidden");
    let own = it.server.post("/v1/rooms/r/entries", &json!({"body": "x"}));
    let own = own.header("authorization", &bearer(&bot)).send().await;
    assert_eq!(own.json()["entry"]["author"], "bot");
    claims_of_bot.others = vec!["*".into()];
    let mut any = it.enter(&signed(&claims_of_bot)).await;
    any.append("r", json!({"body": "x", "author": "eve"})).await;
}

#[tokio::test]
async fn a_request_without_a_good_token_is_401_and_says_why() {
    let it = TokenServer::start(&[]).await;
    let none = it.server.get("/v1/rooms").send().await;
    none.refused(401, "login_required");
    assert_eq!(none.headers["www-authenticate"], "Bearer");
    let mut expired = claims("ada", json!({"*": ["read"]}));
    (expired.iat, expired.exp) = (now() - 100, now() - 31);
    for (header, said) in [
        (bearer("x"), "the token is not a signed JSON Web Token of three parts"),
        (bearer(&signed(&expired)), "the token has expired; get a new one"),
        ("Basic YTpi".to_owned(), "the Authorization header is not `Bearer` and a token"),
    ] {
        let answer = it.server.get("/v1/rooms").header("authorization", &header).send().await;
        assert_eq!(answer.refused(401, "unauthorized")["message"], said);
        assert_eq!(answer.headers["www-authenticate"], "Bearer error=\"invalid_token\"");
    }
    for open in ["/healthz", "/readyz", "/"] {
        assert_eq!(it.server.get(open).send().await.status, 200, "{open}");
    }
    // Never in a URL.
    let ada = token("ada", json!({"*": ["read"]}));
    let in_url = it.server.get(&format!("/v1/rooms?access_token={ada}&token={ada}")).send().await;
    assert_eq!(in_url.status, 401);
}

#[tokio::test]
async fn a_handshake_with_a_token_is_welcomed_unasked_and_a_bad_one_is_401() {
    let it = TokenServer::start(&[]).await;
    let ada = token("ada", json!({"r": ["read"]}));
    let mut client = it.server.connect_unread(&[("authorization", &bearer(&ada))]).await;
    client.expect("hello").await;
    assert_eq!(client.expect("welcome").await["author"], "ada");
    assert_eq!(client.update("r", json!({})).await["latest"], -1);
    let refused = it.server.get("/v1/ws").upgrade().header("authorization", &bearer("x.y.z"));
    refused.send().await.refused(401, "unauthorized");
}

#[tokio::test]
async fn a_session_cookie_reads_and_follows_and_does_not_write() {
    let it = TokenServer::start(&[]).await;
    let ada = token("ada", json!({"*": ["read", "append", "create"]}));
    let begun =
        it.server.request(Method::POST, "/v1/session").header("authorization", &bearer(&ada));
    let begun = begun.send().await;
    assert_eq!(begun.status, 204);
    let set = begun.headers["set-cookie"].to_str().expect("text").to_owned();
    let (cookie, attributes) = set.split_once("; ").expect("attributes");
    for attribute in ["HttpOnly", "Secure", "SameSite=Strict", "Path=/", "Max-Age=3"] {
        assert!(attributes.contains(attribute), "{attributes}");
    }
    assert_eq!(it.server.get("/v1/rooms").header("cookie", cookie).send().await.status, 200);
    let events = it.server.request(Method::HEAD, "/v1/rooms/r/events").header("cookie", cookie);
    assert_eq!(events.send().await.status, 200);
    let append =
        it.server.post("/v1/rooms/r/entries", &json!({"body": "x"})).header("cookie", cookie);
    assert_eq!(append.send().await.status, 401);
    let mut client = it.server.connect_unread(&[("cookie", cookie)]).await;
    client.expect("hello").await;
    assert_eq!(client.expect("welcome").await["author"], "ada");
    let ended =
        it.server.request(Method::DELETE, "/v1/session").header("cookie", cookie).send().await;
    assert!(ended.headers["set-cookie"].to_str().expect("text").contains("Max-Age=0"));
}

#[tokio::test]
async fn a_connection_ends_when_its_token_expires() {
    let it = TokenServer::start(&[]).await;
    let mut short = claims("ada", json!({"*": ["read"]}));
    short.exp = now() + 2;
    let mut client = it.enter(&signed(&short)).await;
    // One that has just expired is taken, because clocks differ.
    let mut late = claims("ada", json!({"*": ["read"]}));
    (late.iat, late.exp) = (now() - 60, now() - 5);
    let mut of_late = it.enter(&signed(&late)).await;
    assert_eq!(of_late.update("r", json!({})).await["latest"], -1);
    let renewed = token("ada", json!({"*": ["read"]}));
    let mut other = it.enter(&signed(&short)).await;
    other.send(json!({"type": "login", "token": renewed})).await;
    other.expect("welcome").await;
    assert_eq!(client.closed().await, Some(1008));
    assert_eq!(other.update("r", json!({})).await["latest"], -1);
}

#[tokio::test]
async fn a_later_token_with_fewer_rights_ends_what_it_does_not_cover() {
    let it = TokenServer::start(&[]).await;
    let all = json!({"*": ["read", "append", "create"]});
    let mut root = it.enter(&token("root", all.clone())).await;
    let mut client = it.enter(&token("ada", all)).await;
    client.join("kept", json!({})).await;
    client.join("lost", json!({})).await;
    client.send(json!({"type": "login", "token": token("ada", json!({"kept": ["read"]}))})).await;
    let ended = client.recv().await;
    assert_eq!((code(&ended), &ended["room"]), ("forbidden", &json!("lost")));
    client.expect("welcome").await;
    root.append("lost", json!({"body": "unseen"})).await;
    root.append("kept", json!({"body": "seen"})).await;
    assert_eq!(client.acks("kept", -1, 0).await[0]["body"], "seen");
    client.nothing_more().await;
}

#[tokio::test]
async fn tenants_of_one_server_do_not_see_each_other() {
    let it = TokenServer::start(&[]).await;
    let of = |namespace: Option<&str>| {
        let mut claims = claims("ada", json!({"*": ["read", "append", "create"]}));
        claims.namespace = namespace.map(str::to_owned);
        signed(&claims)
    };
    let (acme, zeta, none) = (of(Some("acme")), of(Some("zeta")), of(None));
    let mut clients = [it.enter(&acme).await, it.enter(&zeta).await, it.enter(&none).await];
    for (at, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.join("general", json!({})).await["latest"], -1);
        let body = at.to_string();
        let appended = client.append("general", json!({"id": "same", "body": body})).await;
        assert_eq!((slot(&appended), &appended["room"]), (0, &json!("general")));
        let ack = client.find(|frame| frame["type"] == "ack").await;
        assert_eq!(
            (&ack["room"], &ack["entries"][0]["body"]),
            (&json!("general"), &json!(at.to_string()))
        );
        let heads = client.ask(json!({"type": "watch"})).await;
        assert_eq!(heads["rooms"], json!({"general": 0}));
    }
    for token in [&acme, &zeta, &none] {
        let with = |path: &str| it.server.get(path).header("authorization", &bearer(token));
        let rooms = with("/v1/rooms").send().await;
        assert_eq!(rooms.json()["rooms"].as_array().map(Vec::len), Some(1), "{rooms:?}");
        let head = with("/v1/rooms/general").send().await.json();
        assert_eq!((&head["room"], &head["latest"]), (&json!("general"), &json!(0)));
        let page = with("/v1/rooms/general/entries").send().await.json();
        assert_eq!((&page["room"], &page["digest"]), (&json!("general"), &head["digest"]));
        let digest = digest_after("general", page["entries"].as_array().expect("entries"));
        assert_eq!(page["digest"], digest, "by the name that the client knows");
    }
    for other in ["%2Facme%2Fgeneral", "acme%2Fgeneral"] {
        let answer =
            it.server.get(&format!("/v1/rooms/{other}")).header("authorization", &bearer(&none));
        assert_eq!(answer.send().await.status, 400, "{other}");
    }
}

#[tokio::test]
async fn denials_are_counted_and_logged_without_the_token() {
    let it = TokenServer::start(&[]).await;
    let ada = token("ada", json!({"r": ["read"]}));
    let mut client = it.enter(&ada).await;
    client
        .refused(json!({"type": "append", "room": "r", "body": "secret body"}), "forbidden")
        .await;
    client.refused(json!({"type": "login", "token": format!("{ada}x")}), "unauthorized").await;
    let metrics = it.server.operator_get("/metrics").send().await.body;
    for counted in [
        "roomlog_denied_total{reason=\"append\"} 1",
        "roomlog_denied_total{reason=\"signature\"} 1",
    ] {
        assert!(metrics.contains(counted), "{metrics}");
    }
    let logged = || it.server.stderr_lines().join("\n");
    within("a line", async {
        while !logged().contains("refused") {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(!logged().contains("secret body") && !logged().contains(&ada[..40]), "{}", logged());
}

#[tokio::test]
async fn a_new_key_of_a_set_is_read_when_a_token_names_it() {
    let keys = tempfile::tempdir().expect("a directory");
    let pairs = ["a", "b"].map(|kid| (kid, KeyPair::generate_for(&PKCS_ED25519).expect("a pair")));
    let set = |known: usize| {
        let jwk = |(kid, pair): &(&str, KeyPair)| {
            let x = URL_SAFE_NO_PAD.encode(pair.der_bytes());
            json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig"})
        };
        json!({"keys": pairs[..known].iter().map(jwk).collect::<Vec<_>>()}).to_string()
    };
    let file = key_file(&keys, "jwks.json", &set(1));
    let file_name = file.to_str().expect("a path");
    let server = Server::start(&["--jwks", file_name, "--jwt-audience", AUDIENCE]).await;
    let token = |at: usize| {
        let (kid, pair) = &pairs[at];
        let key = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).expect("a key");
        let header = Header { kid: Some((*kid).into()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims("ada", json!({"*": ["read"]})), &key).expect("a token")
    };
    let get = |token: String| {
        let request = server.get("/v1/rooms").header("authorization", &bearer(&token));
        async move { request.send().await.status }
    };
    assert_eq!(get(token(0)).await, 200);
    std::fs::write(&file, set(2)).expect("a file");
    // Many come with the new key at once: the set is read once for all.
    let statuses = join_all((0..20).map(|_| get(token(1)))).await;
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    // An unknown key soon after is refused without another look.
    std::fs::remove_file(&file).expect("removed");
    let (kid, pair) = ("c", KeyPair::generate_for(&PKCS_ED25519).expect("a pair"));
    let key = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let header = Header { kid: Some(kid.into()), ..Header::new(Algorithm::EdDSA) };
    let unknown = encode(&header, &claims("ada", json!({})), &key).expect("a token");
    assert_eq!(get(unknown).await, 401);
    assert_eq!(get(token(1)).await, 200);
}

#[tokio::test]
async fn whoever_tries_tokens_is_slowed_and_nobody_else() {
    let it = TokenServer::start(&[]).await;
    let ada = token("ada", json!({"*": ["read", "append", "create"]}));
    let mut honest = it.enter(&ada).await;
    let forged = format!("{ada}x");
    let mut attackers = Vec::new();
    for _ in 0..50 {
        let mut attacker = it.server.connect().await;
        let logins = (0..100).map(|req| json!({"type": "login", "token": forged, "req": req}));
        attacker.send_all(logins).await;
        attackers.push(attacker);
    }
    // Each connection has a login checked every 100 ms.
    let begun = Instant::now();
    let mut tried = attackers.pop().expect("an attacker");
    for req in 0..10 {
        assert_eq!(code(&tried.answer(req).await), "unauthorized");
    }
    assert!(begun.elapsed() > Duration::from_millis(700), "{:?}", begun.elapsed());
    for n in 0..20 {
        assert_eq!(slot(&honest.append("r", json!({"body": "goes on"})).await), n);
    }
}

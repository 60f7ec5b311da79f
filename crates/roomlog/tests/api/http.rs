//! The answers of a server over HTTP.

use hyper::Method;
use roomlog_auth::{Claims, Operation};
use serde_json::json;

use super::Api;
use crate::support::{
    Answer, Request, Server,
    tokens::{TokenServer, bearer, claims, signed, token},
};

const ENTRIES: &str = "/v1/rooms/{room}/entries";
const EVENTS: &str = "/v1/rooms/{room}/events";
const ROOM: &str = "/v1/rooms/{room}";

/// Sends a request, and checks its answer by the file and its status.
async fn ask(api: &Api, status: u16, (method, path): (&str, &str), request: Request<'_>) -> Answer {
    let answer = request.send().await;
    assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
    api.check(method, path, &answer);
    answer
}

#[tokio::test]
async fn the_answers_to_appends_are_valid() {
    let (api, server) = (Api::read(), Server::start(&["--ahead-ms=20"]).await);
    let of_kind = |kind, text: &str| server.post_text("/v1/rooms/r/entries", kind, text);
    for (status, members) in [
        (201, json!({"author": "ada", "id": "1", "body": "hi", "meta": "m", "sent_at": 5})),
        (200, json!({"author": "ada", "id": "1", "body": "hi", "meta": "m"})),
        (409, json!({"author": "ada", "id": "1", "body": "ho"})),
        (201, json!({"author": "bob", "body": "ho", "ref": 0, "kind": "edit"})),
        (201, json!({"author": "ada", "body": "", "ref": 0, "kind": "redact"})),
        (412, json!({"author": "ada", "body": "x", "expect": 9})),
        (409, json!({"author": "ada", "body": "x", "after": 9})),
        (400, json!({"author": "ada", "body": "x", "ref": 9})),
        (413, json!({"author": "ada", "body": "x".repeat(20_000)})),
        (401, json!({"body": "x"})),
    ] {
        let request = of_kind("application/json", &members.to_string());
        ask(&api, status, ("POST", ENTRIES), request).await;
    }
    ask(&api, 415, ("POST", ENTRIES), of_kind("text/plain", "hi")).await;
    let compressed = of_kind("application/json", "x").header("content-encoding", "gzip");
    ask(&api, 415, ("POST", ENTRIES), compressed).await;
    let append = json!({"author": "ada", "id": "2", "body": "a"});
    let lines = format!("{append}\n\n{append}\n{{\"id\":\"3\"}}\n{{\"body\":\"nobody's\"}}\n{{}}");
    let outcomes = of_kind("application/x-ndjson", &lines);
    let outcomes = ask(&api, 200, ("POST", ENTRIES), outcomes).await;
    assert_eq!(outcomes.body.lines().count(), 5, "{outcomes:?}");
    assert!(outcomes.body.contains("\"repeat\":true"), "{outcomes:?}");
}

#[tokio::test]
async fn the_answers_to_reads_are_valid() {
    let (api, server) = (Api::read(), Server::start(&["--ahead-ms=20"]).await);
    let mut ada = server.login("ada").await;
    ada.fill("r", 3, "hi").await;
    ada.append("s", json!({"body": "hi"})).await;
    ada.append("r", json!({"body": "", "kind": "redact", "ref": 0})).await;
    for (status, path, target) in [
        (200, ENTRIES, "/v1/rooms/r/entries"),
        (200, ENTRIES, "/v1/rooms/r/entries?count=1&upto=1&seen=0"),
        (200, ENTRIES, "/v1/rooms/none/entries"),
        (400, ENTRIES, "/v1/rooms/r/entries?after=x"),
        (409, ENTRIES, "/v1/rooms/r/entries?seen=99"),
        (409, ENTRIES, "/v1/rooms/r/entries?log=another"),
        (400, EVENTS, "/v1/rooms/r/events?after=x"),
        (409, EVENTS, "/v1/rooms/r/events?after=99"),
        (200, ROOM, "/v1/rooms/r"),
        (404, ROOM, "/v1/rooms/none"),
        (400, ROOM, "/v1/rooms/-"),
        (200, "/v1/rooms", "/v1/rooms?limit=1"),
        (400, "/v1/rooms", "/v1/rooms?limit=0"),
    ] {
        ask(&api, status, ("GET", path), server.get(target)).await;
    }
    let delete = server.request(Method::DELETE, "/v1/rooms/r");
    ask(&api, 403, ("DELETE", ROOM), delete).await;
    let mut events = server.get("/v1/rooms/r/events?after=-1").events().await;
    assert_eq!((events.status, events.place().await), (200, -1));
    assert_eq!(events.headers["roomlog-log"], ada.hello["log"].as_str().expect("a log"));
    for entry in events.entries(3).await {
        assert_eq!(api.wrong_by("Entry", &entry), Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_answers_to_all_else_are_valid() {
    let (api, server) = (Api::read(), Server::start(&[]).await);
    for (path, target) in [
        ("/", "/"),
        ("/app/{file}", "/app/app.css"),
        ("/app/{file}", "/app/icon.svg"),
        ("/sdk/src/{file}", "/sdk/src/index.js"),
        ("/healthz", "/healthz"),
        ("/readyz", "/readyz"),
    ] {
        let get = || server.get(target);
        ask(&api, 200, ("GET", path), get()).await;
        ask(&api, 400, ("GET", path), get().host("a b")).await;
        ask(&api, 403, ("GET", path), get().header("origin", "https://evil.example")).await;
    }
    ask(&api, 404, ("GET", "/app/{file}"), server.get("/app/no.js")).await;
    let handshake = || server.get("/v1/ws");
    ask(&api, 101, ("GET", "/v1/ws"), handshake().upgrade()).await;
    ask(&api, 426, ("GET", "/v1/ws"), handshake()).await;
    let no_key = handshake().header("connection", "upgrade").header("upgrade", "websocket");
    let no_key = no_key.header("sec-websocket-version", "13");
    ask(&api, 400, ("GET", "/v1/ws"), no_key).await;
    let session = |method| server.request(method, "/v1/session");
    ask(&api, 400, ("POST", "/v1/session"), session(Method::POST)).await;
    ask(&api, 204, ("DELETE", "/v1/session"), session(Method::DELETE)).await;
}

#[tokio::test]
async fn the_answers_of_a_server_with_tokens_are_valid() {
    let (api, tokens) = (Api::read(), TokenServer::start(&[]).await);
    let server = &tokens.server;
    let all = json!({"*": ["read", "append", "create", "admin"]});
    let (root, reader) =
        (bearer(&token("root", all)), bearer(&token("reader", json!({"r": ["read"]}))));
    let append = || server.post("/v1/rooms/r/entries", &json!({"body": "hi"}));
    let auth = "authorization";
    ask(&api, 401, ("POST", ENTRIES), append()).await;
    ask(&api, 401, ("POST", ENTRIES), append().header(auth, "Bearer x")).await;
    ask(&api, 403, ("POST", ENTRIES), append().header(auth, &reader)).await;
    ask(&api, 201, ("POST", ENTRIES), append().header(auth, &root)).await;
    let other = server.get("/v1/rooms/other/entries").header(auth, &reader);
    ask(&api, 404, ("GET", ENTRIES), other).await;
    let other = server.get("/v1/rooms/other/events").header(auth, &reader);
    ask(&api, 404, ("GET", EVENTS), other).await;
    ask(&api, 401, ("GET", "/v1/rooms"), server.get("/v1/rooms")).await;
    let listed =
        ask(&api, 200, ("GET", "/v1/rooms"), server.get("/v1/rooms").header(auth, &reader));
    assert_eq!(listed.await.json()["rooms"][0]["room"], "r");
    let erase = |query: &str| server.request(Method::DELETE, &format!("/v1/rooms/r{query}"));
    ask(&api, 403, ("DELETE", ROOM), erase("").header(auth, &reader)).await;
    ask(&api, 400, ("DELETE", ROOM), erase("?from=5").header(auth, &root)).await;
    ask(&api, 400, ("DELETE", ROOM), erase("?author=").header(auth, &root)).await;
    let erased = ask(&api, 200, ("DELETE", ROOM), erase("").header(auth, &root)).await;
    assert_eq!(erased.json(), json!({"room": "r", "erased": 1, "next": null}));
    let begin = |token: &str| server.request(Method::POST, "/v1/session").header(auth, token);
    ask(&api, 204, ("POST", "/v1/session"), begin(&root)).await;
    ask(&api, 401, ("POST", "/v1/session"), begin("Basic x")).await;
    let upgrade = server.get("/v1/ws").upgrade().header(auth, "Bearer x");
    ask(&api, 401, ("GET", "/v1/ws"), upgrade).await;
}

#[tokio::test]
async fn a_refusal_for_a_rate_is_valid() {
    // A full allowance is one body of 1,024 bytes; it takes 17 minutes until it is full again.
    let sizes = ["--frame-bytes=1024", "--batch-bytes=1024", "--body-bytes=512"];
    let flags = [&["--bytes-per-second=1", "--burst-ms=1"], &sizes[..]].concat();
    let (api, server) = (Api::read(), Server::start(&flags).await);
    let append = json!({"author": "ada", "body": "x".repeat(512)});
    for status in [201, 429] {
        let post = server.post("/v1/rooms/r/entries", &append);
        ask(&api, status, ("POST", ENTRIES), post).await;
    }
}

#[tokio::test]
async fn the_answers_of_the_operators_door_are_valid() {
    let flags = ["--admin-listen=127.0.0.1:0"];
    let (api, tokens) = (Api::read(), TokenServer::start(&flags).await);
    let server = &tokens.server;
    let all = [Operation::Metrics, Operation::Backup, Operation::Erase, Operation::Revoke];
    let operator = Claims { operations: all.into(), ..claims("operator", json!({})) };
    let (operator, other) = (bearer(&signed(&operator)), bearer(&token("ada", json!({}))));
    let auth = "authorization";
    let post = |path, body: &str| server.at_door(Method::POST, path).body(body);
    for path in ["/metrics", "/v1/backup"] {
        let get = || server.operator_get(path);
        ask(&api, 401, ("GET", path), get()).await;
        ask(&api, 403, ("GET", path), get().header(auth, &other)).await;
        ask(&api, 400, ("GET", path), get().host("a b")).await;
    }
    ask(&api, 200, ("GET", "/metrics"), server.operator_get("/metrics").header(auth, &operator))
        .await;
    let backup = server.at_door(Method::HEAD, "/v1/backup").header(auth, &operator).send().await;
    assert_eq!(
        (backup.status, &backup.headers["content-type"]),
        (200, &"application/vnd.roomlog.backup".parse().expect("a header"))
    );
    for (path, good, status) in [
        ("/v1/erase", r#"{"rooms":"*","author":"ada"}"#, 200),
        ("/v1/revoke", r#"{"author":"bob","issued_before":5}"#, 204),
    ] {
        ask(&api, 401, ("POST", path), post(path, good)).await;
        ask(&api, 403, ("POST", path), post(path, good).header(auth, &other)).await;
        ask(&api, 400, ("POST", path), post(path, "{}").header(auth, &operator)).await;
        ask(&api, 413, ("POST", path), post(path, &" ".repeat(5_000)).header(auth, &operator))
            .await;
        ask(&api, status, ("POST", path), post(path, good).header(auth, &operator)).await;
    }
    for path in ["/healthz", "/readyz"] {
        ask(&api, 200, ("GET", path), server.operator_get(path)).await;
    }
}

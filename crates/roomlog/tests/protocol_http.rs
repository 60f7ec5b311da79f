//! HTTP: the same log by `GET` and `POST`, with statuses for codes.

mod support;

use serde_json::{Value, json};
use support::{Server, chained, digest_after, slot, slots, start_digest};

const ENTRIES: &str = "/v1/rooms/r/entries";

#[tokio::test]
async fn a_post_is_201_with_the_entry_and_200_when_it_was_there_already() {
    let server = Server::start(&[]).await;
    let append = json!({"author": "ada", "id": "a-1", "body": "hi", "sent_at": 5, "meta": "m"});
    let created = server.post(ENTRIES, &append).send().await;
    let mut entry = created.json()["entry"].clone();
    assert_eq!(created.status, 201, "{created:?}");
    assert!(entry["committed_at"].take().is_u64() && entry["salt"].take().is_string());
    assert_eq!(
        entry,
        json!({"slot": 0, "author": "ada", "id": "a-1", "body": "hi", "sent_at": 5, "meta": "m",
               "committed_at": null, "salt": null})
    );
    let again = json!({"author": "ada", "id": "a-1", "body": "hi", "meta": "m", "room": "r"});
    let repeat = server.post(ENTRIES, &again).send().await;
    assert_eq!((repeat.status, &repeat.json()["entry"]), (200, &created.json()["entry"]));
    // What was posted is what a WebSocket reads.
    let log = server.login("grace").await.whole_log("r").await;
    assert_eq!(log, [created.json()["entry"].clone()]);
}

#[tokio::test]
async fn a_post_without_an_id_is_given_one_and_a_charset_is_no_other_type() {
    let server = Server::start(&[]).await;
    for n in 0..2 {
        let text = json!({"author": "ada", "body": "x"}).to_string();
        let answer =
            server.post_text(ENTRIES, "application/json; charset=utf-8", text).send().await;
        assert_eq!((answer.status, slot(&answer.json()["entry"])), (201, n));
    }
}

#[tokio::test]
async fn the_idempotency_key_is_the_id() {
    let server = Server::start(&[]).await;
    let append = json!({"author": "ada", "body": "x"});
    let first = server.post(ENTRIES, &append).header("idempotency-key", "k-1").send().await;
    assert_eq!((first.status, &first.json()["entry"]["id"]), (201, &json!("k-1")));
    let again = server.post(ENTRIES, &append).header("idempotency-key", "k-1").send().await;
    assert_eq!((again.status, &again.json()["entry"]["slot"]), (200, &json!(0)));
    let both = json!({"author": "ada", "body": "x", "id": "k-1"});
    let answer = server.post(ENTRIES, &both).header("idempotency-key", "k-1").send().await;
    assert_eq!(answer.status, 200);
    let two = server.post(ENTRIES, &both).header("idempotency-key", "k-2").send().await;
    two.refused(400, "bad_message");
    let bad = server.post(ENTRIES, &append).header("idempotency-key", "a b").send().await;
    bad.refused(400, "bad_name");
    assert_eq!(server.login("ada").await.whole_log("r").await.len(), 1);
}

#[tokio::test]
async fn a_post_without_an_author_is_401_and_a_get_needs_none() {
    let server = Server::start(&[]).await;
    let answer = server.post(ENTRIES, &json!({"body": "x"})).send().await;
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.json()["error"]["message"].is_string());
    server.post(ENTRIES, &json!({"body": "x", "author": "ada"})).send().await;
    assert_eq!(server.get(ENTRIES).send().await.status, 200);
}

#[tokio::test]
async fn what_is_wrong_with_a_post_has_its_status_and_code() {
    let server = Server::start(&["--ahead-ms=100"]).await;
    server.post(ENTRIES, &json!({"author": "ada", "id": "1", "body": "x"})).send().await;
    let post = |members: Value| {
        let mut append = json!({"author": "ada", "body": "y"});
        append
            .as_object_mut()
            .expect("an object")
            .extend(members.as_object().expect("an object").clone());
        server.post(ENTRIES, &append).send()
    };
    post(json!({"seq": 0})).await.refused(400, "bad_message");
    post(json!({"body": 5})).await.refused(400, "bad_message");
    post(json!({"body": null})).await.refused(400, "bad_message");
    post(json!({"id": "a b"})).await.refused(400, "bad_name");
    post(json!({"author": " ada"})).await.refused(400, "bad_name");
    post(json!({"ref": 7})).await.refused(400, "bad_ref");
    post(json!({"author": "bob", "body": "", "kind": "redact", "ref": 0}))
        .await
        .refused(403, "forbidden");
    post(json!({"body": "b".repeat(16_385)})).await.refused(413, "too_large");
    post(json!({"meta": "m".repeat(4_097)})).await.refused(413, "too_large");
    assert_eq!(post(json!({"id": "1"})).await.refused(409, "id_reused")["slot"], 0);
    assert_eq!(post(json!({"after": 7})).await.refused(409, "ahead")["latest"], 0);
    assert_eq!(post(json!({"expect": 7})).await.refused(412, "expect_failed")["latest"], 0);
    assert_eq!(post(json!({"body": "b".repeat(16_384)})).await.status, 201);
    let bad_room = server.post("/v1/rooms/-r/entries", &json!({"author": "ada", "body": "x"}));
    bad_room.send().await.refused(400, "bad_name");
    assert_eq!(server.login("ada").await.whole_log("r").await.len(), 2);
}

#[tokio::test]
async fn a_post_that_is_no_json_object_is_400_one_of_another_type_415_one_too_big_413() {
    let server = Server::start(&[]).await;
    for text in ["", "{", "[]", "null", r#"{"author":"ada","body":"x","body":"y"}"#] {
        let answer = server.post_text(ENTRIES, "application/json", text).send().await;
        answer.refused(400, "bad_message");
    }
    let good = json!({"author": "ada", "body": "x"}).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"] {
        let answer = server.post_text(ENTRIES, kind, good.as_str()).send().await;
        assert_eq!(answer.status, 415, "{kind}: {answer:?}");
    }
    let padded = json!({"author": "ada", "body": "x", "padding": "x".repeat(2_000_000)});
    assert_eq!(server.post(ENTRIES, &padded).status().await, 413);
    server.get("/v1/rooms/r").send().await.refused(404, "not_found");
}

#[tokio::test]
async fn a_body_that_is_compressed_or_not_utf_8_is_refused_as_a_whole() {
    let server = Server::start(&[]).await;
    let good = json!({"author": "ada", "body": "x"}).to_string() + "\n";
    for kind in ["application/json", "application/x-ndjson"] {
        for coding in ["gzip", "br", "zstd", "identity, gzip"] {
            let post = server.post_text(ENTRIES, kind, good.as_str());
            let answer = post.header("content-encoding", coding).send().await;
            let error = answer.refused(415, "bad_message");
            assert!(error["message"].as_str().expect("text").contains("Content-Encoding"));
            assert_eq!(answer.headers["accept-encoding"], "identity");
        }
        let charset = format!("{kind}; charset=ISO-8859-1");
        server.post_text(ENTRIES, &charset, good.as_str()).send().await.refused(415, "bad_message");
        // UTF-16 without a word of it, which an answer line by line would call 200.
        let utf16: String = good.chars().flat_map(|c| [c, '\0']).collect();
        server.post_text(ENTRIES, kind, utf16).send().await.refused(415, "bad_message");
        let marked = format!("\u{feff}{good}");
        server.post_text(ENTRIES, kind, marked).send().await.refused(400, "bad_message");
        let head = format!(
            "POST {ENTRIES} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\nconnection: close\r\n",
            server.address
        );
        let chunked = "transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n";
        let answer = server.raw(format!("{head}{chunked}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 501 ") && answer.contains("bad_message"), "{answer}");
    }
    server.get("/v1/rooms/r").send().await.refused(404, "not_found");
    let plain = server.post_text(ENTRIES, "Application/JSON; Charset=\"UTF-8\"", good.as_str());
    assert_eq!(plain.header("content-encoding", "identity").send().await.status, 201);
}

#[tokio::test]
async fn a_client_that_sends_a_large_body_receives_the_error() {
    let server = Server::start(&[]).await;
    let large = "x".repeat(8 << 20);
    let post = server.post_text(ENTRIES, "application/x-ndjson", large.as_str());
    post.header("content-encoding", "gzip").send().await.refused(415, "bad_message");
    let post = server.post_text(ENTRIES, "application/json", large.as_str());
    post.send().await.refused(413, "too_large");
    // A client that asks first is answered before a byte of the body is sent.
    let head = format!(
        "POST {ENTRIES} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         content-encoding: gzip\r\ncontent-length: 99\r\nexpect: 100-continue\r\n\r\n",
        server.address
    );
    let answer = server.raw(head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 415 "), "{answer}");
}

#[tokio::test]
async fn every_error_is_json_with_a_sentence() {
    let server = Server::start(&[]).await;
    let method = server.post("/v1/rooms", &json!({})).send().await;
    method.refused(405, "bad_message");
    assert_eq!(method.headers["allow"], "GET,HEAD");
    server.get("/v1/rooms/%ff/entries").send().await.refused(400, "bad_name");
    server.get("/v1/rooms/%ff/events").send().await.refused(400, "bad_name");
    server.get("/v1/rooms/%ff").send().await.refused(400, "bad_name");
    server.post("/v1/rooms/%ff/entries", &json!({})).send().await.refused(400, "bad_name");
    server.get("/v1/rooms?after=%ff").send().await.refused(400, "bad_name");
    server.get("/nothing").send().await.refused(404, "not_found");
    server.get("/v1/ws").send().await.refused(426, "bad_message");
    server.get("/").host("evil.example").send().await.refused(403, "forbidden");
}

#[tokio::test]
async fn a_get_of_entries_is_the_reply_without_its_type_and_with_the_log() {
    let server = Server::start(&["--page-entries=4"]).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 10, "x").await;
    let log = ada.whole_log("r").await;
    for (query, want) in [
        ("", 6..10),
        ("?count=2", 8..10),
        ("?count=2&upto=5", 4..6),
        ("?count=9&upto=5", 2..6),
        ("?upto=99&count=1", 9..10),
        ("?count=0&upto=3", 4..4),
        ("?after=-1", 0..4),
        ("?after=7&seen=9", 8..10),
        ("?after=9", 10..10),
    ] {
        let answer = server.get(&format!("{ENTRIES}{query}")).send().await;
        assert_eq!(answer.status, 200, "{query}");
        let end = if want.is_empty() && want.start == 10 { 10 } else { want.end };
        assert_eq!(
            answer.json(),
            json!({"room": "r", "entries": log[want], "latest": 9, "digest_at": end - 1,
                   "digest": digest_after("r", &log[..end]), "log": ada.hello["log"]}),
            "{query}"
        );
    }
    let kind = server.get(ENTRIES).send().await.headers["content-type"].clone();
    assert!(kind.to_str().expect("text").starts_with("application/json"), "{kind:?}");
}

#[tokio::test]
async fn a_get_of_entries_is_refused_like_an_update() {
    let server = Server::start(&["--ahead-ms=100"]).await;
    server.login("ada").await.fill("r", 3, "x").await;
    let get = |query: &str| server.get(&format!("{ENTRIES}?{query}")).send();
    for query in
        ["count=x", "count=-1", "count=1.0", "after=-2", "upto=-2", "after=0&count=1", "seen=1e3"]
    {
        get(query).await.refused(400, "bad_message");
    }
    let start = start_digest("r");
    get(&format!("digest={start}")).await.refused(400, "bad_message");
    assert_eq!(get(&format!("after=-1&digest={start}")).await.status, 200);
    let diverged = get(&format!("after=0&digest={start}")).await.refused(409, "diverged");
    assert_eq!(diverged["latest"], 2);
    assert_eq!(get("after=3").await.refused(409, "ahead")["latest"], 2);
    assert_eq!(get("seen=3").await.refused(409, "ahead")["latest"], 2);
    // Digits that begin with a needless 0 are text, not an integer.
    let error = get("count=007").await.refused(400, "bad_message");
    assert!(error["message"].as_str().is_some_and(|why| why.starts_with("`count`")), "{error}");
    get("log=007").await.refused(409, "diverged");
    get(&format!("after=0&digest={}", "0".repeat(64))).await.refused(409, "diverged");
    server.get("/v1/rooms/a%20b/entries").send().await.refused(400, "bad_name");
}

#[tokio::test]
async fn a_log_is_paged_and_checked_by_get_alone() {
    let server = Server::start(&["--page-entries=7"]).await;
    server.login("ada").await.fill("r", 30, "x").await;
    let (mut after, mut digest) = (-1, start_digest("r"));
    while after < 29 {
        let page =
            server.get(&format!("{ENTRIES}?after={after}&digest={digest}")).send().await.json();
        assert_eq!(slots(&page), (after + 1..=(after + 7).min(29)).collect::<Vec<_>>());
        digest = chained(&digest, page["entries"].as_array().expect("entries"));
        assert_eq!(page["digest"], digest);
        after = slots(&page).last().copied().expect("a page");
    }
}

#[tokio::test]
async fn a_room_is_404_until_something_was_appended() {
    let server = Server::start(&[]).await;
    server.get("/v1/rooms/r").send().await.refused(404, "not_found");
    let mut ada = server.login("ada").await;
    ada.fill("r", 3, "x").await;
    let room = server.get("/v1/rooms/r").send().await;
    let digest = digest_after("r", &ada.whole_log("r").await);
    let want = json!({"room": "r", "latest": 2, "digest": digest, "log": ada.hello["log"]});
    assert_eq!((room.status, room.json()), (200, want));
    server.get("/v1/rooms/-r").send().await.refused(400, "bad_name");
}

#[tokio::test]
async fn a_room_name_in_a_path_may_be_percent_encoded() {
    let server = Server::start(&[]).await;
    let append = json!({"author": "ada", "body": "x"});
    let answer = server.post("/v1/rooms/a%3Ab%40c/entries", &append).send().await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(server.get("/v1/rooms/a:b@c").send().await.json()["room"], "a:b@c");
}

#[tokio::test]
async fn one_id_posted_twice_concurrently_is_stored_once() {
    let server = Server::start(&[]).await;
    for n in 0..20 {
        let append = json!({"author": "ada", "id": format!("i-{n}"), "body": "x"});
        let post = || server.post(ENTRIES, &append).send();
        let (a, b) = tokio::join!(post(), post());
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 201]);
        assert_eq!(a.json()["entry"], b.json()["entry"]);
    }
}

#[tokio::test]
async fn health_and_readiness_are_reported() {
    let server = Server::start(&[]).await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).send().await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_page_is_html_and_its_files_are_served_with_it() {
    let server = Server::start(&[]).await;
    let page = server.get("/").send().await;
    let policy = page.headers["content-security-policy"].to_str().expect("text");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    for (path, kind, word) in [
        ("/", "text/html", "app/app.js"),
        ("/app/app.js", "text/javascript", "sdk/src/index.js"),
        ("/app/app.css", "text/css", "color-scheme"),
        ("/sdk/src/connection.js", "text/javascript", "roomlog.v1"),
    ] {
        let file = server.get(path).send().await;
        assert_eq!(file.status, 200, "{path}");
        let told = file.headers["content-type"].to_str().expect("text");
        assert!(told.starts_with(kind), "{path}: {told}");
        assert!(file.body.contains(word), "{path} does not name {word}");
    }
    assert_eq!(server.get("/app/no.js").send().await.status, 404);
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let server = Server::start(&[]).await;
    for path in ["/nothing", "/v1", "/v2/ws", "/v1/rooms/r/nothing", "/v1/rooms//entries"] {
        let status = server.get(path).send().await.status;
        // An empty room name is no name or no path: either is an honest answer.
        assert!(status == 404 || (status == 400 && path.contains("//")), "{path}: {status}");
    }
}

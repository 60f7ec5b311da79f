//! What a page in a browser may do: `Origin` and `Host`.

mod support;

use serde_json::json;
use support::{Server, within};

const ENTRIES: &str = "/v1/rooms/r/entries";
const LISTED: &str = "https://chat.example:8443";

#[tokio::test]
async fn a_foreign_origin_is_403_everywhere() {
    let server = Server::start(&["--allow-origin", LISTED]).await;
    let port = server.address.port();
    for origin in [
        "http://evil.example",
        "https://chat.example",
        "http://chat.example:8443",
        "https://chat.example:8443.evil.example",
        "null",
        &format!("https://127.0.0.1:{port}"),
        "http://127.0.0.1:1",
    ] {
        let append = json!({"author": "eve", "body": "x"});
        let post = server.post(ENTRIES, &append).header("origin", origin).send().await;
        assert_eq!(post.status, 403, "{origin}");
        let get = server.get(ENTRIES).header("origin", origin).send().await;
        assert_eq!(get.status, 403, "{origin}");
        let socket = server.get("/v1/ws").upgrade().header("origin", origin).status().await;
        assert_eq!(socket, 403, "{origin}");
    }
    server.get("/v1/rooms/r").send().await.refused(404, "not_found");
}

#[tokio::test]
async fn the_servers_own_origin_and_no_origin_are_accepted() {
    let server = Server::start(&[]).await;
    let port = server.address.port();
    for host in [format!("127.0.0.1:{port}"), format!("localhost:{port}")] {
        let origin = format!("http://{host}");
        let append = json!({"author": "ada", "body": "x"});
        let post = server.post(ENTRIES, &append).host(&host).header("origin", &origin).send().await;
        assert_eq!(post.status, 201, "{post:?}");
        let socket = server.get("/v1/ws").upgrade().host(&host);
        assert_eq!(socket.header("origin", &origin).status().await, 101);
    }
    assert_eq!(server.get("/v1/ws").upgrade().status().await, 101);
}

#[tokio::test]
async fn a_listed_origin_is_accepted_with_cors_headers() {
    let other = "http://localhost:5173";
    let server = Server::start(&["--allow-origin", LISTED, "--allow-origin", other]).await;
    server.login("ada").await.append("r", json!({"body": "x"})).await;
    for origin in [LISTED, other] {
        let get = server.get(ENTRIES).header("origin", origin).send().await;
        assert_eq!(get.status, 200);
        assert_eq!(get.headers["access-control-allow-origin"], origin);
        let socket = server.get("/v1/ws").upgrade().header("origin", origin).status().await;
        assert_eq!(socket, 101);
    }
}

#[tokio::test]
async fn the_page_of_an_app_or_an_extension_may_be_listed() {
    let extension = "chrome-extension://abcdefghijklmnopabcdefghijklmnop";
    for origin in [extension, "capacitor://localhost", "tauri://localhost", "ionic://localhost"] {
        let server = Server::start(&["--allow-origin", origin]).await;
        let append = json!({"author": "ada", "body": "x"});
        let post = server.post(ENTRIES, &append).header("origin", origin).send().await;
        assert_eq!(post.status, 201, "{origin}: {post:?}");
        assert_eq!(post.headers["access-control-allow-origin"], origin);
        let socket = server.get("/v1/ws").upgrade().header("origin", origin).status().await;
        assert_eq!(socket, 101, "{origin}");
        let other = server.get("/v1/ws").upgrade().header("origin", "capacitor://evil");
        assert_eq!(other.status().await, 403);
        // An app's name is no name of a server.
        let named = server.get(ENTRIES).host("abcdefghijklmnopabcdefghijklmnop");
        assert_eq!(named.send().await.status, 403);
    }
}

#[tokio::test]
async fn a_rejected_origin_or_host_is_logged_once_with_the_flag_that_allows_it() {
    let server = Server::start(&[]).await;
    let get = |origin: &'static str| server.get(ENTRIES).header("origin", origin);
    for _ in 0..3 {
        assert_eq!(get("https://chat.example").send().await.status, 403);
        assert_eq!(get("null").send().await.status, 403);
        assert_eq!(get("https://$(reboot)\\x1b").send().await.status, 403);
        assert_eq!(server.get(ENTRIES).host("chat.local:7400").send().await.status, 403);
    }
    for n in 0..200 {
        let origin = format!("https://{n}.example");
        assert_eq!(server.get(ENTRIES).header("origin", &origin).send().await.status, 403);
    }
    assert_eq!(get("https://late.example").send().await.status, 403);
    let line = "no more of them are logged";
    within(line, async {
        while !server.stderr_lines().iter().any(|said| said.contains(line)) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let said = server.stderr_lines();
    let lines = |part: &str| said.iter().filter(|line| line.contains(part)).count();
    assert_eq!(lines("--allow-origin https://chat.example"), 1, "{said:?}");
    assert_eq!(lines("the origin null, which cannot be listed"), 1, "{said:?}");
    assert_eq!(lines("--allow-origin https://chat.local:7400"), 1, "{said:?}");
    assert_eq!((lines("reboot"), lines("--allow-origin https://$(reboot)")), (1, 0), "{said:?}");
    assert_eq!((lines(line), lines("late.example")), (1, 0), "{said:?}");
    assert_eq!(lines("refused a"), 64, "{said:?}");
}

#[tokio::test]
async fn a_host_that_is_a_foreign_name_is_403_from_any_client() {
    let server = Server::start(&["--allow-origin", LISTED]).await;
    for host in
        ["evil.example", "evil.example:7400", "localhost.evil.example", "127.0.0.1.evil.example"]
    {
        for path in ["/", ENTRIES, "/v1/rooms/r"] {
            assert_eq!(server.get(path).host(host).send().await.status, 403, "{host} {path}");
        }
        // What a browser sends after a name was rebound to this machine: its own origin, by its name.
        let append = json!({"author": "eve", "body": "x"});
        let own = format!("http://{host}");
        let post = server.post(ENTRIES, &append).host(host).header("origin", &own).send().await;
        assert_eq!(post.status, 403, "{host}");
        assert_eq!(server.get("/v1/ws").upgrade().host(host).status().await, 403, "{host}");
    }
}

#[tokio::test]
async fn an_ip_address_localhost_or_a_listed_name_is_an_accepted_host() {
    let server = Server::start(&["--allow-origin", LISTED]).await;
    let port = server.address.port();
    for host in [
        "127.0.0.1",
        "192.0.2.7:80",
        "[::1]",
        &format!("[::1]:{port}"),
        "localhost",
        &format!("localhost:{port}"),
        "chat.example:8443",
    ] {
        assert_eq!(server.get(ENTRIES).host(host).send().await.status / 100, 2, "{host}");
        assert_eq!(server.get("/v1/ws").upgrade().host(host).status().await, 101, "{host}");
    }
}

#[tokio::test]
async fn a_listed_origin_with_the_usual_port_is_what_a_browser_sends_without_it() {
    let flags =
        ["--allow-origin", "https://Chat.example:443", "--allow-origin=http://plain.example:80"];
    let server = Server::start(&flags).await;
    for origin in ["https://chat.example", "http://plain.example"] {
        let get = server.get(ENTRIES).header("origin", origin).send().await;
        assert_eq!(
            (get.status, &get.headers["access-control-allow-origin"]),
            (200, &origin.parse().expect("a value"))
        );
    }
    for origin in ["https://plain.example", "http://chat.example", "https://chat.example:444"] {
        assert_eq!(
            server.get(ENTRIES).header("origin", origin).send().await.status,
            403,
            "{origin}"
        );
    }
    assert_eq!(server.get(ENTRIES).host("chat.example").send().await.status, 200);
}

/// The names in a header that lists them.
fn listed(answer: &support::Answer, header: &str) -> Vec<String> {
    let list = answer.headers[header].to_str().expect("text").to_ascii_lowercase();
    list.split(',').map(|name| name.trim().to_owned()).collect()
}

#[tokio::test]
async fn a_page_of_a_listed_origin_may_send_every_kind_of_request() {
    let server = Server::start(&["--allow-origin", LISTED]).await;
    // What a browser asks before it sends what a form could not.
    for (path, method, headers) in [
        (ENTRIES, "POST", "content-type"),
        (ENTRIES, "POST", "content-type,idempotency-key"),
        ("/v1/rooms/r/events", "GET", "last-event-id"),
        ("/v1/rooms", "GET", ""),
    ] {
        let preflight = server.request(hyper::Method::OPTIONS, path).header("origin", LISTED);
        let preflight = preflight.header("access-control-request-method", method);
        let answer = preflight.header("access-control-request-headers", headers).send().await;
        assert_eq!(answer.status, 204, "{path}: {answer:?}");
        assert_eq!(answer.headers["access-control-allow-origin"], LISTED);
        assert_eq!(answer.headers["vary"], "Origin");
        assert!(
            listed(&answer, "access-control-allow-methods").contains(&method.to_ascii_lowercase())
        );
        let allowed = listed(&answer, "access-control-allow-headers");
        for header in headers.split(',').filter(|header| !header.is_empty()) {
            assert!(allowed.iter().any(|name| name == header), "{header}: {allowed:?}");
        }
        assert_eq!(answer.headers["access-control-max-age"], "7200");
    }
    // What it may read of the answers, good or bad.
    let line = json!({"author": "ada", "body": "x"}).to_string();
    let batch = server.post_text(ENTRIES, "application/x-ndjson", line).header("origin", LISTED);
    let events = server.get("/v1/rooms/r/events").header("origin", LISTED).events().await;
    assert!(events.headers.contains_key("roomlog-log"));
    let missing = server.get("/v1/rooms/none").header("origin", LISTED).send().await;
    for headers in [&batch.send().await.headers, &events.headers, &missing.headers] {
        assert_eq!(headers["access-control-allow-origin"], LISTED);
        assert_eq!(headers["access-control-expose-headers"], "roomlog-log, retry-after");
    }
}

#[tokio::test]
async fn a_page_of_another_origin_gets_no_cors_headers() {
    let server = Server::start(&["--allow-origin", LISTED]).await;
    for origin in [None, Some("https://evil.example"), Some("null")] {
        let mut preflight = server.request(hyper::Method::OPTIONS, ENTRIES);
        if let Some(origin) = origin {
            preflight = preflight.header("origin", origin);
        }
        let answer = preflight.header("access-control-request-method", "POST").send().await;
        assert_eq!(answer.status, if origin.is_some() { 403 } else { 405 }, "{origin:?}");
        let promised =
            |name: &&hyper::header::HeaderName| name.as_str().starts_with("access-control");
        assert_eq!(answer.headers.keys().find(promised), None, "{origin:?}");
    }
}

#[tokio::test]
async fn every_answer_keeps_other_sites_from_loading_framing_and_sniffing_it() {
    let server = Server::start(&["--allow-origin", LISTED]).await;
    server.login("ada").await.append("r", json!({"body": "x"})).await;
    let paths = ["/", "/app/app.js", "/healthz", ENTRIES, "/v1/rooms/none", "/nothing", "/v1/ws"];
    for path in paths {
        let own = server.get(path).send().await;
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(own.headers[name], value, "{path}");
        }
        // A page that is listed loads it by CORS, and may do so from under any embedder policy.
        let listed = server.get(path).header("origin", LISTED).send().await;
        assert_eq!(listed.headers["cross-origin-resource-policy"], "cross-origin", "{path}");
        let foreign = server.get(path).header("origin", "https://evil.example").send().await;
        assert_eq!(foreign.headers["cross-origin-resource-policy"], "same-origin", "{path}");
    }
    let page = server.get("/").send().await;
    assert_eq!(page.headers["cross-origin-opener-policy"], "same-origin");
    let policy = page.headers["content-security-policy"].to_str().expect("text");
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let events = server.get("/v1/rooms/r/events").events().await;
    assert_eq!(events.headers["cross-origin-resource-policy"], "same-origin");
    assert_eq!(events.headers["cache-control"], "no-store, no-transform");
}

//! Every error over HTTP is JSON with a code and a sentence, whatever is wrong with the request.

mod support;

use serde_json::Value;
use support::Server;

/// What is wrong, the request without its `Host` and end, the status and the code.
const BAD: &[(&str, &str, u16, &str)] = &[
    ("an unknown path", "GET /nothing HTTP/1.1", 404, "not_found"),
    ("an unknown version", "GET /v2/ws HTTP/1.1", 404, "not_found"),
    ("no path but a star", "OPTIONS * HTTP/1.1", 404, "not_found"),
    ("a path that is served to operators", "GET /metrics HTTP/1.1", 404, "not_found"),
    ("another", "GET /v1/backup HTTP/1.1", 404, "not_found"),
    ("a room without entries", "GET /v1/rooms/none HTTP/1.1", 404, "not_found"),
    ("a file that the page has not", "GET /app/no.js HTTP/1.1", 404, "not_found"),
    ("a file name that is not UTF-8", "GET /app/%ff HTTP/1.1", 404, "not_found"),
    ("another file name", "GET /sdk/src/%ff HTTP/1.1", 404, "not_found"),
    ("a room that is not UTF-8", "GET /v1/rooms/%ff HTTP/1.1", 400, "bad_name"),
    ("a bad escape", "GET /v1/rooms/%zz/entries HTTP/1.1", 400, "bad_name"),
    ("a room that is no name", "GET /v1/rooms/-r/events HTTP/1.1", 400, "bad_name"),
    ("a query that is no name", "GET /v1/rooms?after=%ff HTTP/1.1", 400, "bad_name"),
    ("a query with a bad limit", "GET /v1/rooms?limit=x HTTP/1.1", 400, "bad_message"),
    ("a query with a bad escape", "GET /v1/rooms/r/entries?count=%zz HTTP/1.1", 400, "bad_message"),
    ("a query twice", "GET /v1/rooms?limit=1&limit=2 HTTP/1.1", 400, "bad_message"),
    ("a bad Last-Event-ID", "GET /v1/rooms/r/events?after=x HTTP/1.1", 400, "bad_message"),
    ("another log", "GET /v1/rooms/r/entries?log=x HTTP/1.1", 409, "diverged"),
    ("no upgrade", "GET /v1/ws HTTP/1.1", 426, "bad_message"),
    ("a method of no path", "DELETE /v1/rooms HTTP/1.1", 405, "bad_message"),
    ("a method that is not HTTP's", "BREW /v1/rooms/r/entries HTTP/1.1", 405, "bad_message"),
    ("a POST of the page", "POST / HTTP/1.1\r\ncontent-length: 0", 405, "bad_message"),
    ("a POST of health", "POST /healthz HTTP/1.1\r\ncontent-length: 0", 405, "bad_message"),
    ("no type", "POST /v1/rooms/r/entries HTTP/1.1\r\ncontent-length: 0", 415, "bad_message"),
    ("no body", POST_NOTHING, 400, "bad_message"),
    ("a body that is no chunk", POST_NO_CHUNK, 400, "bad_message"),
    ("a foreign origin", "GET / HTTP/1.1\r\norigin: https://evil.example", 403, "forbidden"),
    ("two origins", "GET / HTTP/1.1\r\norigin: http://a\r\norigin: http://b", 400, "bad_message"),
    ("two hosts", "GET / HTTP/1.1\r\nhost: localhost", 400, "bad_message"),
    ("a foreign target", "GET http://evil.example/ HTTP/1.1", 403, "forbidden"),
    ("a tunnel", "CONNECT evil.example:443 HTTP/1.1", 403, "forbidden"),
];
const POST_NOTHING: &str =
    "POST /v1/rooms/r/entries HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: 0";
const POST_NO_CHUNK: &str = "POST /v1/rooms/r/entries HTTP/1.1\r\n\
    content-type: application/json\r\ntransfer-encoding: chunked";

/// The head of an answer, in lower case, and its body.
fn parts(answer: &str) -> (String, &str) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_ascii_lowercase(), body)
}

#[tokio::test]
async fn every_bad_request_gets_its_status_and_an_error_in_json() {
    let server = Server::start(&["--ahead-ms", "20"]).await;
    for (what, request, status, code) in BAD {
        let host = format!("\r\nhost: {}\r\nconnection: close\r\n\r\n", server.address);
        let end = if *request == POST_NO_CHUNK { "no chunk\r\n\r\n" } else { "" };
        let answer = server.raw(format!("{request}{host}{end}").as_bytes()).await;
        let (head, body) = parts(&answer);
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{what}: {answer}");
        assert!(head.contains("content-type: application/json"), "{what}: {answer}");
        let parsed: Value =
            serde_json::from_str(body).unwrap_or_else(|_| panic!("{what}: {answer}"));
        assert_eq!(parsed["error"]["code"], **code, "{what}: {answer}");
        let message = parsed["error"]["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{what}: {answer}");
        assert_eq!(head.contains("allow: "), *status == 405, "{what}: {answer}");
        for header in ["x-content-type-options: nosniff", "referrer-policy: no-referrer"] {
            assert!(head.contains(header), "{what}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_head_that_is_not_http_gets_a_status_and_nothing_else() {
    let server = Server::start(&[]).await;
    let host = format!("host: {}\r\n", server.address);
    let long = format!("GET / HTTP/1.1\r\n{host}x: {}\r\n\r\n", "x".repeat(20_000));
    let many = format!("GET / HTTP/1.1\r\n{host}{}\r\n", "x: y\r\n".repeat(150));
    let path = format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(20_000));
    for (what, request, status) in [
        ("a long header", long.as_str(), "431"),
        ("many headers", &many, "431"),
        ("a long path", &path, "431"),
        ("a header without a name", "GET / HTTP/1.1\r\n: x\r\n\r\n", "400"),
        ("no HTTP", "hello\r\n\r\n", "400"),
        ("a future HTTP", "GET / HTTP/3.0\r\n\r\n", "400"),
        ("two lengths", "POST / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "400"),
    ] {
        let answer = server.raw(request.as_bytes()).await;
        let (head, body) = parts(&answer);
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{what}: {answer}");
        assert_eq!(body, "", "{what}: {answer}");
    }
}

//! What a page in somebody's browser may do: `Origin` and `Host`.

mod support;

use serde_json::json;
use support::Server;

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
async fn the_servers_own_origin_and_none_at_all_are_good() {
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
async fn a_listed_origin_is_good_and_is_told_so() {
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
async fn a_host_that_is_an_ip_address_localhost_or_listed_is_good() {
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

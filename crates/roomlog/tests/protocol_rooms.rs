//! `GET /v1/rooms`: the list of rooms, a page at a time.

mod support;

use serde_json::{Value, json};
use support::Server;

fn names(page: &Value) -> Vec<String> {
    let rooms = page["rooms"].as_array().expect("rooms").iter();
    rooms.map(|room| room["room"].as_str().expect("a name").to_owned()).collect()
}

async fn list(server: &Server, query: &str) -> Value {
    let answer = server.get(&format!("/v1/rooms{query}")).send().await;
    assert_eq!(answer.status, 200, "{query}: {answer:?}");
    answer.json()
}

#[tokio::test]
async fn a_room_is_listed_with_its_latest_slot_and_time() {
    let server = Server::start(&[]).await;
    assert_eq!(list(&server, "").await, json!({"rooms": []}));
    let mut ada = server.login("ada").await;
    ada.append("b", json!({"body": "x"})).await;
    ada.append("a", json!({"body": "x"})).await;
    let last = ada.append("b", json!({"body": "x"})).await;
    let first = &ada.whole_log("a").await[0];
    let want = json!({"rooms": [
        {"room": "a", "latest": 0, "committed_at": first["committed_at"]},
        {"room": "b", "latest": 1, "committed_at": last["committed_at"]},
    ]});
    assert_eq!(list(&server, "").await, want);
    // A room that is only read or followed does not exist.
    ada.join("c", json!({})).await;
    assert_eq!(list(&server, "").await, want);
}

#[tokio::test]
async fn rooms_are_in_byte_order_folded_or_not() {
    let mut server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    for room in ["b", "B", "a", "10", "9", "a-b", "a.b", "a~b", "aa", "A"] {
        ada.append(room, json!({"body": "x"})).await;
    }
    let want = ["10", "9", "A", "B", "a", "a-b", "a.b", "aa", "a~b", "b"];
    assert_eq!(names(&list(&server, "").await), want);
    assert!(server.sigterm().await.success());
    server.restart().await;
    let mut ada = server.login("ada").await;
    ada.append("a", json!({"body": "y"})).await;
    ada.append("aaa", json!({"body": "y"})).await;
    let listed = list(&server, "?after=9").await;
    assert_eq!(names(&listed), ["A", "B", "a", "a-b", "a.b", "aa", "aaa", "a~b", "b"]);
    assert_eq!(listed["rooms"][2]["latest"], 1);
}

#[tokio::test]
async fn next_is_the_name_to_continue_after_and_present_only_if_there_are_more() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let rooms: Vec<_> = (0..7).map(|n| format!("room-{n}")).collect();
    for room in &rooms {
        ada.append(room, json!({"body": "x"})).await;
    }
    for limit in [1, 3, 6, 7, 8] {
        let (mut seen, mut after) = (Vec::new(), String::new());
        loop {
            let page = list(&server, &format!("?limit={limit}{after}")).await;
            seen.extend(names(&page));
            let Some(next) = page["next"].as_str() else { break };
            assert_eq!(Some(next), seen.last().map(String::as_str), "limit {limit}");
            after = format!("&after={next}");
        }
        assert_eq!(seen, rooms, "limit {limit}");
    }
    assert!(list(&server, "?limit=6").await["next"].is_string());
    assert!(list(&server, "?limit=7").await["next"].is_null());
    assert_eq!(names(&list(&server, "?after=room-2~&limit=2").await), ["room-3", "room-4"]);
    assert_eq!(list(&server, "?after=z").await, json!({"rooms": []}));
}

#[tokio::test]
async fn a_page_has_100_rooms_unless_asked_otherwise_and_at_most_1000() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let frames = (0..1_001)
        .map(|n| json!({"type": "append", "room": format!("{n:04}"), "body": "x", "req": n}));
    ada.send_all(frames).await;
    for n in 0..1_001 {
        ada.answer(n).await;
    }
    for (query, count) in [
        ("", 100),
        ("?limit=1000", 1_000),
        ("?limit=1001", 1_000),
        ("?limit=99999999999999999999999", 1_000),
    ] {
        let page = list(&server, query).await;
        assert_eq!(names(&page).len(), count, "{query}");
        assert_eq!(page["next"], format!("{:04}", count - 1), "{query}");
    }
    assert_eq!(list(&server, "?after=0999&limit=1000").await["next"], Value::Null);
}

#[tokio::test]
async fn what_is_wrong_with_the_query_is_400() {
    let server = Server::start(&[]).await;
    for query in [
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1.0",
        "limit=1&limit=2",
        "after=a&after=b",
    ] {
        server.get(&format!("/v1/rooms?{query}")).send().await.refused(400, "bad_message");
    }
    for query in ["after=-a", "after=", "after=a%20b"] {
        server.get(&format!("/v1/rooms?{query}")).send().await.refused(400, "bad_name");
    }
    assert_eq!(server.post("/v1/rooms", &json!({})).send().await.status, 405);
}

//! `watch` and its `heads`: which rooms there are, how far they go, and when they move.

mod support;

use std::{collections::BTreeMap, time::Instant};

use serde_json::{Value, json};
use support::{Client, Server};

/// What the `heads` of a fresh `watch` say, and on how many frames.
async fn first_heads(client: &mut Client) -> (BTreeMap<String, i64>, usize) {
    let req = client.post(json!({"type": "watch"})).await;
    let (mut heads, mut frames) = (BTreeMap::new(), 0);
    loop {
        let frame = client.answer(req).await;
        assert_eq!(frame["type"], "heads", "{frame}");
        let rooms = rooms_of(&frame);
        assert!(rooms.len() <= 1_000, "{} rooms in a frame", rooms.len());
        heads.extend(rooms);
        frames += 1;
        if frame["more"] != true {
            return (heads, frames);
        }
    }
}

fn rooms_of(frame: &Value) -> BTreeMap<String, i64> {
    let rooms = frame["rooms"].as_object().unwrap_or_else(|| panic!("no rooms in {frame}"));
    rooms.iter().map(|(room, latest)| (room.clone(), latest.as_i64().expect("a slot"))).collect()
}

fn heads<const N: usize>(of: [(&str, i64); N]) -> BTreeMap<String, i64> {
    of.into_iter().map(|(room, latest)| (room.to_owned(), latest)).collect()
}

#[tokio::test]
async fn a_watch_of_a_server_without_rooms_is_answered_at_once() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    // Joined rooms without entries are no rooms.
    ada.join("r", json!({})).await;
    let answer = ada.ask(json!({"type": "watch", "req": 4})).await;
    assert_eq!(answer, json!({"type": "heads", "rooms": {}, "req": 4}));
}

#[tokio::test]
async fn a_watch_gives_the_heads_of_all_rooms_and_then_of_changed_ones() {
    let server = Server::start(&[]).await;
    let (mut ada, mut watcher) = (server.login("ada").await, server.login("watcher").await);
    ada.fill("a", 3, "x").await;
    ada.fill("b", 1, "x").await;
    assert_eq!(first_heads(&mut watcher).await, (heads([("a", 2), ("b", 0)]), 1));
    ada.append("a", json!({"body": "moves"})).await;
    let moved = watcher.recv().await;
    assert_eq!(moved, json!({"type": "heads", "rooms": {"a": 3}}));
    ada.append("c", json!({"body": "a new room"})).await;
    let moved = watcher.recv().await;
    assert_eq!(moved, json!({"type": "heads", "rooms": {"c": 0}}));
}

#[tokio::test]
async fn frequently_changing_heads_are_sent_at_most_once_a_second() {
    let server = Server::start(&[]).await;
    let (mut ada, mut watcher) = (server.login("ada").await, server.login("watcher").await);
    ada.append("r", json!({"body": "0"})).await;
    first_heads(&mut watcher).await;
    let began = Instant::now();
    ada.fill("r", 400, "x").await;
    let (mut frames, mut latest) = (0, 0);
    while latest < 400 {
        let now = rooms_of(&watcher.expect("heads").await)["r"];
        assert!(now > latest, "{now} after {latest}");
        (latest, frames) = (now, frames + 1);
    }
    // One may come at once, then one a second: this machine's slowness only makes them fewer.
    let most = began.elapsed().as_secs() + 2;
    assert!(frames <= most, "{frames} frames where {most} are the most");
    watcher.nothing_more().await;
}

#[tokio::test]
async fn more_than_a_thousand_heads_are_sent_a_thousand_per_frame() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let rooms: Vec<_> = (0..2_100).map(|n| format!("room-{n}")).collect();
    for some in rooms.chunks(100) {
        let mut asked = Vec::new();
        for room in some {
            asked.push(ada.post(json!({"type": "append", "room": room, "body": "x"})).await);
        }
        for req in asked {
            assert_eq!(ada.answer(req).await["slot"], 0);
        }
    }
    let (heads, frames) = first_heads(&mut ada).await;
    assert_eq!((heads.len(), frames), (2_100, 3));
    assert!(rooms.iter().all(|room| heads.get(room) == Some(&0)));
}

#[tokio::test]
async fn a_second_watch_while_the_first_is_answered_gets_every_room() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let rooms: Vec<_> = (0..1_536).map(|n| format!("room-{n}")).collect();
    for some in rooms.chunks(100) {
        let append = |room: &String| json!({"type": "append", "room": room, "body": "x"});
        ada.send_all(some.iter().map(append)).await;
        for _ in some {
            ada.expect("appended").await;
        }
    }
    for _ in 0..20 {
        let mut watcher = server.login("watcher").await;
        let watch = |req: i64| json!({"type": "watch", "req": req});
        watcher.send(watch(1)).await;
        // The rest of the first list is being read when the second is asked for.
        assert_eq!(watcher.answer(1).await["more"], true);
        watcher.send(watch(2)).await;
        let mut told = BTreeMap::new();
        loop {
            let frame = watcher.answer(2).await;
            told.extend(rooms_of(&frame));
            if frame["more"] != true {
                break;
            }
        }
        assert_eq!(told.len(), rooms.len());
        // What came of the first came before, and nothing of it comes now.
        watcher.passed_over();
        watcher.nothing_more().await;
    }
}

#[tokio::test]
async fn heads_are_those_from_before_a_restart() {
    let mut server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.fill("a", 7, "x").await;
    ada.fill("b", 2, "x").await;
    server.kill9().await;
    server.restart().await;
    let mut ada = server.login("ada").await;
    assert_eq!(first_heads(&mut ada).await.0, heads([("a", 6), ("b", 1)]));
}

//! `update` and its `reply`: which slots, clipped how, under which digest.

mod support;

use serde_json::{Value, json};
use support::{Client, Server, chained, code, digest_after, slots, start_digest, with};

/// A server with small pages, and a connection that has put `entries` entries into room `r`.
async fn server_with(entries: usize, flags: &[&str]) -> (Server, Client) {
    let server = Server::start(flags).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", entries, "entry").await;
    (server, ada)
}

/// Latest slot and slot of the digest.
fn ends(reply: &Value) -> (i64, i64) {
    (reply["latest"].as_i64().expect("latest"), reply["digest_at"].as_i64().expect("digest_at"))
}

#[test]
fn the_digest_of_these_tests_is_that_of_the_page() {
    let entries = [
        json!({"slot": 0, "author": "ada", "id": "a-1", "body": "hello",
               "committed_at": 1_763_796_120_123_u64, "sent_at": 1_763_796_120_098_u64,
               "salt": "cm9vbWxvZy1zbHQw"}),
        json!({"slot": 1, "author": "grace", "id": "g-1", "body": "hi ada 👋",
               "committed_at": 1_763_796_120_123_u64, "ref": 0, "salt": "cm9vbWxvZy1zbHQx"}),
        json!({"slot": 2, "author": "ada", "id": "a-2", "body": "👍", "kind": "reaction", "ref": 1,
               "committed_at": 1_763_796_121_000_u64, "sent_at": 1_763_796_120_999_u64,
               "salt": "cm9vbWxvZy1zbHQy"}),
        json!({"slot": 3, "author": "grace", "id": "g-2", "body": "", "meta": "{\"x\":1}",
               "committed_at": 1_763_796_121_000_u64, "salt": "cm9vbWxvZy1zbHQz"}),
    ];
    let known = [
        "7b95ce86de539b74172e6a89e758e311cd1a8f48658e1fa52d0d37ddba31f8ad",
        "071bb2068da4fdcd28aa9c24b65009f6d5030ac7073f3e898fb50043218d3a4e",
        "fd76e704099d03c77e3194ebdef46b5627b286acef79baeb9aac52c9a0078d62",
        "838cea942e14716287cfcc57f330f33f7cc8ad7f1c17fd7349a3fbcf6b3c8f31",
        "196a80c217ea3b059dd8567559e094b5030b68cfd972b8d2d6afbfcf4c569099",
    ];
    for (count, digest) in known.iter().enumerate() {
        assert_eq!(digest_after("general", &entries[..count]), *digest);
    }
}

#[tokio::test]
async fn an_empty_log_replies_with_minus_one_and_the_start_value() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let start = start_digest("r");
    for members in [
        json!({}),
        json!({"count": 0}),
        json!({"after": -1}),
        json!({"after": -1, "digest": start}),
        json!({"count": 5, "upto": 9}),
    ] {
        let mut reply = ada.update("r", members).await;
        reply["req"].take();
        assert_eq!(
            reply,
            json!({"type": "reply", "room": "r", "entries": [], "latest": -1, "digest_at": -1,
                   "digest": start, "req": null})
        );
    }
}

#[tokio::test]
async fn count_n_upto_n_is_the_n_slots_that_end_there() {
    let (_server, mut ada) = server_with(60, &[]).await;
    for (members, want) in [
        (json!({"count": 3, "upto": 5}), 3..=5),
        (json!({"count": 1, "upto": 0}), 0..=0),
        (json!({"count": 50, "upto": 2}), 0..=2),
        (json!({"count": 3, "upto": -1}), 57..=59),
        (json!({"count": 3}), 57..=59),
        (json!({"count": 3, "upto": 59}), 57..=59),
        (json!({"count": 3, "upto": 1_000}), 57..=59),
        (json!({"upto": 55}), 6..=55),
        (json!({}), 10..=59),
        (json!({"count": 9_007_199_254_740_991_i64}), 0..=59),
    ] {
        let reply = ada.update("r", members.clone()).await;
        assert_eq!(slots(&reply), want.clone().collect::<Vec<_>>(), "{members}");
        assert_eq!(ends(&reply), (59, *want.end()), "{members}");
    }
}

#[tokio::test]
async fn after_s_is_what_follows_s_oldest_first() {
    let (_server, mut ada) = server_with(10, &[]).await;
    for (after, want) in [(-1, 0..10), (0, 1..10), (8, 9..10), (9, 10..10)] {
        let reply = ada.update("r", json!({"after": after})).await;
        assert_eq!(slots(&reply), want.collect::<Vec<_>>(), "after {after}");
        assert_eq!(ends(&reply), (9, 9));
    }
}

#[tokio::test]
async fn count_0_gives_no_entries_and_the_digest_of_any_slot() {
    let (_server, mut ada) = server_with(10, &[]).await;
    let log = ada.whole_log("r").await;
    for (members, at) in (0..10)
        .map(|upto| (json!({"count": 0, "upto": upto}), upto))
        .chain([(json!({"count": 0, "upto": 99}), 9), (json!({"count": 0, "upto": -1}), 9)])
        .chain([(json!({"count": 0}), 9)])
    {
        let reply = ada.update("r", members.clone()).await;
        assert_eq!(slots(&reply), [0_i64; 0], "{members}");
        assert_eq!(ends(&reply), (9, at), "{members}");
        let count = usize::try_from(at).expect("a slot") + 1;
        assert_eq!(reply["digest"], digest_after("r", &log[..count]), "{members}");
    }
}

#[tokio::test]
async fn a_page_of_count_keeps_the_newest_and_a_page_after_keeps_the_oldest() {
    let (_server, mut ada) = server_with(10, &["--page-entries=4"]).await;
    for (members, want) in [
        (json!({"count": 4, "upto": 7}), 4..8),
        (json!({"count": 5, "upto": 7}), 4..8),
        (json!({"count": 50}), 6..10),
        (json!({"after": -1}), 0..4),
        (json!({"after": 3}), 4..8),
        (json!({"after": 5}), 6..10),
        (json!({"after": 6}), 7..10),
    ] {
        let reply = ada.update("r", members.clone()).await;
        assert_eq!(slots(&reply), want.clone().collect::<Vec<_>>(), "{members}");
        assert_eq!(ends(&reply), (9, want.end - 1), "{members}");
    }
}

#[tokio::test]
async fn a_page_has_at_most_page_bytes_and_at_least_one_entry() {
    let server = Server::start(&["--page-bytes=2000"]).await;
    let mut ada = server.login("ada").await;
    for size in [300, 3_000, 300, 600, 300, 600, 300, 300, 1_999, 300] {
        ada.append("r", json!({"body": "b".repeat(size)})).await;
    }
    let bytes = |page: &Value| page["entries"].to_string().len();
    let (mut after, mut pages) = (-1, 0);
    while after < 9 {
        let page = ada.update("r", json!({"after": after})).await;
        let got = slots(&page);
        assert_eq!(got, (after + 1..=after + got.len() as i64).collect::<Vec<_>>());
        assert!(got.len() == 1 || (got.len() > 1 && bytes(&page) <= 2_000), "{got:?}");
        (after, pages) = (after + got.len() as i64, pages + 1);
    }
    assert!(pages < 10, "a page is not one entry");
    let mut upto = 9;
    while upto >= 0 {
        let page = ada.update("r", json!({"count": 10, "upto": upto})).await;
        let got = slots(&page);
        assert_eq!(got, (upto - got.len() as i64 + 1..=upto).collect::<Vec<_>>());
        assert!(got.len() == 1 || (got.len() > 1 && bytes(&page) <= 2_000), "{got:?}");
        upto -= got.len() as i64;
    }
}

#[tokio::test]
async fn every_reply_chains_on_from_the_one_before_it() {
    let (_server, mut ada) = server_with(50, &["--page-entries=7"]).await;
    ada.append("r", json!({"body": "👋", "kind": "action", "ref": 3, "meta": "", "sent_at": 0}))
        .await;
    let (mut digest, mut after) = (start_digest("r"), -1);
    while after < 50 {
        let reply = ada.update("r", json!({"after": after, "digest": digest})).await;
        let page = reply["entries"].as_array().expect("entries");
        digest = chained(&digest, page);
        after += page.len() as i64;
        assert_eq!((&reply["digest"], ends(&reply)), (&json!(digest), (50, after)));
    }
}

#[tokio::test]
async fn a_page_in_the_middle_is_checked_by_the_digest_before_it() {
    let (_server, mut ada) = server_with(30, &[]).await;
    let page = ada.update("r", json!({"count": 5, "upto": 20})).await;
    let before = ada.update("r", json!({"count": 0, "upto": 15})).await;
    let before = before["digest"].as_str().expect("a digest");
    let entries = page["entries"].as_array().expect("entries");
    assert_eq!(page["digest"], chained(before, entries));
}

#[tokio::test]
async fn a_digest_that_differs_is_diverged() {
    let (_server, mut ada) = server_with(10, &[]).await;
    let log = ada.whole_log("r").await;
    let (right, wrong) = (digest_after("r", &log[..4]), digest_after("r", &log[..5]));
    let reply = ada.update("r", json!({"after": 3, "digest": right})).await;
    assert_eq!(slots(&reply), [4, 5, 6, 7, 8, 9]);
    for after in [-1, 3, 9] {
        let ask = json!({"type": "update", "room": "r", "after": after, "digest": wrong});
        assert_eq!(ada.refused(ask, "diverged").await["latest"], 9);
    }
}

#[tokio::test]
async fn conflicting_members_and_values_out_of_range_are_a_bad_message() {
    let (_server, mut ada) = server_with(3, &[]).await;
    let digest = start_digest("r");
    for members in [
        json!({"after": 0, "count": 1}),
        json!({"after": 0, "upto": 1}),
        json!({"after": 0, "count": 1, "upto": 1}),
        json!({"digest": digest}),
        json!({"digest": digest, "count": 1, "upto": 1}),
        json!({"count": -1}),
        json!({"upto": -2}),
        json!({"after": -2}),
        json!({"seen": -2}),
        json!({"after": 0, "digest": "abc"}),
        json!({"after": 0, "digest": 7}),
    ] {
        ada.refused(support::with("update", "r", members.clone()), "bad_message").await;
    }
    for members in
        [json!({"after": 0, "count": 1}), json!({"digest": digest}), json!({"count": -1})]
    {
        ada.refused(support::with("join", "r", members.clone()), "bad_message").await;
    }
}

#[tokio::test]
async fn a_seen_slot_that_is_not_committed_in_time_is_ahead() {
    let (_server, mut ada) = server_with(3, &["--ahead-ms=150"]).await;
    for members in [
        json!({"seen": 3}),
        json!({"seen": 3, "count": 0}),
        json!({"after": 3}),
        json!({"after": 0, "seen": 3}),
        json!({"after": 9_007_199_254_740_991_i64}),
        json!({"after": 3, "digest": start_digest("r")}),
    ] {
        let ask = support::with("update", "r", members);
        assert_eq!(ada.refused(ask, "ahead").await["latest"], 2);
    }
    for members in [json!({"seen": 2}), json!({"seen": -1}), json!({"after": 0, "seen": 2})] {
        ada.update("r", members).await;
    }
}

#[tokio::test]
async fn a_slot_that_comes_while_it_is_waited_for_is_replied_to() {
    let (server, mut ada) = server_with(3, &[]).await;
    let mut grace = server.login("grace").await;
    let seen = ada.post(json!({"type": "update", "room": "r", "seen": 3, "count": 2})).await;
    let after = ada.post(json!({"type": "update", "room": "r", "after": 4})).await;
    ada.nothing_more().await;
    grace.append("r", json!({"body": "3"})).await;
    assert_eq!(slots(&ada.answer(seen).await), [2, 3]);
    grace.append("r", json!({"body": "4"})).await;
    let reply = ada.answer(after).await;
    assert_eq!((slots(&reply), ends(&reply)), (vec![], (4, 4)));
}

#[tokio::test]
async fn answers_about_one_room_come_in_the_order_asked() {
    let (_server, mut ada) = server_with(3, &["--ahead-ms=200"]).await;
    ada.send_all([
        json!({"type": "update", "room": "r", "seen": 9, "req": 1}),
        json!({"type": "update", "room": "r", "count": 1, "req": 2}),
        json!({"type": "join", "room": "r", "after": 7, "req": 3}),
        json!({"type": "update", "room": "r", "count": -1, "req": 4}),
        json!({"type": "join", "room": "r", "req": 5}),
        json!({"type": "leave", "room": "r", "req": 6}),
        json!({"type": "update", "room": "r", "req": 7}),
        json!({"type": "update", "room": "other", "req": 8}),
    ])
    .await;
    // Another room does not wait.
    ada.answer(8).await;
    let mut answers = Vec::new();
    for _ in 0..7 {
        let frame = ada.recv().await;
        let what = if frame["type"] == "error" { code(&frame) } else { "" };
        answers.push((frame["req"].as_i64(), what.to_owned()));
    }
    let want = [(1, "ahead"), (2, ""), (3, "ahead"), (4, "bad_message"), (5, ""), (6, ""), (7, "")];
    assert_eq!(answers, want.map(|(req, what)| (Some(req), what.to_owned())));
}

#[tokio::test]
async fn reading_a_room_that_was_never_written_to_stores_nothing() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    ada.update("r", json!({})).await;
    server.get("/v1/rooms/r").send().await.refused(404, "not_found");
}

#[tokio::test]
async fn a_read_behind_one_that_the_socket_takes_at_once_does_not_wait_for_a_timer() {
    // Nothing else happens on the connection. A reply is longer than what may wait for a socket when
    // the next page is read, and the socket takes it in one write.
    let flags = ["--login-ms=60000", "--ping-ms=60000", "--idle-ms=120000"];
    let server = Server::start(&flags).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 22, &"x".repeat(15_000)).await;
    ada.send_all((0..2).map(|req| with("update", "r", json!({"count": 22, "req": req})))).await;
    for req in 0..2 {
        assert_eq!(slots(&ada.answer(req).await).len(), 22);
    }
}

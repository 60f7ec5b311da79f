//! `roomlog chat` in a terminal: moving through rooms and logs, and what is unread.

mod support;

use serde_json::json;
use support::{
    Server, Terminal, backup,
    chat::{ALT_HOME, CTRL_C, CTRL_N, ESC, PAGE_UP, UP, ada, chat_in},
    restore,
};

#[tokio::test(flavor = "multi_thread")]
async fn unread_counts_are_shown_and_saved_for_the_next_run() {
    let server = Server::start(&[]).await;
    let mut bo = server.login("bo").await;
    bo.append("general", json!({ "body": "first" })).await;
    bo.append("random", json!({ "body": "first" })).await;
    let state = tempfile::tempdir().expect("a directory");
    let path = state.path().to_str().expect("UTF-8");
    let mut ada = chat_in(&server, &["--author", "ada"], path, (24, 100));
    ada.shows(&["bo  first", "random  "]).await;
    ada.keys(CTRL_N);
    ada.shows(&["Write to random", "bo  first"]).await;
    bo.append("general", json!({ "body": "second" })).await;
    ada.until("an unread mark", |screen| marked(screen, "general", "1")).await;
    ada.keys(CTRL_C);
    assert_eq!(ada.ended().await.0, Some(0));

    bo.append("general", json!({ "body": "third" })).await;
    let mut ada = chat_in(&server, &["random", "--author", "ada"], path, (24, 100));
    ada.until("two unread", |screen| marked(screen, "general", "2")).await;
    ada.keys("\x1ba");
    let screen = ada.shows(&["Write to general", "── new ──", "bo  second"]).await;
    let rows: Vec<_> = screen.lines().collect();
    let new = rows.iter().position(|row| row.contains("── new ──")).expect("a mark");
    assert!(rows[new + 1].contains("second"), "the mark stands before what is new");
    assert!(!marked(&screen, "general", "2"), "it is read now");
}

/// Whether the list shows this count at this room.
fn marked(screen: &str, room: &str, count: &str) -> bool {
    let row = |row: &&str| row.starts_with(room);
    let listed = screen.lines().find(row).and_then(|row| row.split('│').next());
    listed.is_some_and(|row| row.trim_end().ends_with(&format!(" {count}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn scrolling_reaches_slot_0_and_returns_to_the_latest() {
    let server = Server::start(&[]).await;
    let mut bo = server.login("bo").await;
    for part in 0..6 {
        bo.fill("general", 500, &format!("part {part}")).await;
    }
    let mut ada = ada(&server).await;
    ada.terminal.shows(&["3000 entries", "2999 "]).await;
    while top(&ada.terminal.screen()).is_none_or(|slot| slot > 2_000) {
        let before = ada.terminal.screen();
        ada.terminal.keys(PAGE_UP);
        ada.terminal.until("another page", |screen| screen != before).await;
    }
    bo.append("general", json!({ "body": "meanwhile" })).await;
    let then = top(&ada.terminal.shows(&["3001 entries", "Esc: jump to latest"]).await);
    bo.append("general", json!({ "body": "meanwhile" })).await;
    let now = ada.terminal.shows(&["3002 entries"]).await;
    assert_eq!(top(&now), then, "the view stays");
    assert!(!now.contains("meanwhile"), "{now}");
    ada.terminal.keys(ALT_HOME);
    ada.terminal.shows(&["│   0 ", "│   1 ", "below"]).await;
    ada.say("/goto 1500");
    ada.terminal.shows(&["│1500 ", "│1495 ", "│1505 "]).await;
    ada.terminal.keys("\x1b[6~");
    ada.terminal.shows(&["│1520 "]).await;
    ada.terminal.keys(ESC);
    ada.terminal.shows(&["3001 ", "meanwhile", "● ada"]).await;
}

/// The slot of the highest row.
fn top(screen: &str) -> Option<u64> {
    let row = |row: &str| row.split('│').nth(1)?.split_whitespace().next()?.parse().ok();
    screen.lines().skip(1).find_map(row)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reaction_on_a_full_screen_does_not_stop_following() {
    let server = Server::start(&[]).await;
    let mut bo = server.login("bo").await;
    bo.fill("general", 60, "line").await;
    let ada = ada(&server).await;
    ada.terminal.shows(&["59 ", "60 entries"]).await;
    bo.append("general", json!({ "body": "👍", "kind": "reaction", "ref": 59 })).await;
    ada.terminal.shows(&["👍 1", "61 entries"]).await;
    bo.append("general", json!({ "body": "after it" })).await;
    ada.terminal.shows(&["after it", "62 entries", "● ada"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_room_keeps_its_draft_and_a_recalled_message_is_no_draft() {
    let server = Server::start(&[]).await;
    let mut bo = server.login("bo").await;
    bo.append("random", json!({ "body": "first" })).await;
    let mut ada = ada(&server).await;
    ada.say("said before");
    ada.terminal.shows(&["ada  said before"]).await;
    ada.terminal.keys(&format!("for general{UP}"));
    ada.terminal.shows(&["› said before"]).await;
    ada.terminal.keys(CTRL_N);
    ada.terminal.shows(&["bo  first"]).await;
    ada.terminal.keys("for random\x1b[B");
    ada.terminal.shows(&["› for random"]).await;
    ada.terminal.keys(CTRL_N);
    ada.terminal.shows(&["› for general", "ada  said before"]).await;
    ada.terminal.keys(&format!("{CTRL_C}{CTRL_C}"));
    ada.terminal.shows(&["You have a draft in random."]).await;
    ada.terminal.keys(CTRL_C);
    assert_eq!(ada.terminal.ended().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn goto_loads_the_pages_in_between_and_rejects_slots_beyond_the_end() {
    let server = Server::start(&["--page-entries", "20"]).await;
    let mut bo = server.login("bo").await;
    bo.fill("general", 400, "line").await;
    let mut ada = ada(&server).await;
    ada.terminal.shows(&["400 entries", "399 "]).await;
    ada.say("/goto 18446744073709551615");
    ada.terminal.shows(&["There is no slot 18446744073709551615 yet"]).await;
    ada.terminal.keys(&format!("{CTRL_C}{ALT_HOME}"));
    ada.terminal.shows(&["│  0 ", "│  1 "]).await;
    ada.terminal.keys(ESC);
    ada.terminal.shows(&["399 ", "● ada"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_replaces_the_shown_entries_and_is_reported() {
    let mut server = Server::start(&[]).await;
    let mut bo = server.login("bo").await;
    bo.append("general", json!({ "body": "kept" })).await;
    let older = backup(&server).await;
    bo.append("general", json!({ "body": "lost" })).await;
    let mut ada = ada(&server).await;
    ada.terminal.shows(&["kept", "lost"]).await;
    restore(&mut server, &older).await;
    let screen = ada.terminal.shows(&["The server has another log now", "bo  kept"]).await;
    assert!(!screen.contains("lost"), "{screen}");
    ada.say("anew");
    ada.terminal.shows(&["1 ", "ada  anew", "2 entries"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_messages_from_another_client_are_never_unread() {
    let server = Server::start(&[]).await;
    let (mut bo, mut elsewhere) = (server.login("bo").await, server.login("ada").await);
    bo.append("random", json!({ "body": "first" })).await;
    let state = tempfile::tempdir().expect("a directory");
    let path = state.path().to_str().expect("UTF-8");
    let mut ada = chat_in(&server, &["random", "--author", "ada"], path, (24, 100));
    ada.shows(&["bo  first"]).await;
    ada.keys("/join general\r");
    ada.shows(&["Write to general"]).await;
    elsewhere.append("random", json!({ "body": "own" })).await;
    bo.append("random", json!({ "body": "of bo" })).await;
    ada.until("one unread", |screen| marked(screen, "random", "1")).await;
    ada.keys(CTRL_C);
    assert_eq!(ada.ended().await.0, Some(0));

    // Written while no chat runs: the mark of new entries precedes the other user's line.
    elsewhere.append("random", json!({ "body": "own again" })).await;
    bo.append("random", json!({ "body": "of bo again" })).await;
    let mut ada = chat_in(&server, &["general", "--author", "ada"], path, (24, 100));
    ada.until("two unread", |screen| marked(screen, "random", "2")).await;
    ada.keys("\x1ba");
    let screen = ada.shows(&["Write to random", "── new ──", "of bo again"]).await;
    let rows: Vec<_> = screen.lines().collect();
    let new = rows.iter().position(|row| row.contains("── new ──")).expect("a mark");
    assert!(rows[new - 1].contains("own") && rows[new + 1].contains("of bo"), "{screen}");
    ada.keys(CTRL_C);
    assert_eq!(ada.ended().await.0, Some(0));

    elsewhere.append("random", json!({ "body": "the last word" })).await;
    let ada = chat_in(&server, &["random", "--author", "ada"], path, (24, 100));
    let screen = ada.shows(&["the last word", "● ada"]).await;
    assert!(!screen.contains("── new ──"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn read_marks_of_a_replaced_log_are_not_used() {
    let mut server = Server::start(&["--fold-ms", "1"]).await;
    let mut bo = server.login("bo").await;
    bo.append("general", json!({ "body": "kept" })).await;
    let older = backup(&server).await;
    for body in ["lost", "lost too", "lost as well"] {
        bo.append("general", json!({ "body": body })).await;
    }
    let state = tempfile::tempdir().expect("a directory");
    let path = state.path().to_str().expect("UTF-8");
    let mut ada = chat_in(&server, &["--author", "ada"], path, (24, 100));
    ada.shows(&["lost as well", "4 entries"]).await;
    ada.keys(CTRL_C);
    assert_eq!(ada.ended().await.0, Some(0));

    restore(&mut server, &older).await;
    let mut ada = chat_in(&server, &["--author", "ada"], path, (24, 100));
    ada.shows(&["bo  kept", "1 entry"]).await;
    ada.keys("/join random\r");
    ada.shows(&["Write to random"]).await;
    // Slot 1 was read in the log that is gone, and is unread in this one.
    server.login("bo").await.append("general", json!({ "body": "new" })).await;
    ada.until("one unread", |screen| marked(screen, "general", "1")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsavable_read_marks_are_a_warning_and_none_are_saved_without_a_home() {
    let server = Server::start(&[]).await;
    let state = tempfile::tempdir().expect("a directory");
    // A file is in the place of the directory, so not even root can write below it.
    std::fs::write(state.path().join("roomlog"), "in the way").expect("written");
    let path = state.path().to_str().expect("UTF-8");
    for (state, warns, committed) in [(path, true, "1 entry"), ("", false, "2 entries")] {
        let url = format!("http://{}", server.address);
        let env = [("ROOMLOG_SERVER", url.as_str()), ("XDG_STATE_HOME", state), ("HOME", "")];
        let args = ["chat", "--author", "ada"];
        let mut ada = Terminal::run(env!("CARGO_BIN_EXE_roomlog"), &args, &env, 24, 160);
        ada.shows(&["Write to general", "● ada"]).await;
        ada.keys("hello\r");
        // Only then it is read.
        ada.shows(&["ada  hello", committed]).await;
        ada.keys(CTRL_C);
        let (code, screen) = ada.ended().await;
        assert_eq!(code, Some(0));
        assert_eq!(screen.contains("your read marks cannot be saved"), warns, "{screen}");
    }
}

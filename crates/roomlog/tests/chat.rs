//! `roomlog chat` as one sits before it: keys go into a terminal, and the screen is read.

mod support;

use serde_json::json;
use support::{Client, Server, Terminal, backup, restore};
use tempfile::TempDir;

const ENTER: &str = "\r";
const CTRL_C: &str = "\x03";
const CTRL_N: &str = "\x0e";
const UP: &str = "\x1b[A";
const PAGE_UP: &str = "\x1b[5~";
const ALT_HOME: &str = "\x1b[1;3H";
const ESC: &str = "\x1b";

/// One who chats, and where their terminal keeps what they have read.
struct Person {
    terminal: Terminal,
    _state: TempDir,
}

fn chat_in(server: &Server, args: &[&str], state: &str, (rows, columns): (u16, u16)) -> Terminal {
    let url = format!("http://{}", server.address);
    let env = [("ROOMLOG_SERVER", url.as_str()), ("XDG_STATE_HOME", state), ("TZ", "UTC")];
    let args: Vec<_> = ["chat"].iter().chain(args).copied().collect();
    Terminal::run(env!("CARGO_BIN_EXE_roomlog"), &args, &env, rows, columns)
}

/// Ada's terminal of 24 rows and 100 columns, in room general.
async fn ada(server: &Server) -> Person {
    let state = tempfile::tempdir().expect("a directory");
    let path = state.path().to_str().expect("UTF-8");
    let terminal = chat_in(server, &["--author", "ada"], path, (24, 100));
    terminal.shows(&["Write to general", "● ada"]).await;
    Person { terminal, _state: state }
}

impl Person {
    fn say(&mut self, text: &str) {
        self.terminal.keys(&format!("{text}{ENTER}"));
    }
}

async fn bodies(client: &mut Client, room: &str) -> Vec<String> {
    let log = client.whole_log(room).await;
    log.iter().map(|entry| entry["body"].as_str().expect("a body").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_is_in_the_log_and_on_both_screens() {
    let server = Server::start(&[]).await;
    let mut bo = server.login("bo").await;
    let mut ada = ada(&server).await;
    ada.say("hello, 漢字 👍");
    ada.terminal.shows(&["0 ", "ada  hello, 漢字 👍", "1 entry"]).await;
    bo.append("general", json!({ "body": "hello back" })).await;
    ada.terminal.shows(&["bo  hello back", "2 entries"]).await;
    assert_eq!(bodies(&mut bo, "general").await, ["hello, 漢字 👍", "hello back"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paste_of_many_lines_waits_in_the_composer_and_is_one_entry() {
    let server = Server::start(&[]).await;
    let mut bo = server.login("bo").await;
    let mut ada = ada(&server).await;
    ada.terminal.paste("one\r\ntwo\r\x1b[31mthree\t!");
    ada.terminal.shows(&["› one", "  two", "  [31mthree"]).await;
    assert_eq!(bodies(&mut bo, "general").await, [""; 0], "nothing was sent yet");
    ada.say("");
    ada.terminal.shows(&["Write to general", "ada  one"]).await;
    assert_eq!(bodies(&mut bo, "general").await, ["one\ntwo\n[31mthree\t!"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_edits_reactions_and_actions_are_shown_where_they_belong() {
    let server = Server::start(&[]).await;
    let mut bo = server.login("bo").await;
    bo.append("general", json!({ "body": "shall we?" })).await;
    let mut ada = ada(&server).await;
    ada.say("/reply 0 yes");
    ada.terminal.shows(&["↳ bo: shall we?", "ada  yes"]).await;
    ada.say("/react 0 👍");
    ada.terminal.shows(&["👍 1"]).await;
    ada.say("/me waves");
    ada.terminal.shows(&["*  ada waves"]).await;
    ada.say("/edit");
    ada.terminal.shows(&["› /edit 1 yes"]).await;
    ada.say(", at noon");
    let screen = ada.terminal.shows(&["yes, at noon (edited)", "5 entries"]).await;
    assert!(!screen.contains("reaction") && !screen.contains("edit:"), "no lines of their own");
    ada.say("/react 0");
    ada.terminal.until("no reaction", |screen| !screen.contains("👍 1")).await;
    let log = bo.whole_log("general").await;
    let kinds: Vec<_> = log.iter().map(|it| it["kind"].as_str().unwrap_or("text")).collect();
    assert_eq!(kinds, ["text", "text", "reaction", "action", "edit", "reaction"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_show_what_was_not_read_and_it_is_kept_for_the_next_time() {
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
async fn scrolling_reads_the_log_to_slot_0_and_back_to_now() {
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
async fn a_reaction_at_the_end_of_a_full_screen_does_not_end_the_following() {
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
async fn drafts_stay_with_their_rooms_and_what_is_taken_up_is_none_of_them() {
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
async fn a_slot_is_reached_over_pages_that_do_not_hold_it_and_none_beyond_the_end() {
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
async fn what_is_sent_while_the_server_is_away_is_there_once_and_in_order() {
    let mut server = Server::start(&[]).await;
    let mut ada = ada(&server).await;
    ada.say("before");
    ada.terminal.shows(&["ada  before"]).await;
    server.kill9().await;
    ada.terminal.shows(&["Offline: reconnecting. Your messages will be sent."]).await;
    for word in ["one", "two", "three"] {
        ada.say(word);
    }
    ada.terminal.shows(&["… general: one", "… general: two", "… general: three"]).await;
    server.restart().await;
    ada.terminal.shows(&["● ada", "4 entries", "three"]).await;
    let mut bo = server.login("bo").await;
    assert_eq!(bodies(&mut bo, "general").await, ["before", "one", "two", "three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_with_texts_that_have_no_answer_warns_and_then_prints_them() {
    let mut server = Server::start(&[]).await;
    let mut ada = ada(&server).await;
    server.kill9().await;
    ada.terminal.shows(&["Offline: reconnecting. Your messages will be sent."]).await;
    ada.say("unheard");
    ada.terminal.shows(&["… general: unheard"]).await;
    ada.terminal.keys(CTRL_C);
    ada.terminal.shows(&["1 message is not sent yet. Ctrl-C quits anyway."]).await;
    ada.terminal.keys(CTRL_C);
    let (code, screen) = ada.terminal.ended().await;
    assert_eq!(code, Some(1));
    assert!(screen.contains("general: unheard"), "{screen}");
    assert_eq!(ada.terminal.differences(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_log_replaces_what_was_shown_and_is_said() {
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
async fn a_text_that_is_refused_stays_and_the_reason_is_said() {
    let server = Server::start(&["--body-bytes", "32"]).await;
    let mut ada = ada(&server).await;
    ada.say("/nonsense of mine");
    ada.terminal.shows(&["There is no /nonsense", "› /nonsense of mine"]).await;
    ada.terminal.keys(CTRL_C);
    ada.terminal.shows(&["Text cleared; Up brings it back"]).await;
    ada.say(&"a".repeat(33));
    ada.terminal
        .shows(&["This message has 33 bytes; the limit is 32. Shorten it.", "› aaaaa"])
        .await;
    ada.terminal.keys("\x7f");
    ada.say("");
    ada.terminal.shows(&["1 entry"]).await;
    ada.terminal.paste(&"b".repeat(33));
    ada.terminal.shows(&["Nothing was pasted", "Write to general"]).await;
    ada.say("/reply 7 to nothing");
    ada.terminal.shows(&["There is no slot 7 yet", "› /reply 7 to nothing"]).await;
    ada.terminal.keys(&format!("{CTRL_C}{UP}{UP}"));
    ada.terminal.shows(&[&format!("› {}", "a".repeat(32))]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_would_command_the_terminal_are_only_text() {
    let server = Server::start(&[]).await;
    let mut eve = server.login("eve\u{202e}").await;
    let tower = format!("o{}", "\u{301}".repeat(400));
    for body in [
        "clear \x1b[2J\x1b[H\x1b]0;title\x07\x1b[?1049l\u{9b}31m end",
        "bidi \u{202e}desrever\u{2066} end",
        "\u{200b}\u{feff}\u{301}",
        tower.as_str(),
        "back \r\x08\x08 end",
    ] {
        eve.append("general", json!({ "body": body })).await;
    }
    eve.append("general", json!({ "body": "\x1b[31m!", "kind": "reaction", "ref": 0 })).await;
    let ada = ada(&server).await;
    ada.terminal
        .shows(&["clear ␛[2J␛[H␛]0;title␇", "bidi desrever end", "6 entries", "␛[31m! 1"])
        .await;
    let bytes = ada.terminal.bytes();
    let written = String::from_utf8_lossy(&bytes);
    for harm in ["\x1b[2J\x1b[H\x1b]", "\x1b]0;", "\u{9b}", "\u{202e}", "\u{200b}", "\x07", "\x08"]
    {
        assert!(!written.contains(harm), "{harm:?} went through");
    }
    assert!(written.matches('\u{301}').count() < 20, "marks climb over the rows above");
    assert!(written.contains("eve\u{fffd}"), "a name passes for another");
    let screen = ada.terminal.screen();
    let is_whole = |row: &str| row.chars().nth(21) == Some('│');
    assert!(screen.lines().all(is_whole), "a row was moved:\n{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_of_another_size_shows_what_fits() {
    let server = Server::start(&[]).await;
    let mut ada = ada(&server).await;
    ada.say("first of all, a line that is longer than a narrow screen");
    ada.say("漢字漢字漢字漢字漢字漢字");
    ada.terminal.shows(&["2 entries"]).await;
    ada.terminal.resize(12, 40);
    ada.terminal.shows(&["first of all, a", "Write to general"]).await;
    ada.terminal.resize(24, 100);
    ada.terminal
        .shows(&[
            "Rooms",
            "first of all, a line that is longer than a narrow",
            "漢字漢字漢字漢字漢字漢字",
        ])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_terminal_is_left_as_it_was_on_every_way_out() {
    let server = Server::start(&[]).await;
    for way in ["\x03", "\x04", "/quit\r"] {
        let mut ada = ada(&server).await;
        assert_eq!(
            ada.terminal.differences(),
            ["settings", "alternate screen", "bracketed paste", "no line wrap"]
        );
        ada.terminal.keys(way);
        assert_eq!(ada.terminal.ended().await.0, Some(0), "{way:?}");
        assert_eq!(ada.terminal.differences(), [""; 0], "{way:?}");
    }
    let mut ada = ada(&server).await;
    support::terminate(ada.terminal.process()).await;
    assert_eq!(ada.terminal.ended().await.0, Some(0));
    assert_eq!(ada.terminal.differences(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_terminal_or_a_server_it_says_what_to_do() {
    let server = Server::start(&[]).await;
    let out = support::roomlog(&server, "chat").output().await.expect("a run");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1));
    assert!(said.contains("`roomlog chat` needs a terminal; `roomlog tail` and"), "{said}");

    let mut terminal = Terminal::run(
        env!("CARGO_BIN_EXE_roomlog"),
        &["chat", "--server", "http://127.0.0.1:1"],
        &[],
        24,
        100,
    );
    let (code, screen) = terminal.ended().await;
    assert_eq!(code, Some(1));
    assert!(screen.contains("start a server with `roomlog serve`"), "{screen}");
    assert_eq!(terminal.differences(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_one_is_offline_fits_every_width_and_moves_nothing() {
    let mut server = Server::start(&[]).await;
    let mut ada = ada(&server).await;
    ada.say("before");
    ada.terminal.shows(&["ada  before", "1 entry"]).await;
    let long = "Offline: reconnecting. Your messages will be sent.";
    let rows_of = |screen: &str| {
        let row_of = |text: &str| screen.lines().position(|row| row.contains(text));
        ["before", "Write to general"].map(row_of)
    };
    for (rows, columns, said) in
        [(24, 80, long), (15, 40, "Offline. Your messages will be sent."), (40, 120, long)]
    {
        ada.terminal.resize(rows, columns);
        server.kill9().await;
        let offline = ada.terminal.shows(&[said, "before", "Write to general"]).await;
        assert!(!offline.contains('…'), "something is cut:\n{offline}");
        server.restart().await;
        // The first screen of a size may still be that of the last one.
        let moves_nothing = |online: &str| {
            let offline = rows_of(&offline);
            online.contains("● ada") && !offline.contains(&None) && rows_of(online) == offline
        };
        ada.terminal.until("the same rows, online", moves_nothing).await;
    }
    ada.terminal.shows(&["● ada"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tab_completes_commands_and_the_rooms_of_join() {
    let server = Server::start(&[]).await;
    let mut bo = server.login("bo").await;
    for room in ["random", "releases", "releases-2"] {
        bo.append(room, json!({ "body": "first" })).await;
    }
    let mut ada = ada(&server).await;
    ada.terminal.shows(&["releases-2"]).await;
    ada.terminal.keys("/j\tra\t");
    ada.terminal.shows(&["› /join random "]).await;
    ada.terminal.keys("\x15/join rel\t");
    ada.terminal.shows(&["› /join releases", "releases  releases-2"]).await;
    ada.terminal.keys("-\t\r");
    ada.terminal.shows(&["Write to releases-2", "bo  first"]).await;
    ada.terminal.keys("/re\t");
    ada.terminal.shows(&["/reply  /react  /retry"]).await;
    ada.terminal.keys("\x15/join none\t");
    ada.terminal.shows(&["Nothing begins with \"none\"."]).await;
    ada.terminal.keys("\x15hello bo\t");
    ada.terminal.shows(&["› hello bo "]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_done_says_why_and_keeps_the_text() {
    let server = Server::start(&[]).await;
    let mut bo = server.login("bo").await;
    bo.append("general", json!({ "body": "of bo" })).await;
    bo.append("general", json!({ "body": "👍", "kind": "reaction", "ref": 0 })).await;
    let mut ada = ada(&server).await;
    ada.terminal.shows(&["bo  of bo", "2 entries"]).await;
    for (typed, said) in [
        ("/edit", "You have no message here to edit."),
        ("/edit 0 mine now", "Slot 0 is bo's message; you can edit only your own."),
        ("/edit 1 heart", "Slot 1 is an edit or a reaction, not a message."),
        ("/edit 9 later", "There is no slot 9 yet; the latest is 1."),
        ("/react 👍", "No message is selected. Type /react SLOT EMOJI"),
        ("/react 9 👍", "There is no slot 9 yet; the latest is 1."),
        ("/react 0 well done", "A reaction is one emoji."),
        ("/react 0", "You have not reacted to slot 0."),
        ("/nope", "There is no /nope. Commands: /join /goto"),
    ] {
        ada.say(typed);
        ada.terminal.shows(&[said, &format!("› {typed}")]).await;
        ada.terminal.keys(CTRL_C);
        ada.terminal.shows(&["Write to general", "Text cleared"]).await;
    }
    ada.say("/goto 0");
    ada.say("/react 🎉");
    ada.terminal.shows(&["👍 1   🎉 1"]).await;
    ada.say("mine");
    ada.terminal.shows(&["ada  mine"]).await;
    ada.say("/edit 3");
    ada.terminal.shows(&["› /edit 3 mine"]).await;
    ada.say(" indeed");
    ada.terminal.shows(&["mine indeed (edited)"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ones_own_lines_are_never_unread_wherever_they_were_written() {
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

    // Written while nobody chats: what is new begins with the line of another.
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
async fn marks_of_a_log_are_not_those_of_the_one_that_a_restore_made() {
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
async fn read_marks_that_cannot_be_kept_are_a_warning_and_without_a_home_there_are_none() {
    let server = Server::start(&[]).await;
    let state = tempfile::tempdir().expect("a directory");
    // Where the file's directory would be there is a file: nobody, not even root, can write below it.
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

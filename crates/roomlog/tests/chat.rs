//! `roomlog chat` in a terminal: writing messages, commands, and the terminal itself. Tests send keys
//! and read the screen.

mod support;

use serde_json::json;
use support::{
    Server, Terminal,
    chat::{CTRL_C, UP, ada, bodies},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_message_is_in_the_log_and_on_the_screen() {
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
async fn a_pasted_text_of_several_lines_is_sent_as_one_entry() {
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
async fn replies_edits_reactions_and_actions_are_shown_at_their_messages() {
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
async fn a_removed_message_and_its_edits_are_redacted_and_one_of_another_author_is_not() {
    let server = Server::start(&[]).await;
    let mut bo = server.login("bo").await;
    bo.append("general", json!({ "body": "shall we?" })).await;
    let mut ada = ada(&server).await;
    ada.say("my PIN is 1234");
    ada.terminal.shows(&["ada  my PIN is 1234"]).await;
    ada.say("/edit 1 my PIN is 4321");
    ada.terminal.shows(&["my PIN is 4321 (edited)"]).await;
    ada.say("/remove 1");
    let screen = ada.terminal.shows(&["ada  removed", "5 entries"]).await;
    assert!(!screen.contains("PIN") && !screen.contains("edited"), "{screen}");
    ada.say("/remove 0");
    ada.terminal.shows(&["✗ Not sent", "slot 0 has another author", "general: /remove 0"]).await;
    let log = bo.whole_log("general").await;
    let redacted: Vec<_> = log.iter().map(|it| it["redacted"] == true).collect();
    assert_eq!(redacted, [false, true, true, false, false]);
    bo.append("general", json!({ "body": "bo", "kind": "erase", "ref": 4 })).await;
    let screen = ada.terminal.shows(&["bo  removed", "6 entries"]).await;
    assert!(!screen.contains("shall we?"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_sent_while_offline_are_stored_once_and_in_order() {
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
async fn quitting_with_unsent_messages_warns_and_prints_them() {
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
async fn a_rejected_text_stays_in_the_composer_with_the_reason() {
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
async fn control_sequences_in_entries_are_shown_as_text() {
    let server = Server::start(&[]).await;
    let mut eve = server.login("eve").await;
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
    let screen = ada.terminal.screen();
    let is_whole = |row: &str| row.chars().nth(21) == Some('│');
    assert!(screen.lines().all(is_whole), "a row was moved:\n{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resized_terminal_shows_what_fits() {
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
async fn the_terminal_is_restored_after_every_kind_of_exit() {
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
async fn without_a_terminal_or_a_server_the_error_says_what_to_do() {
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
async fn the_offline_notice_fits_every_width_and_moves_no_row() {
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
    ada.terminal.shows(&["/reply  /react  /remove  /retry"]).await;
    ada.terminal.keys("\x15/join none\t");
    ada.terminal.shows(&["Nothing begins with \"none\"."]).await;
    ada.terminal.keys("\x15hello bo\t");
    ada.terminal.shows(&["› hello bo "]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_command_gives_the_reason_and_keeps_the_text() {
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

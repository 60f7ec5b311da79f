//! `roomlog import` of the logs and exports of other chats: the resulting entries, that they are stored once however
//! often they are imported, and that an ambiguous file is rejected before anything is sent.

mod support;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use support::{Server, within};
use tempfile::{TempDir, tempdir};
use tokio::process::Command;

/// The exit code of an import, its summary, and its standard error.
struct Run {
    code: Option<i32>,
    summary: String,
    said: String,
}

async fn roomlog(server: Option<&Server>, args: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    command.args(args).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    let address = server.map_or("127.0.0.1:1".into(), |server| server.address.to_string());
    command.env("ROOMLOG_SERVER", format!("http://{address}"));
    let output = within("the end of the import", command.output()).await.expect("an end");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Run { code: output.status.code(), summary: text(output.stdout), said: text(output.stderr) }
}

fn sample(name: &str) -> String {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    samples.join(name).to_str().expect("UTF-8").to_owned()
}

/// The room as lines: author, kind, body, and the body of the entry it refers to.
async fn lines(server: &Server, room: &str) -> Vec<String> {
    let log = server.login("reader").await.whole_log(room).await;
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("text").to_owned();
    let line = |entry: &Value| {
        let about = entry["ref"].as_u64().and_then(|slot| usize::try_from(slot).ok());
        let about = about.map(|slot| format!(" ^ {}", text(&log[slot], "body")));
        let (author, kind) = (text(entry, "author"), text(entry, "kind"));
        format!("{author} {kind}: {}{}", text(entry, "body"), about.unwrap_or_default())
    };
    log.iter().map(line).collect()
}

/// Imports twice; the lines of the room.
async fn imported(server: &Server, room: &str, args: &[&str]) -> Vec<String> {
    let args: Vec<_> = ["import", room].iter().chain(args).copied().collect();
    let first = roomlog(Some(server), &args).await;
    assert_eq!(first.code, Some(0), "{}", first.said);
    let again = roomlog(Some(server), &args).await;
    assert_eq!(again.code, Some(0), "{}", again.said);
    assert!(again.summary.contains("new              0\n"), "{}", again.summary);
    lines(server, room).await
}

/// The standard error of an import that sends nothing.
async fn refused(args: &[&str]) -> String {
    let args: Vec<_> = ["import", "tea"].iter().chain(args).copied().collect();
    let run = roomlog(None, &args).await;
    assert_eq!(run.code, Some(1), "{}", run.summary);
    assert!(run.said.lines().count() <= 12, "{}", run.said);
    run.said
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempdir().expect("a directory"))
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, content).expect("a file");
        path.to_str().expect("UTF-8").to_owned()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[tokio::test]
async fn the_logs_of_irc_programs_are_distinguished() {
    let server = Server::start(&[]).await;
    let znc = imported(&server, "znc", &[&sample("znc"), "--joins"]).await;
    assert_eq!(
        znc,
        [
            "mona join: joined (~mona@198.51.100.7)",
            "mona text: hello",
            "mona text: hello as an operator",
            "mona action: waves",
            "ops notice: the server restarts at noon",
            "mona nick: is now known as mona_",
            "theo part: quit (~t@198.51.100.8) (Ping timeout)",
        ]
    );
    let eggdrop = imported(&server, "eggdrop", &[&sample("eggdrop")]).await;
    assert_eq!(eggdrop, ["mona text: hello", "mona action: waves", "theo text: the next day"]);
    let said = [
        "mona text: hello",
        "ops text: hello mona",
        "mona action: waves",
        "theo text: the next day",
    ];
    assert_eq!(imported(&server, "irssi", &[&sample("irssi.log")]).await, said);
    assert_eq!(imported(&server, "weechat", &[&sample("weechat.weechatlog")]).await, said);
    let files = Files::new();
    let day = files.put("tea.2020-03-09.log", "00:01 <+theo> the next day\n");
    let run = roomlog(Some(&server), &["import", "irssi", &day]).await;
    assert!(run.summary.contains("new              0\n"), "by its name: {}", run.summary);
    for room in ["irssi", "weechat", "eggdrop"] {
        let log = server.login("reader").await.whole_log(room).await;
        let last = log.last().expect("an entry")["sent_at"].as_u64();
        assert_eq!(last, Some(1_583_712_060_000), "{room}: 2020-03-09 00:01 UTC");
    }
}

#[tokio::test]
async fn a_slack_channel_keeps_threads_reactions_and_names() {
    let server = Server::start(&[]).await;
    let tea = imported(&server, "slack", &[&sample("slack")]).await;
    let first = "1 < 2 &amp; @theo: see #tea, this (https://example.org/a) and https://example.org";
    let expected = [
        format!("mona text: {first}"),
        format!("mona reaction: 👍 ^ {first}"),
        format!("theo reaction: 👍 ^ {first}"),
        format!("theo reaction: :party-parrot: ^ {first}"),
        "theo text: first words".into(),
        "theo action: waves".into(),
        format!("theo text: a reply ^ {first}"),
        "kettle text: it boils".into(),
        "mona text: [file: cup.png] https://files.example.org/cup.png".into(),
    ];
    assert_eq!(tea, expected);
    let log = server.login("reader").await.whole_log("slack").await;
    let ids: Vec<_> = log.iter().map(|entry| entry["id"].as_str().expect("an id")).collect();
    assert_eq!(ids[0], "slack-1583665143.000200", "an id is a promise");
    assert_eq!(ids[1], "slack-1583665143.000200-e36434fee06d1e4f", "of a reaction too");
    // A directory or a day of the same channel gives the same entries.
    let run = roomlog(Some(&server), &["import", "slack", &sample("slack/tea")]).await;
    assert!(run.summary.contains("new              0\n"), "{}", run.summary);
    let day =
        roomlog(Some(&server), &["import", "slack", &sample("slack/tea/2020-03-09.json")]).await;
    assert_eq!(day.code, Some(0), "{}", day.said);
    assert!(day.summary.contains("new              0\nalready there    3 "), "{}", day.summary);
}

#[tokio::test]
async fn a_discord_channel_and_a_telegram_chat_keep_replies_and_people() {
    let server = Server::start(&[]).await;
    let discord = imported(&server, "discord", &[&sample("discord.json")]).await;
    let first = "hello @theo\n[file: cup.png] https://example.org/cup.png";
    let expected = [
        format!("mona text: {first}"),
        format!("theo reaction: 👍 ^ {first}"),
        format!("theo text: a reply ^ {first}"),
        "theo (13) text: to what is gone".into(),
    ];
    assert_eq!(discord, expected);
    let telegram = imported(&server, "telegram", &[&sample("telegram.json"), "--joins"]).await;
    let first = "see this (https://example.org/)!";
    let expected = [
        "Mona notice: create group: tea, Mona, Alex".into(),
        format!("Alex text: {first}"),
        format!("Mona reaction: 👍 ^ {first}"),
        format!("Alex (user13) text: another Alex ^ {first}"),
        "user14 text: [photo: photos/1.jpg]".into(),
        "Mona text: first words".into(),
    ];
    assert_eq!(telegram, expected);
}

#[tokio::test]
async fn a_message_edited_since_the_last_import_is_edited() {
    let (server, files) = (Server::start(&[]).await, Files::new());
    let telegram = fs::read_to_string(sample("telegram.json")).expect("a sample");
    let path = files.put("result.json", &telegram);
    imported(&server, "tea", &[&path]).await;
    files.put("result.json", telegram.replace("first words", "better words"));
    let run = roomlog(Some(&server), &["import", "tea", &path]).await;
    assert_eq!(run.code, Some(0), "{}", run.said);
    assert!(run.summary.contains("edited since     1 "), "{}", run.summary);
    let tea = imported(&server, "tea", &[&path]).await;
    assert_eq!(tea.last().expect("an entry"), "Mona edit: better words ^ first words");
    assert_eq!(tea.len(), 6);
}

#[tokio::test]
async fn encodings_and_compression_change_no_entry() {
    let (server, files) = (Server::start(&[]).await, Files::new());
    let log = "[10:59] <mona> café\n[10:59] <mona> wait\n[10:59] <mona> naïve\n";
    let gzip = |text: &str| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(text.as_bytes()).expect("packed");
        gzip.finish().expect("packed")
    };
    let latin: Vec<u8> =
        log.chars().map(|c| u8::try_from(u32::from(c)).expect("Latin-1")).collect();
    let utf16: Vec<u8> =
        "\u{feff}".encode_utf16().chain(log.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    let expected = ["mona text: café", "mona text: wait", "mona text: naïve"];
    for (name, content, encoding) in [
        ("a/2020-03-08.log.gz", gzip(log), "utf-8"),
        ("b/2020-03-08.log", latin, "cp1252"),
        ("c/2020-03-08.log", utf16, "utf-8"),
        ("d/2020-03-08.log", [b"\xef\xbb\xbf", log.as_bytes()].concat(), "cp1252"),
    ] {
        let path = files.put(name, content);
        assert_eq!(
            imported(&server, "tea", &[&path, "--encoding", encoding]).await,
            expected,
            "{name}"
        );
    }
    let latin = files.path("b/2020-03-08.log");
    let run = roomlog(None, &["import", "tea", "--dry-run", latin.to_str().expect("UTF-8")]).await;
    assert_eq!(run.said.matches("not UTF-8").count(), 1, "said once: {}", run.said);
    assert!(run.said.contains("--encoding cp1252"), "{}", run.said);
    assert!(run.summary.contains("not UTF-8        2 "), "{}", run.summary);
}

#[tokio::test]
async fn times_are_in_the_named_zone() {
    let (server, files) = (Server::start(&[]).await, Files::new());
    let path = files
        .put("2020-10-25.log", "[02:30] <mona> once\n[02:10] <mona> twice\n[03:00] <mona> after\n");
    imported(&server, "tea", &[&path, "--timezone", "Europe/Berlin"]).await;
    let log = server.login("reader").await.whole_log("tea").await;
    let times: Vec<_> = log
        .iter()
        .map(|entry| entry["sent_at"].as_u64().expect("a time") / 60_000 % 1_440)
        .collect();
    assert_eq!(times, [30, 70, 120], "minutes of the day, UTC");
    // The zone is no part of an id.
    let run = roomlog(Some(&server), &["import", "tea", &path, "--timezone=+05:30"]).await;
    assert!(run.summary.contains("new              0\n"), "{}", run.summary);
    let run = roomlog(None, &["import", "tea", &path, "--timezone", "Mars/Olympus"]).await;
    assert_eq!(run.code, Some(2), "{}", run.said);
}

#[tokio::test]
async fn a_half_written_last_line_is_left_for_the_next_run() {
    let (server, files) = (Server::start(&[]).await, Files::new());
    let whole = "[10:59] <mona> one\n[11:00] <mona> see you at the station\n";
    for end in [5, 18, 30, whole.len() - 1] {
        let path = files.put("2020-03-08.log", &whole[..end]);
        let run = roomlog(Some(&server), &["import", "tea", &path]).await;
        assert_eq!(run.code, Some(0), "{}", run.said);
        let line = 1 + usize::from(end > 18);
        let left = format!("2020-03-08.log:{line}: left for the next run");
        assert!(run.said.contains(&left), "{}", run.said);
        assert!(run.summary.contains("unfinished       1 "), "{}", run.summary);
    }
    let path = files.put("2020-03-08.log", whole);
    assert_eq!(
        imported(&server, "tea", &[&path]).await,
        ["mona text: one", "mona text: see you at the station"]
    );
}

#[tokio::test]
async fn ambiguous_files_are_rejected_in_a_few_lines() {
    let files = Files::new();
    let mut refusals = Vec::new();
    let messages: Vec<_> = (0..500)
        .map(|n| serde_json::json!({"type": "message", "user": "U1", "text": n, "ts": "1.000001"}))
        .collect();
    let pretty = serde_json::to_string_pretty(&messages).expect("JSON");
    let mixed = "[10:59] <mona> hello\n2020-03-08 10:59:02\tmona\thello\n";
    let zeros = {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        for _ in 0..64 {
            gzip.write_all(&[0; 1 << 20]).expect("packed");
        }
        gzip.finish().expect("packed")
    };
    for (name, content, why) in [
        ("2020-03-08.json", pretty.as_bytes(), "users.json"),
        ("other.json", br#"{"rooms": [1, 2]}"#, "the members rooms), but neither"),
        (
            "2020-03-08",
            mixed.as_bytes(),
            "it has lines of irc and weechat. Choose one with --format",
        ),
        ("tea.log", b"[10:59] <mona> hello\n", "the name of an IRC log must contain its date"),
        ("2020-03-08.txt", b"Dear Mona,\nhow are you?\n", "line 1 is not of any supported format"),
        (
            "mirc-2020-03-08.log",
            b"\nSession Start: Sun Mar 08 10:58:00 2020\n[10:59] <mona> hello\n",
            "looks like one of mIRC",
        ),
        ("part-of-irssi.log", b"10:59 < mona> hello\n", "without a date before its first line"),
        ("2020-03-08.zip", b"PK\x03\x04...", "a zip archive; unpack it"),
        ("2020-03-08.log", b"[\x001\x000\x00", "--encoding utf-16le"),
        ("2020-03-08.gz", zeros.as_slice(), "it is not text"),
    ] {
        let path = files.put(name, content);
        let said = refused(&[&path]).await;
        refusals.push(said.clone());
        assert!(said.contains(why), "{name}: {said}");
        assert!(said.contains(name), "{name}: {said}");
    }
    // A named format is trusted; lines of another form are then rejected one by one, and only some are listed.
    let server = Server::start(&[]).await;
    let path = files.put("2020-03-09.log", "what?\n".repeat(1_000) + mixed);
    let run = roomlog(Some(&server), &["import", "tea", &path, "--format", "znc"]).await;
    assert_eq!(run.code, Some(1));
    assert!(run.said.lines().count() < 15, "{}", run.said);
    assert!(run.said.contains(":1: not imported: not a line of an IRC log"), "{}", run.said);
    assert!(run.said.contains("and 991 more lines that were not imported"), "{}", run.said);
    assert_eq!(lines(&server, "tea").await, ["mona text: hello"]);
}

#[tokio::test]
async fn several_chats_cannot_be_imported_into_one_room() {
    let files = Files::new();
    for name in ["users.json", "channels.json"] {
        files.put(
            &format!("slack/{name}"),
            fs::read(sample(&format!("slack/{name}"))).expect("a sample"),
        );
    }
    let day = fs::read(sample("slack/tea/2020-03-08.json")).expect("a sample");
    files.put("slack/tea/2020-03-08.json", &day);
    let other = files.put("slack/cups/2020-03-08.json", &day);
    let root = files.path("slack").to_str().expect("UTF-8").to_owned();
    let said = refused(&[&root]).await;
    assert!(said.contains("cups, tea") && said.contains("--channel"), "{said}");
    let said = refused(&[&root, "--channel", "milk"]).await;
    assert!(said.contains("cups, tea"), "{said}");
    let run = roomlog(None, &["import", "tea", "--dry-run", &root, "--channel", "#tea"]).await;
    assert!(run.summary.contains("files            1 (slack 1)"), "{}{}", run.summary, run.said);
    // A day may have no messages.
    files.put("slack/tea/2020-03-07.json", b"[]");
    let channel = files.path("slack/tea").to_str().expect("UTF-8").to_owned();
    let run = roomlog(None, &["import", "r", &channel, "--dry-run"]).await;
    assert!(run.summary.contains("files            2 (slack 2)"), "{}{}", run.summary, run.said);
    let said = refused(&[&other, files.path("slack/tea").to_str().expect("UTF-8")]).await;
    assert!(said.contains("of two channels"), "{said}");

    let discord = fs::read_to_string(sample("discord.json")).expect("a sample");
    let first = files.put("a.json", &discord);
    let second = files.put("b.json", discord.replace(r#""id": "2""#, r#""id": "3""#));
    let said = refused(&[&first, &second]).await;
    assert!(said.contains("of two channels; import one of them"), "{said}");
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_imported() {
    let run = roomlog(None, &["import", "tea", "--dry-run", &sample("irssi.log")]).await;
    assert_eq!(run.code, Some(0), "{}", run.said);
    for part in [
        "files            1 (irssi 1)",
        "entries          4 (action 1, text 3)",
        "first / last     2020-03-08T23:59:00Z / 2020-03-09T00:01:00Z",
        "authors          3",
        "              2  mona",
        "  0 2020-03-08T23:59:00Z <mona> hello",
        "  3 2020-03-09T00:01:00Z <theo> the next day",
    ] {
        assert!(run.summary.contains(part), "{part}: {}", run.summary);
    }
}

#[tokio::test]
async fn truncated_or_hostile_json_is_reported_with_its_line() {
    let (server, files) = (Server::start(&[]).await, Files::new());
    let telegram = fs::read_to_string(sample("telegram.json")).expect("a sample");
    let cut = telegram.find(r#"{"id": 4"#).expect("a message");
    let path = files.put("result.json", &telegram[..cut + 20]);
    let run = roomlog(Some(&server), &["import", "tea", &path]).await;
    assert_eq!(run.code, Some(1));
    assert!(run.said.contains("result.json:11: cannot be read from here on"), "{}", run.said);
    assert_eq!(lines(&server, "tea").await.len(), 3, "what came before is taken");
    let log = server.login("reader").await.whole_log("tea").await;
    assert_eq!(log[0]["id"].as_str(), Some("telegram-4242-2"), "an id is a promise");
    // A malformed message is reported, those around it are imported.
    let path = files.put(
        "result.json",
        telegram.replace(r#""id": 4, "type": "message""#, r#""id": "4", "type": "message""#),
    );
    let run = roomlog(Some(&server), &["import", "tea", &path]).await;
    assert_eq!(run.code, Some(1));
    assert!(run.said.contains("result.json:11: not imported: "), "{}", run.said);
    assert_eq!(lines(&server, "tea").await.len(), 4);
    let deep = telegram.replace(r#""first words""#, &("[".repeat(100_000) + &"]".repeat(100_000)));
    let run = roomlog(Some(&server), &["import", "tea", &files.put("result.json", deep)]).await;
    assert!(run.said.contains("cannot be read from here on"), "{}", run.said);
}

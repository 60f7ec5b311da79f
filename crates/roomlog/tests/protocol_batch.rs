//! `POST …/entries` as `application/x-ndjson`: many appends, an outcome a line.

mod support;

use serde_json::{Value, json};
use support::{Answer, Request, Server, code, slot, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const ENTRIES: &str = "/v1/rooms/r/entries";
const NDJSON: &str = "application/x-ndjson";

/// An append, and members besides.
fn says(body: &str, members: Value) -> Value {
    let mut append = json!({"author": "ada", "id": body, "body": body});
    let members = members.as_object().expect("an object").clone();
    append.as_object_mut().expect("an object").extend(members);
    append
}

fn numbered(count: usize) -> Vec<Value> {
    (0..count).map(|n| says(&format!("i-{n}"), json!({}))).collect()
}

fn text(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn batch<'a>(server: &'a Server, lines: &[Value]) -> Request<'a> {
    server.post_text(ENTRIES, NDJSON, text(lines))
}

/// The outcomes, one a line and none blank.
fn outcomes(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["content-type"], NDJSON);
    assert!(answer.body.is_empty() || answer.body.ends_with('\n'), "the last line is cut off");
    answer.body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// Each outcome in short: its slot, with `again` when it was there, or the code of its error.
fn short(outcomes: &[Value]) -> Vec<String> {
    let one = |outcome: &Value| match &outcome["entry"] {
        Value::Null => code(&outcome["error"]).to_owned(),
        entry if outcome["repeat"] == true => format!("{} again", slot(entry)),
        entry => slot(entry).to_string(),
    };
    outcomes.iter().map(one).collect()
}

async fn take(server: &Server, lines: &[Value]) -> Vec<String> {
    short(&outcomes(&batch(server, lines).send().await))
}

#[tokio::test]
async fn each_line_has_an_outcome_in_order_and_a_repeat_says_so() {
    let server = Server::start(&[]).await;
    let lines = [
        says("one", json!({"room": "r", "meta": "m", "sent_at": 5})),
        says("two", json!({"author": "grace", "kind": "action"})),
        says("one", json!({"meta": "m", "sent_at": 6})),
        json!({"author": "ada", "body": "without an id"}),
    ];
    let done = outcomes(&batch(&server, &lines).send().await);
    assert_eq!(short(&done), ["0", "1", "0 again", "2"]);
    let log = server.login("ada").await.whole_log("r").await;
    assert_eq!(done[0], json!({"entry": log[0]}));
    assert_eq!(done[1], json!({"entry": log[1]}));
    assert_eq!(done[2], json!({"entry": log[0], "repeat": true}), "what is there, not what came");
    assert_eq!(done[3], json!({"entry": log[2]}));
    assert_eq!(log.len(), 3);
    // The same batch again, an hour or a lost answer later.
    assert_eq!(take(&server, &lines[..3]).await, ["0 again", "1 again", "0 again"]);
}

#[tokio::test]
async fn blank_lines_have_no_outcome_and_the_last_line_needs_no_end() {
    let server = Server::start(&[]).await;
    let (a, b) = (says("a", json!({})), says("b", json!({})));
    for (body, want) in [
        (format!("\n{a}\r\n  \t\n\r\n{b}"), vec!["0", "1"]),
        (format!("{b}\n\n"), vec!["1 again"]),
        (String::new(), vec![]),
        ("\n \n".into(), vec![]),
    ] {
        let answer =
            server.post_text(ENTRIES, "application/x-ndjson; charset=utf-8", body.as_str());
        assert_eq!(short(&outcomes(&answer.send().await)), want, "{body:?}");
    }
}

#[tokio::test]
async fn after_a_final_error_the_next_line_is_taken() {
    let server = Server::start(&["--ahead-ms=50"]).await;
    let lines = [
        ("{".into(), "bad_message"),
        ("[]".into(), "bad_message"),
        (r#"{"author":"ada","body":"x","body":"y"}"#.into(), "bad_message"),
        (says("a", json!({})).to_string(), "0"),
        (says("seq", json!({"seq": 0})).to_string(), "bad_message"),
        (says("other", json!({"room": "other"})).to_string(), "bad_message"),
        (says("a b", json!({})).to_string(), "bad_name"),
        (says("long", json!({"body": "b".repeat(16_385)})).to_string(), "too_large"),
        (says("a", json!({"body": "else"})).to_string(), "id_reused"),
        (says("expect", json!({"expect": 7})).to_string(), "expect_failed"),
        (
            says("redact", json!({"author": "bob", "body": "", "kind": "redact", "ref": 0}))
                .to_string(),
            "forbidden",
        ),
        (says("ref", json!({"ref": 99})).to_string(), "bad_ref"),
        (says("b", json!({"expect": 1})).to_string(), "1"),
    ];
    let body: Vec<String> = lines.iter().map(|(line, _)| line.clone()).collect();
    let answer = server.post_text(ENTRIES, NDJSON, body.join("\n")).send().await;
    let done = outcomes(&answer);
    assert_eq!(short(&done), lines.iter().map(|(_, want)| *want).collect::<Vec<_>>());
    for outcome in done.iter().filter(|outcome| outcome["entry"].is_null()) {
        let error = &outcome["error"];
        assert!(error["message"].as_str().is_some_and(|said| !said.is_empty()), "{error}");
        assert_eq!(error["room"], if error["id"] == "other" { "other" } else { "r" }, "{error}");
    }
    assert_eq!((&done[8]["error"]["slot"], &done[8]["error"]["id"]), (&json!(0), &json!("a")));
    assert_eq!(done[9]["error"]["latest"], 0);
    assert_eq!(server.login("ada").await.whole_log("r").await.len(), 2);
}

#[tokio::test]
async fn a_line_that_is_not_utf_8_is_rejected_alone() {
    let server = Server::start(&[]).await;
    let body = [
        text(&[says("a", json!({}))]).as_bytes(),
        b"{\"author\":\"ada\",\"body\":\"\xff\"}\n",
        text(&[says("b", json!({}))]).as_bytes(),
    ]
    .concat();
    let answer = raw(&server, &head(body.len()), &body).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let at = |what: &str| answer.find(what).unwrap_or_else(|| panic!("no {what}: {answer}"));
    assert!(at("\"slot\":0") < at("bad_message") && at("bad_message") < at("\"slot\":1"));
}

#[tokio::test]
async fn after_another_error_the_rest_are_not_tried() {
    let server = Server::start(&["--ahead-ms=50"]).await;
    let mut lines = numbered(5);
    lines[2] = json!({"id": "i-2", "body": "nobody says this"});
    let want = ["0", "1", "login_required", "out_of_order", "out_of_order"];
    assert_eq!(take(&server, &lines).await, want);
    lines[2] = says("i-2", json!({"after": 99}));
    // What is wrong behind it is not tried either.
    lines[4] = json!("no object");
    let done = outcomes(&batch(&server, &lines).send().await);
    let want = ["0 again", "1 again", "ahead", "out_of_order", "out_of_order"];
    assert_eq!(short(&done), want);
    assert_eq!((&done[2]["error"]["latest"], &done[2]["error"]["id"]), (&json!(1), &json!("i-2")));
    // Sent again from there, all of it is there once, in order.
    assert_eq!(take(&server, &numbered(5)[2..]).await, ["2", "3", "4"]);
    let log = server.login("ada").await.whole_log("r").await;
    assert_eq!(
        log.iter().map(|entry| &entry["id"]).collect::<Vec<_>>(),
        ["i-0", "i-1", "i-2", "i-3", "i-4"]
    );
}

#[tokio::test]
async fn a_line_may_wait_for_one_before_it() {
    let server = Server::start(&[]).await;
    let lines = [
        says("question", json!({})),
        says("answer", json!({"ref": 0, "after": 0})),
        says("👍", json!({"id": "like", "kind": "reaction", "ref": 1})),
    ];
    assert_eq!(take(&server, &lines).await, ["0", "1", "2"]);
    let log = server.login("ada").await.whole_log("r").await;
    assert_eq!((&log[1]["ref"], &log[2]["ref"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn lines_stand_in_the_log_in_their_order_whatever_their_clocks_say() {
    let server = Server::start(&[]).await;
    let mut others = server.login("others").await;
    let backwards = |n: i64| says(&format!("i-{n}"), json!({"sent_at": 1_763_796_120_000_i64 - n}));
    let lines: Vec<Value> = (0..500).map(backwards).collect();
    let (answer, _) = tokio::join!(batch(&server, &lines).send(), others.fill("r", 300, "between"));
    let done = outcomes(&answer);
    let slots: Vec<i64> = done.iter().map(|outcome| slot(&outcome["entry"])).collect();
    assert!(slots.is_sorted(), "{slots:?}");
    let log = others.whole_log("r").await;
    for (line, outcome) in lines.iter().zip(&done) {
        assert_eq!(outcome["entry"]["id"], line["id"]);
        assert_eq!(
            outcome["entry"],
            log[usize::try_from(slot(&outcome["entry"])).expect("a slot")]
        );
    }
    assert_eq!(log.len(), 800);
}

#[tokio::test]
async fn a_batch_of_1001_appends_is_rejected_as_a_whole() {
    let server = Server::start(&[]).await;
    let lines = numbered(1_001);
    batch(&server, &lines).send().await.refused(413, "too_large");
    server.get("/v1/rooms/r").send().await.refused(404, "not_found");
    let want: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    // Blank lines are no appends.
    let body = text(&lines[..1_000]).replace('\n', "\n\n");
    let answer = server.post_text(ENTRIES, NDJSON, body).send().await;
    assert_eq!(short(&outcomes(&answer)), want);
    // Folded or not, a repeated batch is answered as one.
    let want: Vec<String> = (0..1_000).map(|n| format!("{n} again")).collect();
    assert_eq!(take(&server, &lines[..1_000]).await, want);
}

#[tokio::test]
async fn a_batch_of_the_longest_bodies_is_accepted() {
    let server = Server::start(&[]).await;
    let body = "b".repeat(16_384);
    let line = |n| json!({"author": "ada", "id": format!("i-{n}"), "body": body});
    let lines: Vec<Value> = (0..1_000).map(line).collect();
    let done = outcomes(&batch(&server, &lines).send().await);
    let whole = |(n, outcome): (usize, &Value)| {
        outcome["entry"]["slot"] == n
            && outcome["entry"]["body"].as_str().map(str::len) == Some(16_384)
    };
    assert_eq!(done.len(), 1_000);
    assert!(done.iter().enumerate().all(whole));
}

#[tokio::test]
async fn a_batch_over_batch_bytes_is_rejected_as_a_whole() {
    let lines = numbered(20);
    let bytes = text(&lines).len();
    let (exact, less) = (format!("--batch-bytes={bytes}"), format!("--batch-bytes={}", bytes - 1));
    let server = Server::start(&[&exact]).await;
    assert_eq!(take(&server, &lines).await.len(), 20);
    let server = Server::start(&[&less]).await;
    batch(&server, &lines).send().await.refused(413, "too_large");
    server.get("/v1/rooms/r").send().await.refused(404, "not_found");
}

#[tokio::test]
async fn a_line_over_frame_bytes_is_rejected_alone() {
    let server = Server::start(&["--frame-bytes=1024", "--body-bytes=512"]).await;
    let padded = |id: &str, bytes: usize| {
        let bare = says(id, json!({"padding": ""})).to_string().len();
        says(id, json!({"padding": "p".repeat(bytes - bare)}))
    };
    let lines = [padded("a", 1_024), padded("b", 1_025), padded("c", 1_024)];
    assert_eq!(take(&server, &lines).await, ["0", "too_large", "1"]);
}

#[tokio::test]
async fn a_body_that_its_client_may_not_hold_beside_others_is_busy_until_they_finish() {
    // A client may hold a third of half of the memory, and a second one of the same address a third
    // of what is left then.
    let server = Server::start(&["--memory=2097152", "--batch-bytes=250000"]).await;
    let padded = |id: &str, bytes: usize| says(id, json!({"padding": "p".repeat(bytes)}));
    let body = text(&[padded("a", 110_000), padded("b", 110_000)]);
    let (small, large) =
        ([padded("small", 10)], [padded("large-1", 90_000), padded("large-2", 90_000)]);
    let (mut slow, busy) = loop {
        // One that has come but for its last byte is held; whichever of the two is read second is
        // busy, and that has to be the other.
        let mut slow = TcpStream::connect(server.address).await.expect("a connection");
        slow.write_all(head(body.len()).as_bytes()).await.expect("sent");
        slow.write_all(&body.as_bytes()[..body.len() - 1]).await.expect("sent");
        let answer = batch(&server, &large).send().await;
        if answer.status != 200 {
            break (slow, answer);
        }
    };
    busy.refused(503, "busy");
    assert_eq!(busy.headers["retry-after"], "1");
    assert_eq!(batch(&server, &small).send().await.status, 200, "it takes little");
    slow.write_all(&body.as_bytes()[body.len() - 1..]).await.expect("sent");
    let mut answer = [0; 12];
    within("an answer", slow.read_exact(&mut answer)).await.expect("read");
    assert_eq!(&answer, b"HTTP/1.1 200");
    assert_eq!(batch(&server, &large).send().await.status, 200);
}

#[tokio::test]
async fn a_batch_is_accepted_up_to_the_bound_of_the_node() {
    // Room for two thirds of the batch until it is in the archive.
    let server = Server::start(&["--memory=2097152"]).await;
    let lines = numbered(500);
    let (mut sent, mut rounds) = (0, 0);
    while sent < lines.len() {
        let done = outcomes(&batch(&server, &lines[sent..]).send().await);
        assert_eq!(done.len(), lines.len() - sent);
        let taken = done.iter().take_while(|outcome| !outcome["entry"].is_null()).count();
        let refused = short(&done[taken..]);
        if let Some((first, rest)) = refused.split_first() {
            assert_eq!(first, "busy");
            assert!(done[taken]["error"]["retry_after_ms"].is_u64());
            assert!(rest.iter().all(|code| code == "out_of_order"), "{rest:?}");
        }
        sent += taken;
        rounds += 1;
        // What was not taken is not there.
        let latest = server.get("/v1/rooms/r").send().await.json()["latest"].clone();
        assert_eq!(latest.as_i64().unwrap_or(-1), sent as i64 - 1);
    }
    assert!(rounds > 1, "the bound was never met");
    let log = server.login("ada").await.whole_log("r").await;
    let ids = |of: &[Value]| of.iter().map(|line| line["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids(&log), ids(&lines));
}

#[tokio::test]
async fn a_batch_takes_as_long_as_an_append_may_and_the_rest_is_busy() {
    let server = Server::start(&["--append-ms=300", "--ahead-ms=200"]).await;
    // Each waits for a slot that never comes.
    let wait = |n| says(&format!("w-{n}"), json!({"ref": 99}));
    let mut lines: Vec<Value> = (0..50).map(wait).collect();
    lines.insert(0, says("a", json!({})));
    let done = take(&server, &lines).await;
    let late = done.iter().position(|outcome| outcome == "busy").expect("it ends in time");
    assert!((2..10).contains(&late), "{done:?}");
    assert_eq!(done[0], "0");
    assert!(done[1..late].iter().all(|code| code == "bad_ref"), "{done:?}");
    assert!(done[late + 1..].iter().all(|code| code == "out_of_order"), "{done:?}");
}

#[tokio::test]
async fn an_idempotency_key_names_one_append_and_no_batch() {
    let server = Server::start(&[]).await;
    let request = batch(&server, &numbered(2)).header("idempotency-key", "k");
    request.send().await.refused(400, "bad_message");
    server.post_text("/v1/rooms/-r/entries", NDJSON, "").send().await.refused(400, "bad_name");
    server.get("/v1/rooms/r").send().await.refused(404, "not_found");
}

#[tokio::test]
async fn a_batch_whose_client_disconnects_is_finished() {
    let server = Server::start(&[]).await;
    let body = text(&numbered(200));
    let mut socket = TcpStream::connect(server.address).await.expect("a connection");
    socket.write_all(head(body.len()).as_bytes()).await.expect("sent");
    socket.write_all(body.as_bytes()).await.expect("sent");
    let mut events = server.get("/v1/rooms/r/events?after=-1").events().await;
    events.place().await;
    // Its first entry is stored, so it was accepted; now no client waits for the answer.
    events.entry().await;
    drop(socket);
    events.entries(199).await;
}

#[tokio::test]
async fn an_accepted_batch_is_answered_when_the_server_stops() {
    let mut server = Server::start(&["--ahead-ms=600000"]).await;
    let mut lines = numbered(100);
    lines.push(says("waits", json!({"ref": 1_000})));
    lines.push(says("behind", json!({})));
    let mut events = server.get("/v1/rooms/r/events?after=-1").events().await;
    events.place().await;
    let (answer, ()) = tokio::join!(batch(&server, &lines).send(), async {
        events.entries(99).await;
        server.terminate().await;
    });
    let done = short(&outcomes(&answer));
    assert_eq!(done[99..], ["99", "unavailable", "out_of_order"]);
    assert_eq!(server.ended().await.code(), Some(0));
}

/// The head of a batch's request.
fn head(bytes: usize) -> String {
    format!(
        "POST {ENTRIES} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         content-type: {NDJSON}\r\ncontent-length: {bytes}\r\n\r\n"
    )
}

/// Sends bytes as they are and reads until the connection ends.
async fn raw(server: &Server, head: &str, body: &[u8]) -> String {
    let mut socket = TcpStream::connect(server.address).await.expect("a connection");
    socket.write_all(&[head.as_bytes(), body].concat()).await.expect("sent");
    let mut answer = String::new();
    within("the answer", socket.read_to_string(&mut answer)).await.expect("read");
    answer
}

//! The example of the Rust client, as one would paste it, against a server that is killed meanwhile.

mod support;

#[path = "../../client/examples/hello.rs"]
#[allow(dead_code, reason = "its `main` is for those who run it by hand")]
mod hello;

use roomlog_client::{AppendError, Client, ClientError, Followed, Options, Start, draft};
use roomlog_protocol::{ClientAppend, EntryId, ErrorCode, Latest, RoomName};
use serde_json::json;
use support::{Server, within};
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread")]
async fn the_example_appends_and_continues_over_a_restart() {
    let mut server = Server::start(&[]).await;
    let url = format!("http://{}", server.address);
    let (sender, mut lines) = mpsc::channel(16);
    let talk = tokio::spawn(async move {
        let print = |line| sender.try_send(line).expect("read");
        hello::talk(&url, print).await.map_err(|error| error.to_string())
    });
    let line = within("its slot", lines.recv()).await;
    assert_eq!(line.as_deref(), Some("appended at slot 0"));
    assert_eq!(within("its entry", lines.recv()).await.as_deref(), Some("0 <ada> hello from Rust"));

    server.kill9().await;
    server.restart().await;
    server.login("bo").await.append("general", json!({ "body": "hello back" })).await;
    assert_eq!(within("an entry", lines.recv()).await.as_deref(), Some("1 <bo> hello back"));
    talk.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_waits_for_a_server() {
    let mut server = Server::start(&[]).await;
    server.kill9().await;
    let url = format!("http://{}", server.address);
    let (sender, mut lines) = mpsc::channel(16);
    let talk = tokio::spawn(async move {
        let print = |line| sender.try_send(line).expect("read");
        hello::talk(&url, print).await.map_err(|error| error.to_string())
    });
    let line = within("a word", lines.recv()).await.expect("a line");
    assert!(
        line.starts_with("cannot reach http://") && line.ends_with("; waiting for it"),
        "{line}"
    );
    server.restart().await;
    assert_eq!(within("its slot", lines.recv()).await.as_deref(), Some("appended at slot 0"));
    talk.abort();
}

fn under(id: &str, room: &str, body: &str) -> ClientAppend {
    let id = Some(EntryId::new(id).expect("an id"));
    ClientAppend { id, ..draft(RoomName::new(room).expect("a room"), body) }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_id_in_two_rooms_and_with_two_texts_has_the_outcomes_of_a_real_server() {
    let server = Server::start(&[]).await;
    let url = format!("http://{}", server.address);
    let options = Options::new(url.parse().expect("a URL"), "ada".parse().expect("a name"));
    let client = Client::connect(options).await.expect("a client");
    let mut pending = Vec::new();
    for append in [
        draft(RoomName::new("one").expect("a room"), "slot 0"),
        under("k", "one", "x"),
        under("k", "two", "x"),
        under("k", "one", "x"),
        under("k", "one", "other text"),
        ClientAppend { author: Some("bo".parse().expect("a name")), ..under("k", "one", "x") },
    ] {
        pending.push(client.append(append).await.expect("taken"));
    }
    let mut outcomes = Vec::new();
    for pending in pending {
        outcomes.push(match within("an outcome", pending).await {
            Ok(committed) => Ok(committed.appended.slot),
            Err(AppendError::Refused(error)) => Err(error.code),
            Err(other) => panic!("{other}"),
        });
    }
    let reused = Err(ErrorCode::IdReused);
    assert_eq!(outcomes, [Ok(0), Ok(1), Ok(0), Ok(1), reused, Ok(2)]);

    // Two lists and two followings of a room at once.
    let (a, b) = tokio::join!(client.rooms(), client.rooms());
    assert_eq!((a.expect("rooms").len(), b.expect("rooms").len()), (2, 2));
    let room = RoomName::new("one").expect("a room");
    let mut first =
        client.follow(room.clone(), Start::After(Latest(-1))).await.expect("a following");
    let mut second =
        client.follow(room.clone(), Start::After(Latest(0))).await.expect("a following");
    let taken = within("entries", second.next()).await.expect("entries");
    assert!(matches!(taken, Followed::Entries(entries) if entries[0].body() == "x"));
    let end = loop {
        if let Err(end) = within("an end", first.next()).await {
            break end;
        }
    };
    assert_eq!(end, ClientError::Replaced { room });
    within("the end", client.close()).await;
}

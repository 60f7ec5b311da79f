//! The example of the Rust client, as one would paste it, against a server that is killed meanwhile.

mod support;

#[path = "../../client/examples/hello.rs"]
#[allow(dead_code, reason = "its `main` is for those who run it by hand")]
mod hello;

use serde_json::json;
use support::{Server, within};
use tokio::sync::mpsc;

#[tokio::test(flavor = "multi_thread")]
async fn the_example_says_hello_and_goes_on_over_a_restart() {
    let mut server = Server::start(&[]).await;
    let url = format!("http://{}", server.address);
    let (sender, mut lines) = mpsc::channel(16);
    let talk = tokio::spawn(async move {
        let print = |line| sender.try_send(line).expect("read");
        hello::talk(&url, print).await.map_err(|error| error.to_string())
    });
    let line = within("its slot", lines.recv()).await;
    assert_eq!(line.as_deref(), Some("said at slot 0"));
    assert_eq!(within("its entry", lines.recv()).await.as_deref(), Some("0 <ada> hello from Rust"));

    server.kill9().await;
    server.restart().await;
    server.login("bo").await.append("general", json!({ "body": "hello back" })).await;
    assert_eq!(within("an entry", lines.recv()).await.as_deref(), Some("1 <bo> hello back"));
    talk.abort();
}

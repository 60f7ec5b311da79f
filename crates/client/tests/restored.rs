//! A server that comes back with another log, as after a restore: what names a slot of the old one goes
//! back to whoever asked, everything else goes on.

mod fake;

use fake::{Fake, hello, reply, room, soon};
use roomlog_client::{AppendError, Client, ClientError, State, draft};
use roomlog_protocol::{ClientAppend, ClientUpdate, Span};
use serde_json::json;

async fn connected_again(client: &Client) {
    let mut state = client.state();
    let again = state.wait_for(|state| *state == State::Connected);
    let _connected = soon("a connection", again).await.expect("a client");
}

fn told(body: &str, change: fn(&mut ClientAppend)) -> ClientAppend {
    let mut append = draft(room("r"), body);
    change(&mut append);
    append
}

#[tokio::test]
async fn an_append_made_with_slots_of_the_old_log_after_the_server_had_another_is_not_sent_with_them()
 {
    let server = Fake::start().await;
    let (client, peer) = server.client(server.options()).await;
    let old = client.hello().log.clone();
    peer.close(1012).await;
    let mut peer = server.accept(&hello("log-2")).await;
    connected_again(&client).await;

    for change in [
        |it: &mut ClientAppend| it.reference = Some(3),
        |it: &mut ClientAppend| it.expect = Some(4),
    ] {
        let late = client.append_of(&old, told("late", change)).await.expect("accepted");
        assert_eq!(soon("an outcome", late).await, Err(AppendError::NewLog));
    }
    let after = told("after", |append| append.after = Some(7));
    let after = client.append_of(&old, after).await.expect("accepted");
    let frame = peer.expect(json!({"type": "append", "body": "after", "seq": 0})).await;
    assert_eq!(frame.get("after"), None, "{frame}");
    peer.commit(&frame, 0).await;
    assert!(soon("an outcome", after).await.is_ok());

    // Slots of the log that is there are as good as ever.
    let new = told("new", |append| append.reference = Some(0));
    let new = client.append(new).await.expect("accepted");
    let frame = peer.expect(json!({"body": "new", "ref": 0})).await;
    peer.commit(&frame, 1).await;
    assert!(soon("an outcome", new).await.is_ok());
}

#[tokio::test]
async fn one_who_begins_again_in_order_gets_back_all_that_has_no_outcome() {
    let server = Fake::start().await;
    let mut options = server.options();
    options.append_to_new_log = false;
    let (client, mut peer) = server.client(options).await;
    let old = client.hello().log.clone();
    let a = client.append(draft(room("r"), "a")).await.expect("accepted");
    peer.expect(json!({"body": "a"})).await;
    peer.close(1012).await;
    let mut peer = server.accept(&hello("log-2")).await;
    assert_eq!(soon("an outcome", a).await, Err(AppendError::NewLog));
    let late = client.append_of(&old, draft(room("r"), "b")).await.expect("accepted");
    assert_eq!(soon("an outcome", late).await, Err(AppendError::NewLog));
    let again = client.append(draft(room("r"), "a")).await.expect("accepted");
    let frame = peer.expect(json!({"body": "a", "seq": 0})).await;
    peer.commit(&frame, 0).await;
    assert!(soon("an outcome", again).await.is_ok());
}

#[tokio::test]
async fn a_read_that_names_a_slot_of_the_old_log_ends_and_one_of_the_newest_goes_on() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let update = |span| ClientUpdate { room: room("r"), span, seen: None, digest: None, req: None };
    let after = client.update(update(Span::After(4)));
    let upto = client.update(update(Span::UpTo { count: 2, upto: Some(4) }));
    let newest = client.update(update(Span::UpTo { count: 2, upto: None }));
    let restore = async {
        for _ in 0..3 {
            peer.expect(json!({"type": "update", "room": "r"})).await;
        }
        peer.close(1012).await;
        let mut peer = server.accept(&hello("log-2")).await;
        let frame = peer.expect(json!({"type": "update", "count": 2})).await;
        assert_eq!(frame.get("upto"), None, "{frame}");
        peer.answer(&frame, reply("r", 0..2, 1)).await;
        peer
    };
    let (after, upto, newest, _peer) =
        soon("answers", async { tokio::join!(after, upto, newest, restore) }).await;
    assert_eq!((after, upto), (Err(ClientError::NewLog), Err(ClientError::NewLog)));
    assert_eq!(newest.expect("a page").latest, 1);
}

#[tokio::test]
async fn pages_of_two_logs_are_never_given_as_one() {
    let server = Fake::start().await;
    let (client, mut peer) = server.client(server.options()).await;
    let mut pages = client.pages(room("r"), -1);
    let first = async {
        let frame = peer.expect(json!({"type": "update", "after": -1})).await;
        peer.answer(&frame, reply("r", 0..2, 9)).await;
    };
    let (page, ()) = tokio::join!(pages.next(), first);
    assert_eq!(page.expect("a page").expect("one").entries.len(), 2);
    peer.close(1012).await;
    let mut peer = server.accept(&hello("log-2")).await;
    connected_again(&client).await;
    let second = async {
        let frame = peer.expect(json!({"type": "update", "after": 1})).await;
        peer.answer(&frame, reply("r", 2..4, 3)).await;
    };
    let (page, ()) = tokio::join!(pages.next(), second);
    assert_eq!(page, Err(ClientError::NewLog));
}

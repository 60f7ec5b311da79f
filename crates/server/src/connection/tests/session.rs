//! A session without a socket: what it keeps when its rooms are released.

use std::{net::Ipv4Addr, sync::Arc};

use roomlog_core::{Engines, Node, NodeSettings};
use roomlog_testkit::{
    life::identity,
    memory::{MemoryArchive, MemoryJournal},
};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use super::*;
use crate::Config;

#[tokio::test]
async fn a_room_that_is_released_without_an_entry_leaves_nothing_behind() {
    let (journal, archive) =
        (Arc::new(MemoryJournal::new("log")), Arc::new(MemoryArchive::default()));
    let engines = Engines { identity: identity(1, 1), journal, archive, backup: None };
    let node = Arc::new(Node::start(engines, NodeSettings::default()).expect("a node"));
    assert!(node.caught_up().await);
    let (_stop, stopping) = watch::channel(false);
    let (drain_guard, _) = mpsc::channel(1);
    let gateway = Arc::new(Gateway::new(Config::default(), node, stopping, drain_guard));
    let client = gateway.principals.client(Ipv4Addr::LOCALHOST.into()).expect("a place");
    let mailbox = Arc::<Mailbox>::default();
    let mut session = Session::new(gateway, client, mailbox.clone());
    let send = |session: &mut Session, frame: serde_json::Value| {
        assert!(session.message(&Message::text(frame.to_string())).is_ok(), "{frame}");
    };
    send(&mut session, json!({"type": "login", "author": "mallory"}));
    for n in 0..10 {
        let room = format!("r-{n}");
        send(&mut session, json!({"type": "append", "room": room, "body": "", "expect": 5}));
        session.flush();
        mailbox.wait().await;
        for (token, outcome) in mailbox.take().outcomes {
            session.outcome(token, outcome);
        }
        assert_eq!((session.turn.rooms.len(), session.begun.len()), (0, 0), "{room}");
    }
}

//! An inbox that is closed while others put appends in.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use common::{Disk, Life, identity, small_windows};
use roomlog_core::{
    inbox::{Inbox, Turned},
    mailbox::Mailbox,
    merge::QueueId,
    sequencer::{Submit, Ticket},
    suites::archive::proposal,
};

fn submit(mailbox: &Arc<Mailbox>, token: u64) -> Submit {
    let queue = QueueId(token);
    let ticket = Ticket { mailbox: mailbox.clone(), token, queue, seq: None };
    Submit { proposal: proposal("general", "ada", &token.to_string(), "x"), time: 0, ticket }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_taken_while_the_inbox_closes_has_its_outcome() {
    for _ in 0..30 {
        let life = Life::start(&Disk::new(), identity(1, 1), small_windows()).await;
        let (mailbox, taken) = (Arc::new(Mailbox::default()), AtomicU64::new(0));
        let inbox: &Inbox = &life.node.inbox;
        thread::scope(|scope| {
            for writer in 0..3 {
                let (mailbox, taken) = (&mailbox, &taken);
                scope.spawn(move || {
                    for token in 0..1_000_000 {
                        match inbox.submit(submit(mailbox, token * 3 + writer)) {
                            Ok(()) => _ = taken.fetch_add(1, Ordering::Relaxed),
                            Err(Turned::Busy) => thread::yield_now(),
                            Err(Turned::Closed) => return,
                        }
                    }
                });
            }
            while taken.load(Ordering::Relaxed) < 20 {
                thread::yield_now();
            }
            inbox.close();
        });
        life.ended().await.expect("a good end");
        let outcomes = mailbox.take().outcomes.len() as u64;
        assert_eq!(outcomes, taken.into_inner());
    }
}

//! The inbox: what is taken together, and what is taken while it is closed.

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
    append::{
        inbox::{Inbox, Turned},
        merge::QueueId,
        sequencer::{Submit, Ticket},
    },
    mailbox::Mailbox,
};
use roomlog_testkit::fixtures::proposal;

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
        let inbox = &life.node.inbox;
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

#[test]
fn of_many_put_in_at_once_those_that_fit_are_taken_and_the_rest_comes_back_in_order() {
    let mailbox = Arc::new(Mailbox::default());
    let appends = || (0..5).map(|token| submit(&mailbox, token)).collect::<Vec<_>>();
    let weight = appends()[0].proposal.weight();
    let tokens = |rest: &[Submit]| rest.iter().map(|at| at.ticket.token).collect::<Vec<_>>();

    let inbox = Inbox::new(5 * weight);
    assert!(inbox.submit_all(appends()).is_ok(), "five fit");
    assert!(inbox.submit_all(Vec::new()).is_ok());
    let (turned, rest) = inbox.submit_all(appends()).expect_err("it is full");
    assert_eq!((turned, tokens(&rest)), (Turned::Busy, vec![0, 1, 2, 3, 4]));

    let inbox = Inbox::new(5 * weight - 1);
    let (turned, rest) = inbox.submit_all(appends()).expect_err("one byte is missing");
    assert_eq!((turned, tokens(&rest)), (Turned::Busy, vec![4]));

    let inbox = Inbox::new(5 * weight);
    inbox.close();
    let (turned, rest) = inbox.submit_all(appends()).expect_err("it is closed");
    assert_eq!((turned, rest.len()), (Turned::Closed, 5));
}

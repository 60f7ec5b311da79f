//! The inbox: appends that arrive while it closes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use roomlog_core::{mailbox::Mailbox, outcome::AppendOutcome};
use roomlog_testkit::{
    fixtures::proposal,
    life::{Disk, Life, draft, identity, small_windows},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_accepted_while_the_inbox_closes_have_an_outcome() {
    for _ in 0..30 {
        let life = Life::start(&Disk::default(), identity(1, 1), small_windows()).await;
        let (mailbox, taken) = (Arc::new(Mailbox::default()), AtomicU64::new(0));
        let ended = thread::scope(|scope| {
            for writer in 0..3 {
                let (mailbox, taken, life) = (&mailbox, &taken, &life);
                scope.spawn(move || {
                    let mut queue = life.queue(mailbox);
                    for token in 0..1_000_000 {
                        let token = token * 3 + writer;
                        let proposal = proposal("general", "ada", &token.to_string(), "x");
                        match draft(life.append_budget(), proposal, None, 0)
                            .and_then(|it| queue.append(token, it))
                        {
                            Ok(()) => _ = taken.fetch_add(1, Ordering::Relaxed),
                            Err(AppendOutcome::Busy) => thread::yield_now(),
                            Err(outcome) => return assert_eq!(outcome, AppendOutcome::Unavailable),
                        }
                        life.flush();
                    }
                });
            }
            while taken.load(Ordering::Relaxed) < 20 {
                thread::yield_now();
            }
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(life.stop()))
        });
        ended.expect("a good end");
        let outcomes = mailbox.take().outcomes.len() as u64;
        assert_eq!(outcomes, taken.into_inner());
    }
}

//! The inbox: what is taken of appends that are put in at once.

use std::sync::Arc;

use super::Inbox;
use crate::{
    append::{
        merge::QueueId,
        sequencer::{Submit, Ticket},
    },
    fixtures::proposal,
    mailbox::Mailbox,
    outcome::AppendOutcome,
};

fn submit(mailbox: &Arc<Mailbox>, token: u64) -> Submit {
    let queue = QueueId(token);
    let ticket = Ticket { mailbox: mailbox.clone(), token, queue, seq: None };
    Submit { proposal: proposal("general", "ada", &token.to_string(), "x"), time: 0, ticket }
}

#[test]
fn of_many_put_in_at_once_those_that_fit_are_taken_and_the_rest_comes_back_in_order() {
    let mailbox = Arc::new(Mailbox::default());
    let appends = || (0..5).map(|token| submit(&mailbox, token)).collect::<Vec<_>>();
    let weight = appends()[0].proposal.weight();
    let tokens = |rest: &[Submit]| rest.iter().map(|at| at.ticket.token).collect::<Vec<_>>();

    let inbox = Inbox::new(5 * weight);
    assert!(inbox.put_all(appends()).is_ok(), "five fit");
    assert!(inbox.put_all(Vec::new()).is_ok());
    let (outcome, rest) = inbox.put_all(appends()).expect_err("it is full");
    assert_eq!((outcome, tokens(&rest)), (AppendOutcome::Busy, vec![0, 1, 2, 3, 4]));

    let inbox = Inbox::new(5 * weight - 1);
    let (outcome, rest) = inbox.put_all(appends()).expect_err("one byte is missing");
    assert_eq!((outcome, tokens(&rest)), (AppendOutcome::Busy, vec![4]));

    let inbox = Inbox::new(5 * weight);
    inbox.close();
    let (outcome, rest) = inbox.put_all(appends()).expect_err("it is closed");
    assert_eq!((outcome, rest.len()), (AppendOutcome::Unavailable, 5));
}

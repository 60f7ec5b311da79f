//! What a sequencer keeps of queues that are closed.

use super::*;
use crate::fixtures::{proposal, room};

fn push(sequencer: &mut Sequencer, queue: u64, seq: u64) {
    let (mailbox, queue) = (Arc::default(), QueueId(queue));
    let ticket = Ticket { mailbox, token: seq, queue, seq: Some(seq) };
    let proposal = proposal("r", "ada", &format!("a-{seq}"), "");
    let pushed =
        sequencer.push(Submit { proposal: Box::new(proposal), time: 0, ticket, charge: None });
    assert!(pushed.is_ok());
}

#[test]
fn a_queue_that_is_closed_before_its_block_is_refused_leaves_nothing() {
    let mut sequencer = Sequencer::default();
    push(&mut sequencer, 1, 0);
    push(&mut sequencer, 1, 1);
    assert_eq!(sequencer.next_block().len(), 2);
    push(&mut sequencer, 1, 2);
    sequencer.close_queue(QueueId(1), 1);
    assert_eq!(sequencer.break_queue(&room("r"), QueueId(1), 0).len(), 1);
    assert!(sequencer.broken.is_empty() && sequencer.closed.is_empty());
}

#[test]
fn a_closed_queue_is_forgotten_when_the_last_block_that_can_hold_some_of_it_is_durable() {
    let mut sequencer = Sequencer::default();
    push(&mut sequencer, 1, 0);
    assert_eq!(sequencer.next_block().len(), 1);
    push(&mut sequencer, 1, 1);
    sequencer.close_queue(QueueId(1), 1);
    // What is pending goes into the next block.
    sequencer.note_durable(0, 1);
    assert_eq!(sequencer.closed.len(), 1);
    assert_eq!(sequencer.next_block().len(), 1);
    sequencer.note_durable(0, 2);
    assert_eq!(sequencer.closed.len(), 1);
    sequencer.note_durable(1, 2);
    assert!(sequencer.closed.is_empty());
}

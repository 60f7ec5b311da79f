//! Who is delivered to when rooms move.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use futures_util::FutureExt;
use parking_lot::Mutex;
use roomlog_protocol::Slot;

use super::{Deliveries, FOLLOWERS_A_TASK};
use crate::{
    fixtures::{Speaker, room},
    mailbox::Mailbox,
    read::{
        interests::{CommitSink, NewCommits},
        tail::{Subscription, Tail},
    },
};

/// A follower that notes the slots of the commits that it takes, unless its socket is full.
#[derive(Debug, Default)]
struct Noting {
    is_full: AtomicBool,
    taken: Mutex<Vec<Slot>>,
    next: Mutex<Slot>,
}

impl CommitSink for Noting {
    fn take(&self, new: &mut NewCommits<'_>) -> bool {
        let mut next = self.next.lock();
        assert_ne!(*next, Slot::MAX, "a sink that panics");
        if self.is_full.load(Ordering::Relaxed) {
            return false;
        }
        let Some(commits) = new.after(*next, 1 << 20) else { return false };
        self.taken.lock().extend(commits.iter().map(|commit| commit.first()));
        *next = commits.last().map_or(*next, |commit| commit.end());
        true
    }
}

struct Following {
    sink: Arc<Noting>,
    mailbox: Arc<Mailbox>,
    subscription: Subscription,
}

impl Following {
    fn new(tail: &Arc<Tail>) -> Self {
        let (sink, mailbox) = (Arc::<Noting>::default(), Arc::default());
        let subscription = tail.subscribe(&mailbox, 7, Some(sink.clone()));
        Self { sink, mailbox, subscription }
    }

    /// What it took, and its mail.
    fn got(&self) -> (Vec<Slot>, Vec<u32>) {
        (std::mem::take(&mut *self.sink.taken.lock()), self.mailbox.take().moved)
    }
}

fn general() -> (Speaker, Arc<Tail>) {
    let speaker = Speaker::new("general");
    let tail = Arc::new(Tail::new(room("general"), speaker.head, &Arc::default()));
    (speaker, tail)
}

#[tokio::test]
async fn a_sink_takes_what_is_new_and_is_notified_only_while_it_cannot() {
    let (mut speaker, tail) = general();
    let deliveries = Arc::new(Deliveries::default());
    let (ada, bob) = (Following::new(&tail), Following::new(&tail));
    let mut say = |position, bodies: &[&str]| {
        tail.publish(speaker.says(position, bodies));
        deliveries.add([tail.clone()].into_iter());
        assert!(deliveries.clone().run().now_or_never().is_none());
    };
    say(1, &["a", "b"]);
    assert_eq!(ada.got(), (vec![0], vec![]));
    bob.sink.is_full.store(true, Ordering::Relaxed);
    say(2, &["c"]);
    say(3, &["d"]);
    assert_eq!(ada.got(), (vec![2, 3], vec![]));
    assert_eq!(bob.got(), (vec![0], vec![7]), "one mail until it looks");
    bob.sink.is_full.store(false, Ordering::Relaxed);
    assert!(bob.subscription.take());
    say(4, &["e"]);
    assert_eq!(bob.got(), (vec![2, 3, 4], vec![]), "it takes all that it has not");
}

#[tokio::test]
async fn a_sink_that_panics_is_a_matter_of_its_connection() {
    let (mut speaker, tail) = general();
    let deliveries = Arc::new(Deliveries::default());
    let (ada, bob) = (Following::new(&tail), Following::new(&tail));
    *ada.sink.next.lock() = Slot::MAX;
    tail.publish(speaker.says(1, &["a"]));
    deliveries.add([tail.clone()].into_iter());
    assert!(deliveries.run().now_or_never().is_none());
    assert_eq!((ada.got(), bob.got()), ((vec![], vec![7]), (vec![0], vec![])));
}

#[tokio::test]
async fn a_cursor_inside_a_commit_or_behind_the_tail_is_for_the_connection() {
    let (mut speaker, tail) = general();
    tail.publish(speaker.says(1, &["a", "b"]));
    tail.publish(speaker.says(2, &["c"]));
    let firsts = |next| {
        let commits = tail.whole_after(next, 1 << 20)?;
        Some(commits.iter().map(|commit| commit.first()).collect::<Vec<_>>())
    };
    assert_eq!(firsts(0), Some(vec![0, 2]));
    assert_eq!(firsts(1), None, "half of a commit");
    assert_eq!(firsts(3), Some(vec![]));
    assert!(tail.whole_after(0, 1).is_none(), "more than may be sent");
    tail.drop_oldest();
    assert_eq!(firsts(0), None, "only the archive has it");
}

/// A follower in whose room something more is said whenever it takes what there was.
struct Echo {
    tail: Arc<Tail>,
    deliveries: Arc<Deliveries>,
    speaker: Mutex<Speaker>,
    said: AtomicU64,
}

impl std::fmt::Debug for Echo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Echo")
    }
}

impl CommitSink for Echo {
    fn take(&self, _: &mut NewCommits<'_>) -> bool {
        let position = self.said.fetch_add(1, Ordering::Relaxed) + 2;
        self.tail.publish(self.speaker.lock().says(position, &["more"]));
        self.deliveries.add([self.tail.clone()].into_iter());
        true
    }
}

#[tokio::test]
async fn a_room_that_moves_all_the_time_keeps_no_other_waiting() {
    let deliveries = Arc::new(Deliveries::default());
    let ((mut speaker, hot), (mut other, quiet)) = (general(), general());
    hot.publish(speaker.says(1, &["a"]));
    let (tail, said) = (hot.clone(), AtomicU64::new(0));
    let echo = Echo { tail, deliveries: deliveries.clone(), speaker: Mutex::new(speaker), said };
    let _hot = hot.subscribe(&Arc::default(), 1, Some(Arc::new(echo)));
    let following = Following::new(&quiet);
    quiet.publish(other.says(1, &["b"]));
    deliveries.add([hot.clone(), quiet].into_iter());
    let delivering = tokio::spawn(deliveries.run());
    while *following.sink.next.lock() == 0 {
        tokio::task::yield_now().await;
    }
    let before = hot.head().end;
    while hot.head().end < before + 100 {
        tokio::task::yield_now().await;
    }
    delivering.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_room_with_many_followers_is_delivered_to_all_while_it_moves_on() {
    let (mut speaker, tail) = general();
    let deliveries = Arc::new(Deliveries::default());
    let delivering = tokio::spawn(deliveries.clone().run());
    let followings: Vec<_> = (0..3 * FOLLOWERS_A_TASK + 1).map(|_| Following::new(&tail)).collect();
    for position in 1..=50 {
        tail.publish(speaker.says(position, &["x"]));
        deliveries.add([tail.clone()].into_iter());
        tokio::task::yield_now().await;
    }
    for following in &followings {
        while *following.sink.next.lock() < 50 {
            tokio::task::yield_now().await;
        }
        assert_eq!(following.got(), ((0..50).collect(), vec![]));
    }
    delivering.abort();
}

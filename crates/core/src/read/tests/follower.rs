//! Followers: each receives every slot once, and the greatest lag can be read.

use std::sync::Arc;

use roomlog_protocol::{Latest, Span};

use crate::fixtures::{Speaker, room};
use crate::{
    proposal::Stored,
    read::{
        follower::{Follower, Followers, LAGS_READ, Next},
        tail::Tail,
    },
};

/// A room that commits, and its followers.
struct Scene {
    speaker: Speaker,
    tail: Arc<Tail>,
    followers: Arc<Followers>,
    position: u64,
    log: Vec<Stored>,
}

impl Scene {
    fn new() -> Self {
        let speaker = Speaker::new("general");
        let tail = Arc::new(Tail::new(room("general"), speaker.head, &Arc::default()));
        Self { speaker, tail, followers: Arc::default(), position: 0, log: Vec::new() }
    }

    fn says(&mut self, bodies: &[&str]) {
        self.position += 1;
        let commit = self.speaker.says(self.position, bodies);
        self.log.extend(commit.entries.clone());
        self.tail.publish(commit);
    }

    fn follow(&self, next: u64) -> Follower {
        self.followers.follow(self.tail.clone(), next)
    }
}

/// A follower's next batch: the bodies, in brackets if a piece is a complete commit.
fn next(follower: &mut Follower, bytes: usize) -> String {
    let Next::Tail { pieces, .. } = follower.next(bytes) else {
        return format!("{:?}", follower.next(bytes)).to_lowercase();
    };
    let bodies = |entries: &[Stored]| {
        entries.iter().map(|stored| stored.entry.body()).collect::<Vec<_>>().join(" ")
    };
    let piece = |piece: &crate::read::follower::Piece| match piece.as_commit() {
        Some(commit) => format!("[{}]", bodies(&commit.entries)),
        None => bodies(piece.entries()),
    };
    pieces.iter().map(piece).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_follower_receives_each_slot_from_its_first_on_once() {
    let mut scene = Scene::new();
    scene.says(&["a", "b", "c"]);
    scene.says(&["d"]);
    let (mut first, mut inside, mut end) = (scene.follow(0), scene.follow(1), scene.follow(4));
    assert_eq!(next(&mut first, 0), "[a b c]", "a batch holds at least one commit");
    assert_eq!(next(&mut first, usize::MAX), "[d]");
    assert_eq!(next(&mut inside, usize::MAX), "b c [d]");
    assert_eq!(next(&mut end, usize::MAX), "nothing");
    scene.says(&["e"]);
    for follower in [&mut first, &mut inside, &mut end] {
        assert_eq!(next(follower, usize::MAX), "[e]");
        assert_eq!(next(follower, usize::MAX), "nothing");
        assert_eq!(follower.cursor().next_slot(), 5);
    }
}

#[test]
fn a_follower_behind_the_tail_reads_the_archive_and_returns_to_the_tail() {
    let mut scene = Scene::new();
    for body in ["a", "b", "c"] {
        scene.says(&[body]);
    }
    let mut follower = scene.follow(0);
    scene.tail.drop_oldest();
    scene.tail.drop_oldest();
    assert_eq!(next(&mut follower, usize::MAX), "archived");
    assert_eq!(follower.span(), Span::After(Latest::EMPTY));
    follower.advance(&scene.log[..1]);
    assert_eq!(next(&mut follower, usize::MAX), "archived");
    follower.advance(&scene.log[1..2]);
    assert_eq!(next(&mut follower, usize::MAX), "[c]");
}

#[test]
fn the_greatest_lag_is_found_among_more_followers_than_one_call_reads() {
    let mut scene = Scene::new();
    let slow = scene.follow(0);
    scene.says(&["a", "b", "c"]);
    let followers: Vec<_> = (0..3 * LAGS_READ).map(|_| scene.follow(3)).collect();
    let read = |lags: usize| (0..lags).map(|_| scene.followers.slowest_lag()).max();
    assert_eq!(read(4), Some(3), "four calls read all of them");
    assert_eq!(scene.followers.slowest_lag(), 3, "it is still known when others are read");
    drop(slow);
    read(4);
    assert_eq!(read(1), Some(0), "and forgotten when all were read again");
    drop(followers);
}

#[test]
fn the_greatest_lag_is_that_of_the_slowest_open_follower() {
    let mut scene = Scene::new();
    assert_eq!((scene.followers.count(), scene.followers.slowest_lag()), (0, 0));
    let mut followers: Vec<_> = (0..100).map(|_| scene.follow(0)).collect();
    scene.says(&["a", "b", "c"]);
    assert_eq!((scene.followers.count(), scene.followers.slowest_lag()), (100, 3));
    for follower in &mut followers[1..] {
        next(follower, usize::MAX);
    }
    assert_eq!(scene.followers.slowest_lag(), 3, "one has received nothing yet");
    drop(followers.remove(0));
    assert_eq!((scene.followers.count(), scene.followers.slowest_lag()), (99, 0));
    drop(followers);
    assert_eq!(scene.followers.count(), 0);
}

//! A node on engines in memory: appends in, outcomes and a log out.

use roomlog_core::{
    NodeError, NodeSettings, archive::Archive, journal::Position, outcome::AppendOutcome,
    proposal::Proposal,
};
use roomlog_protocol::RoomRange;
use roomlog_testkit::fixtures::{Speaker, proposal, window};
use roomlog_testkit::life::{
    Connection, Disk, LONG, Life, committed, identity, repeat, small_windows, without_fold,
};
use tokio::time::timeout;

fn says(id: &str) -> Proposal {
    proposal("general", "ada", id, id)
}

/// Appends to `general`, retrying while the node is busy.
async fn append_when_taken(life: &Life, connection: &mut Connection, id: &str) {
    timeout(LONG, async {
        while let Err(rejected) = connection.append(life, says(id), None, 0) {
            assert_eq!(rejected, AppendOutcome::Busy);
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("taken in time");
}

#[tokio::test]
async fn an_append_becomes_an_entry_and_its_author_receives_the_slot() {
    let disk = Disk::default();
    disk.journal.set_time(1_000);
    let life = Life::start(&disk, identity(1, 1), NodeSettings::default()).await;
    let mut ada = Connection::default();
    let outcome = ada.say(&life, says("hello")).await;
    assert_eq!(outcome, AppendOutcome::Committed { slot: 0, committed_at: 1_000, repeat: false });
    assert_eq!(life.bodies("general").await, ["hello"]);
    assert_eq!(life.end().await, Ok(()));
}

#[tokio::test]
async fn pending_appends_go_by_time_and_each_queue_in_order() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let (mut ada, mut bob) = (Connection::default(), Connection::default());
    // No await in between, so the node sees all of it at once.
    for (id, time) in [("a-300", 300), ("a-100", 100), ("a-500", 500)] {
        ada.append(&life, says(id), None, time).expect("taken");
    }
    for (id, time) in [("b-200", 200), ("b-400", 400)] {
        bob.append(&life, says(id), None, time).expect("taken");
    }
    // What waited behind its own queue competes from when it is the head.
    let slots = [(0, committed(1)), (1, committed(3)), (2, committed(4))];
    assert_eq!(ada.outcomes().await, slots);
    assert_eq!(bob.outcomes().await, [(0, committed(0)), (1, committed(2))]);
    assert_eq!(life.bodies("general").await, ["b-200", "a-300", "b-400", "a-100", "a-500"]);
}

#[tokio::test]
async fn rooms_take_turns_and_are_independent() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    for (room, body) in [("a", "1"), ("a", "2"), ("b", "1"), ("a", "3"), ("b", "2")] {
        ada.append(&life, proposal(room, "ada", body, body), None, 0).expect("taken");
    }
    let slots: Vec<AppendOutcome> = ada.outcomes().await.into_iter().map(|(_, by)| by).collect();
    assert_eq!(slots, [committed(0), committed(1), committed(0), committed(2), committed(1)]);
    assert_eq!(life.bodies("a").await, ["1", "2", "3"]);
    assert_eq!(life.bodies("b").await, ["1", "2"]);
    let heads = life.room_heads(&RoomRange::every(), 10).expect("heads");
    let heads: Vec<_> = heads.iter().map(|(room, head)| (room.as_str(), head.end)).collect();
    assert_eq!(heads, [("a", 3), ("b", 2)]);
}

#[tokio::test]
async fn a_backlog_delays_strangers_by_one_entry_each() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let (friends, stranger) = (life.append_budget().member(), life.append_budget().member());
    let mut heavy = Connection::charged_to(friends.member());
    let mut friend = Connection::charged_to(friends.member());
    let mut stranger = Connection::charged_to(stranger.member());
    // No await in between, so the node sees all of it at once: a block's worth and more in many
    // rooms and in one, then one append of each other connection.
    for n in 0..600 {
        let (many, one) = (format!("many-{}", n % 200), format!("one-{n}"));
        heavy.append(&life, proposal(&many, "eve", &one, "x"), None, n).expect("taken");
        heavy.append(&life, says(&one), None, n).expect("taken");
    }
    for (connection, id) in [(&mut friend, "friend"), (&mut stranger, "stranger")] {
        connection.append(&life, says(id), None, 10_000).expect("taken");
    }
    let slot_of = |(_, outcome): (u64, AppendOutcome)| match outcome {
        AppendOutcome::Committed { slot, .. } => slot,
        other => panic!("{other:?}"),
    };
    let friend = friend.outcomes().await.into_iter().map(slot_of).next();
    let stranger = stranger.outcomes().await.into_iter().map(slot_of).next();
    assert!(friend <= Some(3), "{friend:?}");
    assert!(stranger <= Some(3), "{stranger:?}");
    heavy.outcomes().await;
}

#[tokio::test]
async fn one_id_twice_at_once_is_one_entry() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let (mut one, mut two) = (Connection::default(), Connection::default());
    one.append(&life, says("hello"), None, 7).expect("taken");
    two.append(&life, says("hello"), None, 5).expect("taken");
    assert_eq!(one.outcomes().await, [(0, repeat(0))]);
    assert_eq!(two.outcomes().await, [(0, committed(0))]);
    assert_eq!(life.bodies("general").await, ["hello"]);
}

#[tokio::test]
async fn repeats_are_recognised_from_memory_from_the_archive_and_after_a_restart() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    for slot in 0..40 {
        assert_eq!(ada.say(&life, says(&format!("id-{slot}"))).await, committed(slot));
        assert_eq!(ada.say(&life, says(&format!("id-{slot}"))).await, repeat(slot));
    }
    disk.folded().await;
    for slot in 0..40 {
        assert_eq!(ada.say(&life, says(&format!("id-{slot}"))).await, repeat(slot));
    }
    life.end().await.expect("a good end");

    let life = Life::start(&disk, identity(1, 2), small_windows()).await;
    for slot in 0..40 {
        assert_eq!(ada.say(&life, says(&format!("id-{slot}"))).await, repeat(slot));
    }
    let other = proposal("general", "ada", "id-7", "something else");
    assert_eq!(ada.say(&life, other).await, AppendOutcome::IdReused { slot: 7 });
    assert_eq!(life.log_of("general").await.len(), 40);
}

#[tokio::test]
async fn a_failed_expect_stores_nothing() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    let expects = |id: &str, slot| Proposal { expect: Some(slot), ..says(id) };
    let failed = |latest| AppendOutcome::ExpectFailed { latest: roomlog_protocol::Latest(latest) };
    assert_eq!(ada.say(&life, expects("a", 1)).await, failed(-1));
    assert_eq!(
        life.room_heads(&RoomRange::every(), 10),
        Ok(vec![]),
        "a room exists from its first entry"
    );
    assert_eq!(ada.say(&life, expects("a", 0)).await, committed(0));
    assert_eq!(ada.say(&life, expects("b", 0)).await, failed(0));
    assert_eq!(ada.say(&life, expects("a", 5)).await, repeat(0));
    assert_eq!(life.bodies("general").await, ["a"]);
}

#[tokio::test]
async fn room_heads_merges_archive_and_memory() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    for name in ["b", "d", "f"] {
        ada.say(&life, proposal(name, "ada", "1", "x")).await;
    }
    disk.folded().await;
    life.end().await.expect("a good end");

    let life = Life::start(&disk, identity(1, 2), without_fold(small_windows())).await;
    for name in ["a", "d", "g"] {
        ada.say(&life, proposal(name, "ada", "2", "y")).await;
    }
    let heads = |after: Option<&str>, limit| {
        let after = after.map(roomlog_testkit::fixtures::room);
        let heads =
            life.room_heads(&RoomRange::every().after(after.as_ref()), limit).expect("heads");
        heads
            .iter()
            .map(|(room, head)| format!("{room}{}", head.end - 1))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(heads(None, 10), "a0 b0 d1 f0 g0");
    assert_eq!(heads(None, 2), "a0 b0");
    assert_eq!(heads(Some("b"), 2), "d1 f0");
    assert_eq!(heads(Some("d"), 2), "f0 g0");
    assert_eq!(heads(Some("g"), 2), "");
}

#[tokio::test]
async fn a_lost_archive_is_rebuilt_from_the_journal() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    for n in 0..30 {
        ada.say(&life, says(&format!("id-{n}"))).await;
    }
    let log = life.log_of("general").await;
    life.end().await.expect("a good end");

    let life = Life::start(&disk.without_archive(), identity(1, 2), small_windows()).await;
    assert_eq!(life.log_of("general").await, log);
    assert_eq!(ada.say(&life, says("id-3")).await, repeat(3));
    assert_eq!(ada.say(&life, says("id-30")).await, committed(30));
}

#[tokio::test]
async fn an_archive_ahead_of_the_journal_is_an_error() {
    let disk = Disk::default();
    let commit = Speaker::new("general").says(5, &["hello"]);
    disk.archive.fold(&window(5, &[commit])).expect("a fold");
    let life =
        Life::over(disk.journal.clone(), disk.archive.clone(), identity(1, 1), small_windows());
    let behind = NodeError::JournalBehind { applied: Position(5), head: Position(0) };
    assert_eq!(life.has_ended().await, Err(behind));
}

#[tokio::test]
async fn a_failed_fold_stops_the_node_and_the_next_start_repeats_it() {
    let disk = Disk::default();
    disk.archive.crash_after_rows(Some(11));
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    let mut outcomes = Vec::new();
    // Far more than fit before the fold's thread has run.
    for n in 0..100_000 {
        if ada.append(&life, says(&format!("id-{n}")), None, 0).is_err() {
            break;
        }
        outcomes.extend(ada.outcomes().await.into_iter().map(|(_, outcome)| outcome));
    }
    assert!(outcomes.len() < 100_000, "the node goes on although the archive does not");
    assert!(matches!(life.has_ended().await, Err(NodeError::Archive(_))));

    disk.archive.crash_after_rows(None);
    let life = Life::start(&disk, identity(1, 2), small_windows()).await;
    let acked =
        outcomes.iter().filter(|outcome| matches!(outcome, AppendOutcome::Committed { .. }));
    let acked = acked.count();
    assert!(life.log_of("general").await.len() >= acked, "what was acked is there");
    for slot in 0..acked as u64 {
        assert_eq!(ada.say(&life, says(&format!("id-{slot}"))).await, repeat(slot));
    }
}

#[tokio::test]
async fn stop_answers_all_accepted_appends_and_rejects_new_ones() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    for n in 0..1_200 {
        // More than two blocks, none of which the node has seen yet.
        ada.append(&life, says(&format!("id-{n}")), None, 0).expect("taken");
    }
    let (ended, ()) = tokio::join!(life.stop(), async {
        let late = ada.append(&life, says("late"), None, 0);
        assert_eq!(late, Err(AppendOutcome::Unavailable));
    });
    assert_eq!(ended, Ok(()));
    let expected: Vec<_> = (0..1_200).map(|slot| (slot, committed(slot))).collect();
    assert_eq!(ada.outcomes().await, expected);
}

#[tokio::test]
async fn appends_are_busy_above_their_budget_until_they_are_archived() {
    // Twice the text of an append and 512 bytes.
    let weight = 2 * "id-0".len() + 512;
    for (bytes, taken) in [(2 * weight, 2), (2 * weight - 1, 1)] {
        let disk = Disk::default();
        let settings = NodeSettings { append_bytes: bytes, ..small_windows() };
        let life = Life::start(&disk, identity(1, 1), settings).await;
        let mut ada = Connection::default();
        for n in 0..3 {
            let outcome = ada.append(&life, says(&format!("id-{n}")), None, 0);
            assert_eq!(outcome.is_ok(), n < taken, "{n} of {bytes} bytes: {outcome:?}");
        }
        // What is in the archive no longer counts.
        ada.outcomes().await;
        disk.folded().await;
        for n in 3..3 + taken {
            ada.append(&life, says(&format!("id-{n}")), None, 0).expect("taken");
        }
        ada.outcomes().await;
        assert_eq!(life.log_of("general").await.len(), 2 * taken);
    }
}

#[tokio::test]
async fn what_is_committed_counts_for_a_principal_until_it_is_archived_and_not_for_its_connection()
{
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), without_fold(NodeSettings::default())).await;
    let principal = life.append_budget().member();
    let account = principal.member();
    let mut ada = Connection::charged_to(account.clone());
    ada.append(&life, says("id-0"), None, 0).expect("taken");
    let weight = 2 * "id-0".len() + 512;
    assert_eq!((account.held(), principal.held()), (weight, weight));
    ada.outcomes().await;
    for n in 1..4 {
        ada.say(&life, says(&format!("id-{n}"))).await;
    }
    assert_eq!((account.held(), principal.held()), (0, 4 * weight));
    life.fold_to_head().await.expect("a fold");
    assert_eq!(principal.held(), 0);
}

#[tokio::test]
async fn a_node_whose_fold_is_behind_is_busy_until_it_catches_up() {
    let disk = Disk::default();
    let settings =
        without_fold(NodeSettings { unfolded_bytes: 3 * 512, ..NodeSettings::default() });
    let life = Life::start(&disk, identity(1, 1), settings).await;
    let mut ada = Connection::default();
    for slot in 0..3 {
        assert_eq!(ada.say(&life, says(&format!("id-{slot}"))).await, committed(slot));
    }
    assert_eq!(ada.append(&life, says("id-3"), None, 0), Err(AppendOutcome::Busy));
    assert_eq!(life.bodies("general").await.len(), 3, "reads go on");

    life.fold_to_head().await.expect("a fold");
    append_when_taken(&life, &mut ada, "id-3").await;
    assert_eq!(ada.outcomes().await, [(3, committed(3))]);
    assert_eq!(life.bodies("general").await, ["id-0", "id-1", "id-2", "id-3"]);
}

#[tokio::test]
async fn a_replay_longer_than_the_bound_of_unfolded_bytes_completes() {
    let disk = Disk::default();
    let life = Life::start(&disk, identity(1, 1), small_windows()).await;
    let mut ada = Connection::default();
    for n in 0..100 {
        ada.say(&life, says(&format!("id-{n}"))).await;
    }
    life.end().await.expect("a good end");
    let settings = NodeSettings { unfolded_bytes: 5 * 512, ..small_windows() };
    let life = Life::start(&disk.without_archive(), identity(1, 2), settings).await;
    assert_eq!(life.log_of("general").await.len(), 100);
}

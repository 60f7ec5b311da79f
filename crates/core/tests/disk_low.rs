//! What a node takes while its disk is low, and how many rooms it has.

use roomlog_core::{NodeSettings, outcome::AppendOutcome};
use roomlog_testkit::{
    fixtures::proposal,
    life::{Connection, Disk, Life, committed, identity, small_windows, without_fold},
};

#[tokio::test]
async fn while_the_disk_is_low_appends_are_rejected_and_reads_go_on() {
    let life = Life::start(&Disk::default(), identity(1, 1), NodeSettings::default()).await;
    let (mut ada, says) = (Connection::default(), |id| proposal("general", "ada", id, id));
    assert_eq!(ada.say(&life, says("before")).await, committed(0));
    life.set_disk_low(true);
    let rejected = ada.append(&life, says("low"), None, 0);
    assert_eq!(rejected, Err(AppendOutcome::StorageFull));
    assert_eq!(life.bodies("general").await, ["before"]);
    life.set_disk_low(false);
    assert_eq!(ada.say(&life, says("low")).await, committed(1));
    assert_eq!(life.end().await, Ok(()));
}

#[tokio::test]
async fn a_room_counts_once_whether_it_is_folded_or_replayed() {
    let disk = Disk::default();
    for (incarnation, settings) in
        [(1, without_fold(small_windows())), (2, small_windows()), (3, small_windows())]
    {
        let life = Life::start(&disk, identity(1, incarnation), settings).await;
        let mut ada = Connection::default();
        for room in ["a", "b", "a"] {
            let id = format!("{incarnation}-{}", life.rooms());
            ada.say(&life, proposal(room, "ada", &id, "x")).await;
        }
        assert_eq!(life.rooms(), 2);
        if incarnation > 1 {
            disk.folded().await;
        }
        assert_eq!(life.end().await, Ok(()));
    }
}

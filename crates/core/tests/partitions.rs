//! A node whose journal has several partitions: each room stays in one of them, and clients do not
//! see them.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use roomlog_core::{
    archive::Archive,
    identity::partition_of,
    journal::{
        Follow, Journal, JournalCounts, JournalError, JournalFacts, Mark, Partition, Peers,
        Position, Proposed, Wipe,
    },
    outcome::AppendOutcome,
};
use roomlog_protocol::RoomRange;
use roomlog_testkit::life::{Connection, Life, identity, repeat, small_windows};
use roomlog_testkit::{
    fixtures::{proposal, room},
    memory::{MemoryArchive, MemoryJournal},
};

/// A memory journal for each partition.
struct Several(Vec<MemoryJournal>);

impl Several {
    fn new(partitions: u32) -> Arc<Self> {
        let journal =
            |_| MemoryJournal::new("log").described(|facts| facts.partitions = partitions);
        Arc::new(Self((0..partitions).map(journal).collect()))
    }

    fn of(&self, partition: Partition) -> &MemoryJournal {
        &self.0[partition as usize]
    }
}

impl Journal for Several {
    fn facts(&self) -> &JournalFacts {
        self.of(0).facts()
    }

    fn peers(&self) -> Option<Arc<dyn Peers>> {
        None
    }

    fn counts(&self) -> Option<JournalCounts> {
        None
    }

    fn propose(&self, partition: Partition, block: Bytes) -> BoxFuture<'static, Proposed> {
        self.of(partition).propose(0, block)
    }

    fn follow(&self, partition: Partition, after: Mark) -> Box<dyn Follow> {
        self.of(partition).follow(0, after)
    }

    fn head(&self, partition: Partition) -> Result<Position, JournalError> {
        self.of(partition).head(0)
    }

    fn first(&self, partition: Partition) -> Result<Position, JournalError> {
        self.of(partition).first(0)
    }

    fn has_surplus(&self, _: Partition) -> bool {
        false
    }

    fn trim(&self, _: Partition, _: Position) {}

    fn wipe(&self, partition: Partition, wipe: &Wipe) -> Result<bool, JournalError> {
        self.of(partition).wipe(0, wipe)
    }
}

const PARTITIONS: u32 = 3;

/// The names of rooms, some in each partition.
fn names() -> Vec<String> {
    let names: Vec<String> = (0..12).map(|number| format!("room-{number}")).collect();
    let used: BTreeSet<_> =
        names.iter().map(|name| partition_of(&room(name), PARTITIONS)).collect();
    assert_eq!(used.len(), PARTITIONS as usize, "the rooms are in all partitions");
    names
}

async fn start(journal: &Arc<Several>, archive: &Arc<MemoryArchive>, incarnation: u64) -> Life {
    let (journal, archive) = (journal.clone(), archive.clone());
    let life = Life::over(journal, archive, identity(1, incarnation), small_windows());
    life.has_caught_up().await;
    life
}

#[test]
fn the_partition_of_a_room_never_changes() {
    // The first 8 bytes of SHA-256 of the name, by hand: 0feae16d55365acf… for "general".
    let of = |partitions| partition_of(&room("general"), partitions);
    assert_eq!((of(1), of(2), of(4), of(7)), (0, 1, 3, 1));
}

#[tokio::test]
async fn rooms_of_all_partitions_are_written_read_listed_and_rebuilt() {
    let (journal, archive) = (Several::new(PARTITIONS), Arc::<MemoryArchive>::default());
    let life = start(&journal, &archive, 1).await;
    let mut ada = Connection::default();
    for turn in 0..20 {
        for name in names() {
            let id = format!("{name}-{turn}");
            let outcome = ada.say(&life, proposal(&name, "ada", &id, &id)).await;
            assert!(
                matches!(outcome, AppendOutcome::Committed { slot, .. } if slot == turn),
                "{outcome:?}"
            );
        }
    }
    let mut logs = Vec::new();
    for name in names() {
        logs.push(life.bodies(&name).await);
    }
    let heads = life.room_heads(&RoomRange::every(), 100).expect("heads");
    assert_eq!(heads.len(), 12);
    assert!(heads.iter().all(|(_, head)| head.end == 20));
    life.fold_to_head().await.expect("a fold");
    for partition in 0..PARTITIONS {
        let applied = archive.applied(partition).expect("applied").position;
        assert_eq!(applied, journal.head(partition).expect("a head"), "partition {partition}");
    }
    life.end().await.expect("a good end");

    // Restarted, with its archive and without.
    for (incarnation, archive) in [(2, archive), (3, Arc::default())] {
        let life = start(&journal, &archive, incarnation).await;
        for (name, log) in names().iter().zip(&logs) {
            assert_eq!(life.bodies(name).await, *log);
        }
        let again = ada.say(&life, proposal("room-3", "ada", "room-3-7", "room-3-7")).await;
        assert_eq!(again, repeat(7));
        life.end().await.expect("a good end");
    }
}

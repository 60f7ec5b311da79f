//! Which rooms are in memory, and for how long.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use roomlog_protocol::RoomRange;

use super::{RECENT_ROOMS, Rooms};
use crate::{
    archive::Archive,
    fixtures::{Speaker, room, window},
    memory::MemoryArchive,
    read::tail::Tail,
};

fn rooms() -> (Arc<MemoryArchive>, Arc<Rooms>) {
    let archive = Arc::<MemoryArchive>::default();
    (archive.clone(), Arc::new(Rooms::new(archive)))
}

/// A room with an entry that the archive lacks.
fn unfolded(rooms: &Rooms, name: &str) -> Arc<Tail> {
    let tail = rooms.open(&room(name)).expect("a room");
    tail.publish(Speaker::new(name).says(1, &["x"]));
    rooms.note_unfolded(&tail);
    tail
}

#[test]
fn a_room_is_in_memory_exactly_while_somebody_holds_it() {
    let (_, rooms) = rooms();
    let (first, second) = (rooms.open(&room("a")).expect("a"), rooms.open(&room("a")).expect("a"));
    assert!(Arc::ptr_eq(&first, &second), "one tail for all");
    drop(first);
    assert_eq!(rooms.len(), 1);
    drop(second);
    assert_eq!(rooms.len(), 0);
    assert!(rooms.held(&room("a")).is_none());
}

#[test]
fn a_room_with_entries_that_the_archive_lacks_is_in_memory_until_they_are_folded() {
    let (_, rooms) = rooms();
    drop(unfolded(&rooms, "a"));
    assert_eq!(rooms.open(&room("a")).expect("a").head().end, 1);
    rooms.note_folded(&room("a"));
    assert_eq!(rooms.len(), 0);
}

#[test]
fn the_rooms_that_were_read_last_stay_in_memory_and_those_never_written_do_not() {
    let (archive, rooms) = rooms();
    let name = |n: usize| format!("r{n}");
    let commits = (0..=RECENT_ROOMS).map(|n| Speaker::new(&name(n)).says(1, &["x"]));
    archive.fold(&window(1, &commits.collect::<Vec<_>>())).expect("a fold");
    for n in 0..=RECENT_ROOMS {
        assert_eq!(rooms.open_to_read(&room(&name(n))).expect("a room").head().end, 1);
        assert_eq!(rooms.open_to_read(&room("missing")).expect("a room").head().end, 0);
    }
    assert_eq!(rooms.len(), RECENT_ROOMS);
    assert!(rooms.held(&room("r0")).is_none(), "the first that was read was evicted");
    assert!(rooms.held(&room("r1")).is_some());
    assert!(rooms.held(&room("missing")).is_none());
}

#[test]
fn a_page_of_unfolded_rooms_holds_the_first_after_a_name_and_no_empty_ones() {
    let (_, rooms) = rooms();
    let empty: Vec<_> = (0..1_000).map(|n| rooms.open(&room(&format!("b{n}")))).collect();
    let tails: Vec<_> = (0..100_000).map(|n| unfolded(&rooms, &format!("c{n:06}"))).collect();
    let page = |after: Option<&str>, limit| {
        let page = rooms.unfolded_of(&RoomRange::every().after(after.map(room).as_ref()), limit);
        page.iter().map(|(room, head)| format!("{room}:{}", head.end)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(page(None, 2), "c000000:1 c000001:1");
    assert_eq!(page(Some("c099997"), 1_000), "c099998:1 c099999:1");
    assert_eq!(page(Some("c099999"), 2), "");
    drop((empty, tails));
}

#[test]
fn a_room_that_moves_and_is_released_while_another_thread_opens_it_has_its_newest_head() {
    let (archive, rooms) = rooms();
    let mut speaker = Speaker::new("a");
    let folded = Arc::new(AtomicUsize::new(0));
    let reader = {
        let (rooms, folded) = (rooms.clone(), folded.clone());
        thread::spawn(move || {
            loop {
                let least = folded.load(Ordering::Acquire);
                let end = rooms.open(&room("a")).expect("a").head().end;
                assert!(end >= least as u64, "it ends at {end} after {least} were folded");
                if least == 2_000 {
                    return;
                }
            }
        })
    };
    for position in 1..=2_000 {
        let tail = rooms.open(&room("a")).expect("a");
        assert_eq!(tail.head(), speaker.head);
        let commit = speaker.says(position, &[&position.to_string()]);
        tail.publish(commit.clone());
        rooms.note_unfolded(&tail);
        archive.fold(&window(position, &[commit])).expect("a fold");
        tail.drop_oldest();
        rooms.note_folded(&room("a"));
        drop(tail);
        folded.store(usize::try_from(position).expect("small"), Ordering::Release);
    }
    reader.join().expect("every head was current");
    assert_eq!(rooms.len(), 0);
}

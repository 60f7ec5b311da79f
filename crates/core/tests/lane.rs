//! Lanes as transcripts of frames and the actions of the connection. See `play/lane.rs`.

#[path = "play/lane.rs"]
mod play;

use play::{LIMITS, Player, play};
use roomlog_core::{
    lane::{Arrival, Lane, Step},
    outcome::AppendOutcome,
};
use roomlog_protocol::EntryId;

#[test]
fn numbered_appends_are_submitted_as_they_come() {
    play(
        "
        frame a seq=0 | submit a
        frame b seq=1 | submit b
        final a at-0  | a: at-0
        final b at-1  | b: at-1",
    );
}

#[test]
fn appends_without_numbers_are_submitted_as_they_come() {
    let player = play(
        "
        frame a      | submit a
        frame b      | submit b
        final b at-1 | b: at-1
        final a at-0 | a: at-0",
    );
    assert!(!player.lane.is_numbered());
}

#[test]
fn a_later_number_waits_for_the_earlier_ones() {
    play(
        "
        frame c seq=2 |
        frame b seq=1 |
        frame a seq=0 | submit a, submit b, submit c
        frame d seq=3 | submit d",
    );
}

#[test]
fn the_65th_early_append_is_out_of_order_and_the_64_keep_waiting() {
    let mut player = Player::new();
    for seq in 1..=64 {
        assert_eq!(player.step(&format!("frame f{seq} seq={seq}")), "");
    }
    assert_eq!(player.step("frame f65 seq=65"), "f65: out_of_order 0");
    let submitted = player.step("frame f0 seq=0");
    assert_eq!(submitted.split(", ").count(), 65);
    assert!(submitted.ends_with("submit f63, submit f64"), "{submitted}");
    assert_eq!(player.step("frame f65' seq=65"), "submit f65'");
}

#[test]
fn early_appends_are_out_of_order_after_10_s() {
    play(
        "
        frame a seq=0  | submit a
        frame c seq=2  |
        wait 6         |
        frame d seq=3  |
        wait 3.999     |
        wait 0.001     | c: out_of_order 1, d: out_of_order 1
        final a at-0   | a: at-0
        frame b seq=1  | submit b
        frame c' seq=2 | submit c'",
    );
}

#[test]
fn an_early_append_sent_twice_is_submitted_once_and_answered_twice() {
    play(
        "
        frame b seq=1         |
        frame b' seq=1        |
        frame x seq=1         | x: other id
        frame a seq=0         | submit a, submit b
        final b at-1          | b: at-1, b': again at-1",
    );
}

#[test]
fn an_append_waits_for_its_after_and_delays_those_behind_it() {
    play(
        "
        frame a seq=0 after=2  |
        frame b seq=1          |
        end 2                  |
        end 3                  | submit a, submit b
        frame c seq=2 after=2  | submit c
        frame d seq=3 after=-1 | submit d",
    );
}

#[test]
fn an_append_waits_for_its_ref() {
    play(
        "
        frame a ref=0 |
        frame b       |
        end 1         | submit a, submit b",
    );
}

#[test]
fn an_after_not_reached_in_5_s_is_ahead_and_those_behind_must_be_resent() {
    play(
        "
        frame a seq=0          | submit a
        frame b seq=1 after=9  |
        frame c seq=2          |
        frame e seq=4          |
        wait 4.999             |
        wait 0.001             | b: ahead, c: out_of_order 1, e: out_of_order 1
        final a at-0           | a: at-0
        frame b' seq=1         | submit b'
        frame c' seq=2         | submit c'",
    );
}

#[test]
fn a_ref_not_reached_in_5_s_is_bad_and_uses_up_its_number() {
    play(
        "
        frame a seq=0 ref=9 |
        frame b seq=1       |
        wait 5              | a: bad_ref, submit b
        frame a' seq=0      | a': again bad_ref",
    );
}

#[test]
fn without_numbers_ahead_and_bad_ref_reject_nothing_behind_them() {
    play(
        "
        frame a after=9 |
        frame b         |
        frame c ref=9   |
        frame d         |
        wait 5          | a: ahead, submit b, c: bad_ref, submit d",
    );
}

#[test]
fn a_slot_reached_at_the_deadline_counts() {
    play(
        "
        frame a seq=0 ref=3   |
        frame b seq=1 after=4 |
        wait 5 end 5          | submit a, submit b",
    );
    play(
        "
        frame a after=3 |
        wait 6 end 4    | submit a",
    );
}

#[test]
fn after_a_rejection_appends_in_flight_must_be_resent_from_there() {
    play(
        "
        frame a seq=0         | submit a
        frame b seq=1         | submit b
        frame c seq=2         | submit c
        frame e seq=4         |
        reject b full         | b: full, c: out_of_order 1, e: out_of_order 1
        frame d seq=3         |
        reject c out-of-order |
        final a at-0          | a: at-0
        frame b' seq=1        | submit b'
        frame c' seq=2        | submit c', submit d
        final b' at-1         | b': at-1
        final c' at-2         | c': at-2",
    );
}

#[test]
fn a_rejected_append_sent_twice_is_answered_twice() {
    play(
        "
        frame a seq=0   | submit a
        frame b seq=1   | submit b
        frame a' seq=0  |
        frame b' seq=1  |
        reject a full   | a: full, a': again full, b: out_of_order 0, b': out_of_order 0
        frame a'' seq=0 | submit a''",
    );
}

#[test]
fn after_a_rejection_the_number_may_be_reused_with_another_id() {
    play(
        "
        frame a seq=0  | submit a
        reject a busy  | a: busy
        frame z seq=0  | submit z
        final z at-0   | z: at-0
        frame z' seq=0 | z': again at-0
        frame a seq=0  | a: other id",
    );
}

#[test]
fn a_rejection_by_the_gateway_is_final_and_answered_in_order() {
    play(
        "
        frame b seq=1 gateway=too_large |
        frame a seq=0 after=0           |
        frame c seq=2                   |
        end 1                           | submit a, b: too_large, submit c
        frame b' seq=1                  | b': again too_large
        frame d gateway=too_large       | d: mixed",
    );
}

#[test]
fn an_append_that_the_gateway_cannot_hold_is_rejected_in_its_turn_and_so_are_those_behind_it() {
    play(
        "
        frame b seq=1 gateway=busy |
        frame c seq=2              |
        frame a seq=0              | submit a, b: busy, c: out_of_order 1
        frame b' seq=1             | submit b'
        frame c' seq=2             | submit c'
        frame d gateway=busy       | d: mixed",
    );
    play("frame a gateway=busy | a: busy\n frame b | submit b");
}

#[test]
fn a_rejection_by_the_gateway_does_not_wait_for_the_log() {
    play("frame a seq=0 after=9 gateway=forbidden | a: forbidden");
}

#[test]
fn a_repeated_number_gets_its_current_outcome() {
    play(
        "
        frame a seq=0     | submit a
        frame a' seq=0    |
        frame x seq=0     | x: other id
        final a at-0      | a: at-0, a': again at-0
        frame a'' seq=0   | a'': again at-0
        frame x' seq=0    | x': other id
        frame b seq=1     | submit b
        final b reused    | b: reused
        frame b' seq=1    | b': again reused",
    );
}

#[test]
fn the_last_64_outcomes_are_kept_and_older_numbers_are_out_of_order() {
    let mut player = Player::new();
    for seq in 0..65 {
        assert_eq!(player.step(&format!("frame f{seq} seq={seq}")), format!("submit f{seq}"));
    }
    for seq in 0..65 {
        assert_eq!(player.step(&format!("final f{seq} at")), format!("f{seq}: at-0"));
    }
    assert_eq!(player.step("frame f0' seq=0"), "f0': out_of_order 65");
    assert_eq!(player.step("frame f1' seq=1"), "f1': again at-0");
    assert_eq!(player.step("frame f64' seq=64"), "f64': again at-0");
}

#[test]
fn appends_in_flight_are_never_evicted() {
    let mut player = Player::new();
    for seq in 0..200 {
        assert_eq!(player.step(&format!("frame f{seq} seq={seq}")), format!("submit f{seq}"));
    }
    assert_eq!(player.step("frame f0' seq=0"), "");
    assert_eq!(player.step("final f0 at"), "f0: at-0, f0': again at-0");
}

#[test]
fn an_unknown_outcome_rejects_nothing_behind_it_and_a_later_outcome_is_kept() {
    play(
        "
        frame a seq=0      | submit a
        frame b seq=1      | submit b
        unknown a unknown  | a: unknown
        frame a' seq=0     |
        frame c seq=2      | submit c
        final b at-1       | b: at-1
        final a at-0       | a': at-0
        frame a'' seq=0    | a'': again at-0",
    );
}

#[test]
fn a_lane_is_either_numbered_or_not() {
    let player = play(
        "
        frame a seq=0 | submit a
        frame b       | b: mixed
        frame c seq=1 | submit c",
    );
    assert!(player.lane.is_numbered());
    play(
        "
        frame a       | submit a
        frame b seq=0 | b: mixed
        frame c       | submit c",
    );
}

#[test]
fn on_close_waiting_appends_are_unavailable_and_submitted_ones_get_their_outcome() {
    play(
        "
        frame a seq=0         | submit a
        frame b seq=1 after=9 |
        frame b' seq=1        |
        frame d seq=3         |
        frame d' seq=3        |
        close                 | d: unavailable, d': unavailable, b: unavailable, b': unavailable
        close                 |
        final a at-0          | a: at-0",
    );
    play(
        "
        frame a       | submit a
        frame b ref=9 |
        close         | b: unavailable
        final a at-0  | a: at-0",
    );
}

#[test]
fn a_rejection_after_close_answers_nothing_twice() {
    play(
        "
        frame a seq=0         | submit a
        frame b seq=1 after=9 |
        close                 | b: unavailable
        reject a unavailable  | a: unavailable",
    );
}

#[test]
fn deadline_is_the_next_moment_with_something_to_do() {
    let mut player = Player::new();
    assert_eq!(player.lane.deadline(), None);
    player.step("frame e seq=1");
    let early = player.lane.deadline().expect("an early one waits");
    player.step("wait 1");
    player.step("frame a seq=0 after=0");
    let ahead = player.lane.deadline().expect("the log has to come");
    // It arrived 1 s later, but waits 5 s instead of 10.
    assert_eq!(early - ahead, std::time::Duration::from_secs(4));
    assert!(player.lane.waits_for_room());
    player.step("end 1");
    assert_eq!((player.lane.deadline(), player.lane.waits_for_room()), (None, false));
}

#[test]
fn a_resend_without_an_id_gets_the_id_of_the_first_frames_entry() {
    let arrival = |token, entry: &str| Arrival {
        token,
        seq: Some(0),
        id: None,
        entry_id: EntryId::new(entry).expect("an id"),
        after: None,
        reference: None,
        work: Ok(()),
    };
    let now = tokio::time::Instant::now().into_std();
    let committed = AppendOutcome::Committed { slot: 0, committed_at: 0, repeat: false };
    let (mut lane, mut steps) = (Lane::new(LIMITS), Vec::new());
    lane.arrive(arrival(0, "first"), now, 0, &mut steps);
    lane.settle(0, AppendOutcome::Unknown, &mut steps);
    lane.arrive(arrival(1, "second"), now, 0, &mut steps);
    lane.settle(0, committed.clone(), &mut steps);
    lane.arrive(arrival(2, "third"), now, 1, &mut steps);
    let ids = steps.iter().filter_map(|step| match step {
        Step::Answer { token, outcome, entry_id, again } if *outcome == committed => {
            Some((*token, entry_id.as_ref().map(EntryId::as_str), *again))
        }
        _ => None,
    });
    assert_eq!(ids.collect::<Vec<_>>(), [(1, Some("first"), false), (2, Some("first"), true)]);
}

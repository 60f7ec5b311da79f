//! The design keeps its promises within small bounds, and each planted mistake is found.

use roomlog_model::{
    Bounds,
    Intent::{Expect, Say},
    Mistake, Room,
};
use stateright::{Checker, HasDiscoveries, Model};

#[test]
fn the_design_keeps_its_promises() {
    for bounds in Bounds::small() {
        let what = format!("{bounds:?}");
        let checker = Room { bounds, mistake: None }.checker().threads(2).spawn_bfs().join();
        assert!(checker.unique_state_count() > 1_000, "{what}");
        let always = checker.model().properties().into_iter().map(|it| it.name);
        for name in always.filter(|name| !REACHED.contains(name)) {
            checker.assert_no_discovery(name);
        }
    }
}

/// What has to happen at least once, so that the rest means something.
const REACHED: [&str; 3] =
    ["everything is acked", "a block is stored twice", "a repeat is acked after a crash"];

#[test]
fn the_bounds_reach_what_they_are_for() {
    let checked = Bounds::small().into_iter().map(|bounds| {
        Room { bounds, mistake: None }.checker().threads(2).spawn_bfs().join().discoveries()
    });
    let found: Vec<_> = checked.flat_map(|it| it.into_keys()).collect();
    for name in REACHED {
        assert!(found.contains(&name), "{name}");
    }
}

#[track_caller]
fn finds(mistake: Mistake, property: &'static str, bounds: Bounds) {
    let room = Room { bounds, mistake: Some(mistake) };
    let until = HasDiscoveries::AnyOf([property].into());
    let checker = room.checker().threads(2).finish_when(until).spawn_bfs().join();
    checker.assert_any_discovery(property);
}

fn two_that_are_sent_twice() -> Bounds {
    Bounds { intents: vec![Say(0), Say(1)], sendings: 2, crashes: 1, copies: 2, folds: 1 }
}

#[test]
fn copies_that_are_applied_are_found() {
    let bounds = Bounds {
        intents: vec![Say(0), Expect(1, 1)],
        sendings: 1,
        crashes: 0,
        copies: 2,
        folds: 0,
    };
    finds(Mistake::CopiesAreApplied, "every view is a prefix of the journal's log", bounds);
}

#[test]
fn incarnations_that_do_not_count_are_found() {
    let property = "no node stops because of its own block";
    finds(Mistake::IncarnationsAreIgnored, property, two_that_are_sent_twice());
}

#[test]
fn ids_that_nobody_looks_up_are_found() {
    finds(Mistake::IdsAreForgotten, "each id at most once", two_that_are_sent_twice());
}

#[test]
fn ids_that_leave_memory_too_early_are_found() {
    finds(Mistake::NoSettleBarrier, "each id at most once", two_that_are_sent_twice());
}

#[test]
fn an_ack_before_the_journal_has_it_is_found() {
    let property = "acked is durable, at one slot";
    finds(Mistake::AckedBeforeStored, property, two_that_are_sent_twice());
}

#[test]
fn a_stale_answer_is_found() {
    let property = "nobody is shown less than before";
    finds(Mistake::SeenIsIgnored, property, two_that_are_sent_twice());
}

#[test]
fn a_position_without_its_log_is_found() {
    finds(Mistake::PositionIsAhead, "one order", two_that_are_sent_twice());
}

//! Budgets: who may hold how much beside whom.

use roomlog_core::budget::{Account, Charge};
use roomlog_testkit::{fixtures::proposal, life::draft};

/// Charges a byte at a time until the account is refused; returns all charges.
fn fill(account: &Account) -> Vec<Charge> {
    std::iter::from_fn(|| account.charge(1)).collect()
}

#[test]
fn one_principal_gets_at_most_half_of_a_budget_and_a_connection_of_it_a_third() {
    let budget = Account::budget(900);
    let principal = budget.member();
    assert_eq!(fill(&principal).len(), 450);
    assert_eq!(budget.held(), 0, "dropped charges give back");

    let connection = principal.member();
    assert_eq!(fill(&connection).len(), 300);
}

#[test]
fn beside_many_that_hold_what_they_may_a_newcomer_still_gets_some() {
    let budget = Account::budget(402_000);
    let flooders = budget.member();
    let connections: Vec<_> = (0..200).map(|_| flooders.member()).collect();
    // In turns, so that all hold the same.
    let mut held = Vec::new();
    while let charges = connections.iter().filter_map(|it| it.charge(100)).collect::<Vec<_>>()
        && !charges.is_empty()
    {
        held.extend(charges);
    }
    assert!((900..=1_100).contains(&connections[0].held()), "{}", connections[0].held());
    // Another connection of the same principal gets nearly as much as each of these has.
    assert!((600..=1_000).contains(&fill(&flooders.member()).len()));
    // Another principal gets more: it is alone in its share.
    assert!(fill(&budget.member().member()).len() > 40_000);
}

/// Grows each charge in turns, by these steps, until none may grow.
fn grow_all(charges: &mut [Charge], step: usize) {
    loop {
        let grown = charges.iter_mut().map(|charge| usize::from(charge.grow(step))).sum::<usize>();
        if grown == 0 {
            return;
        }
    }
}

#[test]
fn a_principal_never_holds_more_than_two_thirds_however_many_connections_it_has() {
    const MIB: usize = 1 << 20;
    for connections in [1, 10, 200, 1_000, 10_000] {
        let budget = Account::budget(512 * MIB);
        let flooder = budget.member();
        // The worst: one takes what it may before the others come.
        let mut held = vec![flooder.member().open()];
        grow_all(&mut held, 32 << 10);
        held.extend((1..connections).map(|_| flooder.member().open()));
        grow_all(&mut held, 4 << 10);
        assert!(flooder.held() <= 512 * MIB / 3 * 2, "{connections}: {}", flooder.held());
        // An author of the same address, and one of another.
        let beside = flooder.member().charge(16 << 10);
        assert!(beside.is_some(), "{connections}: {} held", flooder.held());
        drop(beside);
        let other = budget.member().member();
        assert!(other.charge(40 * MIB).is_some(), "{connections}: {} held", flooder.held());
    }
}

#[test]
fn each_principal_that_floods_leaves_a_third_of_what_it_found() {
    let budget = Account::budget(512 << 20);
    let mut held = Vec::new();
    let mut free = budget.limit();
    for _ in 0..3 {
        let flooder = budget.member();
        let mut charges: Vec<_> = (0..1_000).map(|_| flooder.member().open()).collect();
        grow_all(&mut charges, 4 << 10);
        held.extend(charges);
        free /= 3;
        assert!(budget.held() <= budget.limit() - free, "{} held", budget.held());
        assert!(budget.member().member().charge(free / 3).is_some(), "{} held", budget.held());
    }
}

#[test]
fn a_connection_that_holds_little_goes_on_beside_some_that_hold_much_and_some_that_hold_less() {
    let budget = Account::budget(512_000);
    let principal = budget.member();
    let (author, large) = (principal.member(), principal.member());
    let mut held = vec![author.charge(500).expect("free")];
    held.extend(large.charge(150_000));
    // Many that hold less than the author leave it less than it has already.
    let small: Vec<_> = (0..2_500).map(|_| principal.member()).collect();
    held.extend(small.iter().filter_map(|it| it.charge(50)));
    assert!(budget.held() > 250_000, "{}", budget.held());
    assert!(author.charge(100).is_some());
    assert!(author.charge(10_000).is_none());
}

#[test]
fn an_append_is_charged_what_its_frames_will_take() {
    let account = Account::budget(1 << 20);
    let held = |body: &str| {
        let draft = draft(&account, proposal("r", "ada", "a", body), None, 0);
        draft.map(|draft| (account.held(), draft).0).expect("free")
    };
    assert_eq!(held(&"x".repeat(1_000)), 2_000 + 512);
    assert_eq!(held(&"\u{1}".repeat(1_000)), 7_000 + 512);
    assert_eq!(account.held(), 0);
}

#[test]
fn what_is_refused_is_counted_and_charges_nothing() {
    let budget = Account::budget(100);
    let account = budget.member().member();
    let mut charge = account.charge(20).expect("free");
    assert!(!charge.grow(1_000));
    assert!(account.charge(1_000).is_none());
    assert_eq!((budget.held(), account.held(), budget.refusals()), (20, 20, 2));
    assert!(charge.grow(5));
    charge.shrink(10);
    assert_eq!((budget.held(), account.held()), (15, 15));
    charge.shrink(1_000);
    drop(charge);
    assert_eq!(budget.held(), 0);
}

#[test]
fn a_budget_itself_can_be_used_up() {
    let budget = Account::budget(100);
    let all = budget.charge(100);
    assert!(all.is_some() && budget.charge(1).is_none());
    drop(all);
    assert!(budget.charge(1).is_some());
}

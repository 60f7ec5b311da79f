//! Budgets: who may hold how much beside whom.

use roomlog_core::budget::{Account, Charge};

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
    // Another connection of the same principal gets half of what each of these has.
    assert!((400..=600).contains(&fill(&flooders.member()).len()));
    // Another principal gets more: it is alone in its share.
    assert!(fill(&budget.member().member()).len() > 40_000);
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

use std::time::Duration;

use roomlog_protocol::limits::UNLIMITED_RATE;

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

#[test]
fn an_ipv4_address_and_an_ipv6_network_of_64_bits_are_one_principal() {
    for (one, other, is_same) in [
        ("10.0.0.1", "10.0.0.1", true),
        ("10.0.0.1", "::ffff:10.0.0.1", true),
        ("10.0.0.1", "10.0.0.2", false),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
    ] {
        let [one, other] = [one, other].map(address).map(principal_of);
        assert_eq!(one == other, is_same, "{one} {other}");
    }
}

fn principals_of(limits: &Limits, sockets: usize) -> Principals {
    let budgets = (&Account::budget(1_000), Account::budget(1_000));
    Principals::new(budgets, limits, (sockets, 1), Arc::default())
}

fn connect(principals: &Principals, from: &str) -> Client {
    principals.client(address(from)).expect("a connection")
}

fn limits(rooms_per_second: usize, burst_ms: u64) -> Limits {
    let burst_for = Duration::from_millis(burst_ms);
    Limits { rooms_per_second, burst_for, ..Limits::default() }
}

#[test]
fn connections_share_their_principal_and_it_ends_with_the_last() {
    let principals = principals_of(&limits(UNLIMITED_RATE, 1), 10);
    let (first, second) = (connect(&principals, "10.0.0.1"), connect(&principals, "10.0.0.1"));
    let other = connect(&principals, "10.0.0.2");
    let charge = first.memory.charge(100);
    assert!(charge.is_some());
    assert_eq!(second.principal.accounts.memory.held(), 100);
    assert_eq!((second.memory.held(), other.principal.accounts.memory.held()), (0, 0));
    drop((charge, first, other));
    assert_eq!(principals.known.lock().principals.len(), 1);
    drop(second);
    assert_eq!(principals.known.lock().principals.len(), 0);
}

#[test]
fn who_returns_still_holds_what_is_charged_from_before() {
    let principals = principals_of(&limits(UNLIMITED_RATE, 1), 10);
    let client = connect(&principals, "10.0.0.1");
    let charge = client.appends.charge(300).expect("free");
    drop(client);
    let again = connect(&principals, "10.0.0.1");
    assert_eq!(again.principal.accounts.appends.held(), 300);
    drop((again, charge));
    drop(connect(&principals, "10.0.0.2"));
    assert_eq!(principals.known.lock().principals.len(), 0);
}

#[test]
fn who_returns_has_the_same_allowance_until_it_would_be_full_again() {
    let principals = principals_of(&limits(1, 3_600_000), 1);
    let client = connect(&principals, "10.0.0.1");
    assert_eq!(client.principal.rates.rooms.take(3_600), None);
    drop(client);
    for _ in 0..2 {
        let again = connect(&principals, "10.0.0.1");
        assert!(again.principal.rates.rooms.take(60).is_some());
    }
    // There are never more of those that are gone than sockets.
    for other in ["10.0.0.2", "10.0.0.3"] {
        drop(connect(&principals, other));
        let known = principals.known.lock();
        assert_eq!((known.principals.len(), known.gone.len()), (1, 1));
    }
}

#[test]
fn one_connection_too_many_is_refused_and_the_65th_is_closed() {
    let principals =
        principals_of(&Limits { connections_per_principal: 2, ..Limits::default() }, 10);
    let open = || principals.client(address("10.0.0.1"));
    let mut clients: Vec<_> = (0..66).map(|_| open().expect("a connection")).collect();
    let surplus = clients.iter().filter(|client| client.presence.is_surplus()).count();
    assert_eq!((surplus, open().is_none()), (64, true));
    assert!(!connect(&principals, "10.0.0.2").presence.is_surplus());
    clients.truncate(1);
    assert!(open().is_some_and(|client| !client.presence.is_surplus()));
}

#[test]
fn addresses_that_take_all_sockets_they_may_leave_some_to_others() {
    let principals = principals_of(&Limits::default(), 100);
    let served = |from: &str| {
        let client = principals.client(address(from));
        client.filter(|client| !client.presence.is_surplus())
    };
    let mut held = Vec::new();
    for (flooder, most) in [("10.0.0.1", 50), ("10.0.0.2", 25), ("10.0.0.3", 13)] {
        let before = held.len();
        held.extend(std::iter::from_fn(|| served(flooder)));
        assert_eq!(held.len() - before, most, "{flooder}");
    }
    let others: Vec<_> = ["10.0.0.4", "10.0.0.5"].map(served).into_iter().flatten().collect();
    assert_eq!(others.len(), 2);
    held.truncate(40);
    assert!(served("10.0.0.1").is_some());
}

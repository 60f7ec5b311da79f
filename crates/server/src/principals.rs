//! Principals: who is charged for what a connection makes the server hold.
//!
//! Enters: the address of a peer. Leaves: its accounts, one of the connection below one of its
//! principal, in each budget. A principal is an IP address; of IPv6 a /64, because a single host has
//! that many. Invariant: a principal exists exactly while a connection of it does, so there are never
//! more than connections.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use roomlog_core::budget::Account;

/// How many bits of an IPv6 address name one principal.
const IPV6_PREFIX: u32 = 64;

/// What a connection at the operators' door may hold, in bytes.
const OPERATOR_BYTES: usize = 4 << 20;

type Known = Mutex<HashMap<IpAddr, Weak<Principal>>>;

/// The principals of all connections.
pub(crate) struct Principals {
    appends: Account,
    memory: Account,
    known: Arc<Known>,
}

/// A principal and its accounts.
pub(crate) struct Principal {
    address: IpAddr,
    appends: Account,
    memory: Account,
    known: Arc<Known>,
}

/// The accounts of a connection.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) principal: Arc<Principal>,
    /// Appends until they are in the archive.
    pub(crate) appends: Account,
    /// What else the server holds for it.
    pub(crate) memory: Account,
}

impl Principals {
    /// The budget of appends, and that of all else.
    pub(crate) fn new(appends: &Account, memory: Account) -> Self {
        Self { appends: appends.clone(), memory, known: Arc::default() }
    }

    /// The accounts of a new connection from this address.
    pub(crate) fn client(&self, peer: IpAddr) -> Client {
        let address = principal_of(peer);
        let mut known = self.known.lock();
        let principal = known.get(&address).and_then(Weak::upgrade).unwrap_or_else(|| {
            let (appends, memory) = (self.appends.member(), self.memory.member());
            let known = self.known.clone();
            Arc::new(Principal { address, appends, memory, known })
        });
        known.insert(address, Arc::downgrade(&principal));
        let (appends, memory) = (principal.appends.member(), principal.memory.member());
        Client { principal, appends, memory }
    }
}

impl Principals {
    /// The accounts of a connection at the operators' door: whatever the public holds, it has its own.
    pub(crate) fn operator(&self) -> Client {
        let address = Ipv6Addr::UNSPECIFIED.into();
        let [appends, memory] = [(); 2].map(|()| Account::budget(OPERATOR_BYTES));
        let known = self.known.clone();
        let of_connection = (appends.clone(), memory.clone());
        let principal = Arc::new(Principal { address, appends, memory, known });
        Client { principal, appends: of_connection.0, memory: of_connection.1 }
    }
}

impl Drop for Principal {
    fn drop(&mut self) {
        let mut known = self.known.lock();
        // A new connection may have made it anew in between.
        if known.get(&self.address).is_some_and(|principal| principal.strong_count() == 0) {
            known.remove(&self.address);
        }
    }
}

fn principal_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let prefix =
                address.to_bits() >> (u128::BITS - IPV6_PREFIX) << (u128::BITS - IPV6_PREFIX);
            Ipv6Addr::from_bits(prefix).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn connections_share_their_principal_and_it_ends_with_the_last() {
        let principals = Principals::new(&Account::budget(1_000), Account::budget(1_000));
        let (first, second) =
            (principals.client(address("10.0.0.1")), principals.client(address("10.0.0.1")));
        let other = principals.client(address("10.0.0.2"));
        let charge = first.memory.charge(100);
        assert!(charge.is_some());
        assert_eq!(second.principal.memory.held(), 100);
        assert_eq!((second.memory.held(), other.principal.memory.held()), (0, 0));
        drop((charge, first, other));
        assert_eq!(principals.known.lock().len(), 1);
        drop(second);
        assert_eq!(principals.known.lock().len(), 0);
    }
}

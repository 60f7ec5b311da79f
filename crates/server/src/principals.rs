//! Principals: who is charged for what a connection makes the server hold, and whose rates it uses.
//!
//! Enters: the address of a peer, or the author of a token. Leaves: its accounts, one of the connection
//! below one of its principal, in each budget; its rates. A principal is an IP address (of IPv6 a /64,
//! because a single host has that many) and, once a connection has logged in with a token, the token's
//! author. Invariants: a principal exists exactly while a connection of it does, so there
//! are never more than connections. Its accounts stay while anything is charged to them, and its rates
//! until they would be full again, so that new connections give nobody a new allowance; but of at
//! most `sockets` principals that are gone.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use parking_lot::{Mutex, RwLock};
use roomlog_auth::TokenError;
use roomlog_core::budget::{Account, Charge};
use roomlog_protocol::{Author, Limits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    audit::reason,
    limited::Limit,
    metrics::Metrics,
    pending::{Pending, PendingLogin},
    rates::Rates,
};

/// How many bits of an IPv6 address name one principal.
const IPV6_PREFIX: u32 = 64;

/// What a connection at the operators' door may hold, in bytes.
const OPERATOR_BYTES: usize = 4 << 20;

/// How many connections that may not be served are answered concurrently, of all principals; more are
/// closed at once. They are counted and charged nowhere else.
pub(crate) const REFUSED_CONNECTIONS: usize = 64;

/// Appends that wait for `seq`, `after` or `ref` may hold this part of the budget of appends: they do
/// not go on by themselves, and would hold all of it.
const WAITING_SHARE: usize = 4;

/// How many pages a principal reads at once: half of what the archive does.
const PAGES_AT_ONCE: usize = 2;

/// Who is charged.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Whom {
    Address(IpAddr),
    /// An author of tokens, in a namespace.
    Author(String, Author),
}

/// The accounts of somebody, one in each budget.
#[derive(Clone)]
struct Accounts {
    appends: Account,
    waiting: Account,
    memory: Account,
    /// In connections, not bytes.
    sockets: Account,
}

impl Accounts {
    fn member(&self) -> Self {
        Self {
            appends: self.appends.member(),
            waiting: self.waiting.member(),
            memory: self.memory.member(),
            sockets: self.sockets.member(),
        }
    }

    fn is_empty(&self) -> bool {
        let Self { appends, waiting, memory, sockets } = self;
        [appends, waiting, memory, sockets].iter().all(|account| account.held() == 0)
    }
}

/// The principals of all connections.
pub(crate) struct Principals {
    budgets: Accounts,
    refusals: Arc<Semaphore>,
    pending: Arc<Pending>,
    /// Replaced by [`Principals::set_limits`].
    limits: RwLock<Limits>,
    /// Of the largest frame or body.
    message_bytes: usize,
    metrics: Arc<Metrics>,
    known: Arc<Mutex<KnownPrincipals>>,
}

#[derive(Default)]
struct KnownPrincipals {
    principals: HashMap<Whom, Known>,
    /// Those without a connection, by when they went.
    gone: BTreeSet<(Instant, Whom)>,
    /// How many of these are kept.
    most: usize,
}

struct Known {
    principal: Weak<Principal>,
    accounts: Accounts,
    rates: Arc<Rates>,
    gone_at: Option<Instant>,
}

/// A principal that has a connection.
pub(crate) struct Principal {
    whom: Whom,
    accounts: Accounts,
    pub(crate) rates: Arc<Rates>,
    pub(crate) reads: Arc<ReadTurns>,
    connections: AtomicUsize,
    known: Arc<Mutex<KnownPrincipals>>,
}

/// Whose turn it is, of the requests of one principal, to wait for reads that all share: with as many
/// in their queues as it has connections, it would make others wait for all of these.
pub(crate) struct ReadTurns {
    pub(crate) pages: Semaphore,
    pub(crate) lists: Semaphore,
}

impl Default for ReadTurns {
    fn default() -> Self {
        Self { pages: Semaphore::new(PAGES_AT_ONCE), lists: Semaphore::new(1) }
    }
}

/// The accounts of a connection.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) principal: Arc<Principal>,
    /// Appends until they are in the archive.
    pub(crate) appends: Account,
    /// Those of them that wait for `seq`, `after` or `ref`.
    pub(crate) waiting: Account,
    /// What else the server holds for it.
    pub(crate) memory: Account,
    /// As one of its address.
    pub(crate) presence: Arc<Presence>,
    /// As one of the author of its token.
    _login: Option<Arc<AuthorPresence>>,
    pub(crate) metrics: Arc<Metrics>,
}

/// A connection as one of an author's, until it is dropped.
struct AuthorPresence(Arc<Principal>);

/// A connection as one of its principal's, and as pending, until it is dropped.
pub(crate) struct Presence {
    /// Its place among `sockets`, or among those that are refused. Given back before the principal is,
    /// which is forgotten only if nothing is charged to it.
    place: Place,
    principal: Arc<Principal>,
    pub(crate) pending: PendingLogin,
}

enum Place {
    Served {
        _charge: Charge,
    },
    Refused {
        _permit: OwnedSemaphorePermit,
    },
    /// At the operators' door, or of a trusted proxy.
    Uncounted,
}

impl Principals {
    /// The budget of appends, and that of all else; how many sockets there may be, and so principals
    /// without a connection are kept; the bytes of the largest batch.
    pub(crate) fn new(
        (appends, memory): (&Account, Account),
        limits: &Limits,
        (sockets, batch_bytes): (usize, usize),
        metrics: Arc<Metrics>,
    ) -> Self {
        let known = KnownPrincipals { most: sockets, ..KnownPrincipals::default() };
        let waiting = Account::budget(appends.limit() / WAITING_SHARE);
        metrics.measure([("waiting", waiting.clone()), ("clients", memory.clone())]);
        // Of a budget some stays free, however many hold it.
        let places = Account::budget(sockets.saturating_add(1));
        Self {
            budgets: Accounts { appends: appends.clone(), waiting, memory, sockets: places },
            refusals: Arc::new(Semaphore::new(REFUSED_CONNECTIONS)),
            pending: Pending::new(limits.pending_logins),
            limits: RwLock::new(limits.clone()),
            message_bytes: batch_bytes.max(limits.frame_bytes),
            metrics,
            known: Arc::new(Mutex::new(known)),
        }
    }

    /// Applies these limits from now on, to principals that are connected too: their allowances are full
    /// again.
    pub(crate) fn set_limits(&self, limits: &Limits) {
        *self.limits.write() = limits.clone();
        self.pending.set_most(limits.pending_logins);
        // Those that come meanwhile have the new ones already.
        for known in self.known.lock().principals.values() {
            known.rates.set(limits, self.message_bytes);
        }
    }

    /// The most rooms of the log.
    pub(crate) fn rooms(&self) -> usize {
        self.limits.read().rooms
    }

    fn rates(&self) -> Rates {
        Rates::new(&self.limits.read(), self.message_bytes)
    }

    /// The accounts of a new connection from this address; `None` if it must be closed at once.
    pub(crate) fn client(&self, peer: IpAddr) -> Option<Client> {
        let principal = self.principal(&Whom::Address(principal_of(peer)));
        let most = self.limits.read().connections_per_principal;
        let is_over = principal.connections.load(Ordering::Relaxed) >= most;
        let charge = (!is_over).then(|| principal.accounts.sockets.charge(1)).flatten();
        let place = match charge {
            Some(charge) => Place::Served { _charge: charge },
            None => {
                let limit = if is_over { Limit::ConnectionsPerPrincipal } else { Limit::Sockets };
                self.metrics.limited(limit);
                Place::Refused { _permit: self.refusal()? }
            }
        };
        let (pending, was_cut) = self.pending.enter();
        if was_cut {
            self.metrics.limited(Limit::PendingLogins);
        }
        Some(self.client_of(principal, pending, place))
    }

    /// The accounts of a new connection from a trusted proxy, which may have any number of them: each
    /// client that it asks for is counted for itself.
    pub(crate) fn proxy(&self, peer: IpAddr) -> Client {
        let principal = self.principal(&Whom::Address(principal_of(peer)));
        let (pending, _) = self.pending.enter();
        self.client_of(principal, pending, Place::Uncounted)
    }

    /// A place among the connections that are refused; `None` if this one must be closed at once.
    pub(crate) fn refusal(&self) -> Option<OwnedSemaphorePermit> {
        self.refusals.clone().try_acquire_owned().ok()
    }

    /// The accounts of a connection that has logged in with a token of this author; `None` if the
    /// author has as many connections as it may.
    pub(crate) fn of_author(
        &self,
        (namespace, author): (&str, &Author),
        client: &Client,
    ) -> Option<Client> {
        let principal = self.principal(&Whom::Author(namespace.into(), author.clone()));
        let others = principal.connections.fetch_add(1, Ordering::Relaxed);
        let _login = Some(Arc::new(AuthorPresence(principal.clone())));
        if others >= self.limits.read().connections_per_principal {
            self.metrics.limited(Limit::ConnectionsPerPrincipal);
            return None;
        }
        let Accounts { appends, waiting, memory, .. } = principal.accounts.member();
        let (presence, metrics) = (client.presence.clone(), client.metrics.clone());
        Some(Client { principal, appends, waiting, memory, presence, _login, metrics })
    }

    /// The accounts of a connection at the operators' door: whatever the public holds, it has its own.
    pub(crate) fn operator(&self) -> Client {
        let [appends, waiting, memory, sockets] = [(); 4].map(|()| Account::budget(OPERATOR_BYTES));
        let principal = Arc::new(Principal {
            whom: Whom::Address(Ipv6Addr::UNSPECIFIED.into()),
            accounts: Accounts { appends, waiting, memory, sockets },
            rates: Arc::new(self.rates()),
            reads: Arc::default(),
            connections: AtomicUsize::new(0),
            known: Arc::default(),
        });
        let (pending, _) = Pending::new(1).enter();
        self.client_of(principal, pending, Place::Uncounted)
    }

    fn client_of(&self, principal: Arc<Principal>, pending: PendingLogin, place: Place) -> Client {
        principal.connections.fetch_add(1, Ordering::Relaxed);
        let Accounts { appends, waiting, memory, .. } = principal.accounts.member();
        let presence = Arc::new(Presence { principal: principal.clone(), pending, place });
        let (_login, metrics) = (None, self.metrics.clone());
        Client { principal, appends, waiting, memory, presence, _login, metrics }
    }

    fn principal(&self, whom: &Whom) -> Arc<Principal> {
        let mut known = self.known.lock();
        known.forget_idle(Instant::now());
        let held = known.principals.get(whom);
        if let Some(principal) = held.and_then(|held| held.principal.upgrade()) {
            return principal;
        }
        let (accounts, rates, gone_at) = match held {
            Some(held) => (held.accounts.clone(), held.rates.clone(), held.gone_at),
            None => (self.budgets.member(), Arc::new(self.rates()), None),
        };
        if let Some(gone_at) = gone_at {
            known.gone.remove(&(gone_at, whom.clone()));
        }
        let principal = Arc::new(Principal {
            whom: whom.clone(),
            accounts: accounts.clone(),
            rates: rates.clone(),
            reads: Arc::default(),
            connections: AtomicUsize::new(0),
            known: self.known.clone(),
        });
        let weak = Arc::downgrade(&principal);
        let held = Known { principal: weak, accounts, rates, gone_at: None };
        known.principals.insert(whom.clone(), held);
        principal
    }
}

impl KnownPrincipals {
    /// Forgets principals without connections: those whose allowances are full again and to whom
    /// nothing is charged, and the oldest if there are too many.
    fn forget_idle(&mut self, now: Instant) {
        while let Some((gone_at, whom)) = self.gone.first().cloned() {
            let known = self.principals.get(&whom);
            let is_idle =
                known.is_none_or(|it| now >= gone_at + it.rates.refill() && it.accounts.is_empty());
            if !is_idle && self.gone.len() <= self.most {
                return;
            }
            self.gone.pop_first();
            self.principals.remove(&whom);
        }
    }
}

impl Drop for Principal {
    fn drop(&mut self) {
        let (mut known, now) = (self.known.lock(), Instant::now());
        // A new connection may have made it anew in between.
        let held = known.principals.get_mut(&self.whom);
        let Some(held) = held.filter(|held| held.principal.strong_count() == 0) else { return };
        held.gone_at = Some(now);
        known.gone.insert((now, self.whom.clone()));
        known.forget_idle(now);
    }
}

impl Client {
    /// Who it is, for the log: an address, or the author of its token.
    pub(crate) fn shown(&self) -> String {
        match &self.principal.whom {
            Whom::Address(address) => address.to_string(),
            Whom::Author(namespace, author) if namespace.is_empty() => author.to_string(),
            Whom::Author(namespace, author) => format!("{author} of {namespace}"),
        }
    }

    /// Notes that its token was refused.
    pub(crate) fn note_refused_login(&self, error: &TokenError) {
        self.metrics.audit.note(reason(error), || self.shown());
    }

    /// Notes that it has no right to what it asked for.
    pub(crate) fn note_denied(&self, reason: &str) {
        self.metrics.audit.note(reason, || self.shown());
    }
}

impl Drop for AuthorPresence {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Presence {
    /// Whether its principal has as many connections as it may: every request is refused.
    pub(crate) fn is_surplus(&self) -> bool {
        matches!(self.place, Place::Refused { .. })
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.principal.connections.fetch_sub(1, Ordering::Relaxed);
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
#[path = "tests/principals.rs"]
mod tests;

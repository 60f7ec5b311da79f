//! Budgets: bounds of memory that hurt whoever reaches them.
//!
//! ```text
//!  budget (a limit) ──► principal ──► connection ──► charge
//! ```
//!
//! Enters: charges, before the memory that they pay for is taken. Leaves: whether it may be taken; a
//! charge gives it back when it is dropped. Invariants, of what each holds after the charge: a
//! principal and one of its connections hold at most what is free in the budget; or the principal holds
//! at most [`SHARE`] times what is free, and the connection a [`LITTLE`]th of what its principal lacks
//! to that. These are the dynamic thresholds of shared packet buffers (Choudhury and Hahne, IEEE/ACM
//! Transactions on Networking 6(2), 1998): whoever holds most is refused first, without a search for
//! the heaviest.
//!
//! So a principal never holds more than two thirds of a budget, or of what the others leave of it,
//! however many connections it has; one connection alone gets a third. Within the share of a principal,
//! N connections that all hold a little leave a (N + 256)th of it to one more, whatever some others of
//! the principal hold.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// A principal may hold so many times what is free in the budget, if its connections hold little each.
const SHARE: usize = 2;

/// A connection holds little if that is at most this part of what its principal may still take.
const LITTLE: usize = 256;

/// Over how many appends a cost is averaged.
const COSTS: usize = 8;

/// What is left after a charge to an account and those above it, and whether the charge is allowed.
struct Room {
    /// What is free in the budget, without what these accounts hold.
    here: usize,
    /// The same of [`SHARE`] times what is free.
    share: usize,
    fits: bool,
}

/// A budget, or the share of it that a principal or a connection holds. Clones are the same account.
#[derive(Debug, Clone)]
pub struct Account(Arc<Level>);

#[derive(Debug)]
struct Level {
    above: Above,
    held: AtomicUsize,
    /// See [`Account::note_cost`].
    cost: AtomicUsize,
}

#[derive(Debug)]
enum Above {
    Limit(usize, AtomicU64),
    Account(Account),
}

impl Account {
    /// A budget of `limit`, in bytes.
    #[must_use]
    pub fn budget(limit: usize) -> Self {
        Self::below(Above::Limit(limit, AtomicU64::new(0)))
    }

    /// An account of a member of this one: of a principal in a budget, or a connection of a
    /// principal.
    #[must_use]
    pub fn member(&self) -> Self {
        Self::below(Above::Account(self.clone()))
    }

    fn below(above: Above) -> Self {
        let (held, cost) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Level { above, held, cost }))
    }

    /// How many bytes are charged to it and its members.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::Relaxed)
    }

    /// How many charges its budget has refused.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        match &self.0.above {
            Above::Limit(_, refusals) => refusals.load(Ordering::Relaxed),
            Above::Account(above) => above.refusals(),
        }
    }

    /// How many bytes its budget has.
    #[must_use]
    pub fn limit(&self) -> usize {
        match &self.0.above {
            Above::Limit(limit, _) => *limit,
            Above::Account(above) => above.limit(),
        }
    }

    /// A charge of 0 bytes, which can grow.
    #[must_use]
    pub fn open(&self) -> Charge {
        Charge { account: self.clone(), bytes: 0 }
    }

    /// Charges this many bytes; `None` if that is more than the account may hold now.
    #[must_use]
    pub fn charge(&self, bytes: usize) -> Option<Charge> {
        let mut charge = self.open();
        charge.grow(bytes).then_some(charge)
    }

    /// Adds `bytes` here and above; see [`Room`].
    fn hold(&self, bytes: usize) -> Room {
        let hold_here = || self.0.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        match &self.0.above {
            Above::Limit(limit, _) => {
                let held = hold_here();
                let free = limit.saturating_sub(held);
                Room { here: free, share: free.saturating_mul(SHARE), fits: held <= *limit }
            }
            Above::Account(above) => {
                let (above, held) = (above.hold(bytes), hold_here());
                Room {
                    here: above.here.saturating_sub(held),
                    share: above.share.saturating_sub(held),
                    fits: held <= above.here || held <= above.share / LITTLE,
                }
            }
        }
    }

    fn release(&self, bytes: usize) {
        self.0.held.fetch_sub(bytes, Ordering::Relaxed);
        if let Above::Account(above) = &self.0.above {
            above.release(bytes);
        }
    }

    fn note_refusal(&self) {
        match &self.0.above {
            Above::Limit(_, refusals) => _ = refusals.fetch_add(1, Ordering::Relaxed),
            Above::Account(above) => above.note_refusal(),
        }
    }

    /// Notes what an append of a connection cost besides its own bytes, as a number of bytes that take
    /// as long to write. Only the applier calls this.
    pub(crate) fn note_cost(&self, cost: usize) {
        let principal = &self.above().unwrap_or(self).0.cost;
        let before = principal.load(Ordering::Relaxed);
        principal.store((before * (COSTS - 1) + cost) / COSTS, Ordering::Relaxed);
    }

    /// What its next append is expected to cost besides its own bytes: what those of its principal
    /// cost of late.
    pub(crate) fn expected_cost(&self) -> usize {
        self.above().unwrap_or(self).0.cost.load(Ordering::Relaxed)
    }

    /// The account above it; the budget has none.
    pub(crate) fn above(&self) -> Option<&Self> {
        match &self.0.above {
            Above::Limit(..) => None,
            Above::Account(above) => Some(above),
        }
    }

    /// A number that no other account has at the same time.
    pub(crate) fn number(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }
}

/// Bytes that are charged to an account until this is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Account,
    bytes: usize,
}

impl Charge {
    /// The account that is charged.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// How many bytes are charged.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves `bytes` of it, at most all, to a charge of its own.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { account: self.account.clone(), bytes }
    }

    /// Takes over another charge of the same account.
    pub fn absorb(&mut self, mut other: Self) {
        debug_assert_eq!(self.account.number(), other.account.number(), "of another account");
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Charges it to the principal alone, if it is charged to one of its connections.
    pub(crate) fn pass_to_principal(&mut self) {
        let principal = self.account.above().filter(|account| account.above().is_some());
        if let Some(principal) = principal.cloned() {
            self.account.0.held.fetch_sub(self.bytes, Ordering::Relaxed);
            self.account = principal;
        }
    }

    /// Charges `bytes` more; `false`, and nothing is charged, if that is more than the account may
    /// hold now.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let is_held = self.account.hold(bytes).fits;
        if is_held {
            self.bytes += bytes;
        } else {
            self.account.release(bytes);
            self.account.note_refusal();
        }
        is_held
    }

    /// Whether `needed` bytes in all may be held, of which `free` are charged in advance: then the rest
    /// is charged, in multiples of `step` if these fit.
    #[must_use]
    pub fn cover(&mut self, needed: usize, free: usize, step: usize) -> bool {
        let lacking = needed.saturating_sub(free + self.bytes);
        let stepped = lacking.next_multiple_of(step);
        lacking == 0 || (stepped > lacking && self.grow(stepped)) || self.grow(lacking)
    }

    /// Gives back `bytes`, at most all that is charged.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        self.account.release(bytes);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.release(self.bytes);
    }
}

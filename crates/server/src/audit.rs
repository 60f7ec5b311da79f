//! What is refused for want of rights: counted, and logged once a second at most.
//!
//! Enters: why something was refused, and to whom. Leaves: a counter, lines of the log. Invariant: no
//! line has a token, a body or a name that a client has chosen freely, and no flood of refusals fills the
//! log.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::{IntCounterVec, Opts};
use roomlog_auth::TokenError;
use tracing::warn;

use crate::metric_registry::MetricRegistry;

/// How long after a line the next is logged.
const LOGGED_EVERY: Duration = Duration::from_secs(1);

/// The counters of refusals.
#[derive(Debug)]
pub(crate) struct Audit {
    denied: IntCounterVec,
    logged: Mutex<(Option<Instant>, u64)>,
}

impl Audit {
    pub(crate) fn new(registry: &MetricRegistry) -> Self {
        let denied = Opts::new(
            "roomlog_denied_total",
            "What was refused for want of rights: logins, by why the token is not good; all else, by the \
             right that is missing.",
        );
        let denied = registry.register(IntCounterVec::new(denied, &["reason"]));
        Self { denied, logged: Mutex::default() }
    }

    /// Counts a refusal.
    pub(crate) fn count(&self, reason: &str) {
        self.denied.with_label_values(&[reason]).inc();
    }

    /// Counts a refusal, and logs it unless another was just logged.
    pub(crate) fn note(&self, reason: &str, who: impl FnOnce() -> String) {
        self.count(reason);
        let now = Instant::now();
        let (logged, unlogged) = &mut *self.logged.lock();
        if logged.is_some_and(|at| now < at + LOGGED_EVERY) {
            *unlogged += 1;
            return;
        }
        *logged = Some(now);
        warn!(reason, who = who(), more = std::mem::take(unlogged), "refused");
    }
}

/// The name of a refusal, for the counter.
pub(crate) fn reason(error: &TokenError) -> &'static str {
    match error {
        TokenError::TooLong(_) | TokenError::Malformed => "malformed",
        TokenError::Critical | TokenError::OtherType => "header",
        TokenError::UnknownKey => "unknown_key",
        TokenError::Signature => "signature",
        TokenError::Audience => "audience",
        TokenError::Expired => "expired",
        TokenError::NotYet => "not_yet",
        TokenError::TooLongLived(_) => "too_long_lived",
        TokenError::Claim(..) => "claim",
        TokenError::Revoked => "revoked",
    }
}

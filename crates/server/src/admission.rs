//! Admission by rate: whether a principal may do now what it asks.
//!
//! Enters: requests, frames, bodies, appends, first entries of rooms. Leaves: nothing, or
//! `rate_limited` with the time to wait. Invariant: what is refused is counted by its limit, and
//! uses up no allowance of that limit.
//!
//! Memory for appends is admitted here too, with backpressure: see [`Backpressure`].

use std::time::{Duration, Instant};

use roomlog_auth::Access;
use roomlog_core::{budget::Charge, outcome::AppendOutcome, queue::Draft};
use roomlog_protocol::{ClientAppend, ErrorCode, Refusal, RoomName};

use crate::{
    auth::rights::check_create,
    gateway::{BUSY_PAUSE, Gateway},
    limited::Limit,
    principals::Client,
};

/// The longest that a client beyond its rates is not read, or its answer is held back: on a WebSocket
/// its pongs are to be heard.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long nothing is read from a client with this answer, or the answer is held back.
pub(crate) fn refused_for(refusal: &Refusal) -> Duration {
    let wait = refusal.retry_after_ms.map_or(LONGEST_PAUSE, Duration::from_millis);
    wait.min(LONGEST_PAUSE)
}

/// How long nothing is read from a client of which an append was refused with this, or the answer is held
/// back: one that sends it again at once would cost the others the time to parse it. `None` if it need not
/// wait.
pub(crate) fn pause_after(refusal: &Refusal) -> Option<Duration> {
    match refusal.code {
        ErrorCode::RateLimited => Some(refused_for(refusal).max(BUSY_PAUSE)),
        ErrorCode::Busy | ErrorCode::StorageFull => Some(BUSY_PAUSE),
        _ => None,
    }
}

/// The longest that an append waits for room in the budget before it is `busy`.
const LONGEST_BACKPRESSURE: Duration = Duration::from_secs(5);

/// How long it waits before the first attempt; then twice as long each time, up to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_millis(5);

/// The longest between two attempts.
const LONGEST_WAIT: Duration = Duration::from_millis(80);

/// An append waits for room in the budget: the archive is behind, and whoever appends most holds what
/// there is. Only one of a connection that has no other on its way waits; the others are `busy` at once.
/// So a client that appends one entry at a time is slowed down to what the archive takes, and is not
/// refused.
pub(crate) struct Backpressure {
    pub(crate) since: Instant,
    wait: Duration,
    /// When the append is to be tried again.
    pub(crate) retry_at: Instant,
    _waiting: Charge,
}

/// Admits a request, after a pause if it is beyond the rates: also one that the browser rules refuse
/// counts. Fails with `rate_limited`, and all requests of a connection that may not be served do.
pub(crate) async fn admit_request(client: &Client) -> Result<(), Refusal> {
    if client.presence.is_surplus() {
        let message = "this address has as many connections as it may have \
                       (`connections_per_principal`, or as many as `sockets` leaves free); close \
                       one, or try again later";
        return Err(Refusal::new(ErrorCode::RateLimited, message));
    }
    let admitted = client.admit_frame(0);
    if let Err(refusal) = &admitted {
        tokio::time::sleep(refused_for(refusal)).await;
    }
    admitted
}

impl Client {
    /// A frame of this many bytes, or a request.
    pub(crate) fn admit_frame(&self, bytes: usize) -> Result<(), Refusal> {
        self.within(Limit::FramesPerSecond, self.principal.rates.frames.take(1))?;
        self.admit_bytes(bytes)
    }

    /// The body of a request.
    pub(crate) fn admit_bytes(&self, bytes: usize) -> Result<(), Refusal> {
        self.within(Limit::BytesPerSecond, self.principal.rates.bytes.take(bytes))
    }

    /// An append.
    pub(crate) fn admit_append(&self) -> Result<(), Refusal> {
        self.within(Limit::EntriesPerSecond, self.principal.rates.entries.take(1))
    }

    /// Charges an append; else says how long it waits, after it has waited like `before`, or `None` if it
    /// is `busy`.
    pub(crate) fn charge_or_wait(
        &self,
        append: &ClientAppend,
        before: Option<Backpressure>,
        now: Instant,
    ) -> Result<Charge, Option<Backpressure>> {
        Draft::charge(append, &self.appends).map_err(|_| match before {
            Some(before) => {
                let wait = (2 * before.wait).min(LONGEST_WAIT);
                let next = Backpressure { wait, retry_at: now + wait, ..before };
                (now < next.since + LONGEST_BACKPRESSURE).then_some(next)
            }
            None if self.appends.held() == 0 => {
                let _waiting = Draft::charge(append, &self.waiting).ok()?;
                let (since, wait) = (now, FIRST_WAIT);
                Some(Backpressure { since, wait, retry_at: now + wait, _waiting })
            }
            None => None,
        })
    }

    /// Charges an append, once there is room for it: see [`Backpressure`]. Fails with
    /// [`AppendOutcome::Busy`].
    pub(crate) async fn charge_append(
        &self,
        append: &ClientAppend,
    ) -> Result<Charge, AppendOutcome> {
        let mut wait = None;
        loop {
            match self.charge_or_wait(append, wait, Instant::now()) {
                Ok(charge) => return Ok(charge),
                Err(None) => return Err(AppendOutcome::Busy),
                Err(Some(next)) => {
                    tokio::time::sleep_until(next.retry_at.into()).await;
                    wait = Some(next);
                }
            }
        }
    }

    /// An append to this room, which may be the first.
    pub(crate) fn admit_first_in(
        &self,
        gateway: &Gateway,
        access: &Access,
        room: &RoomName,
    ) -> Result<(), Refusal> {
        if gateway.head(room)?.end > 0 {
            return Ok(());
        }
        check_create(access, room)?;
        self.admit_room(gateway)
    }

    /// One more room. The log may get a few more than `rooms`: those whose first entries are in
    /// flight together. Fails with `too_large` if it has as many.
    pub(crate) fn admit_room(&self, gateway: &Gateway) -> Result<(), Refusal> {
        let most = gateway.principals.rooms();
        if gateway.node.rooms() >= most as u64 {
            self.metrics.limited(Limit::Rooms);
            let message = format!(
                "this log has {most} rooms and takes no more; use one that exists, or ask the \
                 operator to raise `rooms`"
            );
            return Err(Refusal::new(ErrorCode::TooLarge, message));
        }
        self.within(Limit::RoomsPerSecond, self.principal.rates.rooms.take(1))
    }

    fn within(&self, limit: Limit, wait: Option<Duration>) -> Result<(), Refusal> {
        let Some(wait) = wait else { return Ok(()) };
        self.metrics.limited(limit);
        let message = format!(
            "this address sends more than `{}` allows; wait, then send it again",
            limit.name()
        );
        let ms = u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        let refusal = Refusal::new(ErrorCode::RateLimited, message);
        Err(Refusal { retry_after_ms: Some(ms.max(1)), ..refusal })
    }
}

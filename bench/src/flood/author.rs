//! The author that is measured: one append at a time, over a blocking socket.
//!
//! Enters: a duration. Leaves: ack times and refusals. Invariant: a refused append is resent with
//! its id after `retry_after_ms` until it is acked or the time is over.

use std::{
    io,
    net::IpAddr,
    thread,
    time::{Duration, Instant},
};

use rustix::process::setpriority_process;
use serde::Deserialize;

use super::{Outcomes, flooders::room};
use crate::{
    frame::{append_frame, body},
    peer::Peer,
    times::Times,
    ws::Socket,
};

/// Bytes in the author's bodies.
const BODY: usize = 64;
/// The server has drained when this many acks in a row are calm.
const CALM_ACKS: u32 = 20;
/// An ack is calm up to this, or up to four times the quiet p99.
const CALM: Duration = Duration::from_millis(20);
/// Timeout of a drain.
const DRAIN: Duration = Duration::from_secs(120);
/// The wait before resending if a refusal names none.
const RETRY: Duration = Duration::from_millis(500);

/// The field of a refusal that matters here.
#[derive(Deserialize)]
struct Refusal {
    retry_after_ms: Option<u64>,
}

/// The author.
pub(super) struct Author {
    socket: Socket,
    room: String,
    body: String,
    /// What a calm ack takes at most; set by the first step, which is the quiet one.
    calm: Option<Duration>,
}

impl Author {
    /// Connects from `address` and logs in.
    pub(super) fn connect(peer: Peer<'_>, address: IpAddr) -> io::Result<Self> {
        let socket = Socket::login_from(peer, address, "ada")?;
        Ok(Self { socket, room: room(0, 0), body: body(BODY), calm: None })
    }

    /// Appends for `time`.
    ///
    /// # Errors
    /// If the connection breaks or an answer takes longer than 30 s.
    pub(super) fn run(&mut self, time: Duration) -> io::Result<(Times, Outcomes)> {
        // So that it does not wait for the flooders' thread; without the right to, it may.
        let _ = setpriority_process(None, -10);
        let (mut ack, mut outcomes) = (Times::default(), Outcomes::default());
        let end = Instant::now() + time;
        while Instant::now() < end {
            ack.record(self.append(end, &mut outcomes)?);
        }
        if self.calm.is_none() {
            let quiet = Duration::from_secs_f64(4.0 * ack.ms(0.99) / 1e3);
            self.calm = Some(quiet.max(CALM));
        }
        Ok((ack, outcomes))
    }

    /// Appends until the server is as quick as if it were quiet.
    ///
    /// # Errors
    /// As [`Author::run`], and if that takes longer than [`DRAIN`].
    pub(super) fn drain(&mut self) -> io::Result<()> {
        let (calm, end) = (self.calm.unwrap_or(CALM), Instant::now() + DRAIN);
        let mut calm_acks = 0;
        while calm_acks < CALM_ACKS {
            if Instant::now() >= end {
                return Err(io::Error::other(format!(
                    "{DRAIN:?} after the flood, acks still take longer than {calm:?}"
                )));
            }
            let took = self.append(end, &mut Outcomes::default())?;
            calm_acks = if took <= calm { calm_acks + 1 } else { 0 };
        }
        Ok(())
    }

    /// Appends one entry; returns the time from its first sending to its ack, or to `end` if it was
    /// only refused.
    fn append(&mut self, end: Instant, outcomes: &mut Outcomes) -> io::Result<Duration> {
        let frame = append_frame(&self.room, &self.body, None);
        let (start, acked) = (Instant::now(), outcomes.acked);
        loop {
            self.socket.send(&[&frame])?;
            let text = self.socket.text("the author's outcome")?;
            if !outcomes.count(text.as_bytes()) {
                return Err(io::Error::other(format!("the author got {text}")));
            }
            if outcomes.acked > acked {
                return Ok(start.elapsed());
            }
            let refusal: Refusal = serde_json::from_str(&text)?;
            let left = end.saturating_duration_since(Instant::now());
            let wait = refusal.retry_after_ms.map_or(RETRY, Duration::from_millis);
            thread::sleep(wait.min(left));
            if wait >= left {
                outcomes.lost += 1;
                return Ok(start.elapsed());
            }
        }
    }
}

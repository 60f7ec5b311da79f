//! Whether the server is still there.
//!
//! Invariant: a connection is given up only after a `ping` got no answer.

use std::time::Duration;

/// What to do about a silent connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Check again at this time.
    Until(Duration),
    /// Send a `ping` now.
    Ping,
    /// The `ping` timed out.
    Dead,
}

#[derive(Debug)]
pub(crate) struct Liveness {
    quiet: Duration,
    answer: Duration,
    heard: Duration,
    pinged: Option<Duration>,
}

impl Liveness {
    /// Sends a `ping` after `quiet` of silence and gives up after `answer` more.
    pub(crate) fn new(quiet: Duration, answer: Duration, now: Duration) -> Self {
        Self { quiet, answer, heard: now, pinged: None }
    }

    /// Something arrived, or the socket was not read until now.
    pub(crate) fn heard(&mut self, now: Duration) {
        (self.heard, self.pinged) = (now, None);
    }

    pub(crate) fn check(&mut self, now: Duration) -> Silence {
        match self.pinged {
            Some(pinged) if now >= pinged + self.answer => Silence::Dead,
            Some(pinged) => Silence::Until(pinged + self.answer),
            None if now >= self.heard + self.quiet => {
                self.pinged = Some(now);
                Silence::Ping
            }
            None => Silence::Until(self.heard + self.quiet),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_connection_is_pinged_once_and_then_given_up() {
        let at = Duration::from_secs;
        let mut liveness = Liveness::new(at(15), at(10), at(0));
        assert_eq!(liveness.check(at(14)), Silence::Until(at(15)));
        assert_eq!(liveness.check(at(15)), Silence::Ping);
        assert_eq!(liveness.check(at(24)), Silence::Until(at(25)));
        liveness.heard(at(24));
        assert_eq!(liveness.check(at(25)), Silence::Until(at(39)));
        assert_eq!(liveness.check(at(39)), Silence::Ping);
        assert_eq!(liveness.check(at(49)), Silence::Dead);
    }
}

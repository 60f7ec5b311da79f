//! Whether the other end is still there.
//!
//! Enters: when something was heard, when we look. Leaves: ask with a `ping`, wait, or give the
//! connection up. Invariant: a connection is given up only after a `ping` stayed without any answer.

use std::time::Duration;

/// What to do about a silent connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Look again then.
    Until(Duration),
    /// Send a `ping` now.
    Ping,
    /// Nobody is there.
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
    /// Asks after `quiet` without a word, gives up when `answer` more has passed.
    pub(crate) fn new(quiet: Duration, answer: Duration, now: Duration) -> Self {
        Self { quiet, answer, heard: now, pinged: None }
    }

    /// Something came in, or nobody was listening until now.
    pub(crate) fn heard(&mut self, now: Duration) {
        (self.heard, self.pinged) = (now, None);
    }

    pub(crate) fn look(&mut self, now: Duration) -> Silence {
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
    fn a_silent_connection_is_asked_once_and_then_given_up() {
        let at = Duration::from_secs;
        let mut liveness = Liveness::new(at(15), at(10), at(0));
        assert_eq!(liveness.look(at(14)), Silence::Until(at(15)));
        assert_eq!(liveness.look(at(15)), Silence::Ping);
        assert_eq!(liveness.look(at(24)), Silence::Until(at(25)));
        liveness.heard(at(24));
        assert_eq!(liveness.look(at(25)), Silence::Until(at(39)));
        assert_eq!(liveness.look(at(39)), Silence::Ping);
        assert_eq!(liveness.look(at(49)), Silence::Dead);
    }
}

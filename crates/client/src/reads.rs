//! Reads that have no answer yet.
//!
//! Enters: updates with who asked, answers, refusals, losses of the connection. Leaves: frames, and one
//! answer for each read. Invariant: a read is sent until it has its answer or nobody waits for it; one
//! that is of a log is never answered from another.

use std::{collections::BTreeMap, time::Duration};

use roomlog_protocol::{ClientUpdate, ErrorFrame, Reply};
use tokio::sync::oneshot;

use crate::ClientError;

/// Who gets the answer to a read.
pub(crate) type ReadTag = oneshot::Sender<Result<Reply, ClientError>>;

struct Read {
    update: ClientUpdate,
    /// The log that it is of; `None`: any will do.
    log: Option<String>,
    tag: ReadTag,
    /// When to ask; none while asked.
    due: Option<Duration>,
    refused_since: Option<Duration>,
}

/// Reads by their mark (`req`), which is negative: the first that was asked is the greatest.
#[derive(Default)]
pub(crate) struct Reads(BTreeMap<i64, Read>);

impl Reads {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn push(
        &mut self,
        req: i64,
        update: ClientUpdate,
        log: Option<String>,
        tag: ReadTag,
        now: Duration,
    ) {
        self.0.insert(req, Read { update, log, tag, due: Some(now), refused_since: None });
    }

    pub(crate) fn due(&self) -> Option<Duration> {
        self.0.values().filter_map(|read| read.due).min()
    }

    /// The next to send; those that nobody waits for any more are left out.
    pub(crate) fn next(&mut self, now: Duration) -> Option<ClientUpdate> {
        let is_due = |read: &Read| read.due.is_some_and(|due| due <= now);
        self.0.retain(|_, read| !(is_due(read) && read.tag.is_closed()));
        let (req, read) = self.0.iter_mut().rev().find(|(_, read)| is_due(read))?;
        read.due = None;
        Some(ClientUpdate { req: Some(*req), ..read.update.clone() })
    }

    /// A new connection, to a server with this log: all are asked again, but those of another log.
    pub(crate) fn connected(&mut self, log: &str, now: Duration) {
        let is_other = |of: &Option<String>| of.as_ref().is_some_and(|of| of != log);
        for (_, read) in self.0.extract_if(.., |_, read| is_other(&read.log)) {
            // A caller that went away wants no answer.
            let _ = read.tag.send(Err(ClientError::NewLog));
        }
        self.0.values_mut().for_each(|read| read.due = Some(now));
    }

    pub(crate) fn answer(&mut self, req: i64, answer: Result<Reply, ClientError>) {
        if let Some(read) = self.0.remove(&req) {
            // A caller that went away wants no answer.
            let _ = read.tag.send(answer);
        }
    }

    /// The server asks to wait until `again`; one whose patience is at its end gets the refusal.
    pub(crate) fn postpone(
        &mut self,
        req: i64,
        error: ErrorFrame,
        (now, again): (Duration, Duration),
        patience: Option<Duration>,
    ) {
        let Some(read) = self.0.get_mut(&req) else { return };
        let since = *read.refused_since.get_or_insert(now);
        if patience.is_none_or(|patience| now.saturating_sub(since) < patience) {
            read.due = Some(again);
        } else {
            self.answer(req, Err(ClientError::Refused(Box::new(error))));
        }
    }

    pub(crate) fn fail_all(&mut self, error: &ClientError) {
        for read in std::mem::take(&mut self.0).into_values() {
            let _ = read.tag.send(Err(error.clone()));
        }
    }
}

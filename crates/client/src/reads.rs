//! Reads that have no answer yet.
//!
//! Invariant: a read is sent until it is answered or its caller is dropped; a read of one log is
//! never answered from another.

use std::{collections::BTreeMap, time::Duration};

use roomlog_protocol::{ClientUpdate, ErrorFrame, Reply};
use tokio::sync::oneshot;

use crate::ClientError;

pub(crate) type ReadCaller = oneshot::Sender<Result<Reply, ClientError>>;

struct PendingRead {
    update: ClientUpdate,
    /// The log to read; `None`: any.
    log: Option<String>,
    caller: ReadCaller,
    /// When to send it; `None` while it is sent.
    due: Option<Duration>,
    refused_since: Option<Duration>,
}

/// Reads by their `req`, which is negative: the oldest has the greatest.
#[derive(Default)]
pub(crate) struct Reads(BTreeMap<i64, PendingRead>);

impl Reads {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(
        &mut self,
        req: i64,
        update: ClientUpdate,
        log: Option<String>,
        caller: ReadCaller,
        now: Duration,
    ) {
        let read = PendingRead { update, log, caller, due: Some(now), refused_since: None };
        self.0.insert(req, read);
    }

    pub(crate) fn due(&self) -> Option<Duration> {
        self.0.values().filter_map(|read| read.due).min()
    }

    /// The next to send. Those whose caller was dropped are removed.
    pub(crate) fn next(&mut self, now: Duration) -> Option<ClientUpdate> {
        let is_due = |read: &PendingRead| read.due.is_some_and(|due| due <= now);
        self.0.retain(|_, read| !(is_due(read) && read.caller.is_closed()));
        let (req, read) = self.0.iter_mut().rev().find(|(_, read)| is_due(read))?;
        read.due = None;
        Some(ClientUpdate { req: Some(*req), ..read.update.clone() })
    }

    /// A new connection to this log: resends all reads, but fails those of another log.
    pub(crate) fn connected(&mut self, log: &str, now: Duration) {
        let is_other = |of: &Option<String>| of.as_ref().is_some_and(|of| of != log);
        for (_, read) in self.0.extract_if(.., |_, read| is_other(&read.log)) {
            let _caller_may_be_dropped = read.caller.send(Err(ClientError::NewLog));
        }
        self.0.values_mut().for_each(|read| read.due = Some(now));
    }

    pub(crate) fn answer(&mut self, req: i64, answer: Result<Reply, ClientError>) {
        if let Some(read) = self.0.remove(&req) {
            let _caller_may_be_dropped = read.caller.send(answer);
        }
    }

    /// Retries at `again`, or fails once `retry_timeout` is over.
    pub(crate) fn retry_later(
        &mut self,
        req: i64,
        error: ErrorFrame,
        (now, again): (Duration, Duration),
        retry_timeout: Option<Duration>,
    ) {
        let Some(read) = self.0.get_mut(&req) else { return };
        let since = *read.refused_since.get_or_insert(now);
        if retry_timeout.is_none_or(|retry_timeout| now.saturating_sub(since) < retry_timeout) {
            read.due = Some(again);
        } else {
            self.answer(req, Err(ClientError::Refused(Box::new(error))));
        }
    }

    pub(crate) fn fail_all(&mut self, error: &ClientError) {
        for read in std::mem::take(&mut self.0).into_values() {
            let _caller_may_be_dropped = read.caller.send(Err(error.clone()));
        }
    }
}

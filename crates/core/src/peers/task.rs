//! The gossip task: broadcasts a report of this node once per second, and receives those of the
//! others.
//!
//! Enters: the reports of other nodes. Leaves: this node's reports; an error if it is in the
//! minority. Invariant: a node that must stop answers nobody any more before the error is returned.

use std::sync::Arc;

use tokio::time::{Instant, interval};
use tracing::error;

use crate::{
    append::pipeline::Pipeline,
    model::{error::NodeError, journal::Peers, phase::Phase},
    peers::{
        agreement::{Agreement, REPORT_EVERY, Report, Verdict},
        rules::ActiveRules,
    },
};

pub(crate) struct AgreementTask {
    pub(crate) agreement: Arc<Agreement>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) rules: Arc<ActiveRules>,
    pub(crate) pipeline: Arc<Pipeline>,
}

/// If it ends early, by a panic, the node must not go on without it.
impl Drop for AgreementTask {
    fn drop(&mut self) {
        if !self.pipeline.phase.borrow().is_over() {
            self.pipeline.fail();
        }
    }
}

impl AgreementTask {
    pub(crate) async fn run(self) -> Result<(), NodeError> {
        let mut reports = self.peers.subscribe().await;
        let mut due = interval(REPORT_EVERY);
        let mut phase = self.pipeline.phase.subscribe();
        let mut alarmed = 0;
        loop {
            tokio::select! {
                bytes = reports.next() => {
                    if let Some(report) = Report::decode(&bytes) {
                        self.rules.note_report(report.node, report.rules, Instant::now());
                        self.agreement.receive(report, Instant::now());
                    }
                }
                _ = due.tick() => {
                    let report = self.agreement.report(self.rules.knows());
                    self.peers.broadcast(report.encode()).await;
                    self.rules.decide(Instant::now());
                    match self.agreement.judge(Instant::now()) {
                        Verdict::Agrees => alarmed = 0,
                        Verdict::Alarm(others) if others > alarmed => {
                            error!(
                                others,
                                "other nodes hold a different log and stop; this one continues"
                            );
                            alarmed = others;
                        }
                        Verdict::Alarm(_) => {}
                        Verdict::Freeze { position, others } => {
                            self.pipeline.fail();
                            return Err(NodeError::Disagrees { position, others });
                        }
                    }
                }
                () = async { drop(phase.wait_for(Phase::is_over).await) } => return Ok(()),
            }
        }
    }
}

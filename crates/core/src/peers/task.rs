//! The task that agrees: it says once a second how far this node is and what came of it, and hears the
//! others.
//!
//! Enters: what other nodes say. Leaves: what this one says; an end when it is among the few that differ.
//! Invariant: a node that is to stop answers nobody any more, before the reason is told.

use std::sync::Arc;

use tokio::time::{Instant, interval};
use tracing::error;

use crate::{
    append::pipeline::Pipeline,
    model::{error::NodeError, journal::Peers, phase::Phase},
    peers::{
        agreement::{Agreement, Judgement, SPEAK_EVERY, Said},
        rules::InForce,
    },
};

/// The task that agrees.
pub(crate) struct AgreementTask {
    pub(crate) agreement: Arc<Agreement>,
    pub(crate) peers: Arc<dyn Peers>,
    pub(crate) rules: Arc<InForce>,
    pub(crate) pipeline: Arc<Pipeline>,
}

impl AgreementTask {
    /// Speaks and hears until the partition ends, or this node must.
    ///
    /// # Errors
    /// [`NodeError::Disagrees`].
    pub(crate) async fn run(self) -> Result<(), NodeError> {
        let mut hear = self.peers.hear().await;
        let mut speak = interval(SPEAK_EVERY);
        let mut phase = self.pipeline.phase.subscribe();
        let mut alarmed = 0;
        loop {
            let over = |phase: &Phase| matches!(phase, Phase::Closing | Phase::Failed);
            tokio::select! {
                said = hear.next() => {
                    if let Some(said) = Said::decode(&said) {
                        self.rules.hear(said.node, said.rules, Instant::now());
                        self.agreement.hear(said, Instant::now());
                    }
                }
                _ = speak.tick() => {
                    self.peers.tell(self.agreement.says(self.rules.knows()).encode()).await;
                    self.rules.decide(Instant::now());
                    match self.agreement.judge(Instant::now()) {
                        Judgement::Agrees => alarmed = 0,
                        Judgement::Alarm(others) if others > alarmed => {
                            error!(others, "other nodes hold another log and stop; this one goes on");
                            alarmed = others;
                        }
                        Judgement::Alarm(_) => {}
                        Judgement::Freeze { position, others } => {
                            self.pipeline.fail();
                            return Err(NodeError::Disagrees { position, others });
                        }
                    }
                }
                () = async { drop(phase.wait_for(over).await) } => return Ok(()),
            }
        }
    }
}

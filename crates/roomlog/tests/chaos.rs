//! A cluster under faults, in the short form: every append is acked, and every frame and every node's log
//! keep every promise. The long form is `script/chaos`.

use roomlog_chaos::{
    Fault::{
        self, CutLeader, CutNode, EmptyArchive, KillAll, KillLeader, KillNode, KillTwo, RollNats,
        RollNodes, StopLeader, StopNode,
    },
    Outcome, Plan, run,
};

async fn survives(faults: &[Fault]) -> Outcome {
    let plan = Plan::new(env!("CARGO_BIN_EXE_roomlog"), faults);
    let outcome = run(&plan).await.expect("a run to its end");
    assert!(outcome.is_good(), "{outcome}");
    assert!(outcome.report.appends > 500, "too little was written to show anything: {outcome}");
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_and_nodes_that_are_killed() {
    let _outcome = survives(&[KillLeader, KillNode, KillTwo, KillAll, EmptyArchive]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_and_nodes_that_hang_or_are_cut_off() {
    let _outcome = survives(&[StopLeader, CutNode, CutLeader, StopNode]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_of_everything_under_load() {
    let outcome = survives(&[RollNodes, RollNats]).await;
    // Clients only reconnect: no append is refused, and none has an unknown outcome.
    assert_eq!((outcome.busy, outcome.unknown), (0, 0), "{outcome}");
}

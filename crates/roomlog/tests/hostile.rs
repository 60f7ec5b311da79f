//! A server under hostile clients, in the short form: an honest author is never refused, and memory stays
//! within its bounds. The long form, with figures, is `script/hostile`.

use std::time::Duration;

use clap::ValueEnum;
use roomlog_chaos::hostile::{Attack, Hostility, MEMORY, run};

/// What a server takes that no client makes it hold: code, pages of files, tails, caches.
const ELSE: u64 = 256 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn an_author_is_never_refused_and_memory_is_bounded_whatever_strangers_do() {
    let plan = Hostility {
        binary: env!("CARGO_BIN_EXE_roomlog").into(),
        attacks: Attack::value_variants().to_vec(),
        attackers: 100,
        time: Duration::from_secs(1),
        elsewhere: false,
    };
    let harms = run(&plan, |_| {}).await.expect("a run to its end");
    for harm in harms {
        assert!(!harm.acks.is_empty() && harm.refused.is_empty(), "{harm} {:?}", harm.refused);
        assert!(harm.peak <= MEMORY + ELSE, "{harm}");
    }
}

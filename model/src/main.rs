//! `roomlog-model`: explores the model and prints how many states it has. `--large` takes minutes, and
//! gigabytes of memory.
#![allow(clippy::print_stdout, reason = "a command-line tool")]

use std::{env, process::ExitCode, time::Instant};

use roomlog_model::{Bounds, Room};
use stateright::{Checker, DiscoveryClassification::Counterexample, Model};

fn main() -> ExitCode {
    let is_large = env::args().any(|argument| argument == "--large");
    let all = if is_large { Bounds::large() } else { Bounds::small() };
    let mut is_good = true;
    for bounds in all {
        let begun = Instant::now();
        let what = format!("{bounds:?}");
        let checker = Room { bounds, mistake: None }.checker().threads(2).spawn_bfs().join();
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{} states, depth {}, {seconds:.1} s: {what}",
            checker.unique_state_count(),
            checker.max_depth()
        );
        for (name, path) in checker.discoveries() {
            if matches!(checker.discovery_classification(name), Counterexample) {
                println!("  broken: {name}\n{path}");
                is_good = false;
            }
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

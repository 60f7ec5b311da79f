//! Short forms of `script/storage`.

use std::process::Command;

fn run(arguments: &[&str]) {
    let ended = Command::new(env!("CARGO_BIN_EXE_roomlog-storage"))
        .args(arguments)
        .output()
        .expect("a run");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains(&format!("{} seeds", arguments[0])), "{said}");
}

#[test]
fn some_seeds_of_each_fault_keep_what_was_acked() {
    run(&["42"]);
}

/// In these seeds, a sync of the archive's WAL fails, and the power is cut while the next start copies the WAL. Three
/// times, because threads take turns as they like: without the write at the start, three of four runs find damage.
#[test]
fn a_start_writes_a_wal_again_whose_sync_failed() {
    for seed in ["810", "936"].repeat(3) {
        run(&["1", "--from", seed]);
    }
}

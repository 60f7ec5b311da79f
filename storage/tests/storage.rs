//! A short form of `script/storage`.

use std::process::Command;

#[test]
fn seventy_seeds_keep_what_was_acked() {
    let ended =
        Command::new(env!("CARGO_BIN_EXE_roomlog-storage")).arg("70").output().expect("a run");
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains("70 seeds"), "{said}");
}

//! A short form of `script/sim`: seeds keep every promise, and a seed gives one history, bit for bit.

use std::{
    fs,
    process::{Command, Output},
};

fn sim(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roomlog-sim")).args(arguments).output().expect("a run")
}

#[test]
fn a_hundred_seeds_keep_every_promise() {
    let ended = sim(&["100", "--seconds", "5"]);
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{said}{}", String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains("100 seeds"), "{said}");
}

#[test]
fn a_seed_gives_one_history() {
    let directory = tempfile::tempdir().expect("a directory");
    let run = |name: &str, seed: &str| {
        let file = directory.path().join(name);
        let path = file.to_str().expect("UTF-8");
        let ended = sim(&["--seed", seed, "--seconds", "5", "--history", path]);
        assert!(ended.status.success(), "{ended:?}");
        fs::read(file).expect("a history")
    };
    let (one, again, other) = (run("one", "7"), run("again", "7"), run("other", "8"));
    assert!(one == again, "the same seed gave two histories");
    assert!(one != other, "two seeds gave one history");
    assert!(one.len() > 10_000, "too little happened: {} bytes", one.len());
}

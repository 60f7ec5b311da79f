//! The layout that `docs/ARCHITECTURE.md` promises in "Where things live": who may depend on
//! whom, and that a file stays one idea. Development dependencies are free.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// No source file is longer than this many lines.
const MOST_LINES: usize = 500;

const ASYNC: &[&str] = &["async", "futures", "mio", "smol", "tokio"];
const SOCKETS: &[&str] = &[
    "axum",
    "fastwebsockets",
    "http",
    "hyper",
    "mio",
    "reqwest",
    "rustls",
    "socket2",
    "tokio-tungstenite",
    "tokio-websockets",
    "tower",
    "tungstenite",
];
const JSON: &[&str] = &["serde_json", "simd-json", "sonic-rs"];
const SQL: &[&str] = &["libsqlite3-sys", "rusqlite", "sqlx"];
const STORAGE: &[&str] =
    &["fjall", "libsqlite3-sys", "redb", "rocksdb", "rusqlite", "sled", "sqlx"];
const NATS: &[&str] = &["async-nats", "nats"];
const GATEWAY: &[&str] = &["axum", "fastwebsockets", "hyper", "tokio-websockets", "tower"];

/// A row of the table: what a crate may use of ours, and what it may not know of the rest.
/// A name of the rest stands for its family too: `tokio` for `tokio-util`.
struct Row {
    name: &'static str,
    ours: &'static [&'static str],
    never: &'static [&'static [&'static str]],
}

const TABLE: &[Row] = &[
    Row { name: "roomlog-protocol", ours: &[], never: &[ASYNC, SOCKETS, STORAGE, NATS] },
    Row { name: "roomlog-core", ours: &["protocol"], never: &[SOCKETS, JSON, STORAGE, NATS] },
    Row { name: "roomlog-sqlite", ours: &["protocol", "core"], never: &[GATEWAY, NATS] },
    Row {
        name: "roomlog-jetstream",
        ours: &["protocol", "core"],
        never: &[SQL, STORAGE, &["axum", "fastwebsockets", "hyper"]],
    },
    Row { name: "roomlog-server", ours: &["protocol", "core"], never: &[SQL, NATS] },
    Row { name: "roomlog-client", ours: &["protocol"], never: &[SQL, NATS] },
    Row { name: "roomlog-terminal", ours: &["client"], never: &[SQL, NATS] },
    Row { name: "roomlog-checker", ours: &[], never: &[ASYNC, SOCKETS, STORAGE, NATS] },
    Row { name: "roomlog-chaos", ours: &["checker", "jetstream"], never: &[STORAGE] },
    Row {
        name: "roomlog",
        ours: &["protocol", "core", "sqlite", "jetstream", "server", "client", "terminal"],
        never: &[],
    },
    Row {
        name: "roomlog-bench",
        ours: &["protocol", "core", "sqlite", "jetstream", "server", "client"],
        never: &[],
    },
];

/// Why `from` may not depend on `to`; nothing when it may.
fn refusal(from: &str, to: &str) -> Option<String> {
    let Some(row) = TABLE.iter().find(|row| row.name == from) else {
        return Some(format!("{from} has no row in the table: decide what it may know"));
    };
    if let Some(ours) = to.strip_prefix("roomlog-") {
        let allowed = row.ours.contains(&ours);
        return (!allowed).then(|| format!("{from} → {to}: of ours it may use {:?}", row.ours));
    }
    let family = |name: &str| {
        to.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_']))
    };
    let barred = row.never.iter().copied().flatten().find(|name| family(name))?;
    Some(format!("{from} → {to}: it may not know `{barred}` or its kind"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/roomlog is two deep")
}

/// Every package of the workspace with what it depends on when it is built, as edges.
fn edges() -> Vec<(String, String)> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let name = |of: &Value| of["name"].as_str().expect("a name").to_owned();
    let list = |of: &Value| of.as_array().expect("a list").clone();
    let built = |package: &Value| {
        let all = list(&package["dependencies"]).into_iter();
        all.filter(|dependency| dependency["kind"] != "dev").collect::<Vec<_>>()
    };
    list(&metadata["packages"])
        .iter()
        .flat_map(|from| built(from).into_iter().map(move |to| (name(from), name(&to))))
        .collect()
}

/// All Rust files below `directory`, with their number of lines.
fn sources(directory: &Path, found: &mut Vec<(PathBuf, usize)>) {
    for entry in fs::read_dir(directory).expect("a directory that can be read") {
        let path = entry.expect("an entry that can be read").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a source file is text");
            found.push((path, text.lines().count()));
        }
    }
}

#[test]
fn no_crate_depends_on_what_it_may_not_know() {
    let edges = edges();
    assert!(edges.contains(&("roomlog-protocol".into(), "serde".into())), "read: {edges:?}");
    let wrong: Vec<_> = edges.iter().filter_map(|(from, to)| refusal(from, to)).collect();
    assert!(
        wrong.is_empty(),
        "docs/ARCHITECTURE.md, \"Where things live\", does not allow:\n  {}",
        wrong.join("\n  ")
    );
}

#[test]
fn the_table_refuses_by_family_and_names_the_edge() {
    for (from, to) in [
        ("roomlog-protocol", "tokio-util"),
        ("roomlog-core", "serde_json"),
        ("roomlog-core", "rusqlite"),
        ("roomlog-core", "async-nats"),
        ("roomlog-core", "roomlog-sqlite"),
        ("roomlog-sqlite", "roomlog-server"),
        ("roomlog-server", "rusqlite"),
        ("roomlog-client", "roomlog-core"),
        ("roomlog-unknown", "serde"),
    ] {
        let why = refusal(from, to).unwrap_or_else(|| panic!("{from} → {to} was allowed"));
        assert!(why.contains(from), "{why}");
    }
    for (from, to) in [
        ("roomlog-protocol", "serde_json"),
        ("roomlog-core", "tokio"),
        ("roomlog-server", "hyper"),
        ("roomlog", "roomlog-sqlite"),
    ] {
        assert_eq!(refusal(from, to), None);
    }
}

#[test]
fn no_source_file_is_longer_than_one_idea() {
    let mut files = Vec::new();
    for member in fs::read_dir(root().join("crates")).expect("crates/") {
        sources(&member.expect("a crate").path().join("src"), &mut files);
    }
    assert!(files.len() > 5, "found only {files:?}");
    files.retain(|(_, lines)| *lines > MOST_LINES);
    assert!(files.is_empty(), "over {MOST_LINES} lines, split by idea: {files:#?}");
}

//! The layout that `docs/ARCHITECTURE.md` promises in "Where things live": who may depend on
//! whom, and that a file stays one idea. Development dependencies are free. And the pages: their
//! links lead somewhere, and the README stays short.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// No source file, of tests either, is longer than this many lines.
const MAX_LINES: usize = 450;

/// The README is read before anything else: it has at most this many lines.
const MAX_README_LINES: usize = 120;

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
/// A name of a foreign crate covers its family: `tokio` covers `tokio-util`.
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
    Row { name: "roomlog-auth", ours: &["protocol"], never: &[ASYNC, SOCKETS, STORAGE, NATS] },
    Row { name: "roomlog-server", ours: &["protocol", "core", "auth"], never: &[SQL, NATS] },
    Row { name: "roomlog-client", ours: &["protocol"], never: &[SQL, NATS] },
    Row { name: "roomlog-terminal", ours: &["client"], never: &[SQL, NATS] },
    Row { name: "roomlog-checker", ours: &[], never: &[ASYNC, SOCKETS, STORAGE, NATS] },
    Row { name: "roomlog-testkit", ours: &["protocol", "core"], never: &[SOCKETS, STORAGE, NATS] },
    Row { name: "roomlog-model", ours: &[], never: &[ASYNC, SOCKETS, STORAGE, NATS] },
    Row {
        name: "roomlog-sim",
        ours: &["auth", "core", "server", "checker", "testkit"],
        never: &[STORAGE, NATS],
    },
    Row {
        name: "roomlog-storage",
        ours: &["protocol", "core", "sqlite", "testkit"],
        never: &[SOCKETS, NATS],
    },
    Row { name: "roomlog-chaos", ours: &["checker", "testkit"], never: &[STORAGE] },
    Row {
        name: "roomlog",
        ours: &[
            "protocol",
            "core",
            "auth",
            "sqlite",
            "jetstream",
            "server",
            "client",
            "terminal",
            "checker",
        ],
        never: &[],
    },
    Row {
        name: "roomlog-bench",
        ours: &["protocol", "core", "auth", "sqlite", "jetstream", "server", "client", "testkit"],
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

/// All pages below `directory`, without what cargo builds (it puts a tag there) and npm installs.
fn pages(directory: &Path, found: &mut Vec<PathBuf>) {
    if directory.join("CACHEDIR.TAG").exists() {
        return;
    }
    for entry in fs::read_dir(directory).expect("a directory that can be read") {
        let entry = entry.expect("an entry that can be read");
        let (name, path) = (entry.file_name(), entry.path());
        if name == "node_modules" || name.to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type().expect("a file has a type").is_dir() {
            pages(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
}

/// The lines of a page that are not in a fenced block of code.
fn prose(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// Where the links of a page lead, as written.
fn links(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(page) {
        let without_code: String = line.split('`').step_by(2).collect();
        let targets = without_code.split("](").skip(1);
        found.extend(targets.filter_map(|rest| rest.split([')', ' ']).next()).map(str::to_owned));
    }
    found
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(page: &str) -> Vec<String> {
    let headings = prose(page).filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| heading.chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

/// Why a link of a page leads nowhere; `None` when it leads to a file of the tree, or to the web.
fn dead(page: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = match file {
        "" => page.to_owned(),
        file => page.parent().expect("a page is in a directory").join(file),
    };
    let Ok(target) = target.canonicalize() else {
        return Some("there is no such file".into());
    };
    if !target.starts_with(root().canonicalize().expect("the tree is there")) {
        return Some("it leads out of the tree".into());
    }
    if anchor.is_empty() {
        return None;
    }
    let text = fs::read_to_string(&target).expect("a page is text");
    let is_there = anchors(&text).iter().any(|heading| heading == anchor);
    (!is_there).then(|| "that page has no such heading".into())
}

#[test]
fn no_crate_has_a_forbidden_dependency() {
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
fn no_source_file_exceeds_the_line_limit() {
    let mut files = Vec::new();
    for member in fs::read_dir(root().join("crates")).expect("crates/") {
        let member = member.expect("a crate").path();
        for directory in ["src", "tests"].map(|name| member.join(name)) {
            if directory.exists() {
                sources(&directory, &mut files);
            }
        }
    }
    assert!(files.len() > 5, "found only {files:?}");
    files.retain(|(_, lines)| *lines > MAX_LINES);
    assert!(files.is_empty(), "over {MAX_LINES} lines, split by idea: {files:#?}");
}

#[test]
fn every_link_of_a_page_has_a_target() {
    let mut found = Vec::new();
    pages(root(), &mut found);
    assert!(found.len() > 10, "found only {found:?}");
    let mut wrong = Vec::new();
    for page in &found {
        let text = fs::read_to_string(page).expect("a page is text");
        for link in links(&text) {
            let why = dead(page, &link);
            wrong.extend(why.map(|why| format!("{}: {link}: {why}", page.display())));
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n  {}", wrong.join("\n  "));
}

#[test]
fn a_link_to_a_missing_file_or_heading_is_found() {
    let page =
        "# A page\n[`code`](docs/TOUR.md#a-tour) `[not](this.md)`\n```\n[nor](that.md)\n```\n";
    assert_eq!(links(page), ["docs/TOUR.md#a-tour"]);
    assert_eq!(
        anchors("# A log, as it grows\n```\n# no\n```\n## `x-y`"),
        ["a-log-as-it-grows", "x-y"]
    );
    let readme = root().join("README.md");
    assert_eq!(dead(&readme, "docs/TOUR.md#a-tour"), None);
    assert_eq!(dead(&readme, "https://example.org"), None);
    assert!(dead(&readme, "docs/NOWHERE.md").is_some_and(|why| why.contains("no such file")));
    assert!(dead(&readme, "docs/TOUR.md#nowhere").is_some_and(|why| why.contains("heading")));
    assert!(dead(&readme, "..").is_some_and(|why| why.contains("out of the tree")));
}

#[test]
fn the_readme_is_short() {
    let text = fs::read_to_string(root().join("README.md")).expect("the README is there");
    let lines = text.lines().count();
    assert!(lines <= MAX_README_LINES, "{lines} lines, and at most {MAX_README_LINES} are allowed");
}

//! `GET /metrics` at the operators' door: Prometheus text, with what an operator looks at.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use roomlog_testkit::nats::{Cluster, Setup};
use serde_json::{Value, json};
use support::{Server, tokens::TokenServer, within};

/// The samples of a scrape, by name and labels.
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    async fn of(server: &Server) -> Self {
        let answer = server.operator_get("/metrics").send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        let samples = answer.body.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            (name.to_owned(), value.parse().expect("a number"))
        };
        Self(samples.map(sample).collect())
    }

    fn get(&self, name: &str) -> f64 {
        *self.0.get(name).unwrap_or_else(|| panic!("no {name}: {:?}", self.0.keys()))
    }

    fn appends(&self, outcome: &str) -> f64 {
        self.get(&format!("roomlog_appends_total{{outcome=\"{outcome}\"}}"))
    }

    /// Scrapes until it is so.
    async fn until(server: &Server, what: &str, so: impl Fn(&Self) -> bool) -> Self {
        within(what, async {
            loop {
                let scrape = Self::of(server).await;
                if so(&scrape) {
                    return scrape;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }
}

#[tokio::test]
async fn every_metric_is_named_by_convention_typed_and_explained() {
    let server = Server::start(&[]).await;
    let text = server.operator_get("/metrics").send().await.body;
    let mut families = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(help.len() > 40 && help.ends_with('.'), "{line}");
            families.insert(name, "");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert_eq!(families.insert(name, kind), Some(""), "TYPE before HELP: {line}");
        } else {
            let name = line.split(['{', ' ']).next().expect("a name");
            let of = |suffix: &str| name.strip_suffix(suffix).and_then(|of| families.get(of));
            let histogram = of("_bucket").or(of("_sum")).or(of("_count"));
            assert!(families.contains_key(name) || histogram == Some(&"histogram"), "{line}");
        }
    }
    for (name, kind) in &families {
        assert!(name.starts_with("roomlog_"), "{name}");
        assert_eq!(name.ends_with("_total"), *kind == "counter", "{name} is a {kind}");
    }
    let there: Vec<_> = families.keys().copied().collect();
    let want = [
        "roomlog_ack_seconds",
        "roomlog_appends_total",
        "roomlog_block_appends",
        "roomlog_block_bytes",
        "roomlog_blocks_total",
        "roomlog_clock_ahead_seconds",
        "roomlog_commit_seconds",
        "roomlog_disk_free_bytes",
        "roomlog_entries_total",
        "roomlog_file_bytes",
        "roomlog_fold_lag_entries",
        "roomlog_follower_lag_entries",
        "roomlog_followers",
        "roomlog_info",
        "roomlog_limited_total",
        "roomlog_memory_bytes",
        "roomlog_memory_limit_bytes",
        "roomlog_page_seconds",
        "roomlog_rooms_held",
        "roomlog_sockets",
    ];
    assert_eq!(there, want);
    // Operators find each of them in the manual.
    let manual =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/OPERATIONS.md"));
    let manual = manual.expect("docs/OPERATIONS.md");
    assert!(there.iter().all(|name| manual.contains(&format!("`{name}`"))), "{there:?}");
}

#[tokio::test]
async fn the_info_names_the_log_and_the_version() {
    let server = Server::start(&[]).await;
    let log = server.connect().await.hello["log"].clone();
    let version = env!("CARGO_PKG_VERSION");
    let info = format!("roomlog_info{{log={log},version=\"{version}\"}}");
    assert!((Scrape::of(&server).await.get(&info) - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn appends_are_counted_once_by_outcome_on_every_transport() {
    let server = Server::start(&["--ahead-ms=20"]).await;
    assert!(
        Scrape::of(&server).await.appends("committed").abs() < f64::EPSILON,
        "there from the start"
    );
    let mut ada = server.login("ada").await;
    let append = |members| support::with("append", "r", members);
    ada.append("r", json!({"id": "1", "body": "x"})).await;
    ada.append("r", json!({"id": "1", "body": "x"})).await;
    ada.refused(append(json!({"id": "1", "body": "y"})), "id_reused").await;
    ada.refused(append(json!({"body": "b".repeat(16_385)})), "too_large").await;
    ada.refused(append(json!({"body": "x", "after": 9})), "ahead").await;
    ada.refused(append(json!({"body": "x", "seq": 0})), "bad_message").await;
    server.connect().await.refused(append(json!({"body": "x"})), "login_required").await;
    let post = |body| server.post("/v1/rooms/r/entries", &body).send();
    assert_eq!(post(json!({"author": "ada", "id": "2", "body": "x"})).await.status, 201);
    assert_eq!(post(json!({"author": "ada", "id": "2", "body": "x"})).await.status, 200);
    post(json!({"body": "x"})).await.refused(401, "login_required");
    let lines = [
        json!({"author": "ada", "id": "3", "body": "x"}),
        json!({"author": "ada", "id": "3", "body": "x"}),
        json!({"author": "ada", "id": "3", "body": "y"}),
        json!({"body": "x"}),
        json!({"author": "ada", "id": "4", "body": "x"}),
    ]
    .map(|line| line.to_string())
    .join("\n");
    server.post_text("/v1/rooms/r/entries", "application/x-ndjson", lines).send().await;
    let scrape = Scrape::of(&server).await;
    for (outcome, count) in [
        ("committed", 3.0),
        ("repeat", 3.0),
        ("id_reused", 2.0),
        ("too_large", 1.0),
        ("ahead", 1.0),
        ("bad_message", 1.0),
        ("login_required", 3.0),
        ("out_of_order", 1.0),
        ("busy", 0.0),
        ("unknown_outcome", 0.0),
    ] {
        assert!(
            (scrape.appends(outcome) - count).abs() < f64::EPSILON,
            "{outcome}: {:?}",
            scrape.0
        );
    }
    let same = |name: &str, count: f64| (scrape.get(name) - count).abs() < f64::EPSILON;
    assert!(same("roomlog_ack_seconds_count", 6.0), "as many as were answered with a slot");
    assert!(scrape.get("roomlog_ack_seconds_sum") > 0.0);
    assert!(same("roomlog_entries_total", 3.0));
}

#[tokio::test]
async fn a_batch_of_1000_is_few_blocks_and_blocks_are_measured() {
    let server = Server::start(&[]).await;
    let line = |n| json!({"author": "ada", "id": format!("i-{n}"), "body": "x"}).to_string();
    let lines: Vec<String> = (0..1_000).map(line).collect();
    let answer = server.post_text("/v1/rooms/r/entries", "application/x-ndjson", lines.join("\n"));
    assert_eq!(answer.send().await.status, 200);
    // The last block may be answered a moment before it is counted.
    let scrape = Scrape::until(&server, "a thousand appends in blocks", |scrape| {
        let same = scrape.get("roomlog_blocks_total") - scrape.get("roomlog_block_appends_count");
        let all = scrape.get("roomlog_block_appends_sum") - 1_000.0;
        all.abs() < f64::EPSILON && same.abs() < f64::EPSILON
    })
    .await;
    // A block holds up to 512, and they are submitted a block's worth at a time.
    let blocks = scrape.get("roomlog_blocks_total");
    assert!((blocks - 2.0).abs() < f64::EPSILON, "{blocks} blocks");
    for name in ["roomlog_block_bytes_count", "roomlog_commit_seconds_count"] {
        assert!((scrape.get(name) - blocks).abs() < f64::EPSILON, "{name}");
    }
    assert!(scrape.get("roomlog_block_bytes_sum") > 50_000.0);
    assert!(scrape.get("roomlog_commit_seconds_sum") > 0.0);
}

#[tokio::test]
async fn open_sockets_and_followers_are_counted() {
    let server = Server::start(&[]).await;
    let is = |scrape: &Scrape, followers: f64, sockets: f64| {
        let near = |name: &str, count: f64| (scrape.get(name) - count).abs() < f64::EPSILON;
        // The operator that asks is none of them.
        near("roomlog_followers", followers) && near("roomlog_sockets", sockets)
    };
    Scrape::until(&server, "nobody", |scrape| is(scrape, 0.0, 0.0)).await;
    let mut ada = server.login("ada").await;
    ada.join("r", json!({})).await;
    ada.join("s", json!({})).await;
    ada.join("s", json!({"count": 1})).await;
    let mut events = server.get("/v1/rooms/r/events").events().await;
    events.place().await;
    Scrape::until(&server, "three", |scrape| is(scrape, 3.0, 2.0)).await;
    ada.ask(json!({"type": "leave", "room": "s"})).await;
    drop(events);
    Scrape::until(&server, "one", |scrape| is(scrape, 1.0, 1.0)).await;
    drop(ada);
    Scrape::until(&server, "nobody again", |scrape| is(scrape, 0.0, 0.0)).await;
}

#[tokio::test]
async fn rooms_that_were_never_written_are_held_only_by_who_follows_or_waits() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let held = |scrape: &Scrape| scrape.get("roomlog_rooms_held");
    for n in 0..500 {
        let reply = ada.ask(json!({"type": "update", "room": format!("u-{n}")})).await;
        assert_eq!(reply["latest"], -1);
        let append = json!({"type": "append", "room": format!("a-{n}"), "body": "x", "expect": 5});
        assert_eq!(ada.ask(append).await["code"], "expect_failed");
        let left = ada.ask(json!({"type": "leave", "room": format!("l-{n}")})).await;
        assert_eq!(left["type"], "left");
    }
    for n in 0..50 {
        let room = format!("/v1/rooms/h-{n}");
        assert_eq!(server.get(&room).send().await.status, 404);
        assert_eq!(server.get(&format!("{room}/entries")).send().await.status, 200);
        server.get(&format!("{room}/events")).events().await.place().await;
    }
    Scrape::until(&server, "none", |scrape| held(scrape).abs() < f64::EPSILON).await;

    // One is followed over both transports, and a read waits for another.
    ada.join("followed", json!({})).await;
    let mut events = server.get("/v1/rooms/followed/events").events().await;
    events.place().await;
    ada.post(json!({"type": "update", "room": "waited-for", "seen": 0})).await;
    let two = |scrape: &Scrape| (held(scrape) - 2.0).abs() < f64::EPSILON;
    Scrape::until(&server, "two", two).await;
    ada.ask(json!({"type": "leave", "room": "followed"})).await;
    drop(events);
    drop(ada);
    Scrape::until(&server, "none again", |scrape| held(scrape).abs() < f64::EPSILON).await;
}

#[tokio::test]
async fn the_slowest_followers_lag_is_that_of_a_follower_that_does_not_read() {
    let server = Server::start(&[]).await;
    let mut ada = server.login("ada").await;
    let mut awake = server.login("awake").await;
    awake.join("r", json!({})).await;
    let mut sleeper = server.login_with_small_buffer("sleeper").await;
    sleeper.join("r", json!({})).await;
    let mut events = server.get("/v1/rooms/r/events").small_buffer().events().await;
    events.place().await;
    ada.fill("r", 1_000, &"z".repeat(12_000)).await;
    awake.acks("r", -1, 999).await;
    let lag = |scrape: &Scrape| scrape.get("roomlog_follower_lag_entries");
    let behind = |scrape: &Scrape| (1.0..1_000.0).contains(&lag(scrape));
    Scrape::until(&server, "a lag", behind).await;
    sleeper.acks("r", -1, 999).await;
    Scrape::until(&server, "the lag of the other", behind).await;
    events.entries(999).await;
    Scrape::until(&server, "no lag", |scrape| lag(scrape).abs() < f64::EPSILON).await;
}

#[tokio::test]
async fn the_fold_lag_the_page_time_and_the_file_sizes_are_reported() {
    // Nothing is folded until there are a hundred.
    let server = Server::start(&["--fold-ms=600000", "--fold-entries=100"]).await;
    let mut ada = server.login("ada").await;
    ada.fill("r", 99, "x").await;
    let scrape = Scrape::of(&server).await;
    assert!((scrape.get("roomlog_fold_lag_entries") - 99.0).abs() < f64::EPSILON);
    assert!(scrape.get("roomlog_page_seconds_count").abs() < f64::EPSILON);
    ada.append("r", json!({"body": "the hundredth"})).await;
    let folded = |scrape: &Scrape| scrape.get("roomlog_fold_lag_entries") < 1.0;
    Scrape::until(&server, "a fold", folded).await;
    ada.whole_log("r").await;
    server.get("/v1/rooms/r/entries").send().await;
    let scrape = Scrape::of(&server).await;
    assert!((scrape.get("roomlog_page_seconds_count") - 2.0).abs() < f64::EPSILON);
    for file in ["archive.db", "archive.db-wal", "node"] {
        let told = scrape.get(&format!("roomlog_file_bytes{{file=\"{file}\"}}"));
        let is = std::fs::metadata(server.directory().join(file)).expect("a file").len();
        assert!((told - is as f64).abs() < f64::EPSILON, "{file}: {told}, is {is}");
    }
    // Its first segment, and the one that was made for the next blocks.
    assert!(scrape.get("roomlog_file_bytes{file=\"journal\"}") >= f64::from(256 << 10));
}

#[tokio::test]
async fn concurrent_scrapes_count_nothing_twice() {
    let server = Server::start(&[]).await;
    server.login("ada").await.fill("r", 50, "x").await;
    let scrapes = futures_util::future::join_all((0..8).map(|_| Scrape::of(&server))).await;
    for scrape in scrapes {
        assert!((scrape.get("roomlog_entries_total") - 50.0).abs() < f64::EPSILON);
    }
}

/// A file of the tree.
fn read(file: &str) -> String {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    std::fs::read_to_string(format!("{root}/{file}")).expect(file)
}

/// The metrics that a text names.
fn named(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(move |c| !is_name(c)).filter(|word| word.starts_with("roomlog_"))
}

#[test]
fn alerts_name_metrics_that_there_are_and_the_manual_says_what_to_do() {
    let rules = read("deploy/prometheus/roomlog.rules.yml");
    let manual = read("docs/OPERATIONS.md") + &read("docs/CLUSTER.md");
    for name in named(&rules) {
        let family = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(manual.contains(&format!("| `{family}` |")), "no metric {name}");
    }
    for alert in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(manual.contains(&format!("`{alert}`")), "the manual has no {alert}");
    }
}

#[tokio::test]
async fn alerts_and_the_dashboard_ask_for_metrics_that_a_node_exports() {
    // A node of a cluster that has refused a token has every metric.
    let cluster = Cluster::start(&Setup { servers: 1, ..Setup::default() }).expect("a NATS server");
    let it = TokenServer::start(&["--journal", &cluster.url()]).await;
    let login = json!({"type": "login", "token": "x"});
    it.server.connect().await.refused(login, "unauthorized").await;
    let scrape = Scrape::of(&it.server).await;
    let there: BTreeSet<_> =
        scrape.0.keys().filter_map(|sample| sample.split('{').next()).collect();
    for file in ["deploy/prometheus/roomlog.rules.yml", "deploy/grafana/roomlog.json"] {
        let text = read(file);
        let asked: BTreeSet<_> = named(&text).collect();
        assert!(asked.len() > 8, "{file} asks for {asked:?}");
        let unknown: Vec<_> = asked.difference(&there).collect();
        assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
    }
}

#[test]
fn each_panel_of_the_dashboard_has_a_unit_and_an_explanation_and_asks_for_the_chosen_nodes() {
    let text = read("deploy/grafana/roomlog.json");
    let dashboard: Value = serde_json::from_str(&text).expect("JSON");
    let list = |of: &Value| of.as_array().cloned().expect("a list");
    let panels = list(&dashboard["panels"]);
    let panels: Vec<_> = panels.iter().filter(|panel| panel["type"] != "row").collect();
    assert!(panels.len() > 12, "{} panels", panels.len());
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        let explained = panel["description"].as_str().is_some_and(|text| text.ends_with('.'));
        let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
        assert!(explained && unit.is_some_and(|unit| !unit.is_empty()), "{title}");
        let targets = list(&panel["targets"]);
        assert!(!targets.is_empty(), "{title} asks for nothing");
        for target in targets {
            let asked = target["expr"].as_str().expect("an expression");
            assert!(asked.contains("instance=~\"$instance\""), "{title}: {asked}");
        }
    }
}

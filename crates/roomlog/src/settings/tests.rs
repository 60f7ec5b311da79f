//! Precedence and ranges, and that the manual and the help agree with the code.

use std::collections::BTreeMap;

use roomlog_jetstream::Options;

use super::*;
use crate::tokens;

fn limits(settings: &Settings) -> Limits {
    settings.limits().expect("limits")
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file = Settings::parse("ahead_ms = 7\nping_ms = 8\n").expect("settings");
    let flags = Settings { ahead_ms: Some(9), ..Settings::default() };
    let limits = limits(&flags.or(file));
    let times = [limits.ahead_for, limits.ping_after, limits.idle_for];
    assert_eq!(times, [9, 8, 60_000].map(Duration::from_millis));
}

#[test]
fn an_unknown_name_and_a_wrong_value_in_the_file_are_rejected() {
    assert!(Settings::parse("ahed_ms = 7").is_err());
    for wrong in ["ahead_ms = 7\nping_ms = \"8\"", "\njournal_replicas = \"1\""] {
        let error = Settings::parse(wrong).expect_err("a string is no number");
        assert!(error.starts_with("line 2: "), "{error}");
    }
}

#[test]
fn a_server_listens_on_loopback_by_default() {
    let at = |listen: &str, insecure_open| {
        let listen = Some(listen.parse().expect("an address"));
        Settings { listen, insecure_open: Some(insecure_open), ..Settings::default() }.listen()
    };
    assert!(at("127.0.0.1:0", false).is_ok() && at("[::1]:7400", false).is_ok());
    let error = at("0.0.0.0:7400", false).expect_err("it can be reached").to_string();
    assert!(error.contains("--insecure-open"), "{error}");
    assert!(at("0.0.0.0:7400", true).is_ok());
}

#[test]
fn operators_are_served_on_a_socket_by_default_and_elsewhere_only_as_opted_in() {
    let at = |listen: Option<&str>, insecure_open| {
        let admin_listen = listen.map(|listen| listen.parse().expect("a door"));
        let insecure_open = Some(insecure_open);
        Settings { admin_listen, insecure_open, ..Settings::default() }.admin_listen()
    };
    assert_eq!(at(None, false).expect("allowed"), AdminListen::Socket);
    for loopback in ["off", "127.0.0.1:7401", "[::1]:7401"] {
        assert!(at(Some(loopback), false).is_ok(), "{loopback}");
    }
    let error = at(Some("0.0.0.0:7401"), false).expect_err("it can be reached").to_string();
    assert!(error.contains("--insecure-open") && error.contains("admin_listen"), "{error}");
    assert!(at(Some("0.0.0.0:7401"), true).is_ok());
}

/// The defaults that the code has, by name.
fn defaults() -> BTreeMap<String, String> {
    let (node, gateway) = (NodeSettings::default(), Config::default());
    let limits = serde_json::to_value(Limits::default()).expect("JSON");
    let limits = limits.as_object().expect("an object").iter();
    let mut all: BTreeMap<_, _> =
        limits.map(|(name, value)| (name.clone(), value.to_string())).collect();
    for (name, value) in [
        ("listen", LISTEN.to_owned()),
        ("data", DATA.into()),
        ("admin_listen", AdminListen::default().to_string()),
        ("insecure_open", "false".into()),
        ("journal_declared", "false".into()),
        ("drain_ms", gateway.drain.as_millis().to_string()),
        ("sockets", gateway.sockets.to_string()),
        ("event_comment_ms", gateway.event_comment.as_millis().to_string()),
        ("batch_bytes", gateway.batch_bytes.to_string()),
        ("tail_bytes", node.tail_bytes.to_string()),
        ("fold_entries", node.fold_entries.to_string()),
        ("fold_ms", node.fold_wait.as_millis().to_string()),
        ("journal_bytes", JOURNAL_BYTES.to_string()),
        ("journal_prefix", Options::new("").prefix),
        ("jwt_max_life", tokens::MAX_LIFE.into()),
        ("author_claim", tokens::AUTHOR_CLAIM.into()),
    ] {
        all.insert(name.into(), value);
    }
    all
}

#[test]
fn help_and_manual_have_every_setting_and_its_default() {
    let (defaults, command) = (defaults(), Settings::augment_args(clap::Command::new("serve")));
    let manual = ["OPERATIONS.md", "CLUSTER.md"].map(|page| {
        let page = format!("{}/../../docs/{page}", env!("CARGO_MANIFEST_DIR"));
        fs::read_to_string(page).expect("a page")
    });
    let rows: Vec<Vec<&str>> = manual
        .iter()
        .flat_map(|page| page.lines().filter_map(|line| line.strip_prefix("| `")))
        .map(|row| row.split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    let names = Settings::names();
    assert!(defaults.keys().all(|name| names.contains(&name.as_str())), "{defaults:?}");
    for name in &names {
        let arg = command.get_arguments().find(|arg| arg.get_id() == name).expect("a flag");
        let variable = arg.get_env().and_then(|name| name.to_str()).expect("a variable");
        assert_eq!(variable, format!("ROOMLOG_{}", name.to_uppercase()));
        let row = rows.iter().find(|row| row[0].split("`, `").any(|listed| listed == *name));
        let row = row.unwrap_or_else(|| panic!("the manual does not list {name}"));
        if let Some(default) = defaults.get(*name) {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(help.ends_with(&format!("[default: {default}]")), "{name}: {help}");
            assert_eq!(row[1], default, "{name} in the manual");
        }
    }
}

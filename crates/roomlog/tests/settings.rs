//! For each setting a flag overrides the environment, and the environment the settings file; an unknown
//! name is rejected.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::{Command, Output},
};

/// Every setting with its value in the file, the environment and the flag, as `config` prints it.
const SETTINGS: &[(&str, [&str; 3])] = &[
    ("admin_listen", [r#""127.0.0.1:11""#, r#""off""#, r#""socket""#]),
    ("ahead_ms", ["11", "12", "13"]),
    (
        "allow_origin",
        [
            r#"["https://file.example"]"#,
            r#"["https://env.example"]"#,
            r#"["https://flag.example"]"#,
        ],
    ),
    ("append_ms", ["11", "12", "13"]),
    ("appends_in_flight", ["11", "12", "13"]),
    ("author_bytes", ["11", "12", "13"]),
    ("author_claim", [r#""file""#, r#""env""#, r#""flag""#]),
    ("batch_bytes", ["11", "12", "13"]),
    ("body_bytes", ["11", "12", "13"]),
    ("body_ms", ["11", "12", "13"]),
    ("burst_ms", ["11", "12", "13"]),
    ("bytes_per_second", ["11", "12", "13"]),
    ("connections_per_principal", ["11", "12", "13"]),
    ("data", [r#""/file""#, r#""/env""#, r#""/flag""#]),
    ("disk_reserve_bytes", ["11", "12", "13"]),
    ("drain_ms", ["11", "12", "13"]),
    ("entries_per_second", ["11", "12", "13"]),
    ("event_comment_ms", ["11", "12", "13"]),
    ("fold_entries", ["11", "12", "13"]),
    ("fold_ms", ["11", "12", "13"]),
    ("frame_bytes", ["10011", "10012", "10013"]),
    ("frames_per_second", ["11", "12", "13"]),
    ("handshake_ms", ["11", "12", "13"]),
    ("header_bytes", ["10011", "10012", "10013"]),
    ("id_bytes", ["11", "12", "13"]),
    ("idle_ms", ["100011", "100012", "100013"]),
    ("insecure_open", ["true", "false", "true"]),
    ("journal", [r#""nats://file""#, r#""nats://env""#, r#""nats://flag""#]),
    ("journal_bytes", ["100011", "100012", "100013"]),
    ("journal_ca", [r#""file""#, r#""env""#, r#""flag""#]),
    ("journal_certificate", [r#""file""#, r#""env""#, r#""flag""#]),
    ("journal_credentials", [r#""file""#, r#""env""#, r#""flag""#]),
    ("journal_declared", ["true", "false", "true"]),
    ("journal_key", [r#""file""#, r#""env""#, r#""flag""#]),
    ("journal_max_bytes", ["1000000011", "1000000012", "1000000013"]),
    ("journal_partitions", ["11", "12", "13"]),
    ("journal_prefix", [r#""FILE""#, r#""ENV""#, r#""FLAG""#]),
    ("journal_replicas", ["1", "3", "5"]),
    ("jwks", [r#""file""#, r#""env""#, r#""flag""#]),
    ("jwt_audience", [r#""file""#, r#""env""#, r#""flag""#]),
    ("jwt_key", [r#"["file"]"#, r#"["env"]"#, r#"["flag"]"#]),
    ("jwt_max_life", [r#""11s""#, r#""12m""#, r#""13h""#]),
    ("kind_bytes", ["11", "12", "13"]),
    ("listen", [r#""127.0.0.1:11""#, r#""127.0.0.1:12""#, r#""127.0.0.1:13""#]),
    ("log_format", [r#""json""#, r#""text""#, r#""json""#]),
    ("login_ms", ["11", "12", "13"]),
    ("memory", ["10000011", "10000012", "10000013"]),
    ("meta_bytes", ["11", "12", "13"]),
    ("page_bytes", ["10011", "10012", "10013"]),
    ("page_entries", ["11", "12", "13"]),
    ("pending_logins", ["11", "12", "13"]),
    ("ping_ms", ["11", "12", "13"]),
    ("retention", [r#"["a=1d"]"#, r#"["a*=1h"]"#, r#"["*=forever"]"#]),
    ("room_bytes", ["11", "12", "13"]),
    ("rooms", ["11", "12", "13"]),
    ("rooms_per_connection", ["11", "12", "13"]),
    ("rooms_per_second", ["11", "12", "13"]),
    ("seq_wait", ["11", "12", "13"]),
    ("seq_wait_ms", ["11", "12", "13"]),
    ("sockets", ["11", "12", "13"]),
    ("tail_bytes", ["11", "12", "13"]),
    ("tls_cert", [r#""/file""#, r#""/env""#, r#""/flag""#]),
    ("tls_key", [r#""/file""#, r#""/env""#, r#""/flag""#]),
    ("trust_proxy", [r#"["10.0.0.1"]"#, r#"["10.0.0.0/8"]"#, r#"["::1"]"#]),
];

fn config() -> Command {
    let mut config = Command::new(env!("CARGO_BIN_EXE_roomlog"));
    config.arg("config").env_clear();
    config
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What `config` printed: each setting with its value and where it was set.
fn printed(output: &Output) -> BTreeMap<String, (String, String)> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    let text = text(&output.stdout);
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (name, rest) = line.split_once(" = ").expect("a setting");
        let (value, set_at) = rest.split_once("  # ").expect("where it was set");
        (name.to_owned(), (value.to_owned(), set_at.to_owned()))
    });
    lines.collect()
}

/// A value as a person types it in the environment or behind a flag.
fn typed(value: &str) -> &str {
    value.trim_matches(['[', ']', '"'])
}

#[test]
fn a_flag_overrides_the_environment_and_the_environment_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("roomlog.toml");
    let lines = SETTINGS.iter().map(|(name, [of_file, ..])| format!("{name} = {of_file}\n"));
    std::fs::write(&file, lines.collect::<String>()).expect("a file");
    let file = file.to_str().expect("a path");
    let variable = |name: &str| format!("ROOMLOG_{}", name.to_uppercase());
    let flag = |name: &str| format!("--{}", name.replace('_', "-"));

    let mut run = config();
    run.args(["--config", file]);
    let of_file = printed(&run.output().expect("a run"));
    for (name, [_, of_environment, _]) in SETTINGS {
        run.env(variable(name), typed(of_environment));
    }
    let of_environment = printed(&run.output().expect("a run"));
    for (name, [_, _, of_flag]) in SETTINGS {
        run.arg(format!("{}={}", flag(name), typed(of_flag)));
    }
    let of_flags = printed(&run.output().expect("a run"));

    for (name, values) in SETTINGS {
        for (value, set_at, printed) in [
            (values[0], file.to_owned(), &of_file),
            (values[1], variable(name), &of_environment),
            (values[2], flag(name), &of_flags),
        ] {
            assert_eq!(printed.get(*name), Some(&(value.to_owned(), set_at)), "{name}");
        }
    }
}

#[test]
fn what_is_not_set_is_a_comment_with_its_default_and_a_check_prints_nothing() {
    let output = config().arg("--rooms=7").output().expect("a run");
    assert_eq!(printed(&output).keys().collect::<Vec<_>>(), ["rooms"]);
    let lines = text(&output.stdout);
    let default = |line: &str| {
        let (name, rest) = line.strip_prefix("# ")?.split_once(" = ")?;
        Some((name.to_owned(), rest.strip_suffix("  # default")?.to_owned()))
    };
    let defaults: BTreeMap<_, _> = lines.lines().filter_map(default).collect();
    let others = SETTINGS.iter().map(|(name, _)| *name).filter(|name| *name != "rooms");
    assert_eq!(defaults.keys().collect::<Vec<_>>(), others.collect::<Vec<_>>());
    assert_eq!((&*defaults["ahead_ms"], &*defaults["tls_cert"]), ("5000", "none"));
    for (rooms, code) in [("7", 0), ("0", 2)] {
        let checked = config().args(["--check", "--rooms", rooms]).output().expect("a run");
        assert_eq!((checked.status.code(), checked.stdout.len()), (Some(code), 0));
        assert_eq!(checked.stderr.is_empty(), code == 0);
    }
}

#[test]
fn the_table_above_has_every_setting() {
    let help = config().arg("--help").output().expect("a run");
    let help = text(&help.stdout).split_whitespace().collect::<Vec<_>>().join(" ");
    let variables = help.split("[env: ").skip(1).filter_map(|rest| rest.split(['=', ']']).next());
    let settings: BTreeSet<String> = variables
        .filter_map(|name| name.strip_prefix("ROOMLOG_"))
        .map(str::to_lowercase)
        .filter(|name| name != "config")
        .collect();
    let here: BTreeSet<String> = SETTINGS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(settings, here);
}

#[test]
fn a_flag_and_the_environment_can_override_the_file_with_false() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("roomlog.toml");
    std::fs::write(&file, "listen = \"0.0.0.0:0\"\ninsecure_open = true\n").expect("a file");
    let with_file = || {
        let mut run = config();
        run.arg("--config").arg(&file);
        run
    };
    assert!(with_file().status().expect("a run").success());
    for (name, mut no) in [("the flag", with_file()), ("the environment", with_file())] {
        match name {
            "the flag" => no.arg("--insecure-open=false"),
            _ => no.env("ROOMLOG_INSECURE_OPEN", "no"),
        };
        let ended = no.output().expect("a run");
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{name}: {said}");
        assert!(said.contains("add --insecure-open"), "{name}: {said}");
    }
    // And back to true.
    let mut yes = with_file();
    yes.env("ROOMLOG_INSECURE_OPEN", "0").arg("--insecure-open");
    assert!(yes.status().expect("a run").success());
}

#[test]
fn an_unknown_setting_is_rejected_with_the_probable_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("roomlog.toml");
    std::fs::write(&file, "ahed_ms = 7\n").expect("a file");
    let ended = config().arg("--config").arg(&file).output().expect("a run");
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("\"ahed_ms\" is not a setting (did you mean ahead_ms?)"), "{said}");

    // In the environment, for any command: otherwise the default would silently be used.
    for command in ["config", "serve", "rooms"] {
        let mut run = Command::new(env!("CARGO_BIN_EXE_roomlog"));
        run.arg(command).env_clear().env("ROOMLOG_ALLOW_ORIGINS", "https://chat.example.org");
        let ended = run.output().expect("a run");
        let said = text(&ended.stderr);
        assert_eq!(ended.status.code(), Some(2), "{command}: {said}");
        assert!(said.contains("ROOMLOG_ALLOW_ORIGINS"), "{command}: {said}");
        assert!(said.contains("(did you mean ROOMLOG_ALLOW_ORIGIN?)"), "{command}: {said}");
    }
}

//! The commands on a server that takes tokens: how they get one, and what they say without.

mod support;

use std::{os::unix::fs::PermissionsExt, path::Path};

use serde_json::{Value, json};
use support::{
    Server, roomlog, slot,
    tokens::{AUDIENCE, SECRET, TokenServer, claims, key_file, now, signed, token},
    within,
};

/// What a command printed, and how it ended.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs a command with the server in its environment, and these variables.
async fn run(server: &Server, args: &str, environment: &[(&str, &str)]) -> Ended {
    let mut command = roomlog(server, args);
    command.envs(environment.iter().copied());
    let ended = within(args, command.output()).await.expect("a run");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ended { code: ended.status.code(), out: text(ended.stdout), err: text(ended.stderr) }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path")
}

#[tokio::test]
async fn a_token_is_made_read_and_used() {
    let it = TokenServer::start(&[]).await;
    let key = it.keys.path().join("jwt.key");
    let new = format!(
        "token new --key {} --audience {AUDIENCE} --author ada --rooms team-*=read,append,create \
         --ops backup,metrics --as bob --life 90s",
        path(&key)
    );
    let made = run(&it.server, &new, &[]).await;
    assert_eq!((made.code, &*made.err), (Some(0), ""));
    let file = key_file(&it.keys, "ada.token", &made.out);
    let inspected =
        run(&it.server, &format!("token inspect --token-file {}", path(&file)), &[]).await;
    let line = inspected.out.lines().find_map(|line| line.strip_prefix("claims")).expect("claims");
    let claims: Value = serde_json::from_str(line.trim()).expect("JSON");
    assert_eq!(claims["rooms"], json!({"team-*": ["read", "append", "create"]}));
    assert_eq!((&claims["sub"], &claims["as"]), (&json!("ada"), &json!(["bob"])));
    let life = claims["exp"].as_u64().expect("a time") - claims["iat"].as_u64().expect("a time");
    assert_eq!(life, 90);
    assert!(inspected.out.contains("signature        not checked"), "{}", inspected.out);

    let with = [("ROOMLOG_TOKEN_FILE", path(&file))];
    let said = run(&it.server, "append team-1 hello", &with).await;
    assert_eq!((said.code, &*said.out, &*said.err), (Some(0), "0\n", ""));
    let read = run(&it.server, "read team-1 --json", &with).await;
    assert!(read.out.contains(r#""author":"ada""#), "{}", read.out);
    assert_eq!(run(&it.server, "rooms", &with).await.out, "team-1\t0\n");
    assert_eq!(run(&it.server, "verify team-1", &with).await.code, Some(0));
    let token = made.out.trim();
    let by_variable = run(&it.server, "append team-1 again", &[("ROOMLOG_TOKEN", token)]).await;
    assert_eq!((by_variable.code, &*by_variable.out), (Some(0), "1\n"));
}

#[tokio::test]
async fn without_a_good_token_a_command_says_what_is_wrong() {
    let it = TokenServer::start(&[]).await;
    let none = run(&it.server, "append r hello", &[]).await;
    let url = format!("http://{}", it.server.address);
    assert_eq!(none.code, Some(1));
    assert_eq!(
        none.err,
        format!(
            "roomlog: {url} needs a token, and there is none; name a file that holds one with \
                 --token-file, or set ROOMLOG_TOKEN\n"
        )
    );
    let ada = token("ada", json!({"r": ["read"]}));
    let file = key_file(&it.keys, "ada.token", &ada);
    let shown = path(&file).to_owned();
    let with = [("ROOMLOG_TOKEN_FILE", &*shown)];
    let forbidden = run(&it.server, "append r hello", &with).await;
    assert_eq!(forbidden.code, Some(1));
    assert_eq!(forbidden.err, "roomlog: forbidden: your token may not append to this room\n");
    let unseen = run(&it.server, "read other", &with).await;
    assert_eq!(unseen.code, Some(1));
    let said = "roomlog: not_found: there is no such room, or your token may not read it\n";
    assert_eq!(unseen.err, said);

    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    let open = run(&it.server, "read r", &with).await;
    assert_eq!(open.code, Some(2));
    let advice = format!("the token file {shown} can be read by others; run: chmod 600 {shown}");
    assert_eq!(open.err, format!("roomlog: {advice}\n"));

    let mut expired = claims("ada", json!({"r": ["read"]}));
    (expired.iat, expired.exp) = (now() - 90, now() - 31);
    let late = run(&it.server, "read r", &[("ROOMLOG_TOKEN", &signed(&expired))]).await;
    assert_eq!(late.code, Some(1));
    assert_eq!(late.err, "roomlog: unauthorized: the token has expired; get a new one\n");
}

#[tokio::test]
async fn a_token_is_not_sent_to_an_open_server() {
    let server = Server::start(&[]).await;
    let said = run(&server, "append r hello --author ada", &[("ROOMLOG_TOKEN", "a.b.c")]).await;
    assert_eq!((said.code, &*said.out, &*said.err), (Some(0), "0\n", ""));
}

#[tokio::test]
async fn an_import_writes_as_others_if_its_token_may() {
    let it = TokenServer::start(&[]).await;
    let lines = "{\"author\":\"ada\",\"id\":\"1\",\"body\":\"one\"}\n\
                 {\"author\":\"bob\",\"id\":\"2\",\"body\":\"two\"}\n";
    let history = key_file(&it.keys, "history.jsonl", lines);
    let all = json!({"*": ["read", "append", "create"]});
    let import = format!("import r {}", path(&history));
    let alone = run(&it.server, &import, &[("ROOMLOG_TOKEN", &token("bot", all.clone()))]).await;
    assert_eq!(alone.code, Some(1), "{}", alone.err);
    assert!(alone.err.contains("your token may not write as this author"), "{}", alone.err);
    let mut of_bot = claims("bot", all);
    of_bot.others = vec!["*".into()];
    let imported = run(&it.server, &import, &[("ROOMLOG_TOKEN", &signed(&of_bot))]).await;
    assert_eq!(imported.code, Some(0), "{}", imported.err);
    let mut ada = it.enter(&token("ada", json!({"r": ["read", "append"]}))).await;
    assert_eq!(slot(&ada.append("r", json!({"body": "three"})).await), 2);
}

#[tokio::test]
async fn keys_are_replaced_without_a_restart() {
    let it = TokenServer::start(&[]).await;
    let old = token("ada", json!({"*": ["read", "append", "create"]}));
    let mut held = it.enter(&old).await;
    key_file(&it.keys, "jwt.key", "another secret of more than 32 bytes for tests");
    it.server.sighup("the keys of tokens were reloaded").await;
    held.append("r", json!({"body": "what is open goes on"})).await;
    let mut fresh = it.server.connect().await;
    fresh.refused(json!({"type": "login", "token": old}), "unauthorized").await;
    // A file that is wrong changes nothing.
    key_file(&it.keys, "jwt.key", "short");
    it.server.sighup("its secret has 5 bytes").await;
    assert_eq!(it.server.get("/readyz").send().await.status, 200);
}

#[tokio::test]
async fn a_server_whose_keys_are_wrong_does_not_start() {
    let keys = tempfile::tempdir().expect("a directory");
    let data = tempfile::tempdir().expect("a directory");
    let key = key_file(&keys, "jwt.key", SECRET);
    let missing = keys.path().join("missing");
    for (flags, said) in [
        (vec!["--jwt-key", path(&key)], "jwt_audience is missing"),
        (vec!["--jwt-audience", "chat"], "there is no key: add --jwt-key FILE or --jwks FILE"),
        (vec!["--jwt-key", path(&missing), "--jwt-audience", "chat"], "No such file or directory"),
        (
            vec!["--jwks", "http://127.0.0.1:1/keys", "--jwt-audience", "chat"],
            "a set that comes over the network must come over https",
        ),
        (
            vec!["--jwt-key", path(&key), "--jwt-audience", "chat", "--jwt-max-life", "500d"],
            "is not a life of a token",
        ),
    ] {
        let refused = support::serve_refused(data.path(), "127.0.0.1:0", &flags).await;
        let err = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(2), "{flags:?}: {err}");
        assert!(err.contains(said), "{flags:?}: {err}");
    }
}

#[tokio::test]
async fn an_append_in_another_name_needs_a_token_that_may() {
    let it = TokenServer::start(&[]).await;
    let rights = json!({"*": ["read", "append", "create"]});
    let ada = [("ROOMLOG_TOKEN", &*token("ada", rights.clone()))];
    let as_bob = run(&it.server, "append r hi --author bob", &ada).await;
    assert_eq!((as_bob.code, &*as_bob.out), (Some(1), ""), "{}", as_bob.err);
    assert!(as_bob.err.contains("your token may not write as this author"), "{}", as_bob.err);
    let as_ada = run(&it.server, "append r hi --author ada", &ada).await;
    assert_eq!((as_ada.code, &*as_ada.out), (Some(0), "0\n"), "{}", as_ada.err);
    let mut of_ada = claims("ada", rights);
    of_ada.others = vec!["bob".into()];
    let others = [("ROOMLOG_TOKEN", &*signed(&of_ada))];
    assert_eq!(run(&it.server, "append r ho --author bob", &others).await.code, Some(0));
    let log = it.enter(&signed(&of_ada)).await.whole_log("r").await;
    assert_eq!(log.iter().map(|entry| &entry["author"]).collect::<Vec<_>>(), ["ada", "bob"]);
}

#[tokio::test]
async fn a_check_of_the_settings_reads_keys_and_certificates_too() {
    let it = TokenServer::start(&[]).await;
    let key = it.keys.path().join("jwt.key");
    let check = |key: &Path| {
        let key = path(key).to_owned();
        let flags = format!("config --check --jwt-audience {AUDIENCE} --jwt-key {key}");
        let server = &it.server;
        async move { run(server, &flags, &[]).await }
    };
    assert_eq!(check(&key).await.code, Some(0));
    let missing = check(&it.keys.path().join("missing")).await;
    assert_eq!(missing.code, Some(2));
    assert!(missing.err.contains("No such file or directory"), "{}", missing.err);
}

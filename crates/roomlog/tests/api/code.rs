//! The files against the code: routes, codes, statuses, limits.

use std::collections::{BTreeMap, BTreeSet};

use hyper::Method;
use roomlog_protocol::{ErrorCode, Limits};
use serde_json::{Value, json};

use super::{Api, Operation, file, names};
use crate::support::Server;

type Names = BTreeSet<String>;

/// Errors with a status of their own in HTTP, which are `bad_message`.
const STATUSES_OF_HTTP: [u16; 4] = [405, 415, 426, 501];

/// The paths that a part of the server's routes declares, without those that only say where to look.
fn declared(routes: &str) -> Names {
    let routes = routes.split(".route(").skip(1).map(|rest| rest.trim_start());
    let is_served = |route: &&str| !route.lines().next().is_some_and(|it| it.contains("any("));
    let path = |route: &str| route.split('"').nth(1).expect("a path").to_owned();
    routes.filter(is_served).map(path).collect()
}

#[test]
fn every_route_is_in_the_file_and_at_its_listener() {
    let source = file("crates/server/src/http.rs");
    let (public, rest) = source.split_once("fn door(").expect("the door");
    let (door, both) = rest.split_once("fn finish(").expect("what both have");
    let api = Api::read();
    let of = |listener: &str| -> Names {
        let listener_of = |tag: &str| match tag {
            "operators" | "health" => tag.to_owned(),
            _ => "public".to_owned(),
        };
        let all = api.operations().into_iter().filter(|it| listener_of(it.tag) == listener);
        all.map(|it| it.path.to_owned()).collect()
    };
    assert_eq!(of("public"), declared(public));
    assert_eq!(of("operators"), declared(door));
    assert_eq!(of("health"), declared(both));
    for Operation { path, tag, .. } in api.operations() {
        let has_own_servers = api.http["paths"][path].get("servers").is_some();
        assert_eq!(has_own_servers, ["operators", "health"].contains(&tag), "{path}");
    }
}

#[tokio::test]
async fn every_path_has_the_methods_of_the_file_and_no_others() {
    let server = Server::start(&[]).await;
    let api = Api::read();
    for Operation { path, tag, .. } in api.operations() {
        let target = path.replace("{room}", "r").replace("{file}", "index.js");
        let answer = match tag {
            "operators" => server.at_door(Method::PATCH, &target).send().await,
            _ => server.request(Method::PATCH, &target).send().await,
        };
        answer.refused(405, "bad_message");
        api.check("PATCH", path, &answer);
        let allowed = answer.headers["allow"].to_str().expect("methods").split(',');
        let allowed: Names = allowed.map(str::to_owned).filter(|name| name != "HEAD").collect();
        let methods = api.operations().into_iter().filter(|it| it.path == path);
        assert_eq!(methods.map(|it| it.method).collect::<Names>(), allowed, "{path}");
    }
}

/// The paths in the code of a page, and the methods that are written before them.
fn written(page: &str) -> BTreeMap<String, Names> {
    let mut paths = BTreeMap::<String, Names>::new();
    for code in page.split('`').skip(1).step_by(2) {
        let (method, path) = code.split_once(' ').unwrap_or(("", code));
        let (method, path) = if code.starts_with('/') { ("", code) } else { (method, path) };
        let is_method = method.bytes().all(|byte| byte.is_ascii_uppercase());
        let path = path.split(['?', ' ', '\n']).next().unwrap_or_default();
        if is_method && path.starts_with('/') {
            let methods = paths.entry(path.to_owned()).or_default();
            methods.extend((!method.is_empty()).then(|| method.to_owned()));
        }
    }
    paths
}

#[test]
fn the_contract_names_the_paths_of_the_file_and_no_others() {
    let mut written = written(&file("docs/PROTOCOL.md"));
    assert!(written.remove("/me").is_some(), "IRC's");
    let api = Api::read();
    let mut paths = Names::new();
    for Operation { path, method, tag, .. } in api.operations() {
        let is_of_the_page = tag == "page" && path != "/";
        assert_eq!(written.contains_key(path), !is_of_the_page, "{path}");
        let named = written.get(path).filter(|named| !named.is_empty());
        assert!(named.is_none_or(|named| named.contains(&method)), "{method} {path}");
        paths.insert(path.to_owned());
    }
    let unknown: Vec<_> = written.keys().filter(|path| !paths.contains(*path)).collect();
    assert_eq!(unknown, Vec::<&String>::new());
}

/// Every code that there is: serde names them in an error.
fn codes() -> Vec<ErrorCode> {
    let error = serde_json::from_str::<ErrorCode>("\"\"").expect_err("no code").to_string();
    let (_, names) = error.split_once("expected one of ").expect("the codes");
    let code = |name: &str| serde_json::from_value(name.into()).expect("a code");
    names.split('`').skip(1).step_by(2).map(code).collect()
}

#[test]
fn every_code_is_in_the_file_at_its_status() {
    let api = Api::read();
    let listed = &api.schema("ErrorCode")["enum"];
    assert_eq!(*listed, codes().iter().map(ErrorCode::to_string).collect::<Value>());
    let mut want: BTreeMap<String, Names> = BTreeMap::new();
    for code in codes() {
        want.entry(code.http_status().to_string()).or_default().insert(code.to_string());
    }
    for status in STATUSES_OF_HTTP {
        want.entry(status.to_string()).or_default().insert("bad_message".into());
    }
    let mut have: BTreeMap<String, Names> = BTreeMap::new();
    let responses = api.http["components"]["responses"].as_object().expect("responses");
    for (status, response) in responses.iter().filter(|(name, _)| name.parse::<u16>().is_ok()) {
        let error = "/content/application~1json/schema/properties/error/properties/code/enum";
        let codes = response.pointer(error).and_then(Value::as_array).expect("codes");
        let codes: Names =
            codes.iter().map(|code| code.as_str().expect("a code").to_owned()).collect();
        let waits = |code: &String| -> bool {
            serde_json::from_value::<ErrorCode>(code.as_str().into())
                .expect("a code")
                .is_transient()
        };
        let waits = codes.iter().any(waits);
        assert_eq!(response["headers"].get("Retry-After").is_some(), waits, "{status}");
        have.insert(status.clone(), codes);
    }
    assert_eq!(have, want);
}

#[test]
fn an_operation_has_the_statuses_that_all_may_have_and_each_at_its_name() {
    let api = Api::read();
    let mut used = Names::new();
    for operation in api.operations() {
        let (path, statuses) = (operation.path, operation.statuses());
        let all: &[&str] = if operation.tag == "operators" {
            &["400", "401", "403", "503"]
        } else {
            &["400", "403", "429", "503"]
        };
        for status in all {
            assert!(statuses.contains(*status), "{path} has no {status}");
        }
        for (status, response) in operation.members["responses"].as_object().expect("answers") {
            let to = response["$ref"].as_str().and_then(|to| to.rsplit('/').next());
            let is_error = status.as_str() >= "400";
            assert!(!is_error || to == Some(status), "{path}: {status} is {to:?}");
            used.insert(to.unwrap_or(status).to_owned());
        }
    }
    let unused: Vec<_> =
        names(&api.http["components"]["responses"]).difference(&used).cloned().collect();
    assert_eq!(unused, ["405"], "405 is the answer to what is no operation");
}

#[test]
fn the_examples_are_valid() {
    let api = Api::read();
    let mut count = 0;
    for (name, schema) in api.schemas.as_object().expect("schemas") {
        for example in schema["examples"].as_array().into_iter().flatten() {
            assert_eq!(api.wrong_by(name, example), Vec::<String>::new(), "{name}");
            count += 1;
        }
    }
    assert!(count > 1, "{count} examples");
}

#[test]
fn every_limit_is_in_the_file_with_its_default() {
    let api = Api::read();
    let properties = api.schema("Limits")["properties"].as_object().expect("limits").iter();
    let defaults: Value =
        properties.map(|(name, it)| (name.clone(), it["default"].clone())).collect();
    assert_eq!(defaults, json!(Limits::default()));
}

#[test]
fn every_close_code_is_in_the_file() {
    let source = file("crates/protocol/src/error.rs");
    let (_, codes) = source.split_once("pub enum CloseCode {").expect("the close codes");
    let (codes, _) = codes.split_once("\n}").expect("their end");
    let codes = codes.lines().filter_map(|line| line.split_once(" = "));
    let codes: Names = codes.map(|(_, code)| code.trim_end_matches(',').to_owned()).collect();
    let api = Api::read();
    assert_eq!(names(&api.frames["channels"]["socket"]["x-close-codes"]), codes);
}

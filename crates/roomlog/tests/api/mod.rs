//! The files of `docs/api`, as the tests need them.
//!
//! Enters: YAML. Leaves: operations, schemas, and what is wrong with an answer or a frame by them. The schemas
//! are closed here: the files leave them open, because members may be added, but a member that the server
//! sends and no file has is a mistake.

mod code;
mod frames;
mod http;

use std::{collections::BTreeSet, fs, path::Path};

use jsonschema::Draft;
use serde_json::{Map, Value, json};
use yaml_rust2::{Yaml, YamlLoader};

use crate::support::Answer;

/// Both files.
pub(crate) struct Api {
    /// `openapi.yaml`.
    pub(crate) http: Value,
    /// `asyncapi.yaml`.
    pub(crate) frames: Value,
    /// The closed schemas of both, as `components/schemas`.
    schemas: Value,
}

/// A method of a path.
pub(crate) struct Operation<'a> {
    pub(crate) path: &'a str,
    /// In upper case.
    pub(crate) method: String,
    /// Its only tag.
    pub(crate) tag: &'a str,
    members: &'a Value,
}

/// A file of the repository.
pub(crate) fn file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// The names of the members of an object.
pub(crate) fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap_or_else(|| panic!("no object: {object}")).keys().cloned().collect()
}

impl Api {
    pub(crate) fn read() -> Self {
        // The other file's schemas are put beside those of this one.
        let local = file("docs/api/asyncapi.yaml").replace("openapi.yaml#/", "#/");
        let (http, frames) = (document(&file("docs/api/openapi.yaml")), document(&local));
        let of = |file: &Value| file["components"]["schemas"].as_object().expect("schemas").clone();
        let (mut schemas, others) = (of(&http), of(&frames));
        for (name, schema) in others {
            let before = schemas.insert(name.clone(), schema);
            assert!(before.is_none(), "both files have a schema {name}");
        }
        let mut schemas = Value::Object(schemas);
        close(&mut schemas);
        Self { http, frames, schemas }
    }

    /// A schema of either file by its name.
    pub(crate) fn schema(&self, name: &str) -> &Value {
        let schema = &self.schemas[name];
        assert!(schema.is_object(), "no schema {name}");
        schema
    }

    /// What is wrong with a value by the schema of this name; nothing if it is valid.
    pub(crate) fn wrong_by(&self, name: &str, value: &Value) -> Vec<String> {
        self.wrong(&json!({"$ref": format!("#/components/schemas/{name}")}), value)
    }

    /// What is wrong with a value by this schema; nothing if it is valid.
    pub(crate) fn wrong(&self, schema: &Value, value: &Value) -> Vec<String> {
        let mut schema = schema.clone();
        close(&mut schema);
        schema["components"] = json!({"schemas": self.schemas});
        let validator = jsonschema::options().with_draft(Draft::Draft202012).build(&schema);
        let validator = validator.unwrap_or_else(|why| panic!("{schema}: {why}"));
        let problems = validator.iter_errors(value);
        problems.map(|why| format!("{}: {why}", why.instance_path())).collect()
    }

    /// Every operation of the HTTP file.
    pub(crate) fn operations(&self) -> Vec<Operation<'_>> {
        let mut all = Vec::new();
        for (path, item) in self.http["paths"].as_object().expect("paths") {
            let methods = item.as_object().expect("a path").iter();
            for (method, members) in methods.filter(|(name, _)| is_method(name)) {
                let tags = members["tags"].as_array().expect("tags");
                let [tag] = &tags[..] else { panic!("{method} {path} has the tags {tags:?}") };
                let tag = tag.as_str().expect("a name");
                all.push(Operation { path, method: method.to_uppercase(), tag, members });
            }
        }
        all
    }

    /// What a `$ref` leads to in the HTTP file; anything else is itself.
    pub(crate) fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let Some(to) = value["$ref"].as_str() else { return value };
        let to = to.strip_prefix('#').expect("a place in the file");
        self.http.pointer(to).unwrap_or_else(|| panic!("there is no {to}"))
    }

    /// Asserts that the file has this answer to an operation: its status, type, headers and body.
    pub(crate) fn check(&self, method: &str, path: &str, answer: &Answer) {
        let operation = &self.http["paths"][path][method.to_lowercase()];
        let status = answer.status.to_string();
        let response = match operation["responses"].get(&status) {
            Some(response) => self.resolved(response),
            None if status == "405" => &self.http["components"]["responses"]["405"],
            None => panic!("{method} {path} has no {status}: {answer:?}"),
        };
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            let is_required = self.resolved(header)["required"] == true;
            let is_there = answer.headers.contains_key(name);
            assert!(is_there || !is_required, "{method} {path} without {name}: {answer:?}");
        }
        let Some(contents) = response["content"].as_object() else {
            assert_eq!(answer.body, "", "{method} {path} {status} has a body");
            return;
        };
        let kind = answer.headers["content-type"].to_str().expect("a type");
        let kind = kind.split(';').next().expect("a type");
        let content = contents.get(kind);
        let content = content.unwrap_or_else(|| panic!("{method} {path} {status} is {kind}"));
        let values: Vec<(&Value, Value)> = match kind {
            "application/json" => vec![(&content["schema"], answer.json())],
            "application/x-ndjson" => {
                let line = |line| serde_json::from_str(line).expect("a line of JSON");
                answer.body.lines().map(|text| (&content["x-itemSchema"], line(text))).collect()
            }
            _ => Vec::new(),
        };
        for (schema, value) in values {
            let wrong = self.wrong(schema, &value);
            assert!(wrong.is_empty(), "{method} {path} {status}: {wrong:?} in {value}");
        }
    }
}

impl Operation<'_> {
    /// The statuses of its answers.
    pub(crate) fn statuses(&self) -> BTreeSet<String> {
        names(&self.members["responses"])
    }
}

fn is_method(name: &str) -> bool {
    ["get", "put", "post", "delete", "options", "head", "patch", "trace"].contains(&name)
}

/// Refuses the members that an object's schema does not name. A schema without a `type` is one side of a
/// choice, and names only what that is about.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let is_whole =
                members.get("type") == Some(&json!("object")) || members.contains_key("$ref");
            if is_whole && members.contains_key("properties") {
                members.insert("unevaluatedProperties".into(), false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// The only document of a YAML file.
fn document(text: &str) -> Value {
    let documents = YamlLoader::load_from_str(text).expect("YAML");
    let [document] = &documents[..] else { panic!("{} documents", documents.len()) };
    json_of(document)
}

fn json_of(yaml: &Yaml) -> Value {
    match yaml {
        Yaml::String(text) => text.as_str().into(),
        Yaml::Integer(number) => (*number).into(),
        Yaml::Boolean(is) => (*is).into(),
        Yaml::Null => Value::Null,
        Yaml::Array(items) => items.iter().map(json_of).collect(),
        Yaml::Hash(members) => {
            let name = |name: &Yaml| name.as_str().expect("a name that is a string").to_owned();
            let members = members.iter().map(|(key, value)| (name(key), json_of(value)));
            members.collect::<Map<_, _>>().into()
        }
        other => panic!("neither JSON nor an alias of it: {other:?}"),
    }
}

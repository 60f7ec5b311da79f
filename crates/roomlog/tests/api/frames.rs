//! The frames: those of the protocol's types, of the golden transcripts, and of a server.
//!
//! The file's schemas are compared with the code by what they accept: a full frame, and the same with a member
//! left out or of another value, is valid exactly if the code takes it.

use std::{collections::BTreeSet, fs, path::Path};

use roomlog_protocol::{
    Appended, Author, ClientAppend, ClientFrame, ClientUpdate, Commitment, Content, Digest, Entry,
    EntryId, ErrorCode, ErrorFrame, Heads, Hello, Join, Kind, Latest, Limits, Login, Reply,
    RoomName, Salt, ServerAck, ServerFrame, ServerReply, Span,
    client::{parse, parse_append},
    object::Object,
};
use serde_json::{Value, json};

use super::{Api, names};
use crate::support::{Client, Server};

type Names = BTreeSet<String>;

const MOST: i64 = (1 << 53) - 1;

fn room() -> RoomName {
    RoomName::new("general").expect("a room")
}

fn author() -> Author {
    Author::new("ada").expect("an author")
}

fn id() -> EntryId {
    EntryId::new("a-1").expect("an id")
}

/// Frames of a client that have every member, each in one of them.
fn client_frames() -> Vec<ClientFrame> {
    let req = Some(7);
    let login = |token, author| ClientFrame::Login(Login { token, author, req });
    let span = Span::UpTo { count: 20, upto: Some(9) };
    let digest = Some(Digest([1; 32]));
    let newest = ClientUpdate { room: room(), span, seen: Some(Latest(9)), digest: None, req };
    let after = ClientUpdate { span: Span::After(Latest(9)), digest, ..newest.clone() };
    let first = ClientUpdate { span: Span::UpTo { count: 20, upto: None }, ..newest.clone() };
    vec![
        login(Some("a.b.c".into()), None),
        login(None, Some(author())),
        ClientFrame::Join(Join(first)),
        ClientFrame::Join(Join(after.clone())),
        ClientFrame::Leave { room: room(), req },
        ClientFrame::Append(Box::new(append())),
        ClientFrame::Update(newest),
        ClientFrame::Update(after),
        ClientFrame::Watch { req },
        ClientFrame::Ping { req },
    ]
}

fn append() -> ClientAppend {
    ClientAppend {
        room: room(),
        body: "hello".into(),
        id: Some(id()),
        seq: Some(0),
        after: Some(Latest(3)),
        expect: Some(4),
        kind: Kind::new("action").expect("a kind"),
        reference: Some(2),
        meta: Some("{}".into()),
        sent_at: Some(5),
        author: Some(author()),
        req: Some(7),
    }
}

fn entry(content: Content) -> Entry {
    let kind = Kind::new("edit").expect("a kind");
    let (author, id, reference) = (author(), id(), Some(2));
    Entry { slot: 3, author, id, content, committed_at: 5, sent_at: Some(4), kind, reference }
}

fn said() -> Entry {
    let (body, meta) = ("hi".into(), Some("{}".into()));
    entry(Content::Said { body, meta, salt: Salt(*b"roomlog-slt0") })
}

/// Frames of a server that have every member.
fn server_frames() -> Vec<ServerFrame> {
    let (req, seq, repeat) = (Some(7), Some(0), Some(true));
    let hello = Hello {
        protocol: 1,
        server: "roomlog 1".into(),
        log: "01JD9Z".into(),
        auth: "open".into(),
        durability: "fsync".into(),
        limits: Limits::default(),
    };
    let reply = Reply {
        room: room(),
        entries: vec![said(), entry(Content::Redacted(Commitment([2; 32])))],
        latest: Latest(9),
        digest_at: Latest(3),
        digest: Digest([1; 32]),
    };
    let error = ErrorFrame {
        code: ErrorCode::Busy,
        message: "wait".into(),
        room: Some(room()),
        id: Some(id()),
        seq,
        req,
        slot: Some(3),
        latest: Some(Latest(9)),
        retry_after_ms: Some(500),
    };
    vec![
        ServerFrame::Hello(Box::new(hello)),
        ServerFrame::Welcome { author: author() },
        ServerFrame::Appended(Appended {
            room: room(),
            id: id(),
            slot: 3,
            committed_at: 5,
            repeat,
            seq,
            req,
        }),
        ServerFrame::Ack(ServerAck { room: room(), entries: vec![said()] }),
        ServerFrame::Reply(ServerReply { reply, req }),
        ServerFrame::Left { room: room(), req },
        ServerFrame::Pong { req },
        ServerFrame::Heads(Heads { rooms: [(room(), Latest(9))].into(), more: repeat, req }),
        ServerFrame::Error(error),
    ]
}

/// The types that a message of serde or of the parser lists, behind these words.
fn listed(message: &str, behind: &str) -> Names {
    let (_, types) = message.split_once(behind).unwrap_or_else(|| panic!("{message}"));
    let types = types.split(", ").map(|it| it.trim_matches('`'));
    types.map(|it| it.split('`').next().expect("a type").to_owned()).collect()
}

/// The messages of the file that a server receives, or sends: the type and the name of the schema.
fn messages(api: &Api, action: &str) -> Vec<(String, String)> {
    let mut types = Names::new();
    for operation in api.frames["operations"].as_object().expect("operations").values() {
        let of_it =
            if operation["action"] == action { &operation["messages"] } else { &Value::Null };
        let replies = if action == "send" { &operation["reply"]["messages"] } else { &Value::Null };
        for message in [of_it, replies].into_iter().filter_map(Value::as_array).flatten() {
            let to = message["$ref"].as_str().expect("a reference");
            types.insert(to.strip_prefix("#/channels/socket/messages/").expect("a message").into());
        }
    }
    let schema = |kind: String| {
        let to = format!("#/components/messages/{kind}");
        assert_eq!(api.frames["channels"]["socket"]["messages"][&kind]["$ref"], to);
        let message = &api.frames["components"]["messages"][&kind];
        let to = message["payload"]["$ref"].as_str().expect("a schema");
        let schema = to.strip_prefix("#/components/schemas/").expect("a schema").to_owned();
        for example in message["examples"].as_array().into_iter().flatten() {
            assert_eq!(api.wrong_by(&schema, &example["payload"]), Vec::<String>::new(), "{kind}");
        }
        (kind, schema)
    };
    types.into_iter().map(schema).collect()
}

/// The name of the schema of a frame.
fn schema_of(api: &Api, action: &str, frame: &Value) -> String {
    let kind = frame["type"].as_str().unwrap_or_else(|| panic!("no type in {frame}"));
    let found = messages(api, action).into_iter().find(|(name, _)| name == kind);
    found.unwrap_or_else(|| panic!("no message {kind} is one to {action}")).1
}

fn assert_valid(api: &Api, action: &str, frame: &Value) {
    let wrong = api.wrong_by(&schema_of(api, action, frame), frame);
    assert!(wrong.is_empty(), "{wrong:?} in {frame}");
}

/// An object, the same without each of its members, and with these values in place of each.
fn variants(object: &Value, values: &[Value]) -> Vec<Value> {
    let mut all = vec![object.clone()];
    for name in names(object) {
        let mut without = object.clone();
        without.as_object_mut().expect("an object").remove(&name);
        all.push(without);
        for value in values {
            let mut with = object.clone();
            with[&name] = value.clone();
            all.push(with);
        }
    }
    all
}

/// Asserts that the schema accepts what the code does, of all variants of some objects.
fn agree(api: &Api, schema: &str, variants: &[Value], accepts: impl Fn(&Value) -> bool) {
    for variant in variants {
        let wrong = api.wrong_by(schema, variant);
        assert_eq!(wrong.is_empty(), accepts(variant), "{schema}: {wrong:?} in {variant}");
    }
    assert!(accepts(&variants[0]), "{}", variants[0]);
}

fn values() -> Vec<Value> {
    let integers = [-2, -1, 0, MOST, MOST + 1].map(Value::from);
    let mut values = vec![Value::Null, json!(true), json!(1.5), json!(""), json!("x"), json!(" ")];
    values.extend(integers);
    values
}

#[test]
fn a_clients_frame_is_valid_exactly_if_the_server_takes_its_form() {
    let api = Api::read();
    let accepts = |frame: &Value| parse(&frame.to_string(), &Limits::default()).is_ok();
    let mut schemas = BTreeSet::new();
    for frame in client_frames() {
        let frame = json!(frame);
        let schema = schema_of(&api, "receive", &frame);
        agree(&api, &schema, &variants(&frame, &values()), accepts);
        schemas.insert((schema, frame["type"].clone().to_string(), names(&frame)));
    }
    for (kind, schema) in messages(&api, "receive") {
        let of_it = schemas.iter().filter(|(name, ..)| *name == schema);
        let members: Names = of_it.flat_map(|(.., members)| members.clone()).collect();
        assert_eq!(names(&api.schema(&schema)["properties"]), members, "{kind}");
    }
}

#[test]
fn an_append_over_http_is_valid_exactly_if_the_server_takes_its_form() {
    let api = Api::read();
    let mut whole = json!(append());
    // Of these a POST has the first in its path, and no use for the others.
    for name in ["room", "seq", "req"] {
        whole.as_object_mut().and_then(|members| members.remove(name)).expect("a member");
    }
    assert_eq!(names(&api.schema("Append")["properties"]), names(&whole));
    agree(&api, "Append", &variants(&whole, &values()), |append| {
        let text = append.to_string();
        let object = Object::parse(&text).expect("an object");
        parse_append(&object, &room(), &Limits::default()).is_ok()
    });
}

#[test]
fn a_servers_frame_has_the_members_of_the_file() {
    let api = Api::read();
    let accepts = |frame: &Value| serde_json::from_value::<ServerFrame>(frame.clone()).is_ok();
    let mut schemas = BTreeSet::new();
    for frame in server_frames() {
        let frame = json!(frame);
        let schema = schema_of(&api, "send", &frame);
        assert_eq!(names(&api.schema(&schema)["properties"]), names(&frame), "{schema}");
        agree(&api, &schema, &variants(&frame, &[]), accepts);
        schemas.insert(schema);
    }
    assert_eq!(messages(&api, "send").into_iter().map(|it| it.1).collect::<Names>(), schemas);
    let mut error = json!(server_frames().pop().expect("an error"));
    error.as_object_mut().expect("an object").remove("type").expect("a type");
    assert_eq!(names(&api.schema("Error")["properties"]), names(&error));
    agree(&api, "Error", &variants(&error, &[]), |error| {
        serde_json::from_value::<ErrorFrame>(error.clone()).is_ok()
    });
}

#[test]
fn an_entry_has_the_members_of_the_file() {
    let api = Api::read();
    let accepts = |entry: &Value| serde_json::from_value::<Entry>(entry.clone()).is_ok();
    let (said, redacted) = (json!(said()), json!(entry(Content::Redacted(Commitment([2; 32])))));
    let members: Names = names(&said).union(&names(&redacted)).cloned().collect();
    assert_eq!(names(&api.schema("Entry")["properties"]), members);
    for entry in [said, redacted] {
        agree(&api, "Entry", &variants(&entry, &[]), accepts);
    }
}

#[test]
fn every_type_is_in_the_file_and_on_its_side() {
    let api = Api::read();
    let of = |action| messages(&api, action).into_iter().map(|(kind, _)| kind).collect::<Names>();
    let refused = parse(r#"{"type":""}"#, &Limits::default()).expect_err("no type");
    let message = match refused {
        roomlog_protocol::client::Rejected::Refused(refusal) => refusal.message,
        other => panic!("{other:?}"),
    };
    assert_eq!(of("receive"), listed(&message, "none of "));
    let error = serde_json::from_str::<ServerFrame>(r#"{"type":""}"#).expect_err("no type");
    assert_eq!(of("send"), listed(&error.to_string(), "expected one of "));
    let both: Names = of("receive").union(&of("send")).cloned().collect();
    assert_eq!(names(&api.frames["channels"]["socket"]["messages"]), both);
    assert_eq!(names(&api.frames["components"]["messages"]), both);
}

#[test]
fn a_name_is_valid_exactly_if_the_code_takes_it() {
    let api = Api::read();
    let (long, longer) = ("a".repeat(128), "a".repeat(129));
    let texts = ["", "a", "A1", "-a", "a b", "a/b", "a~:@._-z", "é", "a\n", "\u{7f}", "!", "a.b-c"];
    let lengths = [32, 33, 64, 65].map(|count| "a".repeat(count));
    let texts =
        texts.into_iter().chain([&*long, &*longer]).chain(lengths.iter().map(String::as_str));
    for text in texts {
        let valid = |schema| api.wrong_by(schema, &text.into()).is_empty();
        assert_eq!(valid("Room"), RoomName::new(text).is_ok(), "{text:?}");
        assert_eq!(valid("ClientRoom"), RoomName::new(text).is_ok(), "{text:?}");
        assert_eq!(valid("Id"), EntryId::new(text).is_ok(), "{text:?}");
        assert_eq!(valid("Kind"), Kind::new(text).is_ok(), "{text:?}");
        // What is invisible has no form that a schema could name.
        assert!(valid("Author") || Author::stored(text).is_err(), "{text:?}");
    }
}

#[test]
fn the_golden_transcripts_are_valid() {
    let api = Api::read();
    let mut count = 0;
    for kind in ["outbox", "timeline"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(kind);
        for file in fs::read_dir(folder).expect("the transcripts") {
            let text = fs::read_to_string(file.expect("a file").path()).expect("a transcript");
            let script: Value = serde_json::from_str(&text).expect("JSON");
            for step in script["steps"].as_array().expect("steps") {
                let received = ["frame", "joined", "page", "ack"].map(|name| &step[name]);
                for frame in received.into_iter().filter(|frame| frame.is_object()) {
                    assert_valid(&api, "send", frame);
                    count += 1;
                }
                let mut sent = step["sends"].as_array().cloned().unwrap_or_default();
                if let Some(members) = step["asks"].as_object() {
                    let mut update = json!({"type": "update", "room": "general"});
                    update.as_object_mut().expect("an object").extend(members.clone());
                    sent.push(update);
                }
                for frame in &sent {
                    assert_valid(&api, "receive", frame);
                    count += 1;
                }
            }
        }
    }
    assert!(count > 50, "only {count} frames");
}

/// The next frame, which is valid and of this type.
async fn next(api: &Api, client: &mut Client, kind: &str) -> Value {
    let frame = client.find(|frame| frame["type"] == kind).await;
    assert_valid(api, "send", &frame);
    frame
}

#[tokio::test]
async fn the_frames_of_a_server_are_valid() {
    let (api, server) = (Api::read(), Server::start(&[]).await);
    let mut ada = server.connect_unread(&[]).await;
    let hello = next(&api, &mut ada, "hello").await;
    assert_eq!(names(&hello["limits"]), names(&api.schema("Limits")["properties"]));
    let asked = [
        (json!({"type": "login", "author": "ada"}), "welcome"),
        (json!({"type": "join", "room": "r", "req": 1}), "reply"),
        (json!({"type": "watch", "req": 2}), "heads"),
        (json!({"type": "append", "room": "r", "body": "hi", "id": "a", "meta": "m"}), "appended"),
        (json!({"type": "append", "room": "r", "body": "hi", "id": "a", "meta": "m"}), "appended"),
        (json!({"type": "append", "room": "r", "body": "ho", "id": "a"}), "error"),
        (
            json!({"type": "append", "room": "r", "body": "", "kind": "redact", "ref": 0}),
            "appended",
        ),
        (json!({"type": "append", "room": "r", "body": "no", "expect": 9, "req": 3}), "error"),
        (json!({"type": "update", "room": "r", "after": -1}), "reply"),
        (json!({"type": "update", "room": "none"}), "reply"),
        (json!({"type": "append", "room": "s", "body": "hi", "seq": 0}), "appended"),
        (json!({"type": "leave", "room": "s"}), "left"),
        (json!({"type": "ping", "req": -4}), "pong"),
    ];
    for (frame, kind) in asked {
        assert_valid(&api, "receive", &frame);
        ada.send(frame).await;
        next(&api, &mut ada, kind).await;
    }
    for frame in ada.passed_over() {
        assert_valid(&api, "send", &frame);
    }
}

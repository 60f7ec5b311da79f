//! Frames as they are on the wire, and how they are parsed.

use roomlog_protocol::{
    ClientFrame, ErrorCode, Limits, Span,
    client::{Rejected, parse},
};

fn read(text: &str) -> ClientFrame {
    parse(text, &Limits::default()).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"))
}

fn refused(text: &str) -> (ErrorCode, String) {
    match parse(text, &Limits::default()) {
        Err(
            Rejected::Refused(refusal)
            | Rejected::RefusedRead { refusal, .. }
            | Rejected::RefusedAppend { refusal, .. },
        ) => (refusal.code, refusal.message),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn every_frame_of_a_client_is_read_and_written_the_same() {
    for text in [
        r#"{"type":"login","author":"ada"}"#,
        r#"{"type":"join","room":"general","count":50}"#,
        r#"{"type":"join","room":"general","after":-1,"seen":4,"req":-7}"#,
        r#"{"type":"leave","room":"general","req":1}"#,
        r#"{"type":"append","room":"r","body":"","id":"i","seq":0,"after":3,"expect":4,"kind":"action","ref":2,"meta":"m","sent_at":9,"author":"bo","req":5}"#,
        r#"{"type":"update","room":"r","count":0,"upto":9}"#,
        r#"{"type":"watch"}"#,
        r#"{"type":"ping","req":3}"#,
    ] {
        assert_eq!(serde_json::to_string(&read(text)).expect("JSON"), text);
    }
}

#[test]
fn an_update_without_members_asks_for_the_newest_50() {
    for text in [
        r#"{"type":"update","room":"r"}"#,
        r#"{"type":"update","room":"r","upto":-1,"after":null,"digest":null}"#,
    ] {
        let ClientFrame::Update(update) = read(text) else { panic!("not an update") };
        assert_eq!(update.span, Span::UpTo { count: 50, upto: None });
    }
}

#[test]
fn both_kinds_of_members_at_once_are_refused() {
    for text in [
        r#"{"type":"update","room":"r","after":1,"count":2}"#,
        r#"{"type":"update","room":"r","after":1,"upto":2}"#,
        r#"{"type":"join","room":"r","after":1,"count":2}"#,
        r#"{"type":"update","room":"r","count":-1}"#,
        r#"{"type":"update","room":"r","after":-2}"#,
        r#"{"type":"update","room":"r","upto":-2}"#,
        r#"{"type":"update","room":"r","digest":"00"}"#,
        r#"{"type":"update","room":"r","after":1,"digest":"00"}"#,
    ] {
        assert_eq!(refused(text).0, ErrorCode::BadMessage, "{text}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        (r#"{}"#, ErrorCode::BadMessage, "`type` is missing"),
        (r#"{"type":"append","body":"x"}"#, ErrorCode::BadMessage, "`room` is missing"),
        (r#"{"type":"append","room":"r"}"#, ErrorCode::BadMessage, "`body` is missing"),
        (
            r#"{"type":"append","room":"-r","body":""}"#,
            ErrorCode::BadName,
            "room must begin with a letter or a digit",
        ),
        (
            r#"{"type":"append","room":"r","body":1}"#,
            ErrorCode::BadMessage,
            "`body` must be a string of Unicode text",
        ),
        (
            r#"{"type":"append","room":"r","body":"a","body":"b"}"#,
            ErrorCode::BadMessage,
            "`body` appears twice",
        ),
        (
            r#"{"type":"append","room":"r","body":"","kind":"redact"}"#,
            ErrorCode::BadMessage,
            "`redact` needs `ref`: the slot of the entry to redact",
        ),
        (
            r#"{"type":"append","room":"r","body":"why","kind":"redact","ref":0}"#,
            ErrorCode::BadMessage,
            "`redact` has an empty `body` and no `meta`",
        ),
        (
            r#"{"type":"append","room":"r","body":"","sent_at":-1}"#,
            ErrorCode::BadMessage,
            "`sent_at` must be an integer from 0 to 2^53-1",
        ),
    ];
    for (text, code, message) in cases {
        assert_eq!(refused(text), (code, message.into()), "{text}");
    }
}

#[test]
fn a_body_of_16384_bytes_is_read_and_one_more_is_too_large() {
    let append =
        |bytes: usize| format!(r#"{{"type":"append","room":"r","body":"{}"}}"#, "x".repeat(bytes));
    read(&append(16_384));
    assert_eq!(refused(&append(16_385)).0, ErrorCode::TooLarge);
}

#[test]
fn a_refused_append_with_a_readable_room_and_seq_consumes_its_seq() {
    let text = r#"{"type":"append","room":"r","seq":4,"id":"x y","body":"","req":9}"#;
    match parse(text, &Limits::default()) {
        Err(Rejected::RefusedAppend { place: Some((room, seq)), refusal }) => {
            assert_eq!((room.as_str(), seq, refusal.req), ("r", 4, Some(9)));
        }
        other => panic!("{other:?}"),
    }
    let text = r#"{"type":"append","room":"r","seq":-4,"body":"","req":9}"#;
    let refused = parse(text, &Limits::default());
    assert!(matches!(refused, Err(Rejected::RefusedAppend { place: None, .. })), "{refused:?}");
}

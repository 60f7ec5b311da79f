//! Entries, contents, limits and codes, as the crates that use them see them.

use std::{collections::HashSet, sync::Arc, time::Duration};

use roomlog_protocol::{
    Appended, Author, Body, ClientFrame, Commitment, Content, Digest, Entry, EntryId, ErrorCode,
    Kind, Latest, Limits, Removal, RoomName, RoomRange, Salt, ServerFrame, Slot,
    client::{Rejected, parse},
};

const DAY: u64 = 24 * 60 * 60 * 1_000;

fn said(body: &str, meta: Option<&str>) -> Content {
    Content::Said { body: body.into(), meta: meta.map(Into::into), salt: Salt([7; 12]) }
}

/// Slot 9 of a log, committed five days after the epoch.
fn entry(kind: &str, reference: Option<Slot>) -> Entry {
    Entry {
        slot: 9,
        author: Author::new("ada").expect("an author"),
        id: EntryId::new("i").expect("an id"),
        content: said("", None),
        committed_at: 5 * DAY,
        sent_at: None,
        kind: Kind::new(kind).expect("a kind"),
        reference,
    }
}

#[test]
fn an_entry_was_written_when_it_was_sent_only_if_that_is_more_than_a_day_before() {
    for (sent_at, written_at) in [
        (None, 5 * DAY),
        (Some(4 * DAY - 1), 4 * DAY - 1),
        (Some(4 * DAY), 5 * DAY),
        (Some(6 * DAY), 5 * DAY),
        (Some(u64::MAX), 5 * DAY),
    ] {
        assert_eq!(
            Entry { sent_at, ..entry("text", None) }.written_at(),
            written_at,
            "{sent_at:?}"
        );
    }
}

#[test]
fn a_redaction_removes_the_text_of_an_earlier_slot_and_of_no_other() {
    assert_eq!(entry("redact", Some(8)).removes(), Some(Removal::Entry(8)));
    for (kind, reference) in
        [("redact", Some(9)), ("redact", Some(10)), ("redact", None), ("text", Some(8))]
    {
        assert_eq!(entry(kind, reference).removes(), None, "{kind} {reference:?}");
    }
}

#[test]
fn a_redacted_content_keeps_its_commitment_and_nothing_else() {
    let mut entry = Entry { content: said("text", Some("meta")), ..entry("text", None) };
    assert_eq!((entry.meta(), entry.content.text_bytes()), (Some("meta"), 8));
    let commitment = entry.content.commitment();
    entry.redact();
    assert_eq!(entry.content, Content::Redacted(commitment));
    assert_eq!((entry.body(), entry.meta(), entry.content.text_bytes()), ("", None, 0));
}

#[test]
fn a_body_is_compared_by_its_text_and_shares_it() {
    let (body, shared) = (Body::from("text"), Arc::from("text"));
    let (same, other) = ("text".to_owned(), "other".to_owned());
    assert!(body == same && body != other);
    assert!("text" == body && "other" != body);
    assert_eq!(Arc::<str>::from(body), shared);
}

#[test]
fn hashes_and_salts_are_shown_as_on_the_wire() {
    let hex = "0123456789abcdef".repeat(4);
    let commitment: Commitment = serde_json::from_str(&format!("{hex:?}")).expect("a commitment");
    let digest = Digest::from_hex(&hex).expect("a digest");
    assert_eq!((format!("{commitment:?}"), format!("{digest:?}")), (hex.clone(), hex));
    assert_eq!(format!("{:?}", Salt([0; 12])), "A".repeat(16));
    assert_eq!((Latest::EMPTY.to_string(), Latest::at(7).to_string()), ("-1".into(), "7".into()));
}

#[test]
fn a_code_has_its_status_and_says_whether_to_retry() {
    use ErrorCode::{
        Ahead, BadMessage, BadName, BadRef, Busy, Diverged, ExpectFailed, Forbidden, IdReused,
        LoginRequired, NotFound, OutOfOrder, RateLimited, StorageFull, TooLarge, Unauthorized,
        Unavailable, UnknownOutcome,
    };
    for (status, is_transient, codes) in [
        (400, false, &[BadMessage, BadName, BadRef][..]),
        (401, false, &[LoginRequired, Unauthorized]),
        (403, false, &[Forbidden]),
        (404, false, &[NotFound]),
        (409, false, &[IdReused, Ahead, Diverged, OutOfOrder]),
        (412, false, &[ExpectFailed]),
        (413, false, &[TooLarge]),
        (429, true, &[RateLimited]),
        (503, true, &[Busy, Unavailable]),
        (504, false, &[UnknownOutcome]),
        (507, true, &[StorageFull]),
    ] {
        for code in codes {
            assert_eq!((code.http_status(), code.is_transient()), (status, is_transient), "{code}");
        }
    }
}

#[test]
fn a_body_may_be_half_a_frame_and_no_more() {
    let limits = |body_bytes| Limits { body_bytes, frame_bytes: 4_096, ..Limits::default() };
    assert_eq!(limits(2_048).check(), Ok(()));
    let why = limits(2_049).check().expect_err("too large");
    assert_eq!(why, "body_bytes is 2049, but must be at most half of frame_bytes (4096)");
}

#[test]
fn a_wait_may_be_a_day_and_a_burst_an_hour() {
    let waits = |idle_for, burst_for| Limits { idle_for, burst_for, ..Limits::default() };
    let (day, hour) = (Duration::from_millis(DAY), Duration::from_secs(3_600));
    let more = Duration::from_millis(1);
    assert_eq!(waits(day, hour).check(), Ok(()));
    assert!(waits(day + more, hour).check().is_err_and(|why| why.starts_with("idle_ms")));
    assert!(waits(day, hour + more).check().is_err_and(|why| why.starts_with("burst_ms")));
}

#[test]
fn a_kind_has_lower_case_letters_digits_hyphens_and_dots() {
    for kind in ["a", "0", "-", ".", "io.example.poll-2"] {
        assert!(Kind::new(kind).is_ok(), "{kind}");
    }
    for kind in ["", "A", "_", "a b", "ä"] {
        assert!(Kind::new(kind).is_err(), "{kind}");
    }
}

fn rejected(text: &str) -> Rejected {
    parse(text, &Limits::default()).expect_err(text)
}

#[test]
fn a_refusal_says_of_which_append_it_is() {
    let text = r#"{"type":"append","room":"r","id":"i","seq":4,"body":1,"req":5}"#;
    let Rejected::RefusedAppend { refusal, .. } = rejected(text) else { panic!("{text}") };
    assert_eq!(refusal.room, RoomName::new("r").ok());
    assert_eq!((refusal.id, refusal.req), (EntryId::new("i").ok(), Some(5)));
}

#[test]
fn a_digest_needs_the_slot_after_which_it_is() {
    let text = format!(r#"{{"type":"update","room":"r","digest":"{}"}}"#, "0".repeat(64));
    let Rejected::RefusedRead { refusal, .. } = rejected(&text) else { panic!("{text}") };
    assert_eq!(
        (refusal.code, &*refusal.message),
        (ErrorCode::BadMessage, "`digest` needs `after`")
    );
}

#[test]
fn a_frame_that_is_no_object_is_malformed_and_says_why() {
    let deep = format!(r#"{{"type":"ping","x":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    for (text, begin, says) in [
        ("[]", "not a well-formed JSON object", "expected an object"),
        (&*deep, "nested deeper than", "32"),
    ] {
        let Rejected::Malformed(why) = rejected(text) else { panic!("{text}") };
        let why = why.to_string();
        assert!(why.starts_with(begin) && why.contains(says), "{why}");
    }
}

#[test]
fn a_frame_about_a_room_names_it() {
    let limits = Limits::default();
    for (text, names) in [
        (r#"{"type":"join","room":"r"}"#, true),
        (r#"{"type":"update","room":"r"}"#, true),
        (r#"{"type":"leave","room":"r"}"#, true),
        (r#"{"type":"append","room":"r","body":""}"#, true),
        (r#"{"type":"login","author":"ada"}"#, false),
        (r#"{"type":"watch"}"#, false),
        (r#"{"type":"ping"}"#, false),
    ] {
        let mut frame: ClientFrame = parse(text, &limits).expect("a frame");
        assert_eq!(frame.room_mut().is_some_and(|room| room.as_str() == "r"), names, "{text}");
    }
}

#[test]
fn an_append_that_removes_names_slots_and_says_nothing_that_nobody_could_remove() {
    let append = |members: &str| format!(r#"{{"type":"append","room":"r",{members}}}"#);
    for fine in [
        r#""kind":"redact","ref":1,"body":"""#,
        r#""kind":"erase","ref":1,"body":"""#,
        r#""kind":"erase","ref":1,"body":"ada""#,
    ] {
        assert!(parse(&append(fine), &Limits::default()).is_ok(), "{fine}");
    }
    for (bad, code, says) in [
        (r#""kind":"redact","body":"""#, ErrorCode::BadMessage, "`redact` needs `ref`"),
        (r#""kind":"erase","body":"""#, ErrorCode::BadMessage, "`erase` needs `ref`"),
        (r#""kind":"redact","ref":1,"body":"x""#, ErrorCode::BadMessage, "an empty `body`"),
        (r#""kind":"redact","ref":1,"body":"","meta":"m""#, ErrorCode::BadMessage, "no `meta`"),
        (r#""kind":"erase","ref":1,"body":"","meta":"m""#, ErrorCode::BadMessage, "no `meta`"),
        (r#""kind":"erase","ref":1,"body":" ada""#, ErrorCode::BadName, "white space"),
    ] {
        let Rejected::RefusedAppend { refusal, .. } = rejected(&append(bad)) else {
            panic!("{bad}")
        };
        assert_eq!(refusal.code, code, "{bad}");
        assert!(refusal.message.contains(says), "{bad}: {}", refusal.message);
    }
}

#[test]
fn a_pattern_is_one_room_or_the_beginning_of_names() {
    let holds = |pattern: &str, name: &str| {
        let range = RoomRange::of_pattern(pattern).expect("a pattern");
        range.holds(&RoomName::new(name).expect("a room"))
    };
    for (pattern, name, is_in) in [
        ("general", "general", true),
        ("general", "general-2", false),
        ("general*", "general-2", true),
        ("general*", "genera", false),
        ("*", "general", true),
    ] {
        assert_eq!(holds(pattern, name), is_in, "{pattern} {name}");
    }
}

#[test]
fn after_its_last_room_a_range_is_empty() {
    let room = RoomName::new("general").expect("a room");
    let range = RoomRange::of_room(&room);
    assert!(!range.is_empty());
    assert!(range.after(Some(&room)).is_empty());
}

#[test]
fn a_room_is_its_full_name() {
    let room = RoomName::new("general").expect("a room");
    assert!(room == *"general" && room == "general" && room != *"other" && room != "other");
    assert_eq!(
        (format!("{room:?}"), String::from(room.clone())),
        ("\"general\"".into(), "general".into())
    );
    assert!(HashSet::from([room]).contains("general"));
}

#[test]
fn an_answer_is_written_as_the_library_writes_it() {
    let appended = Appended {
        room: RoomName::new("r").expect("a room"),
        id: EntryId::new("i").expect("an id"),
        slot: 7,
        committed_at: 5,
        repeat: None,
        seq: None,
        req: None,
    };
    for appended in [
        appended.clone(),
        Appended { repeat: Some(true), seq: Some(3), req: Some(-1), ..appended.clone() },
        Appended { repeat: Some(false), ..appended },
    ] {
        let mut frame = Vec::new();
        appended.put_frame(&mut frame);
        let by_library = serde_json::to_vec(&ServerFrame::Appended(appended)).expect("JSON");
        assert_eq!(str::from_utf8(&frame), str::from_utf8(&by_library));
    }
}

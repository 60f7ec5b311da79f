//! Violations that need more than the log of the test vector: redactions, tokens, and the order of several
//! connections. Each is planted into a run without one.

use roomlog_checker::{History, HistoryError, Report, check};

const SALT: &str = r#""salt":"cm9vbWxvZy1zbHQw""#;

fn entry(slot: u64, author: &str, id: &str, rest: &str) -> String {
    format!(r#"{{"slot":{slot},"author":"{author}","id":"{id}","committed_at":5,{rest}}}"#)
}

fn said(slot: u64, author: &str, id: &str, body: &str) -> String {
    entry(slot, author, id, &format!(r#""body":"{body}",{SALT}"#))
}

fn report(history: &str) -> Report {
    check(&History::read(history.as_bytes()).expect("a history"))
}

/// The line of a node's log with these entries. The digest is the one that the checker computes: that
/// it follows PROTOCOL.md is shown by the test vector.
fn log(entries: &[String]) -> String {
    let line = |digest: &str| {
        format!(
            r#"n = {{"type":"reply","room":"r","latest":{},"digest":"{digest}","digest_at":{0},"entries":[{}]}}"#,
            entries.len() as i64 - 1,
            entries.join(",")
        )
    };
    let told = report(&line("?")).broken.join("\n");
    let digest = told.split_once("computed ").and_then(|(_, rest)| rest.get(..64));
    line(digest.unwrap_or_else(|| panic!("no digest: {told}")))
}

fn append(connection: u64, id: &str, rest: &str) -> String {
    format!(r#"{connection} > {{"type":"append","room":"r","id":"{id}","body":"{id}"{rest}}}"#)
}

fn login(connection: u64, author: &str) -> String {
    format!(r#"{connection} > {{"type":"login","author":"{author}"}}"#)
}

/// Ada's entries with these ids, in this order.
fn adas(ids: &[&str]) -> String {
    let entries: Vec<_> =
        ids.iter().enumerate().map(|(slot, id)| said(slot as u64, "ada", id, id)).collect();
    log(&entries)
}

#[track_caller]
fn is_good(lines: &[String]) {
    let report = report(&lines.join("\n"));
    assert!(report.broken.is_empty(), "{report}");
}

#[track_caller]
fn finds(sentence: &str, lines: &[String]) {
    let report = report(&lines.join("\n"));
    let found = report.broken.iter().any(|broken| broken.contains(sentence));
    assert!(found, "not found: {sentence:?} in {report}");
}

#[test]
fn what_was_refused_each_time_and_is_in_the_log_is_found() {
    let busy = r#"1 < {"type":"error","code":"busy","room":"r","id":"a"}"#.to_owned();
    let refused = [login(1, "ada"), append(1, "a", ""), busy.clone(), adas(&["a"])];
    finds("r 0: ada's a was refused each time that it was sent", &refused);
    let unknown = busy.replace("busy", "unknown_outcome");
    is_good(&[login(1, "ada"), append(1, "a", ""), unknown, adas(&["a"])]);
    // Sent again, and not answered: that sending may have been taken.
    is_good(&[login(1, "ada"), append(1, "a", ""), busy, append(1, "a", ""), adas(&["a"])]);
}

#[test]
fn another_kind_ref_or_meta_than_was_sent_is_found() {
    for rest in [r#","kind":"action""#, r#","ref":0"#] {
        let lines = [login(1, "ada"), append(1, "a", rest), adas(&["a"])];
        finds("ada's a has another kind or ref", &lines);
    }
    let lines = [login(1, "ada"), append(1, "a", r#","meta":"m""#), adas(&["a"])];
    finds("ada's a has another body", &lines);
}

#[test]
fn a_slot_that_was_not_expected_is_found() {
    let acked = r#"1 < {"type":"appended","room":"r","id":"a","slot":0,"committed_at":5}"#;
    let sent = |expect: u64| append(1, "a", &format!(r#","expect":{expect}"#));
    is_good(&[login(1, "ada"), sent(0), acked.into(), adas(&["a"])]);
    let lines = [login(1, "ada"), sent(1), acked.into(), adas(&["a"])];
    finds("a expected slot 1 and was acked at 0", &lines);
}

#[test]
fn an_append_that_is_not_behind_the_slot_that_it_names_is_found() {
    let lines = [login(1, "ada"), append(1, "a", r#","after":0"#), adas(&["a"])];
    finds("ada's a was sent after slot 0", &lines);
}

#[test]
fn appends_of_one_connection_in_another_order_are_found() {
    let lines = [login(1, "ada"), append(1, "a", ""), append(1, "b", ""), adas(&["b", "a"])];
    finds("r: ada sent a before b, and they are at 1 and 0", &lines);
    // Two connections of one author are two queues.
    let two = [login(1, "ada"), login(2, "ada"), append(1, "a", ""), append(2, "b", "")];
    is_good(&[&two[..], &[adas(&["b", "a"])]].concat());
}

#[test]
fn numbered_appends_keep_their_order_over_connections_that_follow_each_other() {
    let one = [login(1, "ada"), append(1, "a", r#","seq":0"#), append(1, "a", r#","seq":0"#)];
    let two = [login(2, "ada"), append(2, "b", r#","seq":0"#), append(2, "b", r#","seq":0"#)];
    let ended = ["1 .".to_owned()];
    let log = [adas(&["b", "a"])];
    let sentence = "r: ada sent a before b, and they are at 1 and 0";
    finds(sentence, &[&one[..], &ended, &two, &log].concat());
    is_good(&[&one[..], &two, &log].concat());
}

#[test]
fn a_log_that_goes_back_under_a_connection_is_found() {
    let reply = |req: u64, latest: i64| {
        format!(
            r#"1 < {{"type":"reply","room":"r","entries":[],"latest":{latest},"digest_at":{latest},"digest":"","req":{req}}}"#
        )
    };
    let ask = |req: u64| format!(r#"1 > {{"type":"update","room":"r","count":0,"req":{req}}}"#);
    let lines = [ask(1), reply(1, 1), ask(2), reply(2, 0)];
    finds("r: a reply ends at 0, before 1", &lines);
}

#[test]
fn a_digest_that_is_not_the_log_s_is_found() {
    let reply = r#"1 < {"type":"reply","room":"r","entries":[],"latest":0,"digest_at":0,"digest":"00","req":1}"#;
    let lines = [login(1, "ada"), append(1, "a", ""), reply.into(), adas(&["a"])];
    finds("r: a reply has digest 00 at 0, computed", &lines);
}

#[test]
fn a_slot_that_the_log_does_not_have_is_found() {
    let heads = r#"2 < {"type":"heads","rooms":{"r":1}}"#;
    let lines = [login(1, "ada"), append(1, "a", ""), heads.into(), adas(&["a"])];
    finds("r 1 was named, and the log has 1 entries", &lines);
}

#[test]
fn what_comes_after_left_is_found() {
    let join = [
        r#"1 > {"type":"join","room":"r","after":-1,"req":1}"#,
        r#"1 < {"type":"reply","room":"r","entries":[],"latest":-1,"digest_at":-1,"digest":"?","req":1}"#,
    ];
    let ack =
        format!(r#"1 < {{"type":"ack","room":"r","entries":[{}]}}"#, said(0, "ada", "a", "a"));
    let left = r#"1 < {"type":"left","room":"r"}"#;
    let lines = [join[0], join[1], left, &ack].map(Into::into);
    finds("an ack of r, which is not followed", &lines);
}

/// SHA-256 of the salt, the length of "a" and "a", computed by another program.
const COMMITMENT: &str = "52384ceb02bc16110757957ccd643c191072fd904e2f5301c31d03df40fdfdc5";

/// Ada's entry "a", with its text or redacted.
fn a(is_gone: bool) -> String {
    let gone = format!(r#""redacted":true,"commitment":"{COMMITMENT}""#);
    if is_gone { entry(0, "ada", "a", &gone) } else { said(0, "ada", "a", "a") }
}

/// Her entry "b", which removes it.
fn b(kind: &str) -> String {
    entry(1, "ada", "b", &format!(r#""kind":"{kind}","ref":0,"body":"",{SALT}"#))
}

/// She sends both.
fn removes(kind: &str) -> Vec<String> {
    let b =
        format!(r#"1 > {{"type":"append","room":"r","id":"b","body":"","kind":"{kind}","ref":0}}"#);
    vec![login(1, "ada"), append(1, "a", ""), b]
}

#[test]
fn a_text_that_is_still_in_a_log_is_found() {
    for kind in ["redact", "erase"] {
        is_good(&[removes(kind), vec![log(&[a(true), b(kind)])]].concat());
        let lines = [removes(kind), vec![log(&[a(false), b(kind)])]].concat();
        finds("n: room r: slot 0 has its text, which slot 1 removes", &lines);
    }
}

#[test]
fn a_text_in_an_answer_that_has_reached_its_removal_is_found() {
    let answered = |seen: i64, entries: &[String]| {
        let ask = format!(r#"2 > {{"type":"update","room":"r","count":2,"seen":{seen},"req":1}}"#);
        let log = log(&[a(true), b("redact")]);
        let reply = log.replace("n = {", r#"2 < {"req":1,"#);
        let reply = reply.replace(&[a(true), b("redact")].join(","), &entries.join(","));
        [removes("redact"), vec![ask, reply, log]].concat()
    };
    is_good(&answered(1, &[a(true), b("redact")]));
    // A page that was being read at that moment may have it.
    is_good(&answered(0, &[a(false), b("redact")]));
    let sentence = "r 0: the text of ada's a was received after slot 1, which removes it";
    finds(sentence, &answered(1, &[a(false), b("redact")]));
}

#[test]
fn a_text_that_nothing_removes_and_is_gone_is_found() {
    let lines = [login(1, "ada"), append(1, "a", ""), log(&[a(true)])];
    finds("r 0: ada's a is redacted, and no entry removes it", &lines);
}

#[test]
fn a_redacted_entry_with_a_text_is_found() {
    let both = a(true).replace(r#""redacted""#, r#""body":"a","redacted""#);
    let ack = format!(r#"1 < {{"type":"ack","room":"r","entries":[{both}]}}"#);
    finds("a redacted entry has a body", &[login(1, "ada"), ack]);
}

/// Tokens of ada, whose claims were encoded by another program; nobody signed them.
const READS_R: &str = "e30.eyJzdWIiOiJhZGEiLCJyb29tcyI6eyJyIjpbInJlYWQiXX19.s";
const APPENDS_TO_R: &str = "e30.eyJzdWIiOiJhZGEiLCJyb29tcyI6eyJyIjpbImFwcGVuZCJdfX0.s";
const READS_R_STAR: &str = "e30.eyJzdWIiOiJhZGEiLCJyb29tcyI6eyJyKiI6WyJyZWFkIiwiYXBwZW5kIl19fQ.s";

fn with_token(token: &str) -> String {
    format!(r#"1 > {{"type":"login","token":"{token}"}}"#)
}

#[test]
fn an_answer_that_a_token_does_not_allow_is_found() {
    let heads = |room: &str| format!(r#"1 < {{"type":"heads","rooms":{{"{room}":-1}}}}"#);
    let refuses = "an answer that needs the right read, which its token does not have";
    let log = adas(&[]);
    is_good(&[with_token(READS_R), heads("r"), log.clone()]);
    finds(refuses, &[with_token(READS_R), heads("rr"), log.clone()]);
    finds(refuses, &[with_token(APPENDS_TO_R), heads("r"), log.clone()]);
    is_good(&[with_token(READS_R_STAR), heads("rr"), log.clone()]);
    finds(refuses, &[with_token(READS_R_STAR), heads("q"), log]);
    let acked = r#"1 < {"type":"appended","room":"r","id":"a","slot":0,"committed_at":5}"#;
    let acked = |token: &str| [with_token(token), append(1, "a", ""), acked.into(), adas(&["a"])];
    is_good(&acked(APPENDS_TO_R));
    finds("an answer that needs the right append", &acked(READS_R));
}

#[test]
fn a_new_token_replaces_the_old_one_when_it_is_welcome() {
    let welcome = r#"1 < {"type":"welcome","author":"ada"}"#.to_owned();
    let refused = r#"1 < {"type":"error","code":"unauthorized"}"#.to_owned();
    let heads = r#"1 < {"type":"heads","rooms":{"r":-1}}"#.to_owned();
    let (old, new) = (with_token(READS_R), with_token(APPENDS_TO_R));
    let renewed = [old.clone(), welcome.clone(), new.clone()];
    let log = [adas(&[])];
    is_good(&[&renewed[..], &[heads.clone(), welcome.clone()], &log].concat());
    is_good(&[&renewed[..], &[refused, heads.clone()], &log].concat());
    finds("needs the right read", &[&renewed[..], &[welcome, heads], &log].concat());
}

#[test]
fn a_welcome_as_somebody_else_is_found() {
    let welcome = r#"1 < {"type":"welcome","author":"grace"}"#.to_owned();
    finds("ada was welcomed as grace", &[login(1, "ada"), welcome]);
}

#[test]
fn a_line_of_another_form_is_named() {
    for line in ["x > {}", "1 ? {}", "1", "1 . {}", "1 >> {}"] {
        let text = format!("1 > {{}}\n\n{line}\n");
        let why = History::read(text.as_bytes()).expect_err(line);
        assert!(matches!(why, HistoryError::Line(3)), "{line}: {why}");
    }
    assert!(matches!(History::read(&b"\xff"[..]), Err(HistoryError::Unreadable(_))));
}

#[test]
fn a_history_that_is_written_is_read_as_it_was() {
    let text = "1 > {\"type\":\"login\"}\n1 < {}\n1 .\nn = {\"type\":\"reply\"}\n";
    let history = History::read(text.as_bytes()).expect("a history");
    let mut written = Vec::new();
    history.write(&mut written).expect("a vector");
    assert_eq!(String::from_utf8(written).expect("UTF-8"), text);
}

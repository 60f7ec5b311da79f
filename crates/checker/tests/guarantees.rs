//! A run without violation, and the same run with one violation each: the checker finds and names
//! it.
//!
//! The log is the test vector of PROTOCOL.md, so the digests come from that page.

use roomlog_checker::{Direction, Frame, History, NodeLog, check};

const LOG: &str = r#"{"type":"reply","room":"general","latest":3,"digest_at":3,
 "digest":"196a80c217ea3b059dd8567559e094b5030b68cfd972b8d2d6afbfcf4c569099","entries":[
 {"slot":0,"author":"ada","id":"a-1","body":"hello","committed_at":1763796120123,"sent_at":1763796120098,"salt":"cm9vbWxvZy1zbHQw"},
 {"slot":1,"author":"grace","id":"g-1","body":"hi ada 👋","committed_at":1763796120123,"ref":0,"salt":"cm9vbWxvZy1zbHQx"},
 {"slot":2,"author":"ada","id":"a-2","body":"👍","kind":"reaction","ref":1,"committed_at":1763796121000,"sent_at":1763796120999,"salt":"cm9vbWxvZy1zbHQy"},
 {"slot":3,"author":"grace","id":"g-2","body":"","meta":"{\"x\":1}","committed_at":1763796121000,"salt":"cm9vbWxvZy1zbHQz"}]}"#;

const FRAMES: &str = r#"
1 > {"type":"login","author":"ada"}
1 > {"type":"join","room":"general","after":-1,"req":1}
1 < {"type":"reply","room":"general","entries":[],"latest":-1,"digest_at":-1,"digest":"7b95ce86de539b74172e6a89e758e311cd1a8f48658e1fa52d0d37ddba31f8ad","req":1}
1 > {"type":"append","room":"general","id":"a-1","body":"hello","seq":0}
1 < {"type":"appended","room":"general","id":"a-1","slot":0,"committed_at":1763796120123}
1 < {"type":"ack","room":"general","entries":[{"slot":0,"author":"ada","id":"a-1","body":"hello","committed_at":1763796120123,"sent_at":1763796120098,"salt":"cm9vbWxvZy1zbHQw"}]}
2 > {"type":"login","author":"grace"}
2 > {"type":"append","room":"general","id":"g-1","body":"hi ada 👋","after":0,"ref":0}
1 < {"type":"ack","room":"general","entries":[{"slot":1,"author":"grace","id":"g-1","body":"hi ada 👋","committed_at":1763796120123,"ref":0,"salt":"cm9vbWxvZy1zbHQx"}]}
1 > {"type":"append","room":"general","id":"a-2","body":"👍","kind":"reaction","ref":1,"seq":1}
2 > {"type":"append","room":"general","id":"g-2","body":"","meta":"{\"x\":1}"}
2 < {"type":"appended","room":"general","id":"g-2","slot":3,"committed_at":1763796121000}
2 > {"type":"update","room":"general","count":1,"seen":3,"req":2}
2 < {"type":"reply","room":"general","req":2,"latest":3,"digest_at":3,"digest":"196a80c217ea3b059dd8567559e094b5030b68cfd972b8d2d6afbfcf4c569099","entries":[{"slot":3,"author":"grace","id":"g-2","body":"","meta":"{\"x\":1}","committed_at":1763796121000,"salt":"cm9vbWxvZy1zbHQz"}]}
"#;

fn history(frames: &str, logs: [&str; 2]) -> History {
    let frames = frames.lines().filter(|line| !line.is_empty()).map(|line| {
        let (connection, rest) = line.split_once(' ').expect("a connection");
        let (way, text) = rest.split_once(' ').expect("a way");
        let direction = if way == ">" { Direction::Sent } else { Direction::Received };
        let connection = connection.parse().expect("a number");
        Frame { connection, direction, text: text.into() }
    });
    let log = |(index, log): (usize, &str)| NodeLog {
        node: format!("node {index}"),
        replies: vec![log.into()],
    };
    History { frames: frames.collect(), logs: logs.into_iter().enumerate().map(log).collect() }
}

#[track_caller]
fn finds(sentence: &str, frames: &str, logs: [&str; 2]) {
    let report = check(&history(frames, logs));
    let found = report.broken.iter().any(|broken| broken.contains(sentence));
    assert!(found, "not found: {sentence:?} in {report}");
}

/// The frames with one thing changed.
#[track_caller]
fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not there");
    text.replacen(from, to, 1)
}

#[test]
fn a_run_that_keeps_every_promise_has_nothing_broken() {
    let report = check(&history(FRAMES, [LOG, LOG]));
    assert!(report.broken.is_empty(), "{report}");
    assert_eq!((report.appends, report.acked, report.seen, report.entries), (4, 2, 3, 4));
    assert!(report.to_string().ends_with("no violation"), "{report}");
}

#[test]
fn a_gap_is_found() {
    let hole = changed(LOG, r#""slot":2"#, r#""slot":4"#);
    finds("has slot 4 where 2 is next", FRAMES, [&hole, LOG]);
}

#[test]
fn a_log_that_ends_before_its_latest_is_found() {
    let short = changed(LOG, r#""latest":3"#, r#""latest":4"#);
    finds("has latest 4 and 4 entries", FRAMES, [LOG, &short]);
}

#[test]
fn a_digest_that_does_not_match_is_found() {
    for (was, is) in [
        (r#""committed_at":1763796121000,"salt""#, r#""committed_at":1763796121001,"salt""#),
        ("cm9vbWxvZy1zbHQz", "cm9vbWxvZy1zbHQy"),
        (r#""body":"hello""#, r#""body":"hallo""#),
    ] {
        finds(", computed ", FRAMES, [&changed(LOG, was, is), LOG]);
    }
}

#[test]
fn a_redacted_entry_keeps_the_digest_and_another_commitment_does_not() {
    let said =
        r#""body":"hi ada 👋","committed_at":1763796120123,"ref":0,"salt":"cm9vbWxvZy1zbHQx""#;
    let gone = r#""committed_at":1763796120123,"ref":0,"redacted":true,"commitment":"bfb1f2fab1bb25feb1f186a3dce71624da3225b0f0dd79d79f5c6648db4a1d29""#;
    let redacted = changed(LOG, said, gone);
    let report = check(&history(FRAMES, [&redacted, &redacted]));
    // Here nobody said why.
    assert_eq!(report.broken, ["general 1: grace's g-1 is redacted, and no entry removes it"]);
    let other = changed(&redacted, "bfb1f2fa", "afb1f2fa");
    finds(", computed ", FRAMES, [&other, LOG]);
}

#[test]
fn nodes_that_differ_are_found() {
    // With the digest of the vector's first three entries.
    let cut = LOG.split_once(",\n {\"slot\":3").expect("a last entry").0.to_owned() + "]}";
    let cut = changed(&cut, r#""latest":3"#, r#""latest":2"#);
    let cut = changed(
        &cut,
        "196a80c217ea3b059dd8567559e094b5030b68cfd972b8d2d6afbfcf4c569099",
        "838cea942e14716287cfcc57f330f33f7cc8ad7f1c17fd7349a3fbcf6b3c8f31",
    );
    finds("node 0 has 4 entries and node 1 3", FRAMES, [LOG, &cut]);
}

#[test]
fn an_ack_of_a_missing_entry_is_found() {
    let frames = changed(FRAMES, r#""id":"g-2","slot":3"#, r#""id":"g-2","slot":4"#);
    finds("general 4 was acked and is not in the log", &frames, [LOG, LOG]);
}

#[test]
fn an_ack_of_another_s_entry_is_found() {
    let frames = changed(FRAMES, r#""id":"g-2","slot":3"#, r#""id":"g-2","slot":2"#);
    finds("grace's g-2 was acked at general 2, which holds ada's a-2", &frames, [LOG, LOG]);
}

#[test]
fn a_view_that_is_no_prefix_is_found() {
    let frames =
        changed(FRAMES, r#""body":"hi ada 👋","committed_at""#, r#""body":"hi","committed_at""#);
    finds("general 1: grace's g-1 was received, and the log has another", &frames, [LOG, LOG]);
}

#[test]
fn a_follow_with_a_gap_is_found() {
    let frames = FRAMES.lines().filter(|line| !line.contains(r#"[{"slot":0"#));
    let frames: Vec<&str> = frames.collect();
    finds("a follow skips from -1 to 1", &frames.join("\n"), [LOG, LOG]);
}

#[test]
fn an_append_before_an_entry_that_its_author_had_seen_is_found() {
    // As if grace's first had been sent after all the others were received.
    let mut lines: Vec<&str> = FRAMES.lines().collect();
    let from = lines.iter().position(|it| it.contains(r#""append","room":"general","id":"g-1""#));
    let late = lines.remove(from.expect("her append"));
    lines.push(late);
    finds("grace's g-1 was sent after slot 3 had been received", &lines.join("\n"), [LOG, LOG]);
}

#[test]
fn appends_of_an_author_in_the_wrong_order_are_found() {
    // As if g-2 had been sent before g-1.
    let swapped =
        FRAMES.replace(r#""append","room":"general","id":"g-1","body":"hi ada 👋","after":0"#, "@");
    let swapped = swapped.replace(
        r#""append","room":"general","id":"g-2","body":"""#,
        r#""append","room":"general","id":"g-1","body":"hi ada 👋""#,
    );
    let swapped = swapped.replace('@', r#""append","room":"general","id":"g-2","body":"""#);
    finds("grace sent g-2 before g-1, and they are at 3 and 1", &swapped, [LOG, LOG]);
}

#[test]
fn an_entry_that_nobody_sent_is_found() {
    let frames: Vec<&str> = FRAMES
        .lines()
        .filter(|line| !line.contains(r#"> {"type":"append","room":"general","id":"a-2""#))
        .collect();
    finds("general 2: nobody sent ada's a-2", &frames.join("\n"), [LOG, LOG]);
}

#[test]
fn an_entry_with_another_body_than_was_sent_is_found() {
    let frames = changed(FRAMES, r#""id":"a-2","body":"👍""#, r#""id":"a-2","body":"👎""#);
    finds("ada's a-2 has another body", &frames, [LOG, LOG]);
}

#[test]
fn a_stale_answer_is_found() {
    let frames = changed(FRAMES, r#""req":2,"latest":3"#, r#""req":2,"latest":2"#);
    finds("general: a reply ends at 2, before 3", &frames, [LOG, LOG]);
}

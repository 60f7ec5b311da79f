//! Apply as transcripts: each line is an append as the journal returns it, and its outcome.

use std::collections::HashMap;

use crate::fixtures::{proposal, with_meta, with_salt};
use crate::{
    apply::room::{self, Room},
    head::{Head, Known},
    outcome::AppendOutcome,
    proposal::{Original, Proposal, Stored},
    rules::Rules,
};
use roomlog_protocol::{Author, Content, Digest, Entry, EntryId, Kind};

/// A room and the ids it knows, as the applier keeps them.
struct Log {
    room: Room,
    ids: HashMap<(Author, EntryId), Known>,
    entries: Vec<Entry>,
}

impl Log {
    fn new(name: &str) -> Self {
        let name = crate::fixtures::room(name);
        let room = Room { head: Head::empty(&name), name };
        Self { room, ids: HashMap::new(), entries: Vec::new() }
    }

    fn apply(&mut self, proposal: &Proposal, time: u64) -> Result<Stored, AppendOutcome> {
        let key = (proposal.author.clone(), proposal.id.clone());
        let known = self.ids.get(&key);
        let target = proposal.reference.filter(|_| proposal.kind.removes());
        let target = target.and_then(|slot| self.entries.get(usize::try_from(slot).ok()?));
        let applied = room::apply(&mut self.room, Rules::FIRST, proposal, time, known, target);
        if let Ok(stored) = &applied {
            let Entry { slot, committed_at, .. } = stored.entry;
            let original = Original::of_entry(&stored.entry);
            assert_eq!(original, Original::of_proposal(proposal), "of the entry and its proposal");
            self.ids.insert(key, Known { slot, committed_at, original });
            self.entries.push(stored.entry.clone());
        }
        applied
    }
}

/// `TIME AUTHOR ID BODY [ref=N] [kind=K] [meta=M] [salt=S] [sent=T] [expect=N]
/// [right=redact]`; `-` is the empty body.
fn read(room: &str, line: &str) -> (u64, Proposal) {
    let mut words = line.split_whitespace();
    let mut next = || words.next().unwrap_or_else(|| panic!("{line}: too short"));
    let (time, author, id, body) = (next(), next(), next(), next());
    let body = if body == "-" { "" } else { body };
    let mut proposal = proposal(room, author, id, &body.replace('_', " "));
    for word in words {
        let (member, value) = word.split_once('=').expect("member=value");
        let number = || value.parse().expect("a number");
        match member {
            "ref" => proposal.reference = Some(number()),
            "sent" => proposal.sent_at = Some(number()),
            "expect" => proposal.expect = Some(number()),
            "right" => proposal.may_remove = value == "redact",
            "kind" => proposal.kind = Kind::new(value).expect("a kind"),
            "meta" => proposal = with_meta(proposal, value),
            "salt" => proposal = with_salt(proposal, value),
            other => panic!("{line}: {other}"),
        }
    }
    (time.parse().expect("a time"), proposal)
}

fn say(applied: &Result<Stored, AppendOutcome>) -> String {
    match applied {
        Ok(stored) => format!("committed {} at {}", stored.entry.slot, stored.entry.committed_at),
        Err(AppendOutcome::Committed { slot, committed_at, repeat: true }) => {
            format!("repeat of {slot} at {committed_at}")
        }
        Err(AppendOutcome::IdReused { slot }) => format!("id of {slot}"),
        Err(AppendOutcome::ExpectFailed { .. }) => "expect failed".into(),
        Err(AppendOutcome::BadRef) => "not reached".into(),
        Err(AppendOutcome::Invalid(refusal)) => refusal.message.clone(),
        Err(other) => panic!("{other:?}"),
    }
}

/// Plays a transcript of `append | outcome`; returns the log.
fn play(transcript: &str) -> Log {
    let mut log = Log::new("general");
    for line in transcript.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (append, expected) = line.split_once('|').expect("append | outcome");
        let (time, proposal) = read("general", append);
        let before = log.room.clone();
        let applied = log.apply(&proposal, time);
        assert_eq!(say(&applied), expected.trim(), "{append}");
        let committed = applied.is_ok();
        assert_eq!(log.room != before, committed, "{append}: only a commit changes a room");
    }
    log
}

#[test]
fn slots_are_given_in_order_from_0() {
    let log = play(
        "
        100 ada   a-1 hello | committed 0 at 100
        101 grace g-1 hi    | committed 1 at 101
        102 ada   a-2 -     | committed 2 at 102",
    );
    assert_eq!(log.room.head.end, 3);
}

#[test]
fn an_id_belongs_to_its_author() {
    play(
        "
        100 ada   1 hello | committed 0 at 100
        100 grace 1 hello | committed 1 at 100
        100 Ada   1 hello | committed 2 at 100",
    );
}

#[test]
fn a_repeat_has_the_slot_and_time_of_the_first() {
    play(
        "
        100 ada a-1 hello | committed 0 at 100
        200 ada a-2 there | committed 1 at 200
        300 ada a-1 hello | repeat of 0 at 100
        400 ada a-1 hello | repeat of 0 at 100",
    );
}

#[test]
fn a_repeat_has_another_salt() {
    play(
        "
        100 ada a-1 hello meta={}                   | committed 0 at 100
        200 ada a-1 hello meta={} salt=another-salt | repeat of 0 at 100
        300 ada a-1 other meta={} salt=another-salt | id of 0
        400 ada a-1 hello meta=[] salt=another-salt | id of 0
        500 ada a-1 hello         salt=another-salt | id of 0",
    );
}

#[test]
fn an_entry_is_redacted_by_its_author_or_by_right() {
    let other = "slot 0 has another author; only a token with the right `redact` may redact it";
    play(&format!(
        "
        100 ada   a-1 hello                           | committed 0 at 100
        200 grace g-1 - kind=redact ref=0             | {other}
        200 grace g-2 - kind=action ref=0             | committed 1 at 200
        300 ada   a-2 - kind=redact ref=0             | committed 2 at 300
        300 ada   a-3 - kind=redact ref=0             | committed 3 at 300
        400 grace g-3 - kind=redact ref=0 right=redact | committed 4 at 400
        500 ada   a-2 - kind=redact ref=0             | repeat of 2 at 300",
    ));
}

#[test]
fn a_redaction_needs_an_earlier_entry_that_is_no_redaction() {
    play(
        "
        100 ada a-1 hello               | committed 0 at 100
        200 ada a-2 - kind=redact ref=1 | not reached
        200 ada a-2 - kind=redact ref=0 | committed 1 at 200
        300 ada a-3 - kind=redact ref=1 | slot 1 is of the kind `redact`, which cannot be redacted
        300 ada a-3 - kind=redact ref=9007199254740991 right=redact | not reached",
    );
}

#[test]
fn an_append_with_the_id_of_a_redacted_entry_repeats_it_whatever_it_says() {
    let mut log = play("100 ada a-1 hello | committed 0 at 100");
    let Entry { slot, committed_at, .. } = log.entries[0];
    log.entries[0].content = Content::Redacted(log.entries[0].content.commitment());
    let original = Original::of_entry(&log.entries[0]);
    let key = (log.entries[0].author.clone(), log.entries[0].id.clone());
    log.ids.insert(key, Known { slot, committed_at, original });
    for line in ["200 ada a-1 hello", "200 ada a-1 other kind=action meta={}"] {
        let (time, proposal) = read("general", line);
        assert_eq!(say(&log.apply(&proposal, time)), "repeat of 0 at 100");
    }
}

#[test]
fn an_id_with_a_different_body_kind_ref_or_meta_is_reused() {
    play(
        "
        100 ada a-0 zero                               | committed 0 at 100
        100 ada a-1 hello kind=action ref=0 meta={}    | committed 1 at 100
        100 ada a-1 hello kind=action ref=0 meta={}    | repeat of 1 at 100
        100 ada a-1 hallo kind=action ref=0 meta={}    | id of 1
        100 ada a-1 -     kind=action ref=0 meta={}    | id of 1
        100 ada a-1 hello kind=text   ref=0 meta={}    | id of 1
        100 ada a-1 hello kind=action       meta={}    | id of 1
        100 ada a-1 hello kind=action ref=1 meta={}    | id of 1
        100 ada a-1 hello kind=action ref=0            | id of 1
        100 ada a-1 hello kind=action ref=0 meta={1}   | id of 1",
    );
}

#[test]
fn body_and_meta_are_not_interchangeable() {
    play(
        "
        100 ada a-1 - meta=x  | committed 0 at 100
        100 ada a-1 x         | id of 0
        100 ada a-2 x         | committed 1 at 100
        100 ada a-2 - meta=x  | id of 1
        100 ada a-2 x meta=x  | id of 1",
    );
}

#[test]
fn a_different_sent_at_or_expect_is_still_a_repeat() {
    let log = play(
        "
        100 ada a-1 hello sent=90 expect=0 | committed 0 at 100
        100 ada a-1 hello sent=95 expect=0 | repeat of 0 at 100
        100 ada a-1 hello                  | repeat of 0 at 100
        100 ada a-1 hello expect=7         | repeat of 0 at 100",
    );
    assert_eq!(log.entries[0].sent_at, Some(90));
}

#[test]
fn an_expect_must_be_the_slot_that_the_entry_gets() {
    play(
        "
        100 ada a-1 hello expect=1 | expect failed
        100 ada a-1 hello expect=0 | committed 0 at 100
        100 ada a-2 there expect=0 | expect failed
        100 ada a-2 there expect=2 | expect failed
        100 ada a-2 there expect=1 | committed 1 at 100",
    );
}

#[test]
fn a_failed_expect_leaves_its_id_free() {
    play(
        "
        100 ada a-1 hello expect=4 | expect failed
        100 ada a-1 other          | committed 0 at 100",
    );
}

#[test]
fn repeats_are_checked_before_id_reused_and_that_before_expect() {
    play(
        "
        100 ada a-1 hello          | committed 0 at 100
        100 ada a-1 hello expect=9 | repeat of 0 at 100
        100 ada a-1 other expect=9 | id of 0
        100 ada a-2 other expect=9 | expect failed",
    );
}

#[test]
fn the_time_of_a_room_does_not_go_back_with_the_journals() {
    play(
        "
        500 ada a-1 one   | committed 0 at 500
        400 ada a-2 two   | committed 1 at 500
        0   ada a-3 three | committed 2 at 500
        501 ada a-4 four  | committed 3 at 501",
    );
}

#[test]
fn apply_produces_the_documented_test_vectors() {
    let mut log = Log::new("general");
    let mut digests = vec![log.room.head.digest.to_string()];
    for line in [
        "1763796120123 ada a-1 hello sent=1763796120098 salt=roomlog-slt0",
        // The journal's clock was set back a little; the room's time stays.
        "1763796120100 grace g-1 hi_ada_👋 ref=0 salt=roomlog-slt1",
        "1763796121000 ada a-2 👍 kind=reaction ref=1 sent=1763796120999 salt=roomlog-slt2",
        "1763796121000 grace g-2 - meta={\"x\":1} salt=roomlog-slt3",
    ] {
        let (time, proposal) = read("general", line);
        let _outcome = log.apply(&proposal, time);
        digests.push(log.room.head.digest.to_string());
    }
    assert_eq!(
        digests,
        [
            "7b95ce86de539b74172e6a89e758e311cd1a8f48658e1fa52d0d37ddba31f8ad",
            "071bb2068da4fdcd28aa9c24b65009f6d5030ac7073f3e898fb50043218d3a4e",
            "fd76e704099d03c77e3194ebdef46b5627b286acef79baeb9aac52c9a0078d62",
            "838cea942e14716287cfcc57f330f33f7cc8ad7f1c17fd7349a3fbcf6b3c8f31",
            "196a80c217ea3b059dd8567559e094b5030b68cfd972b8d2d6afbfcf4c569099",
        ]
    );
}

#[test]
fn the_digest_of_an_entry_is_the_chain_that_a_client_computes() {
    let log = play(
        "
        100 ada a-1 hello kind=action meta={} | committed 0 at 100
        90  ada a-2 there ref=0 sent=80       | committed 1 at 100",
    );
    let chained =
        log.entries.iter().fold(Digest::start(&log.room.name), |digest, entry| digest.then(entry));
    assert_eq!(log.room.head.digest, chained);
}

#[test]
fn the_same_appends_in_two_rooms_have_different_digests() {
    let (mut a, mut b) = (Log::new("a"), Log::new("b"));
    let _outcome = a.apply(&proposal("a", "ada", "1", "x"), 100);
    let _outcome = b.apply(&proposal("b", "ada", "1", "x"), 100);
    assert_eq!(a.entries, b.entries);
    assert_ne!(a.room.head.digest, b.room.head.digest);
}

//! Blocks as bytes: they round-trip, and altered ones are rejected.

use proptest::prelude::*;
use roomlog_core::{
    block::{
        self, Block, BlockError, BlockName, PastEntry, Payload, Replacement, encode, encode_history,
    },
    identity::NodeId,
    journal::Position,
    proposal::Proposal,
    rules::Rules,
};
use roomlog_protocol::{Author, Content, EntryId, Kind, Salt};
use roomlog_testkit::fixtures::{proposal, room, with_meta};

fn decode(bytes: &[u8]) -> Result<Block, BlockError> {
    block::decode(bytes, Rules::NEWEST)
}

fn decode_at(at: u64, bytes: &[u8]) -> Result<Option<Block>, BlockError> {
    block::decode_at(Position(at), bytes, Rules::NEWEST)
}

const NAME: BlockName = BlockName {
    node: NodeId([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
    incarnation: 3,
    n: 7,
};

/// A block of format 2 and rules 1, assembled by hand from the diagram in `block.rs` when format 2
/// was made. Journals hold such blocks: whatever changes, this one must be read as [`golden`],
/// forever.
const GOLDEN: &str = concat!(
    "524c42313141428f0002000100000102030405060708090a0b0c0d0e0f0000000000000003000000",
    "0000000007000000020f0000000767656e6572616c0000000361646100000003612d320000000872",
    "65616374696f6e00000000000000010000019aaa70f5a7000000000000000206cb90407062239eb5",
    "57e0dc8dad3cfc5d374f12f58994333c9bc31bf1596d92726f6f6d6c6f672d736c743000000004f0",
    "9f918d000000077b2278223a317d00000000017200000005677261636500000003672d3100000004",
    "74657874a4b32229fbf43ef8a5d34ec1df9a48817a979db06a40b9ae64cebe977cc26216726f6f6d",
    "6c6f672d736c743000000000",
);

fn golden_proposals() -> Vec<Proposal> {
    let mut full = proposal("general", "ada", "a-2", "👍");
    full.kind = Kind::new("reaction").expect("a kind");
    full.reference = Some(1);
    full.sent_at = Some(1_763_796_120_999);
    full.expect = Some(2);
    vec![with_meta(full, r#"{"x":1}"#), proposal("r", "grace", "g-1", "")]
}

fn golden() -> Block {
    Block { name: NAME, rules: Rules::FIRST, payload: Payload::Proposals(golden_proposals()) }
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digit = |index| u8::from_str_radix(&hex[index..index + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digit).collect()
}

/// The bytes with a corrected checksum.
fn signed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32fast::hash(&bytes[8..]).to_be_bytes();
    bytes[4..8].copy_from_slice(&crc);
    bytes
}

#[test]
fn a_replacement_takes_effect_where_its_block_was_and_nowhere_else() {
    let original = encode(NAME, Rules::FIRST, golden_proposals().iter());
    let mut left = golden();
    left.proposals_mut().into_iter().for_each(Proposal::redact);
    let block = left.encode();
    let (of, stamp) = (Position(7), block::stamp(&original));
    let bytes = Replacement { of, time: 77, stamp, block: &block }.encode();
    assert_eq!(
        block::replacement(&bytes),
        Some(Replacement { of, time: 77, stamp, block: &block })
    );
    assert_eq!(block::stamp(&bytes), block::stamp(&original), "whoever has read it finds it");
    assert_eq!(decode_at(7, &bytes), Ok(Some(left)));
    assert_eq!(decode_at(9, &bytes), Ok(None));
    assert_eq!(decode_at(9, &original), Ok(Some(golden())));
    let nothing = Replacement { of, time: 0, stamp, block: &[] }.encode();
    assert_eq!(decode_at(7, &nothing), Ok(None));
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= 1;
        assert_eq!(block::replacement(&changed), None, "byte {at}");
    }
}

#[test]
fn a_block_of_format_2_is_read_forever() {
    assert_eq!(decode(&bytes_of(GOLDEN)), Ok(golden()));
}

#[test]
fn a_block_of_format_2_is_still_written_the_same() {
    assert_eq!(*encode(NAME, Rules::FIRST, golden_proposals().iter()), bytes_of(GOLDEN));
}

#[test]
fn a_block_of_format_1_is_an_error_that_names_it() {
    let mut bytes = bytes_of(GOLDEN);
    bytes[9] = 1;
    let why = "it has format 1, which is no longer read".into();
    assert_eq!(decode(&signed(bytes)), Err(BlockError::Broken(why)));
}

#[test]
fn any_changed_byte_makes_a_block_foreign() {
    let bytes = bytes_of(GOLDEN);
    for at in 0..bytes.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] ^= change;
            assert_eq!(decode(&changed), Err(BlockError::Foreign), "byte {at} ^ {change:#x}");
        }
    }
}

#[test]
fn a_truncated_or_extended_block_is_foreign() {
    let bytes = bytes_of(GOLDEN);
    for end in 0..bytes.len() {
        assert_eq!(decode(&bytes[..end]), Err(BlockError::Foreign), "its first {end} bytes");
    }
    assert_eq!(decode(&[&bytes[..], &[0]].concat()), Err(BlockError::Foreign));
}

#[test]
fn a_newer_format_rule_or_kind_is_an_error_that_names_it() {
    for (at, newer) in [
        (9, BlockError::Newer { format: 3, rules: 1, kind: 0 }),
        (11, BlockError::Newer { format: 2, rules: 2, kind: 0 }),
        (12, BlockError::Newer { format: 2, rules: 1, kind: 1 }),
    ] {
        let mut bytes = bytes_of(GOLDEN);
        bytes[at] += 1;
        assert_eq!(decode(&signed(bytes)), Err(newer));
    }
}

#[test]
fn a_malformed_block_is_not_taken_for_a_foreign_one() {
    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = bytes_of(GOLDEN);
        change(&mut bytes);
        let decoded = decode(&signed(bytes));
        assert!(matches!(decoded, Err(BlockError::Broken(_))), "{decoded:?}");
    };
    broken(&|bytes| bytes[48] += 1); // one proposal more than there are
    broken(&|bytes| bytes[48] -= 1); // one fewer
    broken(&|bytes| bytes.push(0)); // something behind the last
    broken(&|bytes| bytes[54] = b' '); // a room of another form
    broken(&|bytes| bytes[54] = 0xff); // a room that is not UTF-8
    broken(&|bytes| bytes[50] = 0xff); // a room longer than the block
}

#[test]
fn a_block_may_be_empty() {
    let bytes = encode(NAME, Rules::FIRST, [].iter());
    assert_eq!(
        decode(&bytes),
        Ok(Block { name: NAME, rules: Rules::FIRST, payload: Payload::Proposals(vec![]) })
    );
}

#[test]
fn a_block_of_history_reads_back_with_its_slots_and_times() {
    let history: Vec<PastEntry> = (3..)
        .zip(golden_proposals())
        .map(|(slot, proposal)| PastEntry {
            proposal,
            slot,
            committed_at: 1_763_796_121_000 + slot,
        })
        .collect();
    let bytes = encode_history(NAME, &history);
    assert_eq!(
        decode(&bytes),
        Ok(Block { name: NAME, rules: Rules::FIRST, payload: Payload::History(history) })
    );
}

#[test]
fn unknown_flags_of_a_proposal_are_an_error() {
    for flag in [64_u8, 128] {
        let mut bytes = encode(NAME, Rules::FIRST, golden_proposals().iter()).to_vec();
        bytes[49] |= flag;
        let crc = crc32fast::hash(&bytes[8..]).to_be_bytes();
        bytes[4..8].copy_from_slice(&crc);
        assert!(matches!(decode(&bytes), Err(BlockError::Newer { .. })), "flag {flag}");
    }
}

fn proposals() -> impl Strategy<Value = Vec<Proposal>> {
    let names = ("[A-Za-z0-9][A-Za-z0-9._~:@-]{0,127}", "[a-zé中👋]{1,16}", "[!-~]{1,64}");
    let texts = ("[a-z0-9.-]{1,32}", "(?s).{0,300}", proptest::option::of("(?s).{0,100}"));
    let numbers = proptest::array::uniform3(proptest::option::of(any::<u64>()));
    let rest = (numbers, any::<([u8; 12], bool, bool)>());
    let one = (names, texts, rest).prop_map(|((name, author, id), (kind, body, meta), rest)| {
        let ([reference, sent_at, expect], (salt, redacted, may_remove)) = rest;
        let meta = meta.map(Into::into);
        let said = Content::Said { body: body.into(), meta, salt: Salt(salt) };
        Proposal {
            room: room(&name),
            author: Author::new(&author).expect("an author"),
            id: EntryId::new(&id).expect("an id"),
            kind: Kind::new(&kind).expect("a kind"),
            reference,
            sent_at,
            expect,
            may_remove,
            commitment: said.commitment(),
            content: if redacted { Content::Redacted(said.commitment()) } else { said },
        }
    });
    proptest::collection::vec(one, 0..8)
}

proptest! {
    // Failures are not persisted: each one becomes a test above.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blocks_round_trip(
        proposals in proposals(),
        node in any::<[u8; 16]>(),
        incarnation in any::<u64>(),
        n in any::<u64>(),
    ) {
        let name = BlockName { node: NodeId(node), incarnation, n };
        let bytes = encode(name, Rules::FIRST, proposals.iter());
        prop_assert_eq!(&bytes, &encode(name, Rules::FIRST, proposals.iter()), "the same bytes each time");
        prop_assert_eq!(decode(&bytes), Ok(Block { name, rules: Rules::FIRST, payload: Payload::Proposals(proposals) }));
    }

    #[test]
    fn a_block_with_a_changed_byte_is_rejected(
        proposals in proposals(),
        at in any::<proptest::sample::Index>(),
        change in 1..=255_u8,
    ) {
        let mut bytes = encode(NAME, Rules::FIRST, proposals.iter()).to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        prop_assert_eq!(decode(&bytes), Err(BlockError::Foreign));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        keep in 0..60_usize,
    ) {
        // The header of a real block, so that the decoder gets past it.
        let front = bytes_of(GOLDEN);
        let mixed = [&front[..keep.max(8)], &bytes].concat();
        let _either = decode(&signed(mixed));
    }
}

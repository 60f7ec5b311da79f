//! Bytes as blocks of the journal, as they are and with a right checksum.
#![no_main]

use libfuzzer_sys::fuzz_target;
use roomlog_core::{
    block::{decode, decode_at, proposals_in, replacement, stamp},
    journal::Position,
    rules::Rules,
};

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    if bytes.len() >= 8 {
        let mut summed = bytes.to_vec();
        let sum = crc32fast::hash(&summed[8..]);
        summed[4..8].copy_from_slice(&sum.to_be_bytes());
        read(&summed);
    }
});

fn read(bytes: &[u8]) {
    let _ = (proposals_in(bytes), stamp(bytes), replacement(bytes).is_some());
    let _ = decode_at(Position(1), bytes, Rules::NEWEST);
    if let Ok(block) = decode(bytes, Rules::NEWEST) {
        let again = decode(&block.encode(), Rules::NEWEST).expect("what was decoded can be encoded");
        assert_eq!(again.encode(), block.encode());
    }
}

//! The nodes' logs: each without a gap, each id once, all equal.
//!
//! Enters: every node's replies. Leaves: the one log of each room, or what differs. The digest
//! follows the text of PROTOCOL.md alone.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    entry::{self, FromFrame, Seen, lp},
    history::NodeLog,
    removals,
};

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Seen>,
    /// The digest after each slot, computed.
    digests: Vec<String>,
    /// The digest that the node gave at the end.
    digest: String,
    /// By slot, the slot of the first entry that removes its text.
    pub(crate) removed: HashMap<u64, u64>,
}

impl Log {
    pub(crate) fn at(&self, slot: u64) -> Option<&Seen> {
        self.entries.get(usize::try_from(slot).ok()?)
    }

    /// The digest after a slot, −1 for that of the empty log; `None` past the end.
    pub(crate) fn digest_at(&self, room: &str, slot: i64) -> Option<String> {
        match usize::try_from(slot) {
            Ok(slot) => self.digests.get(slot).cloned(),
            Err(_) => Some(Chain::new(room).hex()),
        }
    }
}

pub(crate) type Rooms = BTreeMap<String, Log>;

struct Chain([u8; 32]);

impl Chain {
    /// D(−1).
    fn new(room: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"roomlog/v1");
        lp(&mut hash, room);
        Self(hash.finalize().into())
    }

    /// D(k) from D(k − 1).
    fn add(&mut self, entry: &Seen) {
        let or_zero = |number: Option<u64>| number.map_or(0, |number| number + 1).to_be_bytes();
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(entry.slot.to_be_bytes());
        hash.update(entry.committed_at.to_be_bytes());
        lp(&mut hash, &entry.author);
        lp(&mut hash, &entry.id);
        lp(&mut hash, &entry.kind);
        hash.update(or_zero(entry.reference));
        hash.update(or_zero(entry.sent_at));
        hash.update(entry.commitment);
        self.0 = hash.finalize().into();
    }

    fn hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The log that all nodes agree on: the first node's.
pub(crate) fn agree(nodes: &[NodeLog], broken: &mut Vec<String>) -> Rooms {
    let mut first: Option<(&str, Rooms)> = None;
    for NodeLog { node, replies } in nodes {
        let rooms = match rooms_of(replies) {
            Ok(rooms) => rooms,
            Err(why) => {
                broken.push(format!("{node}: {why}"));
                continue;
            }
        };
        match &first {
            None => {
                each_id_once(node, &rooms, broken);
                first = Some((node, rooms));
            }
            Some((other, agreed)) => compare(other, agreed, node, &rooms, broken),
        }
    }
    first.map(|(_, rooms)| rooms).unwrap_or_default()
}

fn rooms_of(replies: &[String]) -> FromFrame<Rooms> {
    let mut rooms = Rooms::new();
    let mut chains: HashMap<String, Chain> = HashMap::new();
    let mut latest: BTreeMap<String, i64> = BTreeMap::new();
    for reply in replies {
        let reply: Value = serde_json::from_str(reply).map_err(|why| why.to_string())?;
        let room = entry::text(&reply, "room")?.to_owned();
        let log = rooms.entry(room.clone()).or_default();
        let chain = chains.entry(room.clone()).or_insert_with(|| Chain::new(&room));
        for entry in entry::entries(&reply)? {
            let (slot, expected) = (entry.slot, log.entries.len());
            if slot != expected as u64 {
                return Err(format!("room {room} has slot {slot} where {expected} is next"));
            }
            if log.entries.last().is_some_and(|last| last.committed_at > entry.committed_at) {
                return Err(format!("room {room}: time goes back at slot {slot}"));
            }
            chain.add(&entry);
            log.digests.push(chain.hex());
            log.entries.push(entry);
        }
        log.digest = entry::text(&reply, "digest")?.to_owned();
        let end = reply.get("latest").and_then(Value::as_i64).unwrap_or(-1);
        latest.insert(room, end);
    }
    for (room, log) in &mut rooms {
        let (latest, count) = (latest[room], log.entries.len());
        if latest + 1 != i64::try_from(count).unwrap_or(-1) {
            return Err(format!("room {room} has latest {latest} and {count} entries"));
        }
        let computed = chains[room].hex();
        if computed != log.digest {
            return Err(format!("room {room} has digest {}, computed {computed}", log.digest));
        }
        log.removed = removals::removed(&log.entries);
        if let Some(left) = removals::still_there(&log.entries, &log.removed) {
            return Err(format!("room {room}: {left}"));
        }
    }
    Ok(rooms)
}

fn each_id_once(node: &str, rooms: &Rooms, broken: &mut Vec<String>) {
    for (room, log) in rooms {
        let mut at: HashMap<(&str, &str), u64> = HashMap::new();
        for entry in &log.entries {
            if let Some(before) = at.insert((&entry.author, &entry.id), entry.slot) {
                broken.push(format!(
                    "{node}: room {room}: {}'s {} is at slot {before} and at {}",
                    entry.author, entry.id, entry.slot
                ));
            }
        }
    }
}

fn compare(one: &str, first: &Rooms, other: &str, second: &Rooms, broken: &mut Vec<String>) {
    for room in first.keys().chain(second.keys()) {
        let (Some(a), Some(b)) = (first.get(room), second.get(room)) else {
            broken.push(format!("room {room} is only on one of {one} and {other}"));
            continue;
        };
        if a == b {
            continue;
        }
        let slot = a.entries.iter().zip(&b.entries).position(|(a, b)| a != b);
        broken.push(match slot {
            Some(slot) => format!("room {room}: {one} and {other} differ at slot {slot}"),
            None => format!(
                "room {room}: {one} has {} entries and {other} {}",
                a.entries.len(),
                b.entries.len()
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Said;

    #[test]
    fn a_duplicate_id_is_found_although_the_digest_matches() {
        let entry = |slot| Seen {
            slot,
            author: "ada".into(),
            id: "a-1".into(),
            kind: "text".into(),
            said: Some(Said { body: "hello".into(), meta: None }),
            commitment: [0; 32],
            reference: None,
            sent_at: None,
            committed_at: 7,
        };
        let log = Log { entries: vec![entry(0), entry(1)], ..Log::default() };
        let mut broken = Vec::new();
        each_id_once("n", &Rooms::from([("r".into(), log)]), &mut broken);
        assert_eq!(broken, ["n: room r: ada's a-1 is at slot 0 and at 1"]);
    }
}

//! The nodes' logs: each without a hole, each id once, all equal.
//!
//! Enters: every node's replies. Leaves: the one log of each room, or what differs.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::{
    NodeLog,
    digest::Chain,
    frame::{self, FromFrame, Seen},
};

/// A room's log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) entries: Vec<Seen>,
    digest: String,
}

/// The rooms of a log, by name.
pub(crate) type Rooms = BTreeMap<String, Log>;

/// The one log that all nodes hold.
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
        let room = frame::text(&reply, "room")?.to_owned();
        let log = rooms.entry(room.clone()).or_default();
        let chain = chains.entry(room.clone()).or_insert_with(|| Chain::new(&room));
        for entry in frame::entries(&reply)? {
            if entry.slot != log.entries.len() as u64 {
                let expected = log.entries.len();
                return Err(format!(
                    "room {room} has slot {} where {expected} is next",
                    entry.slot
                ));
            }
            if log.entries.last().is_some_and(|last| last.committed_at > entry.committed_at) {
                return Err(format!("room {room}: time goes back at slot {}", entry.slot));
            }
            chain.add(&entry);
            log.entries.push(entry);
        }
        log.digest = frame::text(&reply, "digest")?.to_owned();
        let end = reply.get("latest").and_then(Value::as_i64).unwrap_or(-1);
        latest.insert(room, end);
    }
    for (room, log) in &rooms {
        let said = latest[room];
        if said + 1 != i64::try_from(log.entries.len()).unwrap_or(-1) {
            return Err(format!("room {room} says latest {said} and holds {}", log.entries.len()));
        }
        let chained = chains[room].hex();
        if chained != log.digest {
            return Err(format!("room {room} says digest {} and chains to {chained}", log.digest));
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
                    "{node}: room {room}: {}'s {} stands at slot {before} and at {}",
                    entry.author, entry.id, entry.slot
                ));
            }
        }
    }
}

fn compare(one: &str, first: &Rooms, other: &str, second: &Rooms, broken: &mut Vec<String>) {
    let names: Vec<&String> = first.keys().chain(second.keys()).collect();
    for room in names {
        let (Some(a), Some(b)) = (first.get(room), second.get(room)) else {
            broken.push(format!("room {room} is on one of {one} and {other} alone"));
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

    #[test]
    fn an_id_that_stands_twice_is_found_though_the_log_chains() {
        let entry = |slot| Seen {
            slot,
            author: "ada".into(),
            id: "a-1".into(),
            kind: "text".into(),
            body: "hello".into(),
            meta: None,
            reference: None,
            sent_at: None,
            committed_at: 7,
        };
        let log = Log { entries: vec![entry(0), entry(1)], digest: String::new() };
        let mut broken = Vec::new();
        each_id_once("n", &Rooms::from([("r".into(), log)]), &mut broken);
        assert_eq!(broken, ["n: room r: ada's a-1 stands at slot 0 and at 1"]);
    }
}

//! The appends of a run: how each was sent, and whether the log has what it should.
//!
//! Enters: appends as they are sent, refusals, and at the end the log that all nodes agree on. Leaves:
//! violations. An append is named by room, author and id for ever, however often it is sent.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::{
    entry::{Said, Seen, signed},
    logs::{Log, Rooms},
};

/// An append: room, author, id.
pub(crate) type Name = (String, String, String);

/// What an append says, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) kind: String,
    pub(crate) reference: Option<u64>,
    pub(crate) said: Said,
}

impl Content {
    fn became(&self, entry: &Seen) -> bool {
        let is_said = entry.said.as_ref().is_none_or(|said| *said == self.said);
        (&self.kind, self.reference) == (&entry.kind, entry.reference) && is_said
    }
}

/// How an append was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    pub(crate) connection: u64,
    /// Whether it had a `seq`.
    pub(crate) is_numbered: bool,
    /// The highest slot that any client had received, or its author named; −1: none.
    pub(crate) floor: i64,
}

struct Append {
    contents: Vec<Content>,
    first: Sending,
    /// How many appends had been sent before it.
    turn: usize,
    sendings: usize,
    refusals: usize,
    /// Whether all sendings had a `seq`.
    is_numbered: bool,
}

#[derive(Default)]
pub(crate) struct Appends {
    sent: HashMap<Name, Append>,
    /// Sent without an id: the server creates one.
    unnamed: Vec<(String, String, Content)>,
}

/// Room, author, and connection if it counts.
type QueueName<'a> = (&'a str, &'a str, Option<u64>);

/// An entry of a queue: turn, slot, id.
type Place<'a> = (usize, u64, &'a str);

/// Appends whose entries have to be in the order of their turns.
type Queues<'a> = HashMap<QueueName<'a>, Vec<Place<'a>>>;

impl Appends {
    pub(crate) fn sent(&mut self, name: Name, content: Content, sending: Sending) {
        let turn = self.sent.len();
        let append = self.sent.entry(name).or_insert_with(|| Append {
            contents: Vec::new(),
            first: sending,
            turn,
            sendings: 0,
            refusals: 0,
            is_numbered: true,
        });
        append.sendings += 1;
        append.is_numbered &= sending.is_numbered;
        if !append.contents.contains(&content) {
            append.contents.push(content);
        }
    }

    pub(crate) fn sent_without_id(&mut self, room: &str, author: &str, content: Content) {
        self.unnamed.push((room.into(), author.into(), content));
    }

    /// One sending was answered by an error that says: nothing is in the log because of it.
    pub(crate) fn refused(&mut self, name: &Name) {
        if let Some(append) = self.sent.get_mut(name) {
            append.refusals += 1;
        }
    }

    /// Whether it was sent once.
    pub(crate) fn is_sent_once(&self, name: &Name) -> bool {
        self.sent.get(name).is_some_and(|append| append.sendings == 1)
    }

    pub(crate) fn count(&self) -> usize {
        self.sent.len() + self.unnamed.len()
    }

    /// Checks what needs the whole log. Of `several` authors two connections were open at once: perhaps two
    /// clients.
    pub(crate) fn end(&self, rooms: &Rooms, several: &HashSet<String>, broken: &mut Vec<String>) {
        let (mut authors, mut connections) = (Queues::new(), Queues::new());
        for (room, log) in rooms {
            for entry in &log.entries {
                let name = (room.clone(), entry.author.clone(), entry.id.clone());
                let Some(append) = self.sent.get(&name) else {
                    if !self.is_unnamed(room, entry) {
                        let Seen { slot, author, id, .. } = entry;
                        broken.push(format!("{room} {slot}: nobody sent {author}'s {id}"));
                    }
                    continue;
                };
                broken.extend(append.problem(room, log, entry));
                let place = (append.turn, entry.slot, &*entry.id);
                if append.is_numbered && !several.contains(&entry.author) {
                    let queue = (&**room, &*entry.author, None);
                    authors.entry(queue).or_default().push(place);
                }
                if append.sendings == 1 {
                    let queue = (&**room, &*entry.author, Some(append.first.connection));
                    connections.entry(queue).or_default().push(place);
                }
            }
        }
        let queues = authors.into_iter().chain(connections);
        // What is wrong in both is said once.
        let disorders: BTreeSet<String> = queues.filter_map(disorder).collect();
        broken.extend(disorders);
    }

    fn is_unnamed(&self, room: &str, entry: &Seen) -> bool {
        self.unnamed.iter().any(|(of, author, content)| {
            (&**of, author) == (room, &entry.author) && content.became(entry)
        })
    }
}

impl Append {
    /// What is wrong with its entry.
    fn problem(&self, room: &str, log: &Log, entry: &Seen) -> Option<String> {
        let Seen { slot, author, id, said, .. } = entry;
        let wrong = if !self.contents.iter().any(|content| content.became(entry)) {
            let is_said = |content: &Content| said.as_ref().is_none_or(|it| *it == content.said);
            let what = if self.contents.iter().any(is_said) { "kind or ref" } else { "body" };
            format!("{author}'s {id} has another {what}")
        } else if signed(*slot) <= self.first.floor {
            let floor = self.first.floor;
            format!("{author}'s {id} was sent after slot {floor} had been received")
        } else if self.refusals >= self.sendings {
            format!("{author}'s {id} was refused each time that it was sent")
        } else if said.is_none() && !log.removed.contains_key(slot) {
            format!("{author}'s {id} is redacted, and no entry removes it")
        } else {
            return None;
        };
        Some(format!("{room} {slot}: {wrong}"))
    }
}

fn disorder(((room, author, _), mut places): (QueueName<'_>, Vec<Place<'_>>)) -> Option<String> {
    places.sort_unstable();
    let pair = places.windows(2).find(|pair| pair[0].1 > pair[1].1)?;
    let [(_, one, first), (_, other, second)] = [pair[0], pair[1]];
    Some(format!(
        "{room}: {author} sent {first} before {second}, and they are at {one} and {other}"
    ))
}

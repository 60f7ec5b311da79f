//! What has to be so in each state, and what has to be reachable.

use stateright::Property;

use crate::{Intent, Log, Moment, NODES, Purpose, Room, Sent, node::Proposer};

/// All properties.
pub(crate) fn all() -> Vec<Property<Room>> {
    vec![
        Property::always("one order", |_, now: &Moment| now.nodes[0].log.agrees(&now.nodes[1].log)),
        Property::always("every view is a prefix of the journal's log", |room, now: &Moment| {
            let all = replayed(room, now);
            now.nodes.iter().all(|it| it.log.agrees(&all) && it.log.len() <= all.len())
        }),
        Property::always("each id at most once", |_, now: &Moment| {
            now.nodes.iter().all(|it| {
                let ids = it.log.0.iter().map(|entry| entry.intent);
                ids.clone().all(|id| ids.clone().filter(|other| *other == id).count() == 1)
            })
        }),
        Property::always("acked is durable, at one slot", |room, now: &Moment| {
            let all = replayed(room, now);
            let is_kept = |(index, sent): (usize, &Sent)| {
                !sent.is_acked_twice && sent.acked.is_none_or(|it| all.slot_of(index) == Some(it))
            };
            now.sent.iter().enumerate().all(is_kept)
        }),
        Property::always("what was refused each time is not there", |room, now: &Moment| {
            let all = replayed(room, now);
            let refused = |sent: &Sent| sent.sendings > 0 && sent.refusals == sent.sendings;
            let mut sent = now.sent.iter().enumerate();
            sent.all(|(index, it)| !refused(it) || !all.has(index))
        }),
        Property::always("cause before effect", |room, now: &Moment| {
            let all = replayed(room, now);
            let mut sent = now.sent.iter().enumerate();
            sent.all(|(index, it)| all.slot_of(index).is_none_or(|slot| slot >= it.after))
        }),
        Property::always("expected slots", |room, now: &Moment| {
            let entries = now.nodes.iter().flat_map(|it| it.log.0.iter().zip(0..));
            entries.into_iter().all(|(entry, slot)| match room.bounds.intents[entry.intent] {
                Intent::Expect(_, expected) => expected == slot,
                _ => true,
            })
        }),
        Property::always("redacted is gone", |room, now: &Moment| {
            now.nodes.iter().all(|it| {
                it.log.0.iter().all(|entry| match room.bounds.intents[entry.intent] {
                    Intent::Redact(_, slot) => it.log.0[usize::from(slot)].is_redacted,
                    _ => true,
                })
            })
        }),
        Property::always("nobody is shown less than before", |_, now: &Moment| !now.went_back),
        Property::always("no node stops because of its own block", |_, now: &Moment| {
            !now.is_misled
        }),
        Property::sometimes("everything is acked", |_, now: &Moment| {
            now.sent.iter().all(|sent| sent.acked.is_some())
        }),
        Property::sometimes("a block is stored twice", |_, now: &Moment| {
            now.wire.iter().any(|(_, copies)| *copies > 1)
        }),
        Property::sometimes("a repeat is acked after a crash", |_, now: &Moment| {
            now.crashes > 0 && now.sent.iter().any(|sent| sent.sendings > 1 && sent.acked.is_some())
        }),
    ]
}

/// The log that the whole journal gives, by the rules and nothing else.
fn replayed(room: &Room, now: &Moment) -> Log {
    let (mut log, mut proposers) = (Log::default(), [Proposer::default(); NODES]);
    for block in &now.journal {
        let Purpose::Append(index) = block.purpose else {
            proposers[block.node].admit(block, None);
            continue;
        };
        if proposers[block.node].admit(block, None) {
            let is_known = log.has(index);
            log.apply(index, room.bounds.intents[index], &room.bounds.intents, is_known);
        }
    }
    log
}

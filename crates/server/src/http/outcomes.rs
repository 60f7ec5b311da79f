//! The answer to a batch: an outcome a line.
//!
//! Enters: what became of each line. Leaves: the body of the answer, made as the socket takes it.
//! Invariants: entries are read from the log, so a repeat shows what is there and not what was sent
//! again; one page of them is in memory, however long the answer is.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use axum::body::{Body, Bytes};
use futures_util::stream;
use roomlog_core::{proposal::Stored, reader::PageLimits};
use roomlog_protocol::{ErrorCode, ErrorFrame, Refusal, RoomName, Slot, Span, latest_of};
use serde_json::json;

use super::batch::Line;
use crate::{connection::BATCH_BYTES, gateway::Gateway, wire};

/// The body that tells these outcomes.
pub(super) fn body(gateway: Arc<Gateway>, room: RoomName, lines: Vec<Line>) -> Body {
    let outcomes = Outcomes { gateway, room, lines: lines.into(), page: Vec::new() };
    Body::from_stream(stream::unfold(outcomes, |mut outcomes| async move {
        let chunk = outcomes.next().await?;
        Some((Ok::<_, Infallible>(chunk), outcomes))
    }))
}

struct Outcomes {
    gateway: Arc<Gateway>,
    room: RoomName,
    lines: VecDeque<Line>,
    /// Entries that were read, in slot order.
    page: Vec<Stored>,
}

impl Outcomes {
    async fn next(&mut self) -> Option<Bytes> {
        let mut chunk = Vec::new();
        while chunk.len() < BATCH_BYTES {
            let Some(line) = self.lines.pop_front() else { break };
            chunk.extend(self.line(line).await);
            chunk.push(b'\n');
        }
        (!chunk.is_empty()).then(|| chunk.into())
    }

    async fn line(&mut self, line: Line) -> Vec<u8> {
        let refusal = match line {
            Line::Entry { id, slot, repeat } => match self.entry(slot).await {
                Ok(stored) => {
                    let end: &[u8] = if repeat { br#","repeat":true}"# } else { b"}" };
                    return [br#"{"entry":"#, &*wire::json(&stored.entry), end].concat();
                }
                Err(refusal) => Refusal { room: Some(self.room.clone()), id: Some(id), ..refusal },
            },
            Line::Error(refusal) => *refusal,
            Line::InHand { .. } => Refusal::new(ErrorCode::UnknownOutcome, "cut off"),
        };
        wire::json(&json!({ "error": ErrorFrame::from(refusal) }))
    }

    async fn entry(&mut self, slot: Slot) -> Result<&Stored, Refusal> {
        let at = |page: &[Stored]| page.iter().position(|stored| stored.entry.slot == slot);
        if at(&self.page).is_none() {
            let bytes = BATCH_BYTES;
            let limits = PageLimits { entries: self.run_from(slot), bytes };
            let span = Span::After(latest_of(slot));
            let read = self.gateway.node.read(&self.room, span, None, limits).await;
            let unread =
                |why: &dyn ToString| Refusal::new(ErrorCode::UnknownOutcome, why.to_string());
            self.page = read.map_err(|why| unread(&why))?.entries;
        }
        let missing = || Refusal::new(ErrorCode::UnknownOutcome, "the entry cannot be read");
        at(&self.page).and_then(|at| self.page.get(at)).ok_or_else(missing)
    }

    /// How many lines, the one at hand first, stand at one slot after the other: one page has them.
    fn run_from(&self, slot: Slot) -> u64 {
        let next = |line: &Line, expected: Slot| matches!(line, Line::Entry { slot, .. } if *slot == expected);
        let run = self.lines.iter().zip(slot + 1..).take_while(|(line, at)| next(line, *at));
        (run.count() as u64 + 1).min(self.gateway.config.limits.page_entries)
    }
}

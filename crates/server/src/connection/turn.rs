//! What the parts of a session work with while they handle one event.

use std::{collections::VecDeque, time::Instant};

use roomlog_protocol::{Refusal, ServerFrame};

use super::{job::Job, out::Out, rooms::OpenRooms};
use crate::{gateway::Gateway, wire};

/// The event's time, the rooms, and where frames and jobs go.
pub(crate) struct Turn<'a> {
    pub(crate) now: Instant,
    pub(crate) gateway: &'a Gateway,
    pub(crate) rooms: &'a mut OpenRooms,
    pub(crate) out: &'a mut Out,
    pub(crate) jobs: &'a mut VecDeque<Job>,
}

impl Turn<'_> {
    pub(super) fn say(&mut self, frame: &ServerFrame) {
        self.out.push(wire::server_frame(frame));
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.say(&ServerFrame::Error(refusal.into()));
    }
}

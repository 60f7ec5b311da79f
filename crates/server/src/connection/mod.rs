//! A connection: one task, one socket, any number of rooms.
//!
//! ```text
//!  socket ──frames──► session ─┬─► appends: a lane and a queue per room
//!  mailbox ─outcomes─►  │      ├─► reads: in order per room, one page at a time
//!         ─rooms moved─►│      ├─► follows: a cursor per room
//!  timer ──────────────►│      └─► watch: heads of all rooms
//!                       ▼
//!            frames for the socket, jobs for the task
//! ```
//!
//! The task ([`task`]) does all I/O. The session and its parts do none: an event comes in, frames and
//! jobs come out, and time is passed in. Server-Sent Events use [`follows`] too. Invariants: nothing
//! here waits for the client while the node waits for it; the socket is not read while the client has
//! too much unanswered or does not take its answers; what it holds is charged ([`held`]), and a frame is
//! read only if its answer may be held.

mod appends;
mod direct;
pub(crate) mod follows;
mod frames;
pub(crate) mod held;
mod login;
mod placement;
mod reads;
mod served;
mod session;
mod socket;
mod task;
pub(crate) mod turn;
mod watch;

#[cfg(test)]
#[path = "tests/echo.rs"]
mod echo;

pub(crate) use self::{
    reads::{keep_of, needed_end},
    served::Served,
    socket::BATCH_BYTES,
    task::Connection,
};

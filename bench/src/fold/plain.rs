//! Append + fdatasync at a rate: what no log does better.
//!
//! Enters: a rate. Leaves: for each append the time from when it was due until it was on stable storage.
//! Invariant: one thread, in the place of a node's that writes the journal; at each tick all that is due is
//! one write and one fdatasync; nothing else is done for an append.

use std::{io, path::Path, time::Instant};

use crate::{
    at_rate::AtRate,
    disk::{Bare, ENTRY},
    places::{GO_FIRST, take_place},
    supply::{Supply, wait},
};

/// Appends to a file in `dir`: the µs of each, in order.
///
/// # Errors
/// What the disk gives.
pub(super) fn at_rate(dir: &Path, load: AtRate) -> io::Result<Vec<f64>> {
    let dir = dir.to_owned();
    let thread = std::thread::spawn(move || {
        take_place(GO_FIRST);
        appended(&mut Bare::new(&dir)?, &mut load.supply())
    });
    thread.join().map_err(|_| io::Error::other("the thread that appends panicked"))?
}

fn appended(file: &mut Bare, supply: &mut Supply) -> io::Result<Vec<f64>> {
    let ticks = supply.ticks()?.ok_or_else(|| io::Error::other("no ticks"))?;
    let (mut us, mut due) = (Vec::new(), Vec::new());
    supply.begin();
    while !supply.ended() {
        let now = Instant::now();
        due.extend(std::iter::from_fn(|| supply.take(now)));
        if !due.is_empty() {
            file.append(due.len() * ENTRY)?;
        }
        let done = Instant::now();
        us.extend(due.drain(..).map(|due| (done - due).as_secs_f64() * 1e6));
        wait(&ticks)?;
    }
    Ok(us)
}

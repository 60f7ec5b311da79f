//! The places that `serve` gives its threads among others.

/// Of the thread that writes the journal.
pub(crate) const GO_FIRST: i32 = -10;
/// Of the thread that folds.
pub(crate) const GO_LAST: i32 = 5;

/// Gives the calling thread its place among the others, as far as the system lets it.
pub(crate) fn take_place(nice: i32) {
    let thread = Some(rustix::thread::gettid());
    let _or_it_stays = rustix::process::setpriority_process(thread, nice);
}

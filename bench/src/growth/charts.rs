//! What of the figures is drawn.
//!
//! Enters: points. Leaves: four charts. Invariant: a point is drawn at the size that the log really had.

use std::time::Duration;

use super::{log::Load, point::Point, rest::PAGE_BAR};
use crate::{
    plot::{Chart, Line, Panel},
    spread::Spread,
    table::quantile,
};

/// What the ack p50 may be of that at the first size, measured beside it.
const ACK_P50_BAR: f64 = 1.3;
/// What the ack p99 may be of the floor's.
const ACK_P99_BAR: f64 = 2.0;
/// What a start may take, in ms.
const START_BAR: f64 = 1_000.0;

/// A load shorter than this tells no rate that could be sustained.
const LEAST_LOAD: Duration = Duration::from_secs(5);

/// What is drawn of a point.
type Of = fn(&Point) -> f64;

/// The charts, each for a file of its name.
pub(super) fn charts(points: &[Point], rate: u32) -> [Chart; 4] {
    let paced: Of = |at| at.acks.entries;
    let rest: Of = |at| at.rest.entries as f64;
    let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
    let mut p50 = panel("p50, ms", points, paced, |at| at.acks.due.p50);
    p50.lines.extend(bars(points, paced, |at| ACK_P50_BAR * at.acks.due.p50 / at.of_first));
    let mut p99 = panel("p99, ms", points, paced, |at| at.acks.due.p99);
    p99.lines.extend(bars(points, paced, |at| ACK_P99_BAR * at.acks.floor.p99));
    let mut inside = panel("inside, p50, µs", points, rest, |at| {
        at.rest.pages_again.inside.quantile(0.5) * 1e6
    });
    inside.bar = Some(PAGE_BAR * 1e6);
    let http =
        panel("over HTTP, p50, µs", points, rest, |at| quantile(&at.rest.pages_again.us, 0.5));
    let rss = panel("RSS at the peak, MiB", points, rest, |at| mib(at.rest.peak));
    let mut start = panel("start-up, ms", points, rest, |at| at.rest.start.as_secs_f64() * 1e3);
    start.bar = Some(START_BAR);
    let mut folded =
        panel("as fast as answers come, acked and folded, entries/s", points, paced, folded_per_s);
    folded.bar = Some(f64::from(rate));
    let lag = panel("greatest fold lag at the rate, entries", points, paced, |at| at.acks.lag_max);
    let chart = |name, title: String, panels| Chart { name, title, panels };
    [
        chart("growth-ack", format!("Ack at {rate} appends a second"), [p50, p99]),
        chart(
            "growth-page",
            "A page of 50 at a random place, in the system's cache".into(),
            [inside, http],
        ),
        chart("growth-memory", "Memory and start-up".into(), [rss, start]),
        chart(
            "growth-rate",
            "Entries a second, and how far the archive is behind".into(),
            [folded, lag],
        ),
    ]
}

/// Entries a second of a load; no number of one so short that waiting for others to fold with is much
/// of it.
fn folded_per_s(at: &Point) -> f64 {
    let Load { entries, folded, .. } = at.load;
    if folded < LEAST_LOAD { f64::NAN } else { entries as f64 / folded.as_secs_f64() }
}

/// A line for each spread.
fn panel(title: &'static str, points: &[Point], x: Of, y: impl Fn(&Point) -> f64) -> Panel {
    Panel { title, lines: lines(points, x, y, false), bar: None }
}

/// The bars of a panel that differ by spread.
fn bars(points: &[Point], x: Of, y: impl Fn(&Point) -> f64) -> Vec<Line> {
    lines(points, x, y, true)
}

fn lines(points: &[Point], x: Of, y: impl Fn(&Point) -> f64, is_bar: bool) -> Vec<Line> {
    let of = |spread: Spread| {
        let points = points.iter().filter(|at| at.spread == spread);
        Line { name: spread.name(), points: points.map(|at| (x(at), y(at))).collect(), is_bar }
    };
    let mut spreads: Vec<Spread> = points.iter().map(|at| at.spread).collect();
    spreads.dedup();
    spreads.into_iter().map(of).collect()
}

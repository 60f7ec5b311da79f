//! One author who waits for each ack, a follower on another node, and bare publishes one at a time.

use std::{
    io,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use roomlog_testkit::nats::Cluster;

use super::bare::Bare;
use crate::{
    append_frame,
    disk::ENTRY,
    process::Server,
    receivers::body,
    spike::BODY,
    table::{Table, median, quantile, say},
    ws::Socket,
};

/// How many follower's times may wait to be taken.
const WAITING: usize = 1024;

/// The p50 and p99 of each, in ms.
pub(super) struct Lone {
    ack: (f64, f64),
    behind: (f64, f64),
    bare: (f64, f64),
}

fn both(us: &[f64]) -> (f64, f64) {
    (quantile(us, 0.5) / 1e3, quantile(us, 0.99) / 1e3)
}

/// Measures one author on the first node and one follower on the second, then bare publishes.
///
/// # Errors
/// When a server fails.
pub(super) fn measure(nats: &Cluster, nodes: &[Server], appends: u32) -> io::Result<Lone> {
    let mut author = Socket::login(nodes[0].addr, "ada")?;
    let mut follower = Socket::login(nodes[1].addr, "grace")?;
    follower.join("lone")?;
    let (tell, told) = mpsc::sync_channel(WAITING);
    let follows = thread::spawn(move || -> io::Result<()> {
        for _ in 0..appends {
            follower.expect("ack")?;
            if tell.send(Instant::now()).is_err() {
                break;
            }
        }
        Ok(())
    });
    let (mut ack, mut behind) = (Vec::new(), Vec::new());
    let text = body(BODY);
    for _ in 0..appends {
        let begun = Instant::now();
        author.send(&[append_frame("lone", &text, None)])?;
        author.expect("appended")?;
        let answered = Instant::now();
        ack.push((answered - begun).as_secs_f64() * 1e6);
        let shown = told.recv().map_err(|_| io::Error::other("the follower ended"))?;
        // It may have been shown before its author heard.
        behind.push(shown.saturating_duration_since(answered).as_secs_f64() * 1e6);
    }
    follows.join().map_err(|_| io::Error::other("the follower panicked"))??;
    let bare = Bare::connect(nats, 1)?;
    let (_, bare) = bare.publish(ENTRY, 1, Duration::from_secs(2))?;
    Ok(Lone { ack: both(&ack), behind: both(&behind), bare: both(&bare) })
}

/// Prints the medians of the rounds.
pub(super) fn print(rounds: &[Lone]) {
    let mut table = Table::new(&["one at a time", "p50, ms", "p99, ms"]);
    let mut row = |name: &str, of: fn(&Lone) -> (f64, f64)| {
        let at = |part: fn((f64, f64)) -> f64| {
            median(&rounds.iter().map(|round| part(of(round))).collect::<Vec<_>>())
        };
        table.row(vec![
            name.into(),
            format!("{:.2}", at(|it| it.0)),
            format!("{:.2}", at(|it| it.1)),
        ]);
    };
    row("ack of an author", |it| it.ack);
    row("ack of a bare publish", |it| it.bare);
    row("a follower on another node, behind the author's answer", |it| it.behind);
    say("");
    table.print();
    let ratios: Vec<f64> = rounds.iter().map(|round| round.ack.0 / round.bare.0).collect();
    say(&format!(
        "\nAck p50 of bare: {:.2}. Bars: 1.5 of bare; a follower within 5 ms p50.",
        median(&ratios)
    ));
}

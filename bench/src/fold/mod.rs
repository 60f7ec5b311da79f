//! The log without its sockets: acks at a rate while the archive folds, beside what no log does better.
//!
//! ```text
//!  a round:  plain │ a node │ plain beside a node │ a node on segments │ a node that does not fold
//! ```
//!
//! Enters: a rate, seconds, rooms, rounds. Leaves: ack times of each, from when an append was due until its
//! outcome was taken, the medians of the rounds. Invariants: the node is put together as `serve` does it;
//! what no node can do without is all that is left out: sockets, and clients that take the cores. *Plain* is
//! an append + fdatasync at the same rate and ticks of the same time, of all that is due: an fdatasync that
//! takes long counts in each append that waits for it, here as there.

mod journals;
mod node;
mod plain;

use std::{io, path::Path};

use crate::{
    DataDir,
    at_rate::AtRate,
    table::{Table, median, say},
};

/// What is measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    dir: DataDir,
    #[command(flatten)]
    load: AtRate,
}

/// What is measured in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Append + fdatasync, and nothing else on the machine.
    Plain,
    /// The node as it is.
    Node,
    /// Append + fdatasync beside a node whose journal is no file, and which folds the same.
    PlainBeside,
    /// The node on prewritten segments, which have no recovery: see [`crate::segments`].
    Segments,
    /// The node as it is, but for the fold.
    NoFold,
}

const ALL: [What; 5] = [What::Plain, What::Node, What::PlainBeside, What::Segments, What::NoFold];

impl What {
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "append + fdatasync, alone",
            Self::Node => "roomlog, folding",
            Self::PlainBeside => "append + fdatasync, beside such a fold",
            Self::Segments => "roomlog on prewritten segments, folding",
            Self::NoFold => "roomlog, not folding",
        }
    }

    fn measure(self, args: &Args, dir: &Path) -> io::Result<Seen> {
        use journals::Engine::{Prewritten, Sqlite};
        let data = dir.join("data");
        let seen = match self {
            Self::Plain => Ok(Seen::of(&plain::at_rate(dir, args.load)?, args.load)),
            Self::Node => node::measure(args, &data, Sqlite, true),
            Self::PlainBeside => node::beside(args, &data, || plain::at_rate(dir, args.load)),
            Self::Segments => node::measure(args, &data, Prewritten, true),
            Self::NoFold => node::measure(args, &data, Sqlite, false),
        };
        let _not_with_plain = std::fs::remove_dir_all(&data);
        seen
    }
}

/// What a run has shown.
#[derive(Debug, Default)]
struct Seen {
    p50_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    node: Option<OfNode>,
}

/// What only a node has.
#[derive(Debug, Default)]
struct OfNode {
    block_entries: f64,
    blocks_per_s: f64,
    cpu_us: f64,
    folded_per_s: f64,
    lag_max: f64,
}

impl Seen {
    /// Of the times of all appends, in µs and in their order.
    fn of(us: &[f64], load: AtRate) -> Self {
        let [p50_ms, p99_ms, p999_ms] = load.times_ms(us);
        Self { p50_ms, p99_ms, p999_ms, node: None }
    }
}

/// Measures and prints the table.
///
/// # Errors
/// When the disk or a node fails.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let dir = args.dir.make()?;
    let mut rounds: Vec<Vec<Seen>> = Vec::new();
    for round in 1..=args.load.rounds {
        let mut seen = Vec::new();
        for what in ALL {
            let this = what.measure(args, dir.path())?;
            let (p50, p99) = (this.p50_ms, this.p99_ms);
            eprintln!("round {round}: {}: p50 {p50:.2}, p99 {p99:.2} ms", what.name());
            seen.push(this);
        }
        rounds.push(seen);
    }
    table(&rounds).print();
    let AtRate { rate, seconds, rooms, rounds } = args.load;
    say(&format!(
        "\nMedians of {} rounds: {rate} appends a second for {seconds} s each, over {rooms} \
        rooms, the first second not counted.",
        rounds
    ));
    say("Acks count from when an append was due. The ratios are medians of each round's.");
    Ok(())
}

fn table(rounds: &[Vec<Seen>]) -> Table {
    let mut table = Table::new(&[
        "acks",
        "p50, ms",
        "p99, ms",
        "p99.9, ms",
        "p99 of alone",
        "p99 of beside",
        "entries a block",
        "blocks/s",
        "CPU µs an entry",
        "folded entries/s",
        "fold lag max",
    ]);
    for (at, what) in ALL.into_iter().enumerate() {
        let of = |figure: &dyn Fn(&[Seen]) -> f64| {
            median(&rounds.iter().map(|round| figure(round)).collect::<Vec<_>>())
        };
        let ratio = |to: What| {
            let to = ALL.into_iter().position(|it| it == to).unwrap_or_default();
            format!("{:.1}", of(&|round| round[at].p99_ms / round[to].p99_ms))
        };
        let mut row = vec![
            what.name().into(),
            format!("{:.2}", of(&|round| round[at].p50_ms)),
            format!("{:.2}", of(&|round| round[at].p99_ms)),
            format!("{:.2}", of(&|round| round[at].p999_ms)),
            ratio(What::Plain),
            ratio(What::PlainBeside),
        ];
        let of_node = |figure: &dyn Fn(&OfNode) -> f64| {
            of(&|round| round[at].node.as_ref().map_or(0.0, figure))
        };
        if rounds.iter().all(|round| round[at].node.is_some()) {
            row.push(format!("{:.1}", of_node(&|it| it.block_entries)));
            row.push(format!("{:.0}", of_node(&|it| it.blocks_per_s)));
            row.push(format!("{:.1}", of_node(&|it| it.cpu_us)));
            row.push(format!("{:.0}", of_node(&|it| it.folded_per_s)));
            row.push(format!("{:.0}", of_node(&|it| it.lag_max)));
        } else {
            row.extend(std::iter::repeat_n("".to_owned(), 5));
        }
        table.row(row);
    }
    table
}

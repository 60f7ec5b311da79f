//! The figures of one size, as cells of tables.
//!
//! Enters: measurements. Leaves: [`SECTIONS`], each a table. Invariant: a figure has one name, with
//! its unit, in the table and in the CSV.

use super::{
    log::Load,
    paced::Paced,
    rest::{AtRest, PAGE_BAR},
};
use crate::{spread::Spread, table::Table};

/// One size of one spread.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) spread: Spread,
    /// The size that was asked for.
    pub(super) size: u64,
    pub(super) load: Load,
    /// The ratio of the ack p50 to that of the first size in the round before.
    pub(super) of_first: f64,
    pub(super) paced: Paced,
    pub(super) rest: AtRest,
}

impl Point {
    /// Entries per second of the unpaced load, acked and folded.
    pub(super) fn folded_per_s(&self) -> f64 {
        self.load.entries as f64 / self.load.folded.as_secs_f64()
    }
}

/// A figure: its name, decimals, and value.
type Figure = (&'static str, usize, fn(&Point) -> f64);

/// A table.
pub(super) struct Section {
    pub(super) title: &'static str,
    figures: &'static [Figure],
}

const MIB: f64 = 1_048_576.0;

/// All tables.
pub(super) const SECTIONS: [Section; 4] = [
    Section {
        title: "Acks of appends at a rate",
        figures: &[
            ("entries, mean", 0, |at| at.paced.size()),
            ("acks/s", 0, |at| at.paced.acked() / at.paced.seconds),
            ("p50, ms", 2, |at| at.paced.ack.all.ms(0.5)),
            ("p50 of the first size's", 2, |at| at.of_first),
            ("p99, ms", 2, |at| at.paced.ack.all.ms(0.99)),
            ("floor p50, ms", 2, |at| at.paced.floor.ms(0.5)),
            ("floor p99, ms", 2, |at| at.paced.floor.ms(0.99)),
            ("p99 of floor p99", 2, |at| at.paced.ack.p99_us() / at.paced.floor.us(0.99)),
            ("since sent p50, ms", 2, |at| at.paced.sent.ms(0.5)),
            ("since sent p99, ms", 2, |at| at.paced.sent.ms(0.99)),
            ("inside p50, ms", 2, |at| at.paced.inside.quantile(0.5) * 1e3),
            ("inside p99, ms", 2, |at| at.paced.inside.quantile(0.99) * 1e3),
            ("commit p50, ms", 2, |at| at.paced.commit.quantile(0.5) * 1e3),
            ("commit p99, ms", 2, |at| at.paced.commit.quantile(0.99) * 1e3),
            ("blocks/s", 0, |at| at.paced.blocks / at.paced.seconds),
            ("entries per block", 1, |at| at.paced.acked() / at.paced.blocks.max(1.0)),
            ("fold lag max", 0, |at| at.paced.lag_max),
            ("fold lag after", 0, |at| at.paced.lag_after),
            ("`busy`", 0, |at| at.paced.busy),
            ("server CPU per entry, µs", 1, |at| at.paced.cpu_us()),
            ("authors' CPU per entry, µs", 1, |at| at.paced.own_cpu_us()),
        ],
    },
    Section {
        title: "As fast as possible",
        figures: &[
            ("entries", 0, |at| at.load.entries as f64),
            ("acks/s", 0, |at| at.load.entries as f64 / at.load.acked.as_secs_f64()),
            ("acked and folded, entries/s", 0, Point::folded_per_s),
            ("`busy`", 0, |at| at.load.busy as f64),
            ("server CPU per entry, µs", 1, |at| {
                at.load.cpu * 1e6 / (at.load.entries as f64).max(1.0)
            }),
        ],
    },
    Section {
        title: "At rest: random pages of 50, a single writer",
        figures: &[
            ("entries", 0, |at| at.rest.entries as f64),
            ("page inside p50, µs", 0, |at| at.rest.pages.inside.quantile(0.5) * 1e6),
            ("page over HTTP p50, µs", 0, |at| at.rest.pages.http.us(0.5)),
            ("page over HTTP p99, µs", 0, |at| at.rest.pages.http.us(0.99)),
            ("cached: page inside p50, µs", 0, |at| at.rest.cached.inside.quantile(0.5) * 1e6),
            ("cached: within 100 µs inside, %", 1, |at| {
                at.rest.cached.inside.within(PAGE_BAR) * 1e2
            }),
            ("cached: page over HTTP p50, µs", 0, |at| at.rest.cached.http.us(0.5)),
            ("cached: page over HTTP p99, µs", 0, |at| at.rest.cached.http.us(0.99)),
            ("lone ack p50, µs", 0, |at| at.rest.lone.us(0.5)),
            ("lone ack p99, µs", 0, |at| at.rest.lone.us(0.99)),
        ],
    },
    Section {
        title: "Memory, disk, start-up",
        figures: &[
            ("entries", 0, |at| at.rest.entries as f64),
            ("RSS, MiB", 0, |at| at.rest.memory as f64 / MIB),
            ("anonymous, MiB", 0, |at| at.rest.anonymous as f64 / MIB),
            ("peak RSS, MiB", 0, |at| at.rest.peak as f64 / MIB),
            ("archive bytes per entry", 0, |at| at.rest.archive as f64 / at.rest.entries as f64),
            ("journal, MiB", 0, |at| at.rest.journal as f64 / MIB),
            ("start-up, ms", 0, |at| at.rest.start.as_secs_f64() * 1e3),
            ("start-up after kill -9, ms", 0, |at| at.rest.start_killed.as_secs_f64() * 1e3),
        ],
    },
];

impl Section {
    /// A row for each point.
    pub(super) fn table(&self, points: &[Point]) -> Table {
        let names = self.figures.iter().map(|(name, ..)| *name);
        let mut table =
            Table::new(&["spread", "size"].into_iter().chain(names).collect::<Vec<_>>());
        for point in points {
            let (name, size) = (point.spread.name().to_owned(), point.size.to_string());
            table.row([name, size].into_iter().chain(self.cells(point)).collect());
        }
        table
    }

    fn cells(&self, point: &Point) -> impl Iterator<Item = String> {
        self.figures.iter().map(|(_, digits, of)| format!("{:.digits$}", of(point)))
    }
}

/// All figures, a line for each point, separated by `;`.
pub(super) fn csv(points: &[Point]) -> String {
    let name = |section: &Section, name: &str| format!("{}: {name}", section.title);
    let names = SECTIONS.iter().flat_map(|it| it.figures.iter().map(move |f| name(it, f.0)));
    let mut text = format!("spread;size;{}\n", names.collect::<Vec<_>>().join(";"));
    for point in points {
        let cells = SECTIONS.iter().flat_map(|section| section.cells(point));
        let cells = cells.collect::<Vec<_>>().join(";");
        text += &format!("{};{};{cells}\n", point.spread.name(), point.size);
    }
    text
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{growth::rest::Pages, times::Times};

    pub(in crate::growth) fn point(spread: Spread, size: u64, of_first: f64) -> Point {
        let second = Duration::from_secs(1);
        let load = Load { entries: 0, acked: second, folded: second * 2, busy: 0, cpu: 0.0 };
        let rest = AtRest {
            entries: size,
            pages: Pages::default(),
            cached: Pages::default(),
            lone: Times::default(),
            memory: 0,
            peak: 0,
            anonymous: 0,
            start: second,
            start_killed: second,
            archive: size * 300,
            journal: 0,
        };
        Point { spread, size, load, of_first, paced: Paced::default(), rest }
    }

    #[test]
    fn each_figure_is_in_the_column_of_its_name() {
        let points = [
            point(Spread::Zipf, 10_000, 1.0),
            point(Spread::Uniform, 10_000, 1.0),
            point(Spread::Uniform, 50_000, 1.25),
        ];
        let text = csv(&points);
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(';').collect()).collect();
        let cells = |name: &str| {
            let at = rows[0].iter().position(|cell| *cell == name).expect(name);
            [1, 2, 3].map(|row: usize| rows[row][at])
        };
        assert_eq!(cells("size"), ["10000", "10000", "50000"]);
        let of_first = "Acks of appends at a rate: p50 of the first size's";
        assert_eq!(cells(of_first), ["1.00", "1.00", "1.25"]);
        assert_eq!(cells("Memory, disk, start-up: archive bytes per entry"), ["300", "300", "300"]);
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
    }
}

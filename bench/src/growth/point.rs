//! The figures of one size, as cells of tables.
//!
//! Enters: what was measured. Leaves: figures in [`SECTIONS`], each a table. Invariant: a figure has
//! one name, which says its unit, in the table and in the CSV.

use super::{
    log::Load,
    paced::Acks,
    rest::{PAGE_BAR, Rest},
};
use crate::{
    spread::Spread,
    table::{Table, quantile},
};

/// One size of one spread.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) spread: Spread,
    /// As it was asked for.
    pub(super) size: u64,
    pub(super) load: Load,
    /// What the ack p50 is of that at the first size, in rounds beside each other.
    pub(super) of_first: f64,
    pub(super) acks: Acks,
    pub(super) rest: Rest,
}

/// A figure: its name, digits behind the point, and what it is of a point.
type Figure = (&'static str, usize, fn(&Point) -> f64);

/// A table.
pub(super) struct Section {
    title: &'static str,
    figures: &'static [Figure],
}

const MIB: f64 = 1_048_576.0;

/// All tables.
pub(super) const SECTIONS: [Section; 4] = [
    Section {
        title: "Acks of appends at a rate",
        figures: &[
            ("entries, mean", 0, |at| at.acks.entries),
            ("acks/s", 0, |at| at.acks.per_s),
            ("p50, ms", 2, |at| at.acks.due.p50),
            ("p50 of the first size's beside it", 2, |at| at.of_first),
            ("p99, ms", 2, |at| at.acks.due.p99),
            ("floor p50, ms", 2, |at| at.acks.floor.p50),
            ("floor p99, ms", 2, |at| at.acks.floor.p99),
            ("p99 of floor p99", 2, |at| at.acks.due.p99 / at.acks.floor.p99),
            ("from sending p50, ms", 2, |at| at.acks.sent.p50),
            ("from sending p99, ms", 2, |at| at.acks.sent.p99),
            ("inside p50, ms", 2, |at| at.acks.inside.p50),
            ("inside p99, ms", 2, |at| at.acks.inside.p99),
            ("commit p50, ms", 2, |at| at.acks.commit.p50),
            ("commit p99, ms", 2, |at| at.acks.commit.p99),
            ("blocks/s", 0, |at| at.acks.blocks_per_s),
            ("entries a block", 1, |at| at.acks.block_entries),
            ("fold lag max", 0, |at| at.acks.lag_max),
            ("fold lag after", 0, |at| at.acks.lag_after),
            ("`busy`", 0, |at| at.acks.busy),
            ("server CPU an entry, µs", 1, |at| at.acks.cpu_us),
            ("authors' CPU an entry, µs", 1, |at| at.acks.own_cpu_us),
        ],
    },
    Section {
        title: "As fast as answers come",
        figures: &[
            ("entries", 0, |at| at.load.entries as f64),
            ("acks/s", 0, |at| at.load.entries as f64 / at.load.acked.as_secs_f64()),
            ("acked and folded, entries/s", 0, |at| {
                at.load.entries as f64 / at.load.folded.as_secs_f64()
            }),
            ("`busy`", 0, |at| at.load.busy as f64),
            ("server CPU an entry, µs", 1, |at| {
                at.load.cpu * 1e6 / (at.load.entries as f64).max(1.0)
            }),
        ],
    },
    Section {
        title: "At rest: pages of 50 at random places, a lone author",
        figures: &[
            ("entries", 0, |at| at.rest.entries as f64),
            ("page inside p50, µs", 0, |at| at.rest.pages.inside.quantile(0.5) * 1e6),
            ("page over HTTP p50, µs", 0, |at| quantile(&at.rest.pages.us, 0.5)),
            ("page over HTTP p99, µs", 0, |at| quantile(&at.rest.pages.us, 0.99)),
            ("again: page inside p50, µs", 0, |at| at.rest.pages_again.inside.quantile(0.5) * 1e6),
            ("again: within 100 µs inside, %", 1, |at| {
                at.rest.pages_again.inside.within(PAGE_BAR) * 1e2
            }),
            ("again: page over HTTP p50, µs", 0, |at| quantile(&at.rest.pages_again.us, 0.5)),
            ("again: page over HTTP p99, µs", 0, |at| quantile(&at.rest.pages_again.us, 0.99)),
            ("lone ack p50, µs", 0, |at| quantile(&at.rest.lone_us, 0.5)),
            ("lone ack p99, µs", 0, |at| quantile(&at.rest.lone_us, 0.99)),
        ],
    },
    Section {
        title: "Memory, disk, start-up",
        figures: &[
            ("entries", 0, |at| at.rest.entries as f64),
            ("RSS, MiB", 0, |at| at.rest.memory as f64 / MIB),
            ("of it no file's, MiB", 0, |at| at.rest.anonymous as f64 / MIB),
            ("RSS at the peak, MiB", 0, |at| at.rest.peak as f64 / MIB),
            ("archive bytes an entry", 0, |at| at.rest.archive as f64 / at.rest.entries as f64),
            ("journal, MiB", 0, |at| at.rest.journal as f64 / MIB),
            ("start-up, ms", 0, |at| at.rest.start.as_secs_f64() * 1e3),
            ("start-up after kill -9, ms", 0, |at| at.rest.start_killed.as_secs_f64() * 1e3),
        ],
    },
];

impl Section {
    /// Its title, for the CSV and above the table.
    pub(super) fn title(&self) -> &'static str {
        self.title
    }

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

/// All figures, a line for each point, `;` between them.
pub(super) fn csv(points: &[Point]) -> String {
    let name = |section: &Section, name: &str| format!("{}: {name}", section.title());
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
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::growth::{paced::Paced, rest::Pages};

    fn point(spread: Spread, size: u64, of_first: f64) -> Point {
        let second = Duration::from_secs(1);
        let acks = Paced::default().figures();
        let load = Load { entries: 0, acked: second, folded: second * 2, busy: 0, cpu: 0.0 };
        let rest = Rest {
            entries: size,
            pages: Pages::default(),
            pages_again: Pages::default(),
            lone_us: Vec::new(),
            memory: 0,
            peak: 0,
            anonymous: 0,
            start: second,
            start_killed: second,
            archive: size * 300,
            journal: 0,
        };
        Point { spread, size, load, of_first, acks, rest }
    }

    #[test]
    fn a_figure_lies_under_its_name() {
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
        let of_first = "Acks of appends at a rate: p50 of the first size's beside it";
        assert_eq!(cells(of_first), ["1.00", "1.00", "1.25"]);
        let bytes = "Memory, disk, start-up: archive bytes an entry";
        assert_eq!(cells(bytes), ["300", "300", "300"]);
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
    }
}

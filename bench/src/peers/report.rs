//! The report: a table per measurement, a row per system.
//!
//! Enters: the figures of each run. Leaves: Markdown. Invariant: a figure is the median of the rounds, with
//! the least and the most in brackets.

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::ValueEnum;

use super::{
    measure::{Figures, Measurement, Sizes},
    plot::{self, Values},
};
use crate::{
    table::{Table, say},
    times::median,
};

/// The runs of one system in one measurement.
struct Row {
    measurement: Measurement,
    system: &'static str,
    ack: &'static str,
    runs: Vec<Figures>,
}

/// All runs.
#[derive(Default)]
pub(super) struct Report(Vec<Row>);

impl Report {
    /// Adds a run. One without figures was not measured.
    pub(super) fn add(
        &mut self,
        measurement: Measurement,
        system: &'static str,
        ack: &'static str,
        figures: Figures,
    ) {
        let mut rows = self.0.iter_mut();
        match rows.find(|row| row.measurement == measurement && row.system == system) {
            Some(row) => row.runs.push(figures),
            None => self.0.push(Row { measurement, system, ack, runs: vec![figures] }),
        }
    }

    /// Prints the tables, each with a link to its plot if plots are drawn into `plots`. Links are relative to the
    /// parent of that directory.
    pub(super) fn print(&self, sizes: Sizes, plots: Option<&Path>) {
        let plots = plots.and_then(Path::file_name).map(Path::new);
        let mut rest = &self.0[..];
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|row| row.measurement == first.measurement).count();
            let (rows, others) = rest.split_at(count);
            say(&format!("### {}\n", first.measurement.title()));
            table_of(rows).print();
            if let Some(dir) = plots {
                let file = plot_of(dir, first.measurement);
                say(&format!("\n![{}]({})", first.measurement.title(), file.display()));
            }
            say("");
            rest = others;
        }
        let seconds = sizes.time.as_secs();
        let rounds = match self.0.iter().map(|row| row.runs.len()).max().unwrap_or(0) {
            1 => "One round".to_owned(),
            rounds => format!("Medians of {rounds} rounds, in brackets the least and the most"),
        };
        say(&format!(
            "{rounds}; runs of {seconds} s; a log of {} entries is read, which PostgreSQL and NATS load without \
             a sync per append; bodies of 200 bytes.",
            sizes.log
        ));
    }
}

impl Report {
    /// Draws the first column of each measurement into a file of `dir`.
    pub(super) fn draw(&self, dir: &Path) -> io::Result<()> {
        for measurement in Measurement::value_variants() {
            let rows = || self.0.iter().filter(|row| row.measurement == *measurement);
            let first = rows().flat_map(|row| row.runs.iter().flatten()).next();
            let Some((column, _)) = first else { continue };
            let values = rows().filter_map(|row| {
                let rounds = row.values_of(column);
                (!rounds.is_empty()).then_some(Values { system: row.system, rounds })
            });
            let file = plot_of(dir, *measurement);
            plot::draw(measurement.title(), column, &values.collect::<Vec<_>>(), &file)?;
        }
        Ok(())
    }
}

impl Row {
    /// The figures of a column, round by round.
    fn values_of(&self, column: &str) -> Vec<f64> {
        let of = |run: &Figures| run.iter().find(|(name, _)| *name == column).map(|it| it.1);
        self.runs.iter().filter_map(of).collect()
    }
}

/// The file of a measurement's plot.
fn plot_of(dir: &Path, measurement: Measurement) -> PathBuf {
    let name = measurement.to_possible_value().map(|it| it.get_name().to_owned());
    dir.join(format!("{}.svg", name.unwrap_or_default()))
}

/// The table of one measurement.
fn table_of(rows: &[Row]) -> Table {
    let mut columns: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(|row| row.runs.iter().flatten()) {
        if !columns.contains(name) {
            columns.push(name);
        }
    }
    let head: Vec<&str> = ["system"].into_iter().chain(columns.iter().copied()).collect();
    let mut table = Table::new(&[&head[..], &["an ack means"]].concat());
    for row in rows {
        let cells = columns.iter().map(|column| cell(&row.values_of(column)));
        let name = std::iter::once(row.system.to_owned());
        table.row(name.chain(cells).chain([row.ack.to_owned()]).collect());
    }
    table
}

/// The median of the rounds, and their spread; a dash if it was not measured.
fn cell(values: &[f64]) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match values {
        [] => "–".into(),
        [one] => number(*one),
        _ if number(least) == number(most) => number(least),
        _ => format!(
            "{} ({}–{})",
            number(median(values.iter().copied())),
            number(least),
            number(most)
        ),
    }
}

/// With three digits or all before the point.
fn number(value: f64) -> String {
    match value {
        0.0 => "0".into(),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Figures as one line.
pub(super) fn line(figures: &Figures) -> String {
    if figures.is_empty() {
        return "not measured".into();
    }
    let figure = |(name, value): &(&str, f64)| format!("{name}: {}", number(*value));
    figures.iter().map(figure).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_the_median_and_the_spread_of_the_rounds() {
        let cells = [&[][..], &[3.0], &[0.25, 12.5, 140.4], &[7.0, 7.001]].map(cell);
        assert_eq!(cells, ["–", "3.00", "12.5 (0.250–140)", "7.00"]);
    }
}

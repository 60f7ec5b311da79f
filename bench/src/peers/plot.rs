//! Plots: for a measurement, a bar per system.
//!
//! Enters: the values of a column, system by system. Leaves: SVG files. Invariants: bars begin at 0; a bar is the
//! median, the line over it goes from the least to the most.

use std::{io, path::Path};

use plotters::prelude::*;

use crate::times::median;

const WIDTH: u32 = 760;

/// The height of a system's bar and the gap to the next, and of what is around all.
const ROW: u32 = 26;
const AROUND: u32 = 90;

const OURS: RGBColor = RGBColor(9, 105, 218);
const THEIRS: RGBColor = RGBColor(150, 160, 170);
const INK: RGBColor = RGBColor(60, 68, 77);

/// A system's values of one column.
pub(super) struct Values {
    pub(super) system: &'static str,
    pub(super) rounds: Vec<f64>,
}

/// Draws the bars of a column.
pub(super) fn draw(title: &str, column: &str, values: &[Values], file: &Path) -> io::Result<()> {
    bars(title, column, values, file).map_err(|error| io::Error::other(error.to_string()))
}

type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn bars<'a>(title: &str, column: &str, values: &[Values], file: &'a Path) -> Drawn<'a> {
    let rows = values.len();
    let height = AROUND + ROW * u32::try_from(rows).unwrap_or(0);
    let root = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let most = values.iter().flat_map(|it| &it.rounds).copied().fold(f64::MIN_POSITIVE, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(150)
        .build_cartesian_2d(0.0..most * 1.02, (0..rows).into_segmented())?;
    let name = |at: &SegmentValue<usize>| match at {
        // The first system is at the top.
        SegmentValue::CenterOf(row) => {
            values.iter().rev().nth(*row).map_or("", |it| it.system).to_owned()
        }
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .y_labels(rows)
        .y_label_formatter(&name)
        .x_desc(column)
        .draw()?;
    for (row, Values { system, rounds }) in values.iter().rev().enumerate() {
        let colour = if *system == "Roomlog" { OURS } else { THEIRS };
        let (low, high) = (SegmentValue::Exact(row), SegmentValue::Exact(row + 1));
        let mut bar =
            Rectangle::new([(0.0, low), (median(rounds.iter().copied()), high)], colour.filled());
        bar.set_margin(4, 4, 0, 0);
        let ends =
            [f64::min, f64::max].map(|end| rounds.iter().copied().reduce(end).unwrap_or(0.0));
        let middle = SegmentValue::CenterOf(row);
        let spread = PathElement::new(ends.map(|end| (end, middle.clone())), INK.stroke_width(2));
        chart.draw_series([bar])?;
        chart.draw_series([spread])?;
    }
    root.present()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_system_has_a_bar_with_its_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("plot.svg");
        let values = [("Roomlog", vec![3.0, 2.0, 4.0]), ("Redis", vec![5.0])]
            .map(|(system, rounds)| Values { system, rounds });
        draw("Appends", "acks/s", &values, &file).expect("a plot");
        let svg = fs::read_to_string(file).expect("a file");
        assert!(
            ["Appends", "acks/s", "Roomlog", "Redis"].iter().all(|it| svg.contains(it)),
            "{svg}"
        );
        // The background and the two bars.
        assert_eq!(svg.matches("<rect").count(), 3, "{svg}");
    }
}
